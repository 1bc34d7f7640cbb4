package deadline

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/message"
)

// Action is something to be done; see the types below. Actions are carried
// out in order, none of them waits for another.
type Action interface{ action() }

// Start asks for the plan of a run: list what is to be proven, or which faulty
// sectors can be read again, and answer with Planned or PlanFailed. Try counts
// the failures so far.
type Start struct {
	Ref
	Info dline.Info
	Try  int
}

// Prove asks for a proof of the batch. Try counts the failures so far.
// Answered by Proved, ProveFailed or Regrouped.
type Prove struct {
	Ref
	Batch BatchID
	Try   int
}

// Submit asks to hand over the batch's message number Attempt (1, 2, …). Try
// counts the failures of this attempt so far. OtherSender asks for a sender
// that no earlier message of the batch came from. GasLimit is what the last one
// was short of, 0 for the service's estimate. Answered by Submitted,
// SubmitFailed, Stale, Regrouped, or MessageLanded when the chain has it.
type Submit struct {
	Ref
	Batch       BatchID
	Attempt     int
	Try         int
	OtherSender bool
	GasLimit    int64
}

// Watch asks to follow message number Attempt of the batch from now on, instead
// of an earlier one. It is also given for a message of which it is not known
// whether it was handed over at all. Answered by MessageSeen, again whenever
// something changes, until the run ends.
type Watch struct {
	Ref
	Batch   BatchID
	Attempt int
}

// Replace asks to offer the message at another price. Answered by Replaced.
type Replace struct {
	Ref
	Batch   BatchID
	Attempt int
	Price   message.Price
	Why     string
}

// GiveUp asks to take the message back where that is possible. Answered by
// GaveUp.
type GiveUp struct {
	Ref
	Batch   BatchID
	Attempt int
	Why     string
}

// AskChain asks what the chain shows of a window that has closed. Answered by
// ChainSays or AskFailed. Try counts the failures so far.
type AskChain struct {
	Ref
	Info dline.Info
	Try  int
}

// Abort takes back everything asked for this run: its challenge is void.
type Abort struct {
	Ref
	Reason string
}

// Stop takes back everything asked for this run except Watch, GiveUp and
// AskChain: the window has closed.
type Stop struct{ Ref }

// Silent tells that by the clock the head is Epochs old, first at SilentAfter
// and then at every doubling. Heard tells that a newer head came.
type (
	Silent struct{ Head, Epochs abi.ChainEpoch }
	Heard  struct{ Epochs abi.ChainEpoch } // for how long there was none
)

// End reports the one outcome of a run, and takes back everything still asked
// for it.
type End struct {
	Ref
	Info    dline.Info
	Outcome Outcome
}

func (Start) action()    {}
func (Prove) action()    {}
func (Submit) action()   {}
func (Watch) action()    {}
func (Replace) action()  {}
func (GiveUp) action()   {}
func (AskChain) action() {}
func (Abort) action()    {}
func (Stop) action()     {}
func (Silent) action()   {}
func (Heard) action()    {}
func (End) action()      {}
