package winning

import (
	"context"
	"errors"
	"fmt"
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

// proofSize is the length of one Groth16 proof; a WinningPoSt is a single one.
const proofSize = 192

// prove answers one request. A panic of the prover is an error like any other.
func (s *Service) prove(ctx context.Context, m Miner, req proofRequest, limit time.Time) (proofs []postProof, err error) {
	defer func() {
		if p := recover(); p != nil {
			proofs, err = nil, fmt.Errorf("the prover panicked: %v", p)
		}
	}()
	typ, err := proofType(m, req)
	if err != nil {
		return nil, err
	}
	q, err := s.question(ctx, m, req)
	if err != nil {
		return nil, err
	}
	q.ProofType = typ.String()
	q.NotAfter = limit.Unix()
	answer, err := s.cfg.Prover.ProveWinningPoSt(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case len(answer.Faults) > 0:
		return nil, fmt.Errorf("sectors %v could not be read", answer.Faults)
	case len(answer.Proofs) != 1 || len(answer.Proofs[0]) != proofSize:
		return nil, fmt.Errorf("the prover returned %d proofs, not one of %d bytes", len(answer.Proofs), proofSize)
	}
	return []postProof{{PoStProof: typ, ProofBytes: answer.Proofs[0]}}, nil
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

// question makes the proving task: the replicas in the order of the request.
func (s *Service) question(ctx context.Context, m Miner, req proofRequest) (task.Question, error) {
	id, err := address.IDFromAddress(m.Address)
	if err != nil {
		return task.Question{}, err
	}
	q := task.Question{MinerID: id}
	if len(req.Rand) != len(q.Seed) {
		return q, fmt.Errorf("the randomness has %d bytes instead of %d", len(req.Rand), len(q.Seed))
	}
	copy(q.Seed[:], req.Rand)
	q.Seed[31] &= 0x3f // a canonical field element, as the reference does
	for _, info := range req.SectorInfos {
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			return q, fmt.Errorf("sector %d: sealed CID %s: %w", info.SectorNumber, info.SealedCID, err)
		}
		r := task.Replica{SectorID: uint64(info.SectorNumber)}
		copy(r.CommR[:], commR)
		r.CacheDir, r.SealedFile, err = s.cfg.Locator.Locate(ctx, id, r.SectorID, info.SectorKey != nil)
		if err != nil {
			return q, fmt.Errorf("sector %d: %w", info.SectorNumber, err)
		}
		q.Replicas = append(q.Replicas, r)
	}
	return q, nil
}
