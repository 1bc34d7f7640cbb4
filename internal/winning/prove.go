package winning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// proofRequest is the payload of ComputeProof.
type proofRequest struct {
	SectorInfos []proof.ExtendedSectorInfo
	Rand        abi.PoStRandomness // 32 bytes
	Height      abi.ChainEpoch
	NWVersion   network.Version
}

// postProof is one proof of the answer. Its numbers are those of the chain.
type postProof struct {
	PoStProof  post.ProofType
	ProofBytes []byte
}

// errMalformed marks requests that no manager can answer.
var errMalformed = errors.New("malformed request")

// prove answers one request. A panic of the prover is an error like any other.
// A sector that cannot be read is tried from its next copy, while there is time.
func (s *Service) prove(ctx context.Context, m Miner, req proofRequest, limit time.Time) (proofs []postProof, err error) {
	defer func() {
		if p := recover(); p != nil {
			proofs, err = nil, fmt.Errorf("the prover panicked: %v", p)
		}
	}()
	typ, err := proofType(m, req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	q, copies, err := s.question(ctx, m, req)
	if err != nil {
		return nil, err
	}
	q.ProofType = typ.String()
	q.NotAfter = limit.Unix()
	for {
		answer, err := s.cfg.Prover.ProveWinningPoSt(ctx, q)
		switch {
		case err != nil:
			return nil, err
		case len(answer.Faults) > 0:
			if ctx.Err() == nil && otherCopies(&q, copies, answer.Faults) {
				continue
			}
			return nil, fmt.Errorf("sectors %v could not be read, from no copy of theirs", answer.Faults)
		case len(answer.Proofs) != 1 || len(answer.Proofs[0]) != post.ProofSize:
			return nil, fmt.Errorf("the prover returned %d proofs, not one of %d bytes", len(answer.Proofs), post.ProofSize)
		}
		return []postProof{{PoStProof: typ, ProofBytes: answer.Proofs[0]}}, nil
	}
}

// otherCopies points the replicas that could not be read to their next copies.
// It reports whether each of them had one. The question's own list is not
// changed: the prover may still hold it.
func otherCopies(q *task.Question, copies map[uint64][]Files, faults []uint64) bool {
	q.Replicas = slices.Clone(q.Replicas)
	for _, number := range faults {
		if len(copies[number]) < 2 {
			return false
		}
		copies[number] = copies[number][1:]
		for i := range q.Replicas {
			if r := &q.Replicas[i]; r.SectorID == number {
				r.CacheDir, r.SealedFile = copies[number][0].CacheDir, copies[number][0].SealedFile
			}
		}
	}
	return true
}

// proofType is the winning type for the miner's sector size, which must be that
// of the sectors asked for.
func proofType(m Miner, req proofRequest) (post.ProofType, error) {
	if len(req.SectorInfos) == 0 {
		return 0, errors.New("the request names no sector")
	}
	size := m.SectorSize
	for _, info := range req.SectorInfos {
		sealed, err := info.SealProof.SectorSize()
		switch {
		case err != nil && size == 0:
			return 0, fmt.Errorf("sector %d: %w", info.SectorNumber, err)
		case err == nil && size == 0:
			size = uint64(sealed)
		case err == nil && size != uint64(sealed):
			return 0, fmt.Errorf("sector %d has %d bytes, the others have %d", info.SectorNumber, sealed, size)
		}
	}
	return post.TypeOf(post.Winning, size, post.V1_0_0)
}

// question makes the proving task, the replicas in the order of the request,
// each from its first copy. copies are all that are known of each sector.
func (s *Service) question(ctx context.Context, m Miner, req proofRequest) (q task.Question, copies map[uint64][]Files, err error) {
	malformed := func(format string, args ...any) (task.Question, map[uint64][]Files, error) {
		return q, nil, fmt.Errorf("%w: %w", errMalformed, fmt.Errorf(format, args...))
	}
	id, err := address.IDFromAddress(m.Address)
	if err != nil {
		return q, nil, err
	}
	q.MinerID, copies = id, map[uint64][]Files{}
	if len(req.Rand) != len(q.Seed) {
		return malformed("the randomness has %d bytes instead of %d", len(req.Rand), len(q.Seed))
	}
	copy(q.Seed[:], req.Rand)
	q.Seed = post.MaskRandomness(q.Seed)
	for _, info := range req.SectorInfos {
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			return malformed("sector %d: sealed CID %s: %w", info.SectorNumber, info.SealedCID, err)
		}
		number := uint64(info.SectorNumber)
		found, err := s.cfg.Locator.Locate(ctx, id, number, info.SectorKey != nil)
		if err == nil && len(found) == 0 {
			err = errors.New("no copy of it is known")
		}
		if err != nil {
			return q, nil, fmt.Errorf("sector %d: %w", number, err)
		}
		r := task.Replica{SectorID: number, CacheDir: found[0].CacheDir, SealedFile: found[0].SealedFile}
		copy(r.CommR[:], commR)
		copies[number] = found
		q.Replicas = append(q.Replicas, r)
	}
	return q, copies, nil
}
