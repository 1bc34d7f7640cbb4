package poster

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/task"
)

// Chain is the node, as far as it is asked here. Methods answer from the state
// after the tipset tsk, honour ctx and may fail at any time: the caller asks
// again.
type Chain interface {
	ChainHead(ctx context.Context) (*lotus.TipSet, error)
	ChainGetTipSetByHeight(ctx context.Context, height abi.ChainEpoch, tsk lotus.TipSetKey) (*lotus.TipSet, error)
	StateNetworkVersion(ctx context.Context, tsk lotus.TipSetKey) (network.Version, error)
	StateMinerInfo(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateMinerProvingDeadline(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*dline.Info, error)
	StateMinerDeadlines(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]lotus.Deadline, error)
	StateMinerPartitions(ctx context.Context, miner address.Address, deadline uint64, tsk lotus.TipSetKey) ([]lotus.Partition, error)
	StateMinerSectors(ctx context.Context, miner address.Address, sectors *bitfield.BitField, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error)
	StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk lotus.TipSetKey) (abi.Randomness, error)
	StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, epoch abi.ChainEpoch, entropy []byte, tsk lotus.TipSetKey) (abi.Randomness, error)
}

// Head is one move of the chain's head. RevertedFrom is the lowest height that
// was taken off the chain on the way to TipSet, 0 if the chain only grew. Reset
// says that the way there is not known.
type Head struct {
	TipSet       *lotus.TipSet
	RevertedFrom abi.ChainEpoch
	Reset        bool
}

// Prover makes proofs: in this process or through external processors. It
// returns when the proof is made, when it is sure that it will not be, or when
// ctx ends. Asking the same question again after any error is safe and finds
// the work of the first time where there is any.
type Prover interface {
	ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error)
}

// Verifier checks proofs with the network's verifying keys.
type Verifier interface {
	// VerifyWindowPoSt reports whether proof (192 bytes for each proof
	// partition) answers q over all of its replicas. An error means that it
	// could not be found out.
	VerifyWindowPoSt(ctx context.Context, q task.Question, proof []byte) (bool, error)
}

// SectorChecker knows where sectors lie and whether they could be read now.
type SectorChecker interface {
	// CheckSectors looks up each sector and checks that its files can be
	// proven from: as strictly as it is configured for the miner, or, where
	// thorough, by reading one challenge and comparing comm_r. It returns before
	// ctx ends, whatever hangs; a sector that could not be looked at in time is
	// among Bad. An error means that nothing could be checked at all.
	CheckSectors(ctx context.Context, miner abi.ActorID, sectors []Sector, thorough bool) (CheckResult, error)
	// Doubt tells that a copy of a sector, named by its replica, could not be
	// read by a prover: no check believes what it merely sees of it.
	Doubt(miner abi.ActorID, sector uint64, sealedFile string, why error)
}

// Sector is a sector as the chain knows it.
type Sector struct {
	Number    uint64
	Size      uint64 // bytes, as the miner's info tells
	SealProof abi.RegisteredSealProof
	CommR     task.Hash32
	Updated   bool // a snap sector, whose files are under update/ and update-cache/
}

// Files is where one copy of a sector lies.
type Files struct {
	CacheDir   string
	SealedFile string
	// Stamp changes when the files do; "" where that is not known.
	Stamp string
}

// CheckResult has each checked sector in exactly one of its maps.
type CheckResult struct {
	Good map[uint64][]Files // its copies, the best first
	Bad  map[uint64]error   // why it cannot be proven
}

// Sender hands messages over and tells what became of them; see
// message.Sender, and message.Wish for who is to pay.
type Sender interface {
	// Senders lists the addresses that can send as wished, the best first;
	// message.ErrNoSender if there is none.
	Senders(ctx context.Context, wish message.Wish) ([]message.Candidate, error)
	Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error)
	Find(ctx context.Context, h message.Handle) (message.Outcome, error)
	Replace(ctx context.Context, h message.Handle, to message.Price) (message.Handle, error)
	GiveUp(ctx context.Context, h message.Handle) error
}
