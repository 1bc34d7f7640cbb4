package groth16

import bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

// VerifyingKey is what a verifier needs, plus the two G1 points (β1, δ1) that
// the .vk file of bellperson carries for the prover. Spec sections 7.3, 8.1.
type VerifyingKey struct {
	Alpha1, Beta1 bls.G1Affine
	Beta2, Gamma2 bls.G2Affine
	Delta1        bls.G1Affine
	Delta2        bls.G2Affine
	IC            []bls.G1Affine // one for ONE, then one for each public input
}

// ProvingKey is the content of a .params file: spec sections 7.3 and 8.2.
// The slices may lie in a read-only mapped file; nothing ever writes to them.
//
// A holds the points of all inputs and then of the auxiliary variables with
// A-density; B1 and B2 those of ONE and of the auxiliary variables with
// B-density. H has m−1 points, L one for each auxiliary variable.
type ProvingKey struct {
	VK VerifyingKey
	H  []bls.G1Affine
	L  []bls.G1Affine
	A  []bls.G1Affine
	B1 []bls.G1Affine
	B2 []bls.G2Affine
}
