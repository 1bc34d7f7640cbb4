package post

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
)

// ErrInvalidVanilla is wrapped by every refusal of a vanilla proof.
var ErrInvalidVanilla = errors.New("invalid vanilla proof")

// Vanilla is the vanilla proof of one sector: the challenged leaves with their
// paths. It is the witness of the sector's part of the circuit.
type Vanilla struct {
	Sector    uint64
	CommR     fr.Element // H(CommC, CommRLast)
	CommC     fr.Element
	CommRLast fr.Element     // root of tree-r-last
	Inclusion []merkle.Proof // one for each challenge, in order
}

// Verify makes the checks of the reference before proving (spec 4.4): the
// commitments belong together, there is an inclusion proof for each challenge,
// all have the root comm_r_last, and each path leads to its challenge and
// hashes to the root.
func (v *Vanilla) Verify(h *merkle.Hasher, shape merkle.Shape, challenges []uint64) error {
	if h.HashPair(v.CommC, v.CommRLast) != v.CommR {
		return fmt.Errorf("%w: sector %d: comm_r is not the hash of comm_c and comm_r_last", ErrInvalidVanilla, v.Sector)
	}
	if len(v.Inclusion) != len(challenges) {
		return fmt.Errorf("%w: sector %d: %d inclusion proofs, want %d", ErrInvalidVanilla, v.Sector, len(v.Inclusion), len(challenges))
	}
	for i := range v.Inclusion {
		if v.Inclusion[i].Root != v.CommRLast {
			return fmt.Errorf("%w: sector %d: root of inclusion proof %d is not comm_r_last", ErrInvalidVanilla, v.Sector, i)
		}
	}
	if err := merkle.VerifyAll(h, shape, v.Inclusion, challenges); err != nil {
		return fmt.Errorf("%w: sector %d: %w", ErrInvalidVanilla, v.Sector, err)
	}
	return nil
}
