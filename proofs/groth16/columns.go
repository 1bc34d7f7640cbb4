package groth16

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// level is one column level of a transform: blocks of rows·width elements.
type level struct {
	rows, width int
	stride      int          // ω_block = ω^stride
	roots       []fr.Element // powers of ω_rows, rows/2 of them
	joints      []fr.Vector  // joints[q][j] = ω_block^(q·j), j < columns
	omega       *powers
}

// level prepares level i in one direction.
func (t *transform) level(i int, d *direction) *level {
	block := t.m
	for _, log := range t.levels[:i] {
		block >>= log
	}
	l := &level{rows: 1 << t.levels[i], stride: t.m / block, omega: &d.omega}
	l.width = block / l.rows
	for j := range l.rows / 2 {
		l.roots = append(l.roots, d.omega.pow(j*(t.m/l.rows)))
	}
	for q := range l.rows {
		l.joints = append(l.joints, geometric(d.omega.pow(q*l.stride), min(columns, l.width)))
	}
	return l
}

// each calls f for every group of columns of every block, with scratch for its
// rows. f gets the first element of the group and its first column.
func (l *level) each(p pool, a []fr.Element, f func(first []fr.Element, column int, rows []fr.Vector, t fr.Vector)) error {
	width := len(l.joints[0])
	groups := l.width / width
	scratch := make([][]fr.Vector, p.workers)
	return p.run(len(a)/(l.rows*width), func(worker, i int) error {
		if scratch[worker] == nil {
			for range l.rows + 1 {
				scratch[worker] = append(scratch[worker], make(fr.Vector, width))
			}
		}
		block, column := i/groups, i%groups*width
		f(a[block*l.rows*l.width+column:], column, scratch[worker][:l.rows], scratch[worker][l.rows])
		return nil
	})
}

// join multiplies row ρ, which holds frequency q = rev(ρ), by ω_block^(q·column).
func (l *level) join(rows []fr.Vector, column int) {
	for r, row := range rows {
		q := reverse(r, l.rows)
		if q == 0 {
			continue
		}
		row.Mul(row, l.joints[q])
		if column != 0 {
			factor := l.omega.pow(q * column % (l.rows * l.width) * l.stride)
			row.ScalarMul(row, &factor)
		}
	}
}

// columnsDIF applies all levels from natural to bit-reversed order, down to the
// leaves.
func (t *transform) columnsDIF(p pool, a []fr.Element, d *direction) error {
	for i := range t.levels {
		l := t.level(i, d)
		if err := l.each(p, a, func(first []fr.Element, column int, rows []fr.Vector, tmp fr.Vector) {
			for r, row := range rows {
				copy(row, first[r*l.width:])
			}
			for half, step := l.rows/2, 1; half >= 1; half, step = half/2, step*2 {
				for from := 0; from < l.rows; from += 2 * half {
					for j := range half {
						low, high := rows[from+j], rows[from+half+j]
						tmp.Sub(low, high)
						low.Add(low, high)
						if j == 0 {
							copy(high, tmp)
							continue
						}
						high.ScalarMul(tmp, &l.roots[j*step])
					}
				}
			}
			l.join(rows, column)
			for r, row := range rows {
				copy(first[r*l.width:], row)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// columnsDIT is the way back, from the leaves up.
func (t *transform) columnsDIT(p pool, a []fr.Element, d *direction) error {
	for i := len(t.levels) - 1; i >= 0; i-- {
		l := t.level(i, d)
		if err := l.each(p, a, func(first []fr.Element, column int, rows []fr.Vector, tmp fr.Vector) {
			for r, row := range rows {
				copy(row, first[r*l.width:])
			}
			l.join(rows, column)
			for half, step := 1, l.rows/2; half < l.rows; half, step = half*2, step/2 {
				for from := 0; from < l.rows; from += 2 * half {
					for j := range half {
						low, high := rows[from+j], rows[from+half+j]
						if j == 0 {
							copy(tmp, high)
						} else {
							tmp.ScalarMul(high, &l.roots[j*step])
						}
						high.Sub(low, tmp)
						low.Add(low, tmp)
					}
				}
			}
			for r, row := range rows {
				copy(first[r*l.width:], row)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}
