package proofs

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// Verify returns nil if proof proves the statement. The proofs of several
// partitions are checked as one batch.
//
// The error wraps groth16.ErrInvalidProof if the proof is at fault, which
// includes bytes that are no proof (then groth16.ErrMalformedProof too);
// groth16.ErrInputCount if the verifier is of another circuit; and
// post.ErrStatement or post.ErrUnknownType if the statement is not one.
func (s *System) Verify(v *groth16.Verifier, statement *post.Statement, proof []byte) error {
	if err := statement.Validate(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if want := setupOf(statement).PublicInputs(); v.Inputs() != want {
		return fmt.Errorf("verify: %w: the key is for %d, %v has %d", groth16.ErrInputCount, v.Inputs(), statement.Type, want)
	}
	partitions := statement.Partitions()
	if len(proof) != partitions*groth16.ProofSize {
		return fmt.Errorf("verify: %w: %w: %d bytes for %d partitions", groth16.ErrInvalidProof, groth16.ErrMalformedProof, len(proof), partitions)
	}
	parsed, err := groth16.ParseProofs(proof)
	if errors.Is(err, groth16.ErrMalformedProof) {
		return fmt.Errorf("verify: %w: %w", groth16.ErrInvalidProof, err)
	}
	inputs := make([][]fr.Element, partitions)
	for p := range inputs {
		if inputs[p], err = statement.PublicInputs(p); err != nil {
			return fmt.Errorf("verify: partition %d: %w", p, err)
		}
	}
	if err := v.VerifyBatch(parsed, inputs, nil); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}
