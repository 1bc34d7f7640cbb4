//go:build amd64 && !purego

package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16/internal/avx2"
	"wdpost/proofs/groth16/internal/ifma"
	"wdpost/proofs/kernel"
)

func ifmaG1(n int) batchAdder[ifma.G1, bls.G1Affine] { return ifma.NewG1Adder(n) }
func ifmaG2(n int) batchAdder[ifma.G2, bls.G2Affine] { return ifma.NewG2Adder(n) }
func avx2G1(n int) batchAdder[avx2.G1, bls.G1Affine] { return avx2.NewG1Adder(n) }
func avx2G2(n int) batchAdder[avx2.G2, bls.G2Affine] { return avx2.NewG2Adder(n) }

// newBucketsG1 returns buckets for about n points over the adder of the pool's
// kernel.
func newBucketsG1(p pool, n uint64, maxBuckets int) accumulator[bls.G1Affine, bls.G1Jac] {
	switch p.kernel {
	case kernel.IFMA:
		return newBuckets[ifma.G1, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, ifmaG1)
	case kernel.AVX2:
		return newBuckets[avx2.G1, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, avx2G1)
	}
	return newBuckets[bls.G1Affine, bls.G1Affine, bls.G1Jac](p, n, maxBuckets, newScalarG1)
}

// newBucketsG2 is newBucketsG1 over G2.
func newBucketsG2(p pool, n uint64, maxBuckets int) accumulator[bls.G2Affine, bls.G2Jac] {
	switch p.kernel {
	case kernel.IFMA:
		return newBuckets[ifma.G2, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, ifmaG2)
	case kernel.AVX2:
		return newBuckets[avx2.G2, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, avx2G2)
	}
	return newBuckets[bls.G2Affine, bls.G2Affine, bls.G2Jac](p, n, maxBuckets, newScalarG2)
}

// newFixedG1 returns a table for about n multiples of base over the adder of
// the pool's kernel.
func newFixedG1(p pool, base bls.G1Affine, n uint64) (multiplier[bls.G1Affine], error) {
	switch p.kernel {
	case kernel.IFMA:
		return newFixedBase[ifma.G1](p, base, n, ifmaG1)
	case kernel.AVX2:
		return newFixedBase[avx2.G1](p, base, n, avx2G1)
	}
	return newFixedBase[bls.G1Affine](p, base, n, newScalarG1)
}

// newFixedG2 is newFixedG1 over G2.
func newFixedG2(p pool, base bls.G2Affine, n uint64) (multiplier[bls.G2Affine], error) {
	switch p.kernel {
	case kernel.IFMA:
		return newFixedBase[ifma.G2](p, base, n, ifmaG2)
	case kernel.AVX2:
		return newFixedBase[avx2.G2](p, base, n, avx2G2)
	}
	return newFixedBase[bls.G2Affine](p, base, n, newScalarG2)
}

// scatterG1 is scatter over the adder of a kernel.
func scatterG1(points []bls.G1Affine, k kernel.Kernel) []bls.G1Affine {
	switch k.Resolve() {
	case kernel.IFMA:
		return scatter(points, ifmaG1)
	case kernel.AVX2:
		return scatter(points, avx2G1)
	}
	return scatter(points, newScalarG1)
}
