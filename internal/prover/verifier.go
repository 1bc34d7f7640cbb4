package prover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// Claim is a proof with what it is said to prove.
type Claim struct {
	Type       post.ProofType
	Randomness [32]byte      // masked
	Sectors    []post.Sector // in any order; those of the proof, skipped ones left out
	Proof      []byte        // 192 bytes for each partition
}

// Verifier checks proofs. It is safe for concurrent use.
type Verifier struct {
	system           *proofs.System
	keys             *Keys
	partitionSectors int

	mu       sync.Mutex
	prepared map[post.Setup]*groth16.Verifier
}

// NewVerifier is a verifier without an engine. partitionSectors is as in
// Config. Close the Keys when done.
func NewVerifier(keys *Keys, partitionSectors int) *Verifier {
	return newVerifier(NewSystem(), keys, partitionSectors)
}

func newVerifier(system *proofs.System, keys *Keys, partitionSectors int) *Verifier {
	return &Verifier{system: system, keys: keys, partitionSectors: partitionSectors, prepared: make(map[post.Setup]*groth16.Verifier)}
}

// VerifyWindow returns nil if a WindowPoSt proof proves the claim. The error
// wraps groth16.ErrInvalidProof if it does not, post.ErrStatement if the claim
// is no claim, and a *MissingKeyError if there is no key to tell.
func (v *Verifier) VerifyWindow(ctx context.Context, c Claim) error {
	return v.verifyKind(ctx, post.Window, c)
}

// VerifyWinning is VerifyWindow for WinningPoSt, whose claims have one sector.
func (v *Verifier) VerifyWinning(ctx context.Context, c Claim) error {
	return v.verifyKind(ctx, post.Winning, c)
}

// VerifyWindowPoSt returns nil if an answer's proof is valid for the question
// without the answer's faults. The error wraps task.ErrBadAnswer if it is not;
// any other means that it could not be found out. An answer of faults alone is
// valid.
func (v *Verifier) VerifyWindowPoSt(ctx context.Context, q task.Question, a task.Answer) error {
	return v.verifyAnswer(ctx, post.Window, q, a)
}

// VerifyWinningPoSt is VerifyWindowPoSt for WinningPoSt.
func (v *Verifier) VerifyWinningPoSt(ctx context.Context, q task.Question, a task.Answer) error {
	return v.verifyAnswer(ctx, post.Winning, q, a)
}

func (v *Verifier) verifyAnswer(ctx context.Context, kind post.Kind, q task.Question, a task.Answer) error {
	if err := a.Check(q); err != nil {
		return err
	}
	if len(a.Proofs) == 0 {
		return nil
	}
	typ, err := post.ParseProofType(q.ProofType)
	if err != nil {
		return fmt.Errorf("%w: %w", task.ErrBadQuestion, err)
	}
	c := Claim{Type: typ, Randomness: q.Seed, Proof: a.Proofs[0]}
	for _, r := range q.Without(a.Faults).Replicas {
		c.Sectors = append(c.Sectors, post.Sector{Number: r.SectorID, CommR: r.CommR})
	}
	err = v.verifyKind(ctx, kind, c)
	if errors.Is(err, groth16.ErrInvalidProof) {
		return fmt.Errorf("%w: %w", task.ErrBadAnswer, err)
	}
	return err
}

// VerifyAll checks several claims of any kind and returns one error or nil for
// each. The partitions within a claim are checked as one batch.
func (v *Verifier) VerifyAll(ctx context.Context, claims []Claim) []error {
	errs := make([]error, len(claims))
	for i, c := range claims {
		errs[i] = v.verifyKind(ctx, c.Type.Kind(), c)
	}
	return errs
}

func (v *Verifier) verifyKind(ctx context.Context, kind post.Kind, c Claim) error {
	if c.Type.Kind() != kind || !c.Type.Valid() {
		return fmt.Errorf("verify: %w: %s is not a %s proof", post.ErrStatement, c.Type, kind)
	}
	sectors := slices.Clone(c.Sectors)
	slices.SortFunc(sectors, func(a, b post.Sector) int { return cmp.Compare(a.Number, b.Number) })
	return v.verify(ctx, &post.Statement{
		Type: c.Type, Setup: setupFor(c.Type, v.partitionSectors), Randomness: c.Randomness, Sectors: sectors,
	}, c.Proof)
}

func (v *Verifier) verify(ctx context.Context, s *post.Statement, proof []byte) error {
	prepared, err := v.of(ctx, s.Setup)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return v.system.Verify(prepared, s, proof)
}

// of returns the prepared verifying key of a circuit.
func (v *Verifier) of(ctx context.Context, s post.Setup) (*groth16.Verifier, error) {
	v.mu.Lock()
	p := v.prepared[s]
	v.mu.Unlock()
	if p != nil {
		return p, nil
	}
	vk, err := v.keys.Verifying(ctx, s)
	if err != nil {
		return nil, err
	}
	if p, err = groth16.NewVerifier(vk, runtime.GOMAXPROCS(0), v.system.Kernel()); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.prepared[s] = p // two that came at once prepared the same
	return p, nil
}
