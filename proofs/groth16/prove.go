package groth16

import (
	"fmt"
	"math/big"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
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
	Progress func(done, total uint64) // scalar multiplications; never called concurrently; may be nil
	Blinding Blinding
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
		pool: newPool(config.Workers, config.Done), blinding: config.Blinding, progress: config.Progress,
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

	progress    func(done, total uint64)
	mu          sync.Mutex // guards done and calls of progress
	done, total uint64
}

// rowPiece is how many field elements a worker handles between two looks at
// cancellation in the linear passes over the rows.
const rowPiece = 1 << 14

func (p *prover) run() (*Proof, error) {
	counts := p.layout.counts()
	p.total = counts.H + counts.L + counts.A + counts.B
	if !p.blinding.R.IsZero() {
		p.total += counts.B
	}
	h, inputs, err := p.quotient()
	if err != nil {
		return nil, err
	}
	sums := newSums(p)
	if err := sums.lh.add(p.key.H, h); err != nil {
		return nil, err
	}
	h = nil // half of the memory of a proof
	if err := sums.addInputs(inputs); err != nil {
		return nil, err
	}
	if err := sums.addBlocks(); err != nil {
		return nil, err
	}
	return p.assemble(sums)
}

// assemble is spec 7.5.
func (p *prover) assemble(s *sums) (*Proof, error) {
	vk := &p.key.VK
	var a, b1, c, t1 bls.G1Jac
	var b2, t2 bls.G2Jac
	scale := func(p *bls.G1Affine, k *fr.Element) *bls.G1Jac {
		t1.FromAffine(p)
		return t1.ScalarMultiplication(&t1, k.BigInt(new(big.Int)))
	}
	r, z := &p.blinding.R, &p.blinding.S
	var err error
	if a, err = s.a.sum(); err != nil {
		return nil, err
	}
	if c, err = s.lh.sum(); err != nil {
		return nil, err
	}
	if b2, err = s.b2.sum(); err != nil {
		return nil, err
	}
	a.AddMixed(&vk.Alpha1)
	if !z.IsZero() {
		t1.ScalarMultiplication(&a, z.BigInt(new(big.Int)))
		c.AddAssign(&t1)
	}
	b2.AddMixed(&vk.Beta2)
	t2.FromAffine(&vk.Delta2)
	b2.AddAssign(t2.ScalarMultiplication(&t2, z.BigInt(new(big.Int))))
	if !r.IsZero() {
		if b1, err = s.b1.sum(); err != nil {
			return nil, err
		}
		var rs fr.Element
		b1.AddMixed(&vk.Beta1)
		t1.ScalarMultiplication(&b1, r.BigInt(new(big.Int)))
		c.AddAssign(&t1)
		c.AddAssign(scale(&vk.Delta1, rs.Mul(r, z)))
		a.AddAssign(scale(&vk.Delta1, r))
	}
	var proof Proof
	proof.A.FromJacobian(&a)
	proof.B.FromJacobian(&b2)
	proof.C.FromJacobian(&c)
	if proof.A.IsInfinity() || proof.B.IsInfinity() || proof.C.IsInfinity() {
		return nil, fmt.Errorf("%w: the proof has an identity point", ErrMalformedKey)
	}
	return &proof, nil
}

// advance counts scalar multiplications and reports.
func (p *prover) advance(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += uint64(n)
	if p.progress != nil {
		p.progress(p.done, p.total)
	}
}
