package deadline

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/message"
)

// Phase is what a run is doing as a whole.
type Phase int

// Phases of a run.
const (
	Waiting  Phase = iota // known, not running: aborted by a reorg
	Planning              // its partitions are being listed, its faulty sectors read
	Working               // batches are being proven and sent
	Settling              // the window has closed, the chain is asked what became of it
)

// String returns the phase as it is shown to operators.
func (p Phase) String() string {
	return [...]string{"waiting", "planning", "working", "settling"}[p]
}

// Stage is how far one batch has come.
type Stage int

// Stages of a batch, in the order of the straight path.
const (
	Proving    Stage = iota // the proof is being made
	Ready                   // a verified proof is kept; waits to be sent
	Submitting              // its message is being handed over
	Sent                    // handed over, not executed
	Executed                // executed with success, not yet deep
	Landed                  // executed with success and deep enough
)

// String returns the stage as it is shown to operators.
func (s Stage) String() string {
	return [...]string{"proving", "ready", "submitting", "sent", "executed", "landed"}[s]
}

// Verdict is what became of a run.
type Verdict int

// The ends of a deadline, and of a recovery.
const (
	Proven          Verdict = iota // every partition is proven, by us
	NothingToProve                 // the deadline had no sectors to prove
	Missed                         // at least one partition was not proven in time
	ProvenByAnother                // every partition is proven, some by a message that is not ours
	AllFaulty                      // all sectors are faulty, none declared recovered
	Declared                       // every faulty sector that could be read is declared recovered
	NotDeclared                    // faulty sectors were not declared before the cut-off
)

var verdictNames = [...]string{
	"proven", "nothing to prove", "missed", "proven by another sender", "all sectors faulty", "declared", "not declared",
}

// String returns the verdict as it is logged and stored.
func (v Verdict) String() string { return verdictNames[v] }

// VerdictOf is the inverse of String; ok is false for an unknown text.
func VerdictOf(s string) (v Verdict, ok bool) {
	for i, name := range verdictNames {
		if name == s {
			return Verdict(i), true
		}
	}
	return 0, false
}

// Outcome is how a run ended. Reason is empty unless something was missed, and
// then tells for each batch that is not on the chain what was tried. Unsure
// says that the chain could not be asked; the run ends again when it could.
type Outcome struct {
	Verdict Verdict
	Reason  string
	Unsure  bool
	Batches []BatchState
	OnChain int      // partitions that the chain showed as proven before this run
	Lost    []uint64 // partitions that the chain shows as missed, where it was asked
	Left    int      // faulty sectors that could not be read, of a recovery
}

// BatchState is what is known of one batch.
type BatchState struct {
	ID          BatchID
	Stage       Stage
	ProveTries  int            // failed attempts to prove
	Attempt     int            // number of the last message, 0 if none
	SubmitTries int            // failed hand-overs of that message
	LandedAt    abi.ChainEpoch // where the message was executed, once Executed
	By          Author         // whose message that is
	LastError   string         // the last true reason of a failure
	// Of a Sent message:
	SentAt      abi.ChainEpoch  // the head when it was handed over
	Seen        message.Outcome // as the service told last
	Steps       int             // how often it was replaced or tried to be
	SteppedAt   abi.ChainEpoch  // when, for the last time
	Withdrawn   bool            // given up, or tried to: no other is sent
	Advice      Step            // what the policy said last
	Failed      int             // messages that were executed without success
	OtherSender bool            // the next attempt goes from another sender

	looked bool  // Seen is what the service told, not what is assumed
	busy   bool  // a Replace or GiveUp is under way
	then   Do    // what follows the GiveUp
	gas    int64 // the gas limit of the next message, 0 for the service's own
	vague  bool  // LastError is
}

// blame notes why something failed: a vague reason never replaces a true one.
func (b *BatchState) blame(f Failure) {
	b.LastError, b.vague = worse(b.LastError, b.vague, f)
}

func worse(last string, vague bool, f Failure) (string, bool) {
	if f.Text == "" || f.Vague && last != "" && !vague {
		return last, vague
	}
	return f.Text, f.Vague
}

// State is a copy of what the machine knows of one run.
type State struct {
	Ref
	Info      dline.Info
	Phase     Phase
	SettleAt  abi.ChainEpoch // when settling ends without an answer, once Settling
	Batches   []BatchState
	OnChain   int
	AllFaulty int
	PlanTries int
	AskTries  int
	Left      int            // of a recovery: sectors that could not be read
	LookAt    abi.ChainEpoch // of a recovery: when they are looked at again
	LastError string

	failed  int      // of a recovery: declarations that failed on chain
	gas     int64    // of a recovery: the gas limit of the next
	vague   bool     // LastError is
	stopped bool     // by the clock
	lost    []uint64 // partitions that the chain shows as missed
}

func (s *State) blame(f Failure) { s.LastError, s.vague = worse(s.LastError, s.vague, f) }

// missedReason tells for each batch that is not on the chain what was tried.
func missedReason(s *State) string {
	var parts []string
	for _, b := range s.Batches {
		if b.Stage < Executed {
			parts = append(parts, b.missed())
		}
	}
	if len(parts) == 0 {
		return cmp.Or(s.LastError, "nothing is known of what was tried")
	}
	return strings.Join(parts, "; ")
}

func (b *BatchState) missed() string {
	part := fmt.Sprintf("partitions %s: still %s at close", b.ID, b.Stage)
	if b.ProveTries > 0 {
		part += fmt.Sprintf(", %d failed proving attempts", b.ProveTries)
	}
	if b.Attempt > 0 {
		part += fmt.Sprintf(", %d messages", b.Attempt)
	}
	if b.Steps > 0 {
		part += fmt.Sprintf(", the last replaced %d times", b.Steps)
	}
	if b.SubmitTries > 0 {
		part += fmt.Sprintf(", %d failed hand-overs of the last", b.SubmitTries)
	}
	switch {
	case b.LastError != "":
		part += ", last error: " + b.LastError
	case b.Stage == Proving:
		part += ", the prover did not answer"
	case b.Stage == Sent && b.Seen.State == message.Pending:
		part += fmt.Sprintf(", it was pending since epoch %d and not executed: %s", b.SentAt, cmp.Or(b.Seen.Reason, b.Seen.Price.String()))
	case b.Stage == Sent:
		part += ", it was not seen on the chain"
	}
	return part
}
