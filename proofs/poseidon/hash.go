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

// permute applies the optimised permutation (spec 3.5) and records its S-boxes
// in trace unless that is nil.
func (p *Params) permute(s *state, trace []fr.Element) {
	t := p.Width()
	c := p.constants
	var zero state
	for i := range t {
		s[i].Add(&s[i], &c[i])
	}
	c = c[t:]
	for r := range halfRounds {
		trace = p.fullRound(s, c, trace, r == 0)
		c = c[t:]
		if r < halfRounds-1 {
			p.mix(s, p.mds)
		} else {
			p.mix(s, p.preSparse)
		}
	}
	for r := range p.sparse {
		trace = sbox(&s[0], &c[r], trace)
		p.mixSparse(s, &p.sparse[r])
	}
	c = c[p.partial:]
	for r := range halfRounds {
		if r == halfRounds-1 {
			c = zero[:t]
		}
		trace = p.fullRound(s, c, trace, false)
		c = c[t:]
		p.mix(s, p.mds)
	}
}

// fullRound applies the S-boxes of a full round and adds its constants. In the
// first round the circuit allocates nothing for element 0, which is constant,
// and no S-box inputs, which are the preimage plus a constant.
func (p *Params) fullRound(s *state, c, trace []fr.Element, first bool) []fr.Element {
	for i := range p.Width() {
		switch {
		case !first:
			trace = sbox(&s[i], &c[i], trace)
		case i == 0 || trace == nil:
			sbox(&s[i], &c[i], nil)
		default:
			var full [4]fr.Element
			sbox(&s[i], &c[i], full[:])
			trace = trace[copy(trace, full[1:]):]
		}
	}
	return trace
}

// sbox replaces v by v⁵ + k. It writes v, v², v⁴, v⁵+k to trace and returns
// what is left of it, unless trace is nil.
func sbox(v, k *fr.Element, trace []fr.Element) []fr.Element {
	var v2, v4, v5 fr.Element
	v2.Square(v)
	v4.Square(&v2)
	v5.Mul(v, &v4)
	v5.Add(&v5, k)
	if trace != nil {
		trace[0], trace[1], trace[2], trace[3] = *v, v2, v4, v5
		trace = trace[4:]
	}
	*v = v5
	return trace
}

// mix replaces s by s·m.
func (p *Params) mix(s *state, m matrix) {
	var out state
	var term fr.Element
	for i, row := range m {
		for j := range row {
			term.Mul(&s[i], &row[j])
			out[j].Add(&out[j], &term)
		}
	}
	*s = out
}

// mixSparse applies the sparse matrix of a partial round.
func (p *Params) mixSparse(s *state, m *Sparse) {
	var sum, term fr.Element
	for i := range m.WHat {
		term.Mul(&s[i], &m.WHat[i])
		sum.Add(&sum, &term)
	}
	for j := range m.VRest {
		term.Mul(&s[0], &m.VRest[j])
		s[j+1].Add(&s[j+1], &term)
	}
	s[0] = sum
}
