//go:build !amd64 || purego

package groth16

import bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

// newBucketsG1 returns nil: batched additions are for amd64.
func newBucketsG1(pool, uint64, int) accumulator[bls.G1Affine, bls.G1Jac] { return nil }

// newBucketsG2 returns nil: batched additions are for amd64.
func newBucketsG2(pool, uint64, int) accumulator[bls.G2Affine, bls.G2Jac] { return nil }
