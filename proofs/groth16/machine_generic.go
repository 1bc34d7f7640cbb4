//go:build !amd64 || purego

package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/kernel"
)

// newBucketsG1 returns buckets for about n points.
func newBucketsG1(p pool, n uint64, maxBuckets int) accumulator[bls.G1Affine, bls.G1Jac] {
	return newBuckets[bls.G1Affine, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, newScalarG1)
}

// newBucketsG2 is newBucketsG1 over G2.
func newBucketsG2(p pool, n uint64, maxBuckets int) accumulator[bls.G2Affine, bls.G2Jac] {
	return newBuckets[bls.G2Affine, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, newScalarG2)
}

// newFixedG1 returns a table for about n multiples of base.
func newFixedG1(p pool, base bls.G1Affine, n uint64) (multiplier[bls.G1Affine], error) {
	return newFixedBase[bls.G1Affine](p, base, n, newScalarG1)
}

// newFixedG2 is newFixedG1 over G2.
func newFixedG2(p pool, base bls.G2Affine, n uint64) (multiplier[bls.G2Affine], error) {
	return newFixedBase[bls.G2Affine](p, base, n, newScalarG2)
}

// scatterG1 is scatter over the adder of this machine.
func scatterG1(points []bls.G1Affine, _ kernel.Kernel) []bls.G1Affine {
	return scatter(points, newScalarG1)
}
