package deadline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// Phase is what a deadline is doing as a whole.
type Phase int

// Phases of a deadline.
const (
	Waiting  Phase = iota // known, not running: aborted by a reorg
	Planning              // its partitions are being listed
	Working               // batches are being proven and sent
	Settling              // the window has closed, sent messages are still watched
)

// String returns the phase as it is shown to operators.
func (p Phase) String() string {
	return [...]string{"waiting", "planning", "working", "settling"}[p]
}

// State is a copy of what the machine knows of one deadline.
type State struct {
	Ref
	Info      dline.Info
	Phase     Phase
	SettleAt  abi.ChainEpoch // when watching ends, once Settling
	Batches   []BatchState
	OnChain   int
	PlanTries int
	LastError string
}

// Machine carries the deadlines of one miner. It is not safe for concurrent
// use; its owner steps it and carries out what it returns.
//
// Guarantees, whatever the order of events:
//   - Submit is returned only while the head is inside [Open, Close).
//   - A deadline that was due at any head is ended exactly once, unless a
//     reorg deeper than the message confidence takes the head back into its
//     window, which starts it again.
//   - A deadline passed over by a jump of the head is ended as missed.
type Machine struct {
	conf Confidence
	head dline.Info // of the last Head event; meaningless until seen
	seen bool
	next dline.Info // first deadline not yet taken up

	runs      int      // runs started so far
	active    []*State // ascending Open
	ended     []ended
	recovered map[Key]abi.ChainEpoch // recovery targets handed out, with their Open

	out []Action // of the running Step
}

// ended remembers a deadline for as long as a reorg could reopen it.
type ended struct {
	state   *State
	verdict Verdict
}

// New returns a machine that knows no deadline yet.
func New(conf Confidence) *Machine {
	return &Machine{conf: conf, recovered: map[Key]abi.ChainEpoch{}}
}

// Step takes in one event and returns what is to be done now, in order.
func (m *Machine) Step(ev Event) []Action {
	m.out = nil
	switch e := ev.(type) {
	case Head:
		m.moveHead(e)
	case Resumed:
		m.resumed(e)
	case Planned:
		m.planned(e)
	case PlanFailed:
		m.planFailed(e)
	case Proved:
		m.proved(e)
	case ProveFailed:
		m.proveFailed(e.Ref, e.Batch, e.Reason, Proving)
	case Stale:
		m.proveFailed(e.Ref, e.Batch, e.Reason, Submitting)
	case Replaced:
		m.replaced(e)
	case Submitted:
		m.submitted(e)
	case SubmitFailed:
		m.submitFailed(e)
	case MessageLanded:
		m.landed(e)
	case MessageFailed:
		m.messageFailed(e)
	case WaitFailed:
		m.waitFailed(e)
	}
	return m.out
}

// Snapshot returns copies of the deadlines that have not ended, ascending.
func (m *Machine) Snapshot() []State {
	states := make([]State, 0, len(m.active))
	for _, s := range m.active {
		c := *s
		c.Batches = slices.Clone(s.Batches)
		states = append(states, c)
	}
	return states
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

func (m *Machine) epoch() abi.ChainEpoch { return m.head.CurrentEpoch }

// find returns the live state of ref, or nil if the run is over.
func (m *Machine) find(ref Ref) *State {
	for _, s := range m.active {
		if s.Ref == ref {
			return s
		}
	}
	return nil
}

// knows reports whether a deadline is active or ended not long ago.
func (m *Machine) knows(key Key) bool {
	return slices.ContainsFunc(m.active, func(s *State) bool { return s.Key == key }) ||
		slices.ContainsFunc(m.ended, func(e ended) bool { return e.state.Key == key })
}

// batch returns the batch of a live run together with its state, or nils.
func (m *Machine) batch(ref Ref, id BatchID) (*State, *BatchState) {
	s := m.find(ref)
	if s == nil {
		return nil, nil
	}
	for i := range s.Batches {
		if s.Batches[i].ID == id {
			return s, &s.Batches[i]
		}
	}
	return nil, nil
}

func (m *Machine) resumed(e Resumed) {
	info := At(m.head, e.Key)
	if !m.seen || m.knows(e.Key) || m.epoch() < info.Close {
		return
	}
	m.runs++
	s := &State{Ref: Ref{Key: e.Key, Run: m.runs}, Info: info, Phase: Working}
	for _, p := range e.Batches {
		s.Batches = append(s.Batches, BatchState{ID: p.ID, Stage: p.Stage, Attempt: p.Attempt,
			LastError: "the manager was not running when the window closed"})
		if p.Stage == Sent {
			m.emit(Wait{Ref: s.Ref, Batch: p.ID, Attempt: p.Attempt})
		}
	}
	m.active = append([]*State{s}, m.active...)
	m.close(s)
}

func (m *Machine) planned(e Planned) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Planning {
		return
	}
	s.Phase, s.OnChain, s.LastError = Working, e.OnChain, ""
	m.addBatches(s, e.Batches)
	m.settle(s)
}

func (m *Machine) planFailed(e PlanFailed) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Planning {
		return
	}
	s.PlanTries++
	s.LastError = e.Reason
	m.emit(Start{Ref: s.Ref, Info: s.Info, Try: s.PlanTries})
}

// addBatches appends batches and asks for whatever each needs next.
func (m *Machine) addBatches(s *State, batches []PlannedBatch) {
	for _, p := range batches {
		b := BatchState{ID: p.ID, Stage: p.Stage, Attempt: p.Attempt}
		if p.Stage == Submitting { // the same attempt is made again
			b.Stage, b.Attempt = Ready, max(p.Attempt-1, 0)
		}
		s.Batches = append(s.Batches, b)
		switch added := &s.Batches[len(s.Batches)-1]; added.Stage {
		case Proving:
			m.emit(Prove{Ref: s.Ref, Batch: p.ID})
		case Ready:
			m.trySubmit(s, added)
		case Sent:
			m.emit(Wait{Ref: s.Ref, Batch: p.ID, Attempt: p.Attempt})
		}
	}
}

func (m *Machine) proved(e Proved) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working || b.Stage != Proving {
		return
	}
	b.Stage, b.LastError = Ready, ""
	m.trySubmit(s, b)
}

// proveFailed asks for the proof again; from is the stage the batch must be in.
func (m *Machine) proveFailed(ref Ref, id BatchID, reason string, from Stage) {
	s, b := m.batch(ref, id)
	if b == nil || s.Phase != Working || b.Stage != from {
		return
	}
	if from == Submitting {
		b.Attempt-- // nothing was handed over
	}
	b.Stage, b.LastError = Proving, reason
	b.ProveTries++
	m.emit(Prove{Ref: s.Ref, Batch: b.ID, Try: b.ProveTries})
}

func (m *Machine) replaced(e Replaced) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working {
		return
	}
	tries := b.ProveTries
	s.Batches = slices.DeleteFunc(s.Batches, func(b BatchState) bool { return b.ID == e.Batch })
	first := len(s.Batches)
	m.addBatches(s, e.By)
	for i := first; i < len(s.Batches); i++ {
		s.Batches[i].ProveTries = tries
		if s.Batches[i].Stage == Proving {
			s.Batches[i].LastError = e.Reason
		}
	}
	m.settle(s)
}

// trySubmit hands a ready batch over if the head allows it.
func (m *Machine) trySubmit(s *State, b *BatchState) {
	if s.Phase != Working || b.Stage != Ready || !m.conf.CanSubmit(s.Info, m.epoch()) {
		return
	}
	b.Stage = Submitting
	b.Attempt++
	b.SubmitTries = 0
	m.emit(Submit{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
}

func (m *Machine) submitted(e Submitted) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working || b.Stage != Submitting {
		return
	}
	b.Stage, b.LastError = Sent, ""
	m.emit(Wait{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
}

func (m *Machine) submitFailed(e SubmitFailed) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working || b.Stage != Submitting {
		return
	}
	b.SubmitTries++
	b.LastError = e.Reason
	switch {
	case m.conf.CanSubmit(s.Info, m.epoch()):
		m.emit(Submit{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt, Try: b.SubmitTries})
	case m.epoch() < m.conf.SubmitAt(s.Info): // the head went back
		b.Stage = Ready
		b.Attempt--
	}
	// Otherwise it is too late: the message may have been handed over all the
	// same, so it is watched from Close on.
}

func (m *Machine) landed(e MessageLanded) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working && s.Phase != Settling {
		return
	}
	b.Stage, b.LandedAt, b.LastError = Landed, e.Epoch, ""
	m.settle(s)
}

func (m *Machine) messageFailed(e MessageFailed) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || b.Stage != Sent {
		return
	}
	b.Stage, b.LastError = Ready, cmp.Or(e.Reason, b.LastError)
	m.trySubmit(s, b)
	m.settle(s)
}

func (m *Machine) waitFailed(e WaitFailed) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || b.Stage != Sent {
		return
	}
	b.LastError = e.Reason
	m.emit(Wait{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
}

// settle ends the deadline if nothing more can become of it.
func (m *Machine) settle(s *State) {
	all, sent := true, false
	for _, b := range s.Batches {
		all = all && b.Stage == Landed
		sent = sent || b.Stage == Sent
	}
	switch {
	case s.Phase != Working && s.Phase != Settling:
	case all && len(s.Batches)+s.OnChain == 0:
		m.end(s, NothingToProve, "")
	case all:
		m.end(s, Proven, "")
	case s.Phase == Settling && !sent:
		m.end(s, Missed, missedReason(s))
	}
}

func (m *Machine) end(s *State, v Verdict, reason string) {
	m.active = slices.DeleteFunc(m.active, func(o *State) bool { return o == s })
	m.ended = append(m.ended, ended{state: s, verdict: v})
	m.emit(End{Ref: s.Ref, Info: s.Info, Outcome: Outcome{
		Verdict: v, Reason: reason, Batches: slices.Clone(s.Batches), OnChain: s.OnChain,
	}})
}

// missedReason tells for each batch that is not on the chain what was tried.
func missedReason(s *State) string {
	var parts []string
	for _, b := range s.Batches {
		if b.Stage == Landed {
			continue
		}
		part := fmt.Sprintf("partitions %s: still %s at close", b.ID, b.Stage)
		if b.ProveTries > 0 {
			part += fmt.Sprintf(", %d failed proving attempts", b.ProveTries)
		}
		if b.Attempt > 0 {
			part += fmt.Sprintf(", %d messages", b.Attempt)
		}
		if b.SubmitTries > 0 {
			part += fmt.Sprintf(", %d failed hand-overs of the last", b.SubmitTries)
		}
		switch {
		case b.LastError != "":
			part += ", last error: " + b.LastError
		case b.Stage == Proving:
			part += ", the prover did not answer"
		case b.Stage == Sent:
			part += ", it was not seen on the chain"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
