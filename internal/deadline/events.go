package deadline

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// BatchID names the partitions that share one message, for example "0,1,2".
// It is stable over restarts.
type BatchID string

// Ref names one run of one deadline. Runs are numbered through the life of the
// machine: a deadline that is aborted by a reorg and started again gets a new
// number, and what an older run reports is ignored.
type Ref struct {
	Key Key
	Run int
}

// Stage is how far one batch has come.
type Stage int

// Stages of a batch, in the order of the straight path.
const (
	Proving    Stage = iota // the proof is being made
	Ready                   // a verified proof is kept; waits for SubmitAt
	Submitting              // its message is being handed over
	Sent                    // handed over; not yet seen deep enough on the chain
	Landed                  // executed with success and deep enough
)

// String returns the stage as it is shown to operators.
func (s Stage) String() string {
	return [...]string{"proving", "ready", "submitting", "sent", "landed"}[s]
}

// Event is something that happened; see the types below.
type Event interface{ event() }

// Head tells that the head of the chain moved. Info is the deadline that the
// node gives for the new head, Info.CurrentEpoch the head's height.
// RevertedFrom is the lowest height that was taken off the chain on the way
// there, 0 if the chain only grew.
type Head struct {
	Info         dline.Info
	RevertedFrom abi.ChainEpoch
}

// Resumed tells of a run of an earlier process that was never ended. If its
// window has closed, it is settled like any other; otherwise Start and Planned
// bring it back and this event changes nothing.
type Resumed struct {
	Key     Key
	Batches []PlannedBatch
}

// Planned answers Start: the batches of the deadline and where each stands
// (Proving for a fresh one; Ready, Submitting, Sent or Landed for one that an
// earlier run or process brought so far). OnChain counts partitions that the
// chain already shows as proven and that are in no batch.
type Planned struct {
	Ref
	Batches []PlannedBatch
	OnChain int
}

// PlannedBatch is one batch of Planned or Replaced. Attempt is the number of
// its last message, 0 if there is none.
type PlannedBatch struct {
	ID      BatchID
	Stage   Stage
	Attempt int
}

// PlanFailed tells that the deadline could not be listed.
type PlanFailed struct {
	Ref
	Reason string
}

// Proved tells that a verified proof of the batch is kept.
type Proved struct {
	Ref
	Batch BatchID
}

// ProveFailed tells that an attempt to prove the batch ended without a proof.
type ProveFailed struct {
	Ref
	Batch  BatchID
	Reason string
}

// Replaced tells that the batch no longer exists and that others stand for its
// partitions, usually because one of them has no readable sector.
type Replaced struct {
	Ref
	Batch  BatchID
	By     []PlannedBatch
	Reason string
}

// Stale tells that the kept proof no longer answers the chain's question.
type Stale struct {
	Ref
	Batch  BatchID
	Reason string
}

// Submitted tells that the batch's message was handed over.
type Submitted struct {
	Ref
	Batch BatchID
}

// SubmitFailed tells that handing over failed or that its result is unknown.
// The same attempt is made again: hand-over is idempotent.
type SubmitFailed struct {
	Ref
	Batch  BatchID
	Reason string
}

// MessageLanded tells that the batch's partitions are proven on the chain, by
// a message executed at Epoch.
type MessageLanded struct {
	Ref
	Batch BatchID
	Epoch abi.ChainEpoch
}

// MessageFailed tells that the batch's last message was executed without
// success or will never be executed. Without a Reason that of the last failed
// hand-over stands.
type MessageFailed struct {
	Ref
	Batch  BatchID
	Reason string
}

// WaitFailed tells that watching the batch's message broke off without a
// result. It is watched again: only MessageFailed may lead to another message.
type WaitFailed struct {
	Ref
	Batch  BatchID
	Reason string
}

func (Head) event()          {}
func (Resumed) event()       {}
func (Planned) event()       {}
func (PlanFailed) event()    {}
func (Proved) event()        {}
func (ProveFailed) event()   {}
func (Replaced) event()      {}
func (Stale) event()         {}
func (Submitted) event()     {}
func (SubmitFailed) event()  {}
func (MessageLanded) event() {}
func (MessageFailed) event() {}
func (WaitFailed) event()    {}

// Action is something to be done; see the types below. Actions are carried
// out in order, none of them waits for another.
type Action interface{ action() }

// Start asks for the plan of a deadline: list what is to be proven and answer
// with Planned or PlanFailed. Try counts the failures so far.
type Start struct {
	Ref
	Info dline.Info
	Try  int
}

// Prove asks for a proof of the batch. Try counts the failures so far.
// Answered by Proved, ProveFailed or Replaced.
type Prove struct {
	Ref
	Batch BatchID
	Try   int
}

// Submit asks to hand over the batch's message number Attempt (1, 2, …). Try
// counts the failures of this attempt so far. Answered by Submitted,
// SubmitFailed, Stale, or MessageLanded when the chain already has it.
type Submit struct {
	Ref
	Batch   BatchID
	Attempt int
	Try     int
}

// Wait asks to watch message number Attempt of the batch. It is also given for
// a message of which it is not known whether it was handed over at all.
// Answered by MessageLanded or MessageFailed.
type Wait struct {
	Ref
	Batch   BatchID
	Attempt int
}

// Abort takes back everything asked for this run: its challenge is void.
type Abort struct {
	Ref
	Reason string
}

// Stop takes back everything asked for this run except Wait: the window has
// closed.
type Stop struct{ Ref }

// CheckRecoveries asks to look for faulty sectors of a deadline ahead that can
// be proven again, and to declare them before Info.FaultCutoff.
type CheckRecoveries struct{ Info dline.Info }

// End reports the one outcome of a deadline, and takes back everything still
// asked for its run.
type End struct {
	Ref
	Info    dline.Info
	Outcome Outcome
}

func (Start) action()           {}
func (Prove) action()           {}
func (Submit) action()          {}
func (Wait) action()            {}
func (Abort) action()           {}
func (Stop) action()            {}
func (CheckRecoveries) action() {}
func (End) action()             {}

// Verdict is what became of a deadline.
type Verdict int

// The three ends of a deadline.
const (
	Proven         Verdict = iota // every batch landed
	NothingToProve                // the deadline had no sectors to prove
	Missed                        // at least one batch did not land in time
)

// String returns the verdict as it is logged and stored.
func (v Verdict) String() string {
	return [...]string{"proven", "nothing to prove", "missed"}[v]
}

// Outcome is how a deadline ended. Reason is empty unless it was missed, and
// then tells for each batch that is not on the chain what was tried.
type Outcome struct {
	Verdict Verdict
	Reason  string
	Batches []BatchState
	OnChain int // partitions that the chain showed as proven before this run
}

// BatchState is what is known of one batch.
type BatchState struct {
	ID          BatchID
	Stage       Stage
	ProveTries  int            // failed attempts to prove
	Attempt     int            // number of the last message, 0 if none
	SubmitTries int            // failed hand-overs of that message
	LandedAt    abi.ChainEpoch // where the message was executed, once Landed
	LastError   string
}
