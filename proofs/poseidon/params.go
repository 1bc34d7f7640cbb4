package poseidon

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// Round numbers and bounds. The full rounds stand half before and half after
// the partial ones.
const (
	FullRounds = 8
	halfRounds = FullRounds / 2
	maxArity   = 11
	maxWidth   = maxArity + 1
	maxPartial = 57
)

// Sparse is the mixing matrix of one partial round in the optimised
// permutation: first column w_hat, rest of the first row v_rest, identity
// elsewhere. Spec 3.4:
//
//	s'[0] = Σ s[i]·WHat[i],   s'[j] = s[j] + s[0]·VRest[j−1] for j ≥ 1
type Sparse struct {
	WHat  []fr.Element // t values
	VRest []fr.Element // t−1 values
}

// Params holds the constants of one arity. It is immutable and safe for
// concurrent use.
type Params struct {
	arity, partial int
	tag            fr.Element
	constants      []fr.Element // compressed, spec 3.3
	mds            matrix
	hankel         []uint64   // L/(t+k), k = 0…2t−2: row i+j of L·M, see mix
	hankelScale    fr.Element // 2^64/L
	rounds         *recurrence
	many           manyHasher // nil without a vector unit
}

// New generates the parameters for preimages of arity elements: 2, 4, 8 or 11.
// It panics on any other arity. It takes a few milliseconds: make one and keep
// it. Hashing uses the fastest kernel of this machine.
func New(arity int) *Params { return NewOn(arity, kernel.Auto) }

// NewOn is New for a given kernel.
func NewOn(arity int, k kernel.Kernel) *Params {
	k = k.Resolve()
	p := &Params{arity: arity, partial: partialRounds(arity)}
	t := p.Width()
	p.tag.SetUint64(1<<arity - 1)
	p.mds = cauchy(t)
	p.constants = p.compress(roundConstants(t, p.partial))
	lcm := commonDenominator(t)
	for d := t; d <= 3*t-2; d++ {
		p.hankel = append(p.hankel, new(big.Int).Quo(lcm, big.NewInt(int64(d))).Uint64())
	}
	p.hankelScale = rational{new(big.Int).Lsh(big.NewInt(1), 64), lcm}.element()
	p.rounds = newRecurrence(p.mds, p.constants[t*(halfRounds+1):][:p.partial], k)
	p.many = newManyHasher(p, k)
	return p
}

// partialRounds returns R_P for S-box x⁵ at 128 bits of security.
func partialRounds(arity int) int {
	switch arity {
	case 2:
		return 55
	case 4:
		return 56
	case 8, 11:
		return 57
	}
	panic(fmt.Sprintf("poseidon: arity %d is not one of 2, 4, 8, 11", arity))
}

// roundConstants returns the t·(R_F+R_P) constants K[k][i] in row-major order.
func roundConstants(t, partial int) []fr.Element {
	g := newGrain(t, FullRounds, partial)
	out := make([]fr.Element, t*(FullRounds+partial))
	for i := range out {
		out[i] = g.element()
	}
	return out
}

// compress moves the constants of the partial rounds through the linear layers
// so that each partial round adds a single constant. Spec 3.3.
func (p *Params) compress(k []fr.Element) []fr.Element {
	t := p.Width()
	row := func(r int) []fr.Element { return k[r*t : (r+1)*t] }
	inverse := p.mds.inverse()

	out := append([]fr.Element(nil), row(0)...)
	for r := 1; r < halfRounds; r++ {
		out = append(out, inverse.apply(row(r))...)
	}
	acc := append([]fr.Element(nil), row(halfRounds+p.partial)...)
	singles := make([]fr.Element, p.partial)
	for q := p.partial - 1; q >= 0; q-- {
		x := inverse.apply(acc)
		singles[q] = x[0]
		x[0].SetZero()
		for i, c := range row(halfRounds + q) {
			acc[i].Add(&c, &x[i])
		}
	}
	out = append(out, inverse.apply(acc)...)
	out = append(out, singles...)
	for r := 1; r < halfRounds; r++ {
		out = append(out, inverse.apply(row(halfRounds+p.partial+r))...)
	}
	return out
}

// factorise splits the mixing matrices of the partial rounds into one dense
// matrix, applied before them, and one sparse matrix for each. Spec 3.4.
func factorise(mds matrix, partial int) (preSparse matrix, sparse []Sparse) {
	cur := mds
	for range partial {
		minor := cur.minor()
		w := make([]fr.Element, len(minor))
		for i := range w {
			w[i] = cur[i+1][0]
		}
		s := Sparse{
			WHat:  append([]fr.Element{cur[0][0]}, minor.inverse().apply(w)...),
			VRest: append([]fr.Element(nil), cur[0][1:]...),
		}
		sparse = append(sparse, s)
		next := newMatrix(len(cur))
		next[0][0].SetOne()
		for i := range minor {
			copy(next[i+1][1:], minor[i])
		}
		cur = mds.mul(next)
	}
	slices.Reverse(sparse)
	return cur, sparse
}

// Arity returns the number of elements of a preimage.
func (p *Params) Arity() int { return p.arity }

// Width returns t = arity + 1, the number of state elements.
func (p *Params) Width() int { return p.arity + 1 }

// PartialRounds returns R_P.
func (p *Params) PartialRounds() int { return p.partial }

// Tag returns the domain tag 2^arity − 1, the first state element.
func (p *Params) Tag() fr.Element { return p.tag }

// Constants returns a copy of the compressed round constants in the order in
// which the permutation adds them: t before the first round; then after the
// S-boxes of each round t (full), 1 (partial) or none (last round).
func (p *Params) Constants() []fr.Element { return slices.Clone(p.constants) }

// MDS returns a copy of the mixing matrix M, row-major; row vectors multiply
// from the left.
func (p *Params) MDS() [][]fr.Element { return p.mds.clone() }

// PreSparse returns the dense matrix that mixes after the fourth full round of
// the optimised permutation, in place of M. It and SparseMatrices are for
// building the circuit: hashing does not use them, and each call computes them
// anew, in some milliseconds.
func (p *Params) PreSparse() [][]fr.Element {
	dense, _ := factorise(p.mds, p.partial)
	return dense
}

// SparseMatrices returns the mixing matrices of the partial rounds of the
// optimised permutation in the order of use.
func (p *Params) SparseMatrices() []Sparse {
	_, sparse := factorise(p.mds, p.partial)
	return sparse
}
