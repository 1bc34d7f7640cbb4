//go:build amd64 && !purego

package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16/internal/ifma"
)

func vectorG1(n int) batchAdder[ifma.G1, bls.G1Affine] { return ifma.NewG1Adder(n) }
func vectorG2(n int) batchAdder[ifma.G2, bls.G2Affine] { return ifma.NewG2Adder(n) }

// newBucketsG1 returns buckets for about n points over the fastest adder of
// this machine.
func newBucketsG1(p pool, n uint64, maxBuckets int) accumulator[bls.G1Affine, bls.G1Jac] {
	if ifma.Supported() {
		return newBuckets[ifma.G1, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, vectorG1)
	}
	return newBuckets[bls.G1Affine, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, newScalarG1)
}

// newBucketsG2 is newBucketsG1 over G2.
func newBucketsG2(p pool, n uint64, maxBuckets int) accumulator[bls.G2Affine, bls.G2Jac] {
	if ifma.Supported() {
		return newBuckets[ifma.G2, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, vectorG2)
	}
	return newBuckets[bls.G2Affine, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, newScalarG2)
}

// newFixedG1 returns a table for about n multiples of base over the fastest
// adder of this machine.
func newFixedG1(p pool, base bls.G1Affine, n uint64) (multiplier[bls.G1Affine], error) {
	if ifma.Supported() {
		return newFixedBase[ifma.G1](p, base, n, vectorG1)
	}
	return newFixedBase[bls.G1Affine](p, base, n, newScalarG1)
}

// newFixedG2 is newFixedG1 over G2.
func newFixedG2(p pool, base bls.G2Affine, n uint64) (multiplier[bls.G2Affine], error) {
	if ifma.Supported() {
		return newFixedBase[ifma.G2](p, base, n, vectorG2)
	}
	return newFixedBase[bls.G2Affine](p, base, n, newScalarG2)
}

// scatterG1 is scatter over the fastest adder of this machine.
func scatterG1(points []bls.G1Affine) []bls.G1Affine {
	if ifma.Supported() {
		return scatter(points, vectorG1)
	}
	return scatter(points, newScalarG1)
}
