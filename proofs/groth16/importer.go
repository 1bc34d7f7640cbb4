package groth16

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// importPoints is how many points an importer takes at a time.
const importPoints = 1 << 12

// importer prepares the points and scalars of a chunk for the buckets. It makes
// use of what a witness is full of: zeros are left out, ones are added up apart,
// and points with equal scalars are added first, so that they go through the
// windows once.
type importer[R, A, J any, P affine[A], Q jacobian[J, A]] struct {
	additions[R, A, P]
	digits []int32
	ones   J // Σ of the points whose scalar is one

	recent  [256]int32 // by a hash of the scalar: the last point with it
	repeats []addition // source has the scalar of target
	merged  map[uint32]int
	sums    []R
	there   []bool
}

func newImporter[R, A, J any, P affine[A], Q jacobian[J, A]](newAdder func(n int) batchAdder[R, A], windows int) *importer[R, A, J, P, Q] {
	return &importer[R, A, J, P, Q]{
		additions: newAdditions[R, A, P](newAdder),
		digits:    make([]int32, windows),
		merged:    make(map[uint32]int),
	}
}

// run fills points and digits from…to−1 of a chunk.
func (m *importer[R, A, J, P, Q]) run(c *chunk[R], windows []window, points []A, scalars []fr.Element, from, to int) {
	m.adder.Import(c.points[from:to], points[from:to])
	for i := range m.recent {
		m.recent[i] = -1
	}
	m.repeats = m.repeats[:0]
	for i := from; i < to; i++ {
		clear(m.digits)
		s := &scalars[i]
		switch slot := &m.recent[s[0]>>32%uint64(len(m.recent))]; {
		case s.IsZero() || P(&points[i]).IsInfinity():
		case s.IsOne():
			Q(&m.ones).AddMixed(&points[i])
		case *slot >= 0 && scalars[*slot] == *s:
			m.repeats = append(m.repeats, addition{uint32(*slot), uint32(i), 0})
		default:
			*slot = int32(i)
			recode(s, windows, m.digits)
		}
		for k, d := range m.digits {
			c.digits[k][i] = d
		}
	}
	m.merge(c, c.points[:len(points)+1])
}

// merge adds points with equal scalars to the first of them. Additions to one
// point go into different rounds. The last of points is the adder's filler.
func (m *importer[R, A, J, P, Q]) merge(c *chunk[R], points []R) {
	if len(m.repeats) == 0 {
		return
	}
	clear(m.merged)
	m.sums, m.there = m.sums[:0], m.there[:0]
	for _, r := range m.repeats {
		if _, known := m.merged[r.target]; !known {
			m.merged[r.target] = len(m.sums)
			m.sums = append(m.sums, points[r.target])
			m.there = append(m.there, true)
		}
	}
	busy := make([]bool, len(m.sums))
	var scratch R
	m.sums = append(m.sums, scratch)
	for waiting := m.repeats; len(waiting) > 0; {
		clear(busy)
		later := waiting[:0]
		for _, r := range waiting {
			switch k := m.merged[r.target]; {
			case busy[k] || m.ops.Len() == maxBatch:
				later = append(later, r)
			case !m.there[k]:
				m.sums[k], m.there[k] = points[r.source], true
				busy[k] = true
			default:
				m.ops.Push(uint32(k), r.source, 0)
				busy[k] = true
			}
		}
		m.perform(m.sums, m.there, points)
		waiting = later
	}
	for target, k := range m.merged {
		points[target] = m.sums[k]
		if !m.there[k] {
			for _, digits := range c.digits {
				digits[target] = 0
			}
		}
	}
}
