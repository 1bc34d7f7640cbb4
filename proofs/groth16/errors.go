package groth16

import (
	"errors"

	"wdpost/proofs/work"
)

// Sentinel errors; all errors of this package wrap one of them or come from a
// Sink, an Assignment or a source of randomness.
var (
	// ErrMalformedProof: the bytes are not those of a proof (length, encoding,
	// subgroup, identity).
	ErrMalformedProof = errors.New("malformed proof")
	// ErrInvalidProof: the proof is well formed and proves something else.
	ErrInvalidProof = errors.New("invalid proof")
	// ErrMalformedKey: a key is not well formed, or is not for this circuit.
	ErrMalformedKey = errors.New("malformed key")
	// ErrInputCount: the public inputs are not as many as the key expects.
	ErrInputCount = errors.New("wrong number of public inputs")
	// ErrUnsatisfied: the witness does not satisfy the circuit.
	ErrUnsatisfied = errors.New("unsatisfied constraint")
	// ErrTrapdoor: the secrets of a setup are unusable.
	ErrTrapdoor = errors.New("unusable trapdoor")
	// ErrCanceled: Done was closed.
	ErrCanceled = work.ErrCanceled
)
