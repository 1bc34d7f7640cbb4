package circuit

import (
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// rows are linear combinations in compressed form: terms of row i are those
// from start[i] to start[i+1].
type rows struct {
	start        []uint32
	variables    []uint32
	coefficients []uint32 // into a dictionary
}

func (r *rows) len() int { return max(len(r.start)-1, 0) }

func (r *rows) row(i int) (variables, coefficients []uint32) {
	from, to := r.start[i], r.start[i+1]
	return r.variables[from:to:to], r.coefficients[from:to:to]
}

// end closes the row whose terms were appended.
func (r *rows) end() {
	if len(r.start) == 0 {
		r.start = append(r.start, 0)
	}
	r.start = append(r.start, uint32(len(r.variables)))
}

// add appends a row. The terms come sorted by variable; zeros are left out.
func (r *rows) add(d *dictionary, l lc) {
	for _, t := range l {
		if t.coefficient.IsZero() {
			continue
		}
		r.variables = append(r.variables, t.variable)
		r.coefficients = append(r.coefficients, d.id(&t.coefficient))
	}
	r.end()
}

// dictionary numbers distinct coefficients in the order of their appearance.
type dictionary struct {
	values []fr.Element
	index  map[fr.Element]uint32
}

func (d *dictionary) id(x *fr.Element) uint32 {
	if i, known := d.index[*x]; known {
		return i
	}
	i := uint32(len(d.values))
	d.index[*x] = i
	d.values = append(d.values, *x)
	return i
}

// term is coefficient·variable.
type term struct {
	variable    uint32
	coefficient fr.Element
}

// lc is a linear combination, ascending by variable, each variable once.
type lc []term

// variable 0 is the constant ONE everywhere.
const one = 0

// single is 1·v.
func single(v uint32) lc { return lc{{v, fr.One()}} }

// minus returns 1·x − 1·y for distinct variables.
func minus(x, y uint32) lc {
	var m fr.Element
	m.SetOne().Neg(&m)
	l := lc{{x, fr.One()}, {y, m}}
	if y < x {
		slices.Reverse(l)
	}
	return l
}

// plusConstant returns 1·v + k.
func plusConstant(v uint32, k *fr.Element) lc { return lc{{one, *k}, {v, fr.One()}} }

// sum returns Σ weights[i]·terms[i].
func sum(weights []fr.Element, terms []lc) lc {
	var out lc
	for i := range terms {
		out = addScaled(out, &weights[i], terms[i])
	}
	return out
}

// addScaled returns x + k·y.
func addScaled(x lc, k *fr.Element, y lc) lc {
	out := make(lc, 0, len(x)+len(y))
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].variable < y[0].variable:
			out = append(out, x[0])
			x = x[1:]
		default:
			t := y[0]
			t.coefficient.Mul(&t.coefficient, k)
			if len(x) > 0 && x[0].variable == t.variable {
				t.coefficient.Add(&t.coefficient, &x[0].coefficient)
				x = x[1:]
			}
			out = append(out, t)
			y = y[1:]
		}
	}
	return out
}
