//go:build amd64 && !purego

package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16/internal/ifma"
)

// newBucketsG1 returns buckets for about n points, or nil where the machine
// lacks the instructions.
func newBucketsG1(p pool, n uint64, maxBuckets int) accumulator[bls.G1Affine, bls.G1Jac] {
	if !ifma.Supported() {
		return nil
	}
	return newBuckets[ifma.G1, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, func(n int) batchAdder[ifma.G1, bls.G1Affine] {
		return ifma.NewG1Adder(n)
	})
}

// newBucketsG2 is newBucketsG1 over G2.
func newBucketsG2(p pool, n uint64, maxBuckets int) accumulator[bls.G2Affine, bls.G2Jac] {
	if !ifma.Supported() {
		return nil
	}
	return newBuckets[ifma.G2, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, func(n int) batchAdder[ifma.G2, bls.G2Affine] {
		return ifma.NewG2Adder(n)
	})
}
