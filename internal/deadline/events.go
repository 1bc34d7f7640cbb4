package deadline

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/message"
)

// BatchID names the partitions that share one message, for example "0,1,2". It
// is stable over restarts. The ID of a declaration names its sectors too.
type BatchID string

// Kind says what a run is about.
type Kind int

// Kinds of runs.
const (
	PoSt     Kind = iota // prove a deadline
	Recovery             // declare the faulty sectors of a deadline ahead
)

// String names the kind as it is shown to operators.
func (k Kind) String() string { return [...]string{"post", "recovery"}[k] }

// Ref names one run of one deadline. Runs are numbered through the life of the
// machine: a deadline that is aborted by a reorg and started again gets a new
// number, and what an older run reports is ignored.
type Ref struct {
	Key  Key
	Run  int
	Kind Kind
}

// Event is something that happened; see the types below.
type Event interface{ event() }

// Head tells that the head of the chain moved. Info is the deadline that the
// node gives for the new head, Info.CurrentEpoch the head's height.
// RevertedFrom is the lowest height that was taken off the chain on the way
// there, 0 if the chain only grew. Reset says that the way there is not known:
// whatever was concluded from earlier heads is looked at again.
type Head struct {
	Info         dline.Info
	RevertedFrom abi.ChainEpoch
	Reset        bool
	BaseFee      big.Int // attoFIL for a unit of gas, nil if not known
}

// Tick tells the epoch by the clock; 0 means that the clock cannot be trusted.
type Tick struct{ Epoch abi.ChainEpoch }

// Past tells once what earlier processes left: the runs that ended, which stay
// ended, those that never did, and Since, the close of the last window that was
// worked on. Windows that closed between Since and the head, at most a period
// of them, are looked up on the chain. Since 0 means that nothing is known.
type Past struct {
	Ended      map[Key]Verdict
	Unfinished []Unfinished
	Since      abi.ChainEpoch
}

// Unfinished is a run of an earlier process that was never ended. If its window
// has closed, it is settled like any other; otherwise Start and Planned bring
// it back.
type Unfinished struct {
	Key     Key
	Batches []PlannedBatch
}

// Planned answers Start: the batches and where each stands (Proving for a fresh
// one; Ready, Submitting or Sent for one that an earlier run or process brought
// so far; a declaration is at least Ready). OnChain counts partitions that the
// chain already shows as proven and that are in no batch, AllFaulty those whose
// sectors are all faulty, Left the faulty sectors that could not be read.
type Planned struct {
	Ref
	Batches   []PlannedBatch
	OnChain   int
	AllFaulty int
	Left      int
	Reason    string // why sectors are left
}

// PlannedBatch is one batch of Planned or Regrouped. Attempt is the number of
// its last message, 0 if there is none.
type PlannedBatch struct {
	ID      BatchID
	Stage   Stage
	Attempt int
}

// Failure is why something did not work. Vague marks what only says that it did
// not come to an end, such as a time-out: it never replaces a true reason.
type Failure struct {
	Text  string
	Vague bool
}

// PlanFailed tells that the deadline could not be listed.
type PlanFailed struct {
	Ref
	Why Failure
}

// Proved tells that a verified proof of the batch is kept.
type Proved struct {
	Ref
	Batch BatchID
}

// ProveFailed tells that an attempt to prove the batch ended without a proof.
type ProveFailed struct {
	Ref
	Batch BatchID
	Why   Failure
}

// Regrouped tells that the batch no longer exists and that others stand for its
// partitions, usually because one of them has no readable sector.
type Regrouped struct {
	Ref
	Batch BatchID
	By    []PlannedBatch
	Why   Failure
}

// Stale tells that the kept proof no longer answers the chain's question.
type Stale struct {
	Ref
	Batch BatchID
	Why   Failure
}

// Submitted tells that the batch's message was handed over.
type Submitted struct {
	Ref
	Batch BatchID
}

// SubmitFailed tells that handing over failed or that its result is unknown.
// The same attempt is made again: hand-over is idempotent. OtherSender says
// that this sender cannot do it and that nothing was sent: the next attempt
// goes from another.
type SubmitFailed struct {
	Ref
	Batch       BatchID
	Why         Failure
	OtherSender bool
}

// MessageSeen tells how message number Attempt of the batch stands, whenever
// that changes.
type MessageSeen struct {
	Ref
	Batch   BatchID
	Attempt int
	Seen    message.Outcome
}

// MessageLanded tells that the chain shows the batch's partitions as proven,
// by a message executed before Epoch. By says by whose.
type MessageLanded struct {
	Ref
	Batch BatchID
	Epoch abi.ChainEpoch
	By    Author
}

// Author is who sent the message that proved a partition.
type Author int

// Authors.
const (
	Us      Author = iota // this manager, or an earlier process of it
	Another               // somebody else: the message is none of ours
)

// Replaced answers Replace: the message has the new price, or Why says why not.
// Capped says that the limits of the configuration do not allow more.
type Replaced struct {
	Ref
	Batch   BatchID
	Attempt int
	Capped  bool
	Why     Failure // empty Text: it worked
}

// GaveUp answers GiveUp: nothing will come of the message any more, or Why says
// that it may still be executed.
type GaveUp struct {
	Ref
	Batch   BatchID
	Attempt int
	Why     Failure // empty Text: it worked
}

// ChainSays answers AskChain: what the chain shows of the partitions that were
// due in a closed window. Missed are those that lost their power in it.
type ChainSays struct {
	Ref
	Proven, Missed []uint64
	AllFaulty      int // partitions that had nothing to prove, all their sectors being faulty
}

// AskFailed tells that the chain could not be asked; it is asked again.
type AskFailed struct {
	Ref
	Why Failure
}

func (Head) event()          {}
func (Tick) event()          {}
func (Past) event()          {}
func (Planned) event()       {}
func (PlanFailed) event()    {}
func (Proved) event()        {}
func (ProveFailed) event()   {}
func (Regrouped) event()     {}
func (Stale) event()         {}
func (Submitted) event()     {}
func (SubmitFailed) event()  {}
func (MessageSeen) event()   {}
func (MessageLanded) event() {}
func (Replaced) event()      {}
func (GaveUp) event()        {}
func (ChainSays) event()     {}
func (AskFailed) event()     {}
