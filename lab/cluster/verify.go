package cluster

import (
	"context"
	"errors"
	"fmt"

	commcid "github.com/filecoin-project/go-fil-commcid"

	"wdpost/internal/prover"
	"wdpost/lab/devnet/actor"
	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// chainVerifier is how the simulated chain checks proofs: with the real
// verifier and the development keys.
type chainVerifier struct{ keys *prover.Keys }

func (v chainVerifier) VerifyWindowPoSt(ctx context.Context, w actor.WindowPoSt) error {
	claim, err := newClaim(uint64(w.ProofType), w.Randomness, w.Sectors, w.Proof)
	if err != nil {
		return err
	}
	verifier := prover.NewVerifier(v.keys, int(w.PartitionSectors))
	return plain(verifier.VerifyWindow(ctx, claim))
}

func (v chainVerifier) VerifyWinningPoSt(ctx context.Context, w actor.WinningPoSt) error {
	claim, err := newClaim(uint64(w.ProofType), w.Randomness, w.Sectors, w.Proof)
	if err != nil {
		return err
	}
	return plain(prover.NewVerifier(v.keys, 0).VerifyWinning(ctx, claim))
}

// plain keeps a refusal short: the chain prints it in a receipt.
func plain(err error) error {
	if errors.Is(err, groth16.ErrInvalidProof) {
		return groth16.ErrInvalidProof
	}
	return err
}

func newClaim(proofType uint64, randomness [32]byte, sectors []actor.Sector, proof []byte) (prover.Claim, error) {
	claim := prover.Claim{Type: post.ProofType(proofType), Randomness: post.MaskRandomness(randomness), Proof: proof}
	for _, s := range sectors {
		commR, err := commcid.CIDToReplicaCommitmentV1(s.SealedCID)
		if err != nil {
			return claim, fmt.Errorf("sealed CID of sector %d: %w", s.Number, err)
		}
		claim.Sectors = append(claim.Sectors, post.Sector{Number: uint64(s.Number), CommR: [32]byte(commR)})
	}
	return claim, nil
}
