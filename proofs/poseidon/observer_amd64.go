//go:build !purego

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// observer runs the partial rounds of one hash with vector instructions. It is
// the recurrence in observer canonical form: what the past adds to the next k
// outputs is kept as a state u, one lane for each,
//
//	y[n+1] = N_0·x[n] + u_1,   u_i ← u_{i+1} + N_i·x[n] − P_i·y[n+1],
//
// which starts as e and at the end is e′ (see endForms). All lanes advance at
// once while the S-box of y[n+1], a chain of dependent multiplications, runs.
type observer struct {
	start   []form     // to y[0], e_0, …, e_{k−1}
	end     []form     // from u to state elements 1…k
	direct  fr.Element // N_0
	weights [2]lanes   // N_i and −P_i, times 2^260
	single  []fr.Element
}

// advanceLanes shifts the lanes of u down by one, the last becoming zero, and
// adds x times the first weights and y times the second, divided by 2^260. u is
// in Montgomery form with factor 2^256, below 2r.
//
//go:noescape
func advanceLanes(u *lanes, x, y *fr.Element, weights *[2]lanes)

// newObserver returns nil for kernels other than IFMA and where there are too few
// lanes. inverse is that of initialMap.
func newObserver(h transfer, start, inverse matrix, constants []fr.Element, on kernel.Kernel) *observer {
	k := len(inverse)
	if on != kernel.IFMA || k > laneCount {
		return nil
	}
	o := &observer{
		start: start.columns(), end: inverse.columns(),
		direct: h.n[0].element(), single: constants,
	}
	factor := powerOfTwo(limbs * limbBits)
	for i := range k {
		n, p := h.n[i+1].element(), h.p[i+1].element()
		p.Neg(&p)
		for j, w := range []fr.Element{n, p} {
			w.Mul(&w, &factor)
			regular := fr.Element(w.Bits())
			o.weights[j].set(i, &regular)
		}
	}
	return o
}

// run mixes s, applies the partial rounds and records their S-boxes.
func (o *observer) run(s *state, trace []fr.Element) []fr.Element {
	var (
		initial state
		u       lanes
		x       fr.Element
		w       wide
	)
	k := len(o.end)
	for j := range o.start {
		w = o.start[j].eval(s[:k+1])
		w.reduce(&initial[j])
		if j > 0 {
			u.set(j-1, &initial[j])
		}
	}
	y := initial[0]
	for n := range o.single {
		var v2, v4 fr.Element
		v2.Square(&y)
		v4.Square(&v2)
		x.Mul(&y, &v4)
		x.Add(&x, &o.single[n])
		if trace != nil {
			trace[0], trace[1], trace[2], trace[3] = y, v2, v4, x
			trace = trace[4:]
		}
		past := u.get(0)
		y.Mul(&x, &o.direct)
		y.Add(&y, &past)
		advanceLanes(&u, &x, &y, &o.weights)
	}
	s[0] = y
	for i := range k {
		initial[i] = u.get(i)
	}
	for j := range o.end {
		w = o.end[j].eval(initial[:k])
		w.reduce(&s[j+1])
	}
	return trace
}
