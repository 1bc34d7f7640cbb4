package actor

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
)

// WindowPoSt is one WindowPoSt to check: everything the network's own verifier
// is given.
type WindowPoSt struct {
	Miner            abi.ActorID
	ProofType        abi.RegisteredPoStProof
	SectorSize       abi.SectorSize
	PartitionSectors uint64
	// Randomness is the challenge as drawn, 32 bytes; the verifier clears the
	// two highest bits of the last byte before it uses it.
	Randomness [32]byte
	// Sectors are those the proof must cover, ascending and without repetition:
	// the union over the partitions of the message. Where the actor puts a good
	// sector in the place of a faulty one, the good sector is simply there once.
	Sectors []Sector
	Proof   []byte // 192 bytes for each PartitionSectors sectors or part thereof
}

// WinningPoSt is one WinningPoSt to check.
type WinningPoSt struct {
	Miner      abi.ActorID
	ProofType  abi.RegisteredPoStProof
	SectorSize abi.SectorSize
	Randomness [32]byte // as drawn, see WindowPoSt
	Sectors    []Sector // the challenged ones
	Proof      []byte
}

// Verifier checks proofs. It returns nil for a valid proof only; it must be safe
// for concurrent use and give the same answer for the same question.
type Verifier interface {
	VerifyWindowPoSt(context.Context, WindowPoSt) error
	VerifyWinningPoSt(context.Context, WinningPoSt) error
}

// Randomness draws chain randomness as seen by the tipset in which a message is
// executed.
type Randomness interface {
	Tickets(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte) ([32]byte, error)
	Beacon(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte) ([32]byte, error)
}

// Runtime is what the machine gives a message that is executed.
type Runtime struct {
	Epoch      abi.ChainEpoch
	Caller     abi.ActorID
	Message    cid.Cid // for the record
	Randomness Randomness
	// Verify is called once for each proof that reaches the check. An error
	// means that the proof is invalid.
	Verify func(WindowPoSt) error
	// Optimistic takes proofs on trust as the main network does, unless sectors
	// recover in them.
	Optimistic bool
}

// authorise refuses callers that may not send PoSt messages.
func (m *Miner) authorise(rt *Runtime) error {
	if !m.Info.MayControl(rt.Caller) {
		return forbidden("caller t0%d is not one of supported", rt.Caller)
	}
	return nil
}

// challenge draws the randomness that a WindowPoSt of the deadline answers.
func (m *Miner) challenge(rt *Runtime, epoch abi.ChainEpoch) ([32]byte, error) {
	entropy, err := m.Info.Entropy()
	if err != nil {
		return [32]byte{}, err
	}
	r, err := rt.Randomness.Beacon(crypto.DomainSeparationTag_WindowedPoStChallengeSeed, epoch, entropy)
	if err != nil {
		return [32]byte{}, fmt.Errorf("challenge randomness at %d: %w", epoch, err)
	}
	return r, nil
}
