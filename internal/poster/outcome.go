package poster

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
)

// What an Outcome tells of.
type What string

// The things that are told. Each is told once.
const (
	RunEnded       What = "run_ended"       // Verdict, Reason, Proven, Skipped, Margin
	ProofMade      What = "proof_made"      // Took, Margin, Proven (sectors), Skipped
	ProofFailed    What = "proof_failed"    // Reason
	MessagePushed  What = "message_pushed"  // Margin
	MessageRefused What = "message_refused" // Reason
	MessageRaised  What = "message_raised"  // Reason: why; Failed where it did not work
	MessageGivenUp What = "message_given_up"
	MessageEnded   What = "message_ended" // Message: executed or dropped
)

// Outcome is one thing that happened on the way of a deadline or a recovery:
// the one stream from which figures are counted.
type Outcome struct {
	What       What
	Miner      abi.ActorID
	Kind       deadline.Kind
	Deadline   deadline.Key
	Partitions ledger.Partitions
	Verdict    deadline.Verdict
	Reason     string
	Failed     bool
	Proven     int // partitions of a run, sectors of a proof
	Skipped    int // sectors
	Took       time.Duration
	Margin     time.Duration // until the window closes, or the cut-off
	Message    message.Outcome
}

// tell gives an outcome to the owner of the stream.
func (m *miner) tell(o Outcome) {
	if m.cfg.Outcomes == nil {
		return
	}
	o.Miner = m.conf.Miner
	m.cfg.Outcomes(o)
}

// tell is miner.tell for something of this run.
func (r *run) tell(o Outcome) {
	o.Kind, o.Deadline = r.ref.Kind, r.ref.Key
	o.Margin = time.Until(r.m.timeOf(r.closes()))
	r.m.tell(o)
}
