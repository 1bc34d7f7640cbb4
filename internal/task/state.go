package task

import (
	"fmt"
	"slices"
)

// State is where a task stands.
type State string

// The states. Ready tasks wait for a slave (possibly not before a given
// second), running ones are leased to one, done ones hold an answer, failed
// ones hold the reason.
const (
	Ready   State = "ready"
	Running State = "running"
	Done    State = "done"
	Failed  State = "failed"
)

// States returns all states in the order of a task's life.
func States() []State { return []State{Ready, Running, Done, Failed} }

// ParseState is the inverse of string(State).
func ParseState(name string) (State, error) {
	if s := State(name); slices.Contains(States(), s) {
		return s, nil
	}
	return "", fmt.Errorf("unknown task state %q, use one of %v", name, States())
}

// Event is what moves a task from one state to another.
type Event string

// The events and who causes them.
const (
	Claimed   Event = "claimed"   // a slave took the task: a new attempt begins
	Answered  Event = "answered"  // the answer of the current attempt came in
	HandBack  Event = "hand back" // the attempt ended without an answer and another may follow
	GivenUp   Event = "given up"  // permanent verdict, or no retry left
	Expired   Event = "expired"   // the window closed
	Cancelled Event = "cancelled" // an operator said so
	Reopened  Event = "reopened"  // asked again after a failure, or an operator said so
)

// Next returns the state after event e in state s; ok is false when the
// transition is illegal, in which case the event must change nothing.
//
// A ready task can be answered: its attempt was given up as lost (HandBack by
// a time-out), no other slave has taken it since, and the answer came after
// all. Late answers are refused by attempt number, not by clock.
func (s State) Next(e Event) (next State, ok bool) {
	switch e {
	case Claimed:
		return Running, s == Ready
	case Answered:
		return Done, s == Running || s == Ready
	case HandBack:
		return Ready, s == Running
	case GivenUp:
		return Failed, s == Running
	case Expired, Cancelled:
		return Failed, s == Ready || s == Running
	case Reopened:
		return Ready, s == Failed || s == Done
	}
	return s, false
}

// Lease names one attempt at one task. Attempt counts the claims of the task
// from 1; a result is accepted only under the number of the latest claim.
type Lease struct {
	ID      string `json:"id"`
	Attempt int    `json:"attempt"`
}

// String returns "id#attempt".
func (l Lease) String() string { return fmt.Sprintf("%s#%d", l.ID, l.Attempt) }
