package deadline

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/message"
)

// Plight is a message that was handed over and is not executed with success.
type Plight struct {
	Seen      message.Outcome // as the service told last
	SentAt    abi.ChainEpoch  // the epoch of its hand-over
	SteppedAt abi.ChainEpoch  // when it was last replaced, 0 if never
	Failed    int             // earlier messages of the batch that were executed without success
	Now       abi.ChainEpoch  // by the head or the clock
	Expire    abi.ChainEpoch  // first epoch at which executing it is worthless
	BaseFee   big.Int         // attoFIL for a unit of gas, nil if not known
}

// Do is what is to be done about a message in a Plight.
type Do int

// What can be done. Anew, Withdraw and Abandon take a pending message back.
const (
	Nothing  Do = iota // wait
	Raise              // replace it at Step.Price
	Again              // push it again, under the same id
	Anew               // send another one; with Step.Price.GasLimit where that is set
	Withdraw           // send another one from another sender
	Abandon            // send none any more
)

// Step is one thing to do, and why.
type Step struct {
	Do    Do
	Price message.Price
	Why   string
	// Trouble names the condition that stands while this is so, "" for none;
	// Cost what it costs, "" for the usual of that condition.
	Trouble, Cost string
}

// Policy decides what is done about a message that does not get onto the chain.
// It must not wait for anything, and is asked at every head and tick.
type Policy func(Plight) Step

// Patient is the policy that leaves the price to the service: a message that
// waits for a tenth of the time that is left is offered again with the least
// raise that a mempool accepts, and one that came to nothing is sent anew.
func Patient(p Plight) Step {
	switch {
	case p.Seen.State == message.Unknown:
		return Step{Do: Again, Why: "the service does not know the message"}
	case p.Seen.State == message.Dropped, p.Seen.Failed():
		return Step{Do: Anew, Why: "the message was " + p.Seen.String()}
	}
	since := max(p.SentAt, p.SteppedAt)
	if wait := min(10, max(2, (p.Expire-2-since)/10)); p.Now < since+wait {
		return Step{}
	}
	return Step{Do: Raise, Why: "it is pending for long"}
}
