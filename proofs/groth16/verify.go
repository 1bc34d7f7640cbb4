package groth16

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// Verifier is a verifying key with what every verification would otherwise
// compute again. It is immutable and safe for concurrent use.
type Verifier struct {
	ic           []bls.G1Affine
	alphaBeta    bls.GT       // e(α1, β2)
	gamma, delta bls.G2Affine // negated
	pool         pool
}

// NewVerifier prepares a key. Workers is how many goroutines one verification
// may use; fewer than one count as one; k is the kernel, its zero value the
// fastest of the machine. The error wraps ErrMalformedKey.
func NewVerifier(vk *VerifyingKey, workers int, k kernel.Kernel) (*Verifier, error) {
	if len(vk.IC) == 0 {
		return nil, fmt.Errorf("%w: verifying key without ic points", ErrMalformedKey)
	}
	if vk.Alpha1.IsInfinity() || vk.Beta2.IsInfinity() || vk.Gamma2.IsInfinity() || vk.Delta2.IsInfinity() {
		return nil, fmt.Errorf("%w: verifying key with an identity point", ErrMalformedKey)
	}
	alphaBeta, err := bls.Pair([]bls.G1Affine{vk.Alpha1}, []bls.G2Affine{vk.Beta2})
	if err != nil {
		return nil, fmt.Errorf("%w: e(alpha, beta): %w", ErrMalformedKey, err)
	}
	v := &Verifier{ic: vk.IC, alphaBeta: alphaBeta, pool: newPool(workers, nil, k)}
	v.gamma.Neg(&vk.Gamma2)
	v.delta.Neg(&vk.Delta2)
	return v, nil
}

// Inputs is the number of public inputs of one proof, ONE not counted.
func (v *Verifier) Inputs() int { return len(v.ic) - 1 }

// Verify returns nil if p proves the public inputs (without ONE), an error
// wrapping ErrInvalidProof if it does not, and one wrapping ErrInputCount if
// the inputs are not Inputs() many. Spec 7.7.
func (v *Verifier) Verify(p *Proof, inputs []fr.Element) error {
	return v.VerifyBatch([]*Proof{p}, [][]fr.Element{inputs}, nil)
}

// VerifyBatch verifies several proofs of one key at once: proof j is of
// inputs[j]. A batch with a wrong proof passes with probability 2⁻¹²⁸ over
// random, which is crypto/rand.Reader if nil and is not read for one proof. It
// does not say which proof is wrong. Errors are those of Verify.
func (v *Verifier) VerifyBatch(proofs []*Proof, inputs [][]fr.Element, random io.Reader) error {
	if len(proofs) == 0 || len(proofs) != len(inputs) {
		return fmt.Errorf("%w: %d proofs with %d sets of public inputs", ErrInputCount, len(proofs), len(inputs))
	}
	for j, in := range inputs {
		if len(in) != v.Inputs() {
			return fmt.Errorf("%w: proof %d comes with %d, the key expects %d", ErrInputCount, j, len(in), v.Inputs())
		}
	}
	z, err := batchWeights(len(proofs), random)
	if err != nil {
		return fmt.Errorf("batch verification: %w", err)
	}
	ok, err := v.check(proofs, inputs, z)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidProof, err)
	}
	if !ok {
		return ErrInvalidProof
	}
	return nil
}

// batchWeights returns n random 128-bit numbers, or 1 for a single proof.
func batchWeights(n int, random io.Reader) ([]fr.Element, error) {
	z := make([]fr.Element, n)
	if n == 1 {
		z[0].SetOne()
		return z, nil
	}
	if random == nil {
		random = rand.Reader
	}
	b := make([]byte, 16*n)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	var two64 fr.Element
	two64.SetUint64(1 << 63).Double(&two64)
	for j := range z {
		var low fr.Element
		low.SetUint64(binary.LittleEndian.Uint64(b[16*j:]))
		z[j].SetUint64(binary.LittleEndian.Uint64(b[16*j+8:]))
		z[j].Mul(&z[j], &two64).Add(&z[j], &low)
	}
	return z, nil
}

// check is the equation
//
//	Π e(z_j·A_j, B_j) · e(Σ_i (Σ_j z_j·x_{j,i})·ic_i, −γ2) · e(Σ z_j·C_j, −δ2) = e(α1, β2)^(Σ z_j)
//
// with x_{j,0} = 1.
func (v *Verifier) check(proofs []*Proof, inputs [][]fr.Element, z []fr.Element) (bool, error) {
	g1 := make([]bls.G1Affine, 0, len(proofs)+2)
	g2 := make([]bls.G2Affine, 0, len(proofs)+2)
	cs := make([]bls.G1Affine, len(proofs))
	for j, p := range proofs {
		a := p.A
		if !z[j].IsOne() {
			a.ScalarMultiplication(&a, z[j].BigInt(new(big.Int)))
		}
		g1, g2 = append(g1, a), append(g2, p.B)
		cs[j] = p.C
	}

	var acc, c bls.G1Affine
	ic, err := v.sum(v.ic, v.weightedInputs(inputs, z))
	if err != nil {
		return false, err
	}
	acc.FromJacobian(&ic)
	weighted, err := v.sum(cs, z)
	if err != nil {
		return false, err
	}
	c.FromJacobian(&weighted)
	g1, g2 = append(g1, acc, c), append(g2, v.gamma, v.delta)

	left, err := bls.Pair(g1, g2)
	if err != nil {
		return false, err
	}
	right := v.alphaBeta
	if len(z) > 1 {
		var sum fr.Element
		for j := range z {
			sum.Add(&sum, &z[j])
		}
		right.Exp(v.alphaBeta, sum.BigInt(new(big.Int)))
	}
	return left.Equal(&right), nil
}

// sum is a multi-scalar multiplication.
func (v *Verifier) sum(points []bls.G1Affine, scalars []fr.Element) (bls.G1Jac, error) {
	sum := newSumG1(v.pool, uint64(len(points)), verifyBuckets)
	if err := sum.add(points, scalars, pieces{}); err != nil {
		return bls.G1Jac{}, err
	}
	return sum.sum()
}

// verifyBuckets bounds the memory of a verification to 16 MiB.
const verifyBuckets = 1 << 17

// weightedInputs returns Σ_j z_j·x_{j,i} for ONE and all inputs.
func (v *Verifier) weightedInputs(inputs [][]fr.Element, z []fr.Element) []fr.Element {
	sum := make(fr.Vector, 1+len(inputs[0]))
	if len(inputs) == 1 { // its weight is one
		sum[0].SetOne()
		copy(sum[1:], inputs[0])
		return sum
	}
	for j := range z {
		sum[0].Add(&sum[0], &z[j])
	}
	// Pieces write to places of their own; nothing can fail.
	_ = v.pool.spans(len(inputs[0]), rowPiece, func(from, to int) error {
		scaled := make(fr.Vector, to-from)
		part := sum[1+from : 1+to]
		for j, in := range inputs {
			scaled.ScalarMul(in[from:to], &z[j])
			part.Add(part, scaled)
		}
		return nil
	})
	return sum
}
