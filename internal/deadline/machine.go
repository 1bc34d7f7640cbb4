package deadline

import (
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"
)

// LookEvery is after how many epochs, at most, faulty sectors that could not be
// read are looked at again, while declarations are still accepted.
const LookEvery abi.ChainEpoch = 10

// SilentAfter is how many epochs behind the clock a head is told as silence.
const SilentAfter abi.ChainEpoch = 3

// Machine carries the deadlines and recoveries of one miner. It is not safe for
// concurrent use; its owner steps it and carries out what it returns.
//
// Guarantees, whatever the order of events:
//   - Submit for a PoSt is returned only while the head is inside [Open, Close),
//     and only where by the clock too it can be executed before Close.
//   - A deadline that was due at any head is ended exactly once, unless a
//     reorg deeper than the message confidence, or one that is not known, takes
//     the head back into its window, which starts it again, or it ended unsure.
//   - A deadline passed over by a jump of the head is looked up on the chain.
type Machine struct {
	conf   Confidence
	policy Policy
	head   dline.Info // of the last Head event; meaningless until seen
	seen   bool
	clock  abi.ChainEpoch // of the last Tick, 0 if it is not to be trusted
	fee    big.Int        // of the last Head event
	next   dline.Info     // first deadline not yet taken up
	past   *Past          // not yet taken in: no head was seen

	silent    abi.ChainEpoch // for how many epochs the silence was told, 0 for none
	runs      [2]int         // runs started so far, by kind
	active    []*State       // ascending Open
	ended     []ended
	recovered map[Key]abi.ChainEpoch // recovery targets handed out, with their Open

	out []Action // of the running Step
}

// ended remembers a run for as long as a reorg could reopen it.
type ended struct {
	state   *State
	verdict Verdict
	blind   bool // by the clock, without a head: to be asked about
}

// New returns a machine that knows no deadline yet. A nil policy is Patient.
func New(conf Confidence, policy Policy) *Machine {
	if policy == nil {
		policy = Patient
	}
	return &Machine{conf: conf, policy: policy, recovered: map[Key]abi.ChainEpoch{}}
}

// Step takes in one event and returns what is to be done now, in order.
func (m *Machine) Step(ev Event) []Action {
	m.out = nil
	switch e := ev.(type) {
	case Head:
		m.moveHead(e)
	case Tick:
		m.tick(e)
	case Past:
		m.past = &e
		m.takePast()
	case Planned:
		m.planned(e)
	case PlanFailed:
		m.planFailed(e)
	case Proved:
		m.proved(e)
	case ProveFailed:
		m.proveFailed(e.Ref, e.Batch, e.Why, Proving)
	case Stale:
		m.proveFailed(e.Ref, e.Batch, e.Why, Submitting)
	case Regrouped:
		m.regrouped(e)
	case Submitted:
		m.submitted(e)
	case SubmitFailed:
		m.submitFailed(e)
	default:
		m.stepMessage(ev)
	}
	return m.out
}

// stepMessage takes in what is told of messages and of closed windows.
func (m *Machine) stepMessage(ev Event) {
	switch e := ev.(type) {
	case MessageSeen:
		m.messageSeen(e)
	case MessageLanded:
		m.landed(e)
	case Replaced:
		m.replaced(e)
	case GaveUp:
		m.gaveUp(e)
	case ChainSays:
		m.chainSays(e)
	case AskFailed:
		m.askFailed(e)
	}
}

// Snapshot returns copies of the runs that have not ended, ascending.
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

// now is the epoch by the head or by the clock, whichever is later.
func (m *Machine) now() abi.ChainEpoch { return max(m.epoch(), m.clock) }

func (m *Machine) sort() {
	slices.SortStableFunc(m.active, func(a, b *State) int { return int(a.Info.Open - b.Info.Open) })
}

// find returns the live state of ref, or nil if the run is over.
func (m *Machine) find(ref Ref) *State {
	for _, s := range m.active {
		if s.Ref == ref {
			return s
		}
	}
	return nil
}

// knows reports whether a run is active or ended not long ago.
func (m *Machine) knows(kind Kind, key Key) bool {
	is := func(s *State) bool { return s.Kind == kind && s.Key == key }
	return slices.ContainsFunc(m.active, is) ||
		slices.ContainsFunc(m.ended, func(e ended) bool { return is(e.state) })
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

// works reports whether messages are still made in a run. A recovery goes on
// with its declarations while it looks at sectors again.
func (s *State) works() bool {
	return s.Phase == Working || s.Kind == Recovery && s.Phase == Planning
}

// closes is the first epoch at which a message of the run is worthless.
func (s *State) closes() abi.ChainEpoch {
	if s.Kind == Recovery {
		return s.Info.FaultCutoff
	}
	return s.Info.Close
}

// last is the last head from which a message can still be executed in time.
func (s *State) last() abi.ChainEpoch { return s.closes() - 2 }

// canSubmit reports whether a message handed over now can be executed in time.
func (m *Machine) canSubmit(s *State) bool {
	if !s.works() || m.now() > s.last() {
		return false
	}
	return s.Kind == Recovery || m.conf.CanSubmit(s.Info, m.epoch())
}

func (m *Machine) end(s *State, v Verdict, reason string) {
	m.finish(s, ended{state: s, verdict: v}, reason)
}

func (m *Machine) finish(s *State, e ended, reason string) {
	m.active = slices.DeleteFunc(m.active, func(o *State) bool { return o == s })
	m.ended = append(m.ended, e)
	m.emit(End{Ref: s.Ref, Info: s.Info, Outcome: Outcome{
		Verdict: e.verdict, Reason: reason, Unsure: e.blind,
		Batches: slices.Clone(s.Batches), OnChain: s.OnChain, Left: s.Left, Lost: s.lost,
	}})
}
