package circuit

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/poseidon"
)

// gadget is the Poseidon hash of one arity as constraints over local variables:
// 0 is ONE, 1…arity the preimage, then the values of poseidon.Params.Trace in
// their order; the last is the digest. Every trace value has one constraint, in
// the same order. Spec 6.4.
type gadget struct {
	arity   int
	trace   int // number of trace values and of constraints
	a, b, c rows

	constants []fr.Element // compressed round constants
	partial   int          // number of partial rounds
}

// gadgetBuilder is a gadget under construction.
type gadgetBuilder struct {
	*gadget
	dict *dictionary
	next uint32 // the variable allocated next
}

// newGadget compiles the hash; coefficients are numbered by dict.
func newGadget(dict *dictionary, p *poseidon.Params) *gadget {
	b := gadgetBuilder{
		gadget: &gadget{arity: p.Arity(), trace: p.TraceLen(), constants: p.Constants(), partial: p.PartialRounds()},
		dict:   dict, next: uint32(1 + p.Arity()),
	}
	mds, preSparse, sparse := p.MDS(), p.PreSparse(), p.SparseMatrices()
	width := p.Width()
	const half = poseidon.FullRounds / 2

	state := b.firstRound(p.Tag())
	state = mix(state, mds)
	k := b.constants[2*width:]
	for range half - 2 {
		state = mix(b.fullRound(state, k[:width]), mds)
		k = k[width:]
	}
	state = mix(b.fullRound(state, k[:width]), preSparse)
	k = k[width:]
	for _, s := range sparse {
		state[0] = b.sbox(state[0], &k[0])
		state = mixSparse(state, s)
		k = k[1:]
	}
	for range half - 1 {
		state = mix(b.fullRound(state, k[:width]), mds)
		k = k[width:]
	}
	state = mix(b.fullRound(state, make([]fr.Element, width)), mds)
	b.define(state[1])
	return b.gadget
}

// alloc allocates the next trace value with the constraint a·b = value − k.
func (b *gadgetBuilder) alloc(left, right lc, k *fr.Element) uint32 {
	v := b.next
	b.next++
	var minusK fr.Element
	minusK.Neg(k)
	b.a.add(b.dict, left)
	b.b.add(b.dict, right)
	b.c.add(b.dict, plusConstant(v, &minusK))
	return v
}

// define allocates a variable for a linear combination: l·ONE = v.
func (b *gadgetBuilder) define(l lc) uint32 {
	return b.alloc(l, single(one), new(fr.Element))
}

// power allocates l2 = v·v, l4 = l2·l2 and l5 = v·l4 + k of an S-box input.
func (b *gadgetBuilder) power(v lc, k *fr.Element) lc {
	var zero fr.Element
	l2 := single(b.alloc(v, v, &zero))
	l4 := single(b.alloc(l2, l2, &zero))
	return single(b.alloc(v, l4, k))
}

// sbox allocates a state element and its powers.
func (b *gadgetBuilder) sbox(l lc, k *fr.Element) lc {
	return b.power(single(b.define(l)), k)
}

// firstRound applies the S-boxes to the preimage plus constants. Element 0 is a
// constant and takes neither variable nor constraint.
func (b *gadgetBuilder) firstRound(tag fr.Element) []lc {
	width := b.arity + 1
	state := make([]lc, width)
	var k fr.Element
	k.Add(&tag, &b.constants[0])
	k.Exp(k, big.NewInt(5)).Add(&k, &b.constants[width])
	state[0] = lc{{one, k}}
	for i := 1; i < width; i++ {
		state[i] = b.power(plusConstant(uint32(i), &b.constants[i]), &b.constants[width+i])
	}
	return state
}

// fullRound applies the S-box to every element and adds the constants k.
func (b *gadgetBuilder) fullRound(state []lc, k []fr.Element) []lc {
	out := make([]lc, len(state))
	for i := range state {
		out[i] = b.sbox(state[i], &k[i])
	}
	return out
}

// mix multiplies the state, a row vector, by a matrix.
func mix(state []lc, matrix [][]fr.Element) []lc {
	out := make([]lc, len(state))
	column := make([]fr.Element, len(state))
	for j := range out {
		for i := range state {
			column[i] = matrix[i][j]
		}
		out[j] = sum(column, state)
	}
	return out
}

// mixSparse multiplies the state by the matrix of a partial round.
func mixSparse(state []lc, m poseidon.Sparse) []lc {
	out := make([]lc, len(state))
	out[0] = sum(m.WHat, state)
	for j := 1; j < len(state); j++ {
		out[j] = addScaled(state[j], &m.VRest[j-1], state[0])
	}
	return out
}

// constraintRows writes the values of the gadget's rows, from its preimage and
// trace. Spec 6.7.
func (g *gadget) constraintRows(w *rowWriter, preimage, trace []fr.Element) {
	width := g.arity + 1
	oneValue := fr.One()
	var v, product fr.Element
	for i := range g.arity {
		v.Add(&preimage[i], &g.constants[1+i])
		w.put(&v, &v, &trace[0])
		w.put(&trace[0], &trace[0], &trace[1])
		product.Sub(&trace[2], &g.constants[width+1+i])
		w.put(&v, &trace[1], &product)
		trace = trace[3:]
	}
	k := g.constants[2*width:]
	boxes := width*(poseidon.FullRounds-2) + g.partial
	for i := range boxes + width {
		w.put(&trace[0], &oneValue, &trace[0])
		w.put(&trace[0], &trace[0], &trace[1])
		w.put(&trace[1], &trace[1], &trace[2])
		product = trace[3]
		if i < boxes {
			product.Sub(&product, &k[i])
		}
		w.put(&trace[0], &trace[2], &product)
		trace = trace[4:]
	}
	w.put(&trace[0], &oneValue, &trace[0])
}
