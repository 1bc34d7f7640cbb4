package groth16

import (
	"fmt"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// Blinding are the numbers r and s that make a Groth16 proof zero-knowledge
// (spec 7.5). The zero value means none: the proof is then a function of key
// and witness. It is as sound and verifies the same.
//
// Proofs of spacetime hide nothing: their witness is leaves and Merkle paths of
// replicas whose roots are public, and anyone may be handed them. What zero
// blinding buys is a fifth of the proving time, since with r = 0 the sum over
// B1 is not needed, and that the same question has the same answer.
type Blinding struct {
	R, S fr.Element
}

// ProveConfig says how a proof is made.
type ProveConfig struct {
	Workers  int                      // goroutines; fewer than one count as one
	Done     <-chan struct{}          // when closed, proving ends with ErrCanceled
	Progress func(done, total uint64) // rows and scalar multiplications, called from one goroutine; may be nil
	Kernel   kernel.Kernel            // the zero value is the fastest of the machine
	Blinding Blinding
	// Ahead, if not nil, is told what memory of the key is read soon, so that
	// whoever has mapped it can have it brought from disk meanwhile. Calls come
	// from one goroutine, in the order of reading.
	Ahead func(memory []byte)
	// Observer, if not nil, is told of every piece of work.
	Observer Observer
}

// Prove makes a proof that the witness satisfies the circuit. The key must be
// of the same circuit; its slices are only read.
//
// Errors wrap ErrMalformedKey (another circuit's key), ErrUnsatisfied (the
// witness is wrong), ErrCanceled, or whatever the assignment returned.
func Prove(pk *ProvingKey, c Circuit, w Assignment, config ProveConfig) (*Proof, error) {
	l, err := newLayout(c)
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	if err := l.checkKey(pk); err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	p := &prover{
		key: pk, layout: l, witness: w,
		pool: newPool(config.Workers, config.Done, config.Kernel), blinding: config.Blinding, progress: config.Progress, ahead: config.Ahead,
	}
	if config.Observer != nil {
		p.pool.watch = &watch{Observer: config.Observer}
	}
	proof, err := p.run()
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	return proof, nil
}

// prover is one run of Prove.
type prover struct {
	key      *ProvingKey
	layout   *layout
	witness  Assignment
	pool     pool
	blinding Blinding

	buffers [2][]fr.Element // see buffer

	sumG1 accumulator[bls.G1Affine, bls.G1Jac] // one sum after the other

	progress    func(done, total uint64)
	done, total uint64
	ahead       func(memory []byte)
}

// rowPiece is how many field elements a worker handles between two looks at
// cancellation in the linear passes over the rows.
const rowPiece = 1 << 14

func (p *prover) run() (*Proof, error) {
	counts := p.layout.counts()
	p.total = uint64(p.layout.domain()) + counts.H + counts.L + counts.A + counts.B
	if !p.blinding.R.IsZero() {
		p.total += counts.B
	}
	h, inputs, err := p.quotient()
	if err != nil {
		return nil, err
	}
	var s sums
	p.sumG1 = newSumG1(p.pool, counts.H+counts.L, p.maxBuckets(1))
	if s.lh, err = p.sumLH(h); err != nil {
		return nil, err
	}
	if s.a, err = p.sumA(inputs); err != nil {
		return nil, err
	}
	if !p.blinding.R.IsZero() {
		if s.b1, err = p.sumB1(); err != nil {
			return nil, err
		}
	}
	p.sumG1 = nil
	if s.b2, err = p.sumB2(); err != nil {
		return nil, err
	}
	return p.assemble(&s)
}

// sums are the multi-scalar multiplications of a proof; b1 only if r ≠ 0.
type sums struct {
	lh, a, b1 bls.G1Jac
	b2        bls.G2Jac
}

// assemble is spec 7.5:
//
//	A = α1 + s_a + r·δ1
//	B = β2 + s_b2 + s·δ2
//	C = s_lh + s·(α1 + s_a) + r·(β1 + s_b1) + r·s·δ1
func (p *prover) assemble(sums *sums) (*Proof, error) {
	vk := &p.key.VK
	r, s := p.blinding.R, p.blinding.S
	a, b, c := sums.a, sums.b2, sums.lh
	a.AddMixed(&vk.Alpha1)
	b.AddMixed(&vk.Beta2)
	var delta1 bls.G1Jac
	var delta2 bls.G2Jac
	delta1.FromAffine(&vk.Delta1)
	delta2.FromAffine(&vk.Delta2)

	addMultiple(&c, a, s)
	if !s.IsZero() {
		delta2.ScalarMultiplication(&delta2, s.BigInt(new(big.Int)))
		b.AddAssign(&delta2)
	}
	if !r.IsZero() {
		b1 := sums.b1
		b1.AddMixed(&vk.Beta1)
		addMultiple(&c, b1, r)
		var rs fr.Element
		addMultiple(&c, delta1, *rs.Mul(&r, &s))
		addMultiple(&a, delta1, r)
	}
	var proof Proof
	proof.A.FromJacobian(&a)
	proof.B.FromJacobian(&b)
	proof.C.FromJacobian(&c)
	if proof.A.IsInfinity() || proof.B.IsInfinity() || proof.C.IsInfinity() {
		return nil, fmt.Errorf("%w: the proof has an identity point", ErrMalformedKey)
	}
	return &proof, nil
}

// addMultiple adds k·p to sum.
func addMultiple(sum *bls.G1Jac, p bls.G1Jac, k fr.Element) {
	if k.IsZero() {
		return
	}
	p.ScalarMultiplication(&p, k.BigInt(new(big.Int)))
	sum.AddAssign(&p)
}

// advance counts rows and scalar multiplications, of which each takes about as
// long, and reports.
func (p *prover) advance(n int) {
	p.done += uint64(n)
	if p.progress != nil {
		p.progress(p.done, p.total)
	}
}
