package groth16

import (
	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// accumulator is a multi-scalar multiplication built up in pieces.
type accumulator[A, J any] interface {
	// add takes Σ scalars[i]·points[i]; it ends with ErrCanceled soon after a
	// cancellation.
	add(points []A, scalars []fr.Element) error
	// sum returns the sum and starts the next one.
	sum() (J, error)
}

// bucketPoints is the number of points below which persistent buckets do not
// pay off.
const bucketPoints = 1 << 9

// newSumG1 returns the fastest accumulator of this machine for n points of G1.
func newSumG1(p pool, n uint64) accumulator[bls.G1Affine, bls.G1Jac] {
	if n >= bucketPoints {
		if b := newBucketsG1(p, n, maxBucketsG1); b != nil {
			return b
		}
	}
	return &multiExpG1{pool: p}
}

// newSumG2 returns the fastest accumulator of this machine for n points of G2.
func newSumG2(p pool, n uint64) accumulator[bls.G2Affine, bls.G2Jac] {
	if n >= bucketPoints {
		if b := newBucketsG2(p, n, maxBucketsG1/2); b != nil {
			return b
		}
	}
	return &multiExpG2{pool: p}
}

// maxBucketsG1 bounds the memory of buckets: 128 bytes each.
const maxBucketsG1 = 1 << 20

// multiExpPiece bounds the points handed to gnark-crypto at a time, and so the
// time to a cancellation.
const multiExpPiece = 1 << 15

// multiExpG1 is an accumulator over gnark-crypto's multi-scalar multiplication.
type multiExpG1 struct {
	pool  pool
	total bls.G1Jac
}

func (m *multiExpG1) add(points []bls.G1Affine, scalars []fr.Element) error {
	for len(points) > 0 {
		if m.pool.canceled() {
			return ErrCanceled
		}
		n := min(len(points), multiExpPiece)
		var part bls.G1Jac
		if _, err := part.MultiExp(points[:n], scalars[:n], ecc.MultiExpConfig{NbTasks: m.pool.workers}); err != nil {
			return err
		}
		m.total.AddAssign(&part)
		points, scalars = points[n:], scalars[n:]
	}
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

func (m *multiExpG2) add(points []bls.G2Affine, scalars []fr.Element) error {
	for len(points) > 0 {
		if m.pool.canceled() {
			return ErrCanceled
		}
		n := min(len(points), multiExpPiece)
		var part bls.G2Jac
		if _, err := part.MultiExp(points[:n], scalars[:n], ecc.MultiExpConfig{NbTasks: m.pool.workers}); err != nil {
			return err
		}
		m.total.AddAssign(&part)
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

func (m *multiExpG2) sum() (bls.G2Jac, error) {
	total := m.total
	m.total = bls.G2Jac{}
	return total, nil
}
