package poseidon

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// state is the permutation's state; the first Width elements are in use.
type state [maxWidth]fr.Element

// Hash returns the digest of preimage, which must have Arity elements.
func (p *Params) Hash(preimage []fr.Element) fr.Element {
	var s state
	p.absorb(&s, preimage)
	p.permute(&s, nil)
	return s[1]
}

// TraceLen returns the number of values that Trace writes: 311 for arity 2,
// 377 for 4, 505 for 8.
func (p *Params) TraceLen() int {
	return 4*(FullRounds*p.Width()+p.partial) - 4 - p.arity + 1
}

// Trace evaluates the hash of preimage and writes every value that neptune's
// legacy circuit allocates, in allocation order, to trace, which must have
// TraceLen elements. Spec 6.4:
//
//	round 0:        for i = 1…arity: v², v⁴, v⁵+k of state element i
//	full rounds:    for i = 0…arity: v, v², v⁴, v⁵+k of state element i
//	partial rounds: v, v², v⁴, v⁵+k of state element 0
//	end:            the digest, also at index TraceLen−1
//
// v is the S-box input and k the constant added after the S-box (0 in the last
// round). It allocates nothing.
func (p *Params) Trace(trace, preimage []fr.Element) {
	if len(trace) != p.TraceLen() {
		panic(fmt.Sprintf("poseidon: trace of %d elements for arity %d, want %d", len(trace), p.arity, p.TraceLen()))
	}
	var s state
	p.absorb(&s, preimage)
	p.permute(&s, trace)
	trace[len(trace)-1] = s[1]
}

// absorb sets the state to the tag and the preimage.
func (p *Params) absorb(s *state, preimage []fr.Element) {
	if len(preimage) != p.arity {
		panic(fmt.Sprintf("poseidon: preimage of %d elements for arity %d", len(preimage), p.arity))
	}
	s[0] = p.tag
	copy(s[1:], preimage)
}

// permute applies the permutation and records its S-boxes in trace unless that
// is nil. Values and order are those of the optimised permutation of spec 3.5;
// the partial rounds are evaluated as a recurrence. Of the final state only
// element 1 is computed.
func (p *Params) permute(s *state, trace []fr.Element) {
	t := p.Width()
	c := p.constants
	for i := range t {
		s[i].Add(&s[i], &c[i])
	}
	c = c[t:]
	for r := range halfRounds {
		trace = p.fullRound(s, c, trace, r == 0)
		c = c[t:]
		if r < halfRounds-1 {
			p.mix(s)
		}
	}
	if p.rounds.observer != nil {
		trace = p.rounds.observer.run(s, trace)
	} else {
		trace = p.partialRounds(s, trace)
	}
	c = c[p.partial:]
	for range halfRounds - 1 {
		trace = p.fullRound(s, c, trace, false)
		c = c[t:]
		p.mix(s)
	}
	var zero state
	p.fullRound(s, zero[:t], trace, false)
	p.mixOne(&s[1], s, 1)
}

// fullRound applies the S-boxes of a full round and adds its constants. In the
// first round the circuit allocates nothing for element 0, which is constant,
// and no S-box inputs, which are the preimage plus a constant. It returns what
// is left of trace.
//
// The three multiplications of an S-box depend on one another, those of
// different elements do not: hence the order.
func (p *Params) fullRound(s *state, c, trace []fr.Element, first bool) []fr.Element {
	var v2, v4, v5 state
	t := p.Width()
	for i := range t {
		v2[i].Square(&s[i])
	}
	for i := range t {
		v4[i].Square(&v2[i])
	}
	for i := range t {
		v5[i].Mul(&s[i], &v4[i])
	}
	for i := range t {
		v5[i].Add(&v5[i], &c[i])
	}
	switch {
	case trace == nil:
	case first:
		for i := 1; i < t; i++ {
			trace[0], trace[1], trace[2] = v2[i], v4[i], v5[i]
			trace = trace[3:]
		}
	default:
		for i := range t {
			trace[0], trace[1], trace[2], trace[3] = s[i], v2[i], v4[i], v5[i]
			trace = trace[4:]
		}
	}
	*s = v5
	return trace
}

// mix replaces s by s·M. M is a Hankel matrix of small fractions: L·M has the
// 64-bit entries hankel[i+j], so a column is a run of hankel and a product takes
// four word multiplications.
func (p *Params) mix(s *state) {
	var out state
	for j := range p.Width() {
		p.mixOne(&out[j], s, j)
	}
	*s = out
}

// mixOne sets z to element j of s·M. z may lie in s.
func (p *Params) mixOne(z *fr.Element, s *state, j int) {
	var acc sum
	addDot(&acc, s[:p.Width()], p.hankel[j:][:p.Width()])
	acc.reduce(z)
	z.Mul(z, &p.hankelScale)
}

// maxHistory is the length of the recurrence's history: 2·arity−1 zeros for
// the time before the first round, an output and an input for each round, and
// the last output.
const maxHistory = 2*maxArity + 2*maxPartial

// partialRounds mixes s, applies the partial rounds and records their S-boxes.
// See recurrence.
func (p *Params) partialRounds(s *state, trace []fr.Element) []fr.Element {
	var (
		r       = p.rounds
		k       = p.arity
		history [maxHistory]fr.Element
		initial state // y[0], then e_n
	)
	for j := range r.start {
		w := r.start[j].eval(s[:k+1])
		w.reduce(&initial[j])
	}
	y := initial[0]
	for n := range p.partial {
		var v2, v4 fr.Element
		known := history[2*n:][:2*k] // the window of this round but x
		x := &history[2*k+2*n]
		var parts [formWords]sum
		// The S-box is a chain of dependent multiplications; the sums over
		// what is known already fill its gaps.
		v2.Square(&y)
		r.step.addKnown(&parts[0], 0, known, 2*n)
		v4.Square(&v2)
		r.step.addKnown(&parts[1], 1, known, 2*n)
		x.Mul(&y, &v4)
		r.step.addKnown(&parts[2], 2, known, 2*n)
		x.Add(x, &r.single[n])
		r.step.addKnown(&parts[3], 3, known, 2*n)
		if trace != nil {
			trace[0], trace[1], trace[2], trace[3] = y, v2, v4, *x
			if n%2 == 1 {
				trace[0].Neg(&y)
				trace[3].Neg(x)
			}
			trace = trace[4:]
		}
		w := r.step.addLast(&parts, history[2*k+2*n:][:1])
		w.reduce(&y)
		y.Mul(&y, &r.scale)
		if n < k {
			y.Add(&y, &initial[n+1])
		}
		history[2*k+1+2*n] = y
	}
	s[0] = y
	if r.odd {
		s[0].Neg(&y)
	}
	for j := range r.end {
		w := r.end[j].eval(history[2*p.partial:][:2*k])
		w.reduce(&s[j+1])
	}
	return trace
}
