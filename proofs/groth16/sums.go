package groth16

import (
	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// accumulator is a multi-scalar multiplication built up in pieces.
type accumulator[A, J any] interface {
	// add takes Σ scalars[i]·points[i] and does other work beside; it needs
	// neither slice afterwards. It ends with ErrCanceled soon after a
	// cancellation.
	add(points []A, scalars []fr.Element, beside pieces) error
	// sum returns the sum and starts the next one.
	sum() (J, error)
}

// bucketPoints is the number of points below which persistent buckets do not
// pay off.
const bucketPoints = 1 << 9

// newSumG1 returns the fastest accumulator for sums of up to n points of G1 that
// keeps at most maxBuckets buckets of 128 bytes.
func newSumG1(p pool, n uint64, maxBuckets int) accumulator[bls.G1Affine, bls.G1Jac] {
	if n >= bucketPoints {
		return newBucketsG1(p, n, maxBuckets)
	}
	return &multiExpG1{pool: p}
}

// newSumG2 is newSumG1 over G2; its buckets have 256 bytes.
func newSumG2(p pool, n uint64, maxBuckets int) accumulator[bls.G2Affine, bls.G2Jac] {
	if n >= bucketPoints {
		return newBucketsG2(p, n, maxBuckets)
	}
	return &multiExpG2{pool: p}
}

// multiExpG1 is an accumulator over gnark-crypto's multi-scalar multiplication,
// for few points.
type multiExpG1 struct {
	pool  pool
	total bls.G1Jac
}

func (m *multiExpG1) add(points []bls.G1Affine, scalars []fr.Element, beside pieces) error {
	if err := m.pool.together(beside); err != nil {
		return err
	}
	if m.pool.canceled() {
		return ErrCanceled
	}
	var part bls.G1Jac
	if _, err := part.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: m.pool.workers}); err != nil {
		return err
	}
	m.total.AddAssign(&part)
	return nil
}

func (m *multiExpG1) sum() (bls.G1Jac, error) {
	total := m.total
	m.total = bls.G1Jac{}
	return total, nil
}

// multiExpG2 is multiExpG1 over G2.
type multiExpG2 struct {
	pool  pool
	total bls.G2Jac
}

func (m *multiExpG2) add(points []bls.G2Affine, scalars []fr.Element, beside pieces) error {
	if err := m.pool.together(beside); err != nil {
		return err
	}
	if m.pool.canceled() {
		return ErrCanceled
	}
	var part bls.G2Jac
	if _, err := part.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: m.pool.workers}); err != nil {
		return err
	}
	m.total.AddAssign(&part)
	return nil
}

func (m *multiExpG2) sum() (bls.G2Jac, error) {
	total := m.total
	m.total = bls.G2Jac{}
	return total, nil
}
