package deadline

import (
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// moveHead applies a revert, takes up deadlines that became due, and moves
// every run on by what the new epoch means for it.
func (m *Machine) moveHead(h Head) {
	epoch := h.Info.CurrentEpoch
	if Sane(h.Info) != nil {
		if !m.seen {
			return
		}
		h.Info = Current(m.head, epoch)
	}
	from := h.RevertedFrom
	if m.seen && epoch < m.epoch() && (from == 0 || from > epoch+1) {
		from = epoch + 1 // the head went back without saying so
	}
	if from > 0 {
		m.revert(from, epoch)
	}
	if h.Reset && m.seen {
		m.lookAgain(epoch)
	}
	m.hear(epoch)
	m.head, m.fee = h.Info, h.BaseFee
	m.discover()
	m.takePast()
	m.askBlind()
	m.advanceAll()
	m.checkRecoveries()
	m.forget()
}

// tick takes in the clock: nothing is sent that is too late by it, what waits
// too long is acted upon, and a deadline ends though no head comes any more.
func (m *Machine) tick(t Tick) {
	m.clock = t.Epoch
	if !m.seen || t.Epoch == 0 {
		return
	}
	old := m.clock - m.epoch()
	if old >= max(SilentAfter, 2*m.silent) {
		m.silent = old
		m.emit(Silent{Head: m.epoch(), Epochs: old})
	}
	for _, s := range slices.Clone(m.active) {
		switch closes := s.closes(); {
		case m.epoch() >= closes || m.clock < closes:
			m.advance(s)
		case !s.stopped:
			s.stopped = true
			m.emit(Stop{s.Ref})
		case m.clock >= closes+m.conf.settling():
			s.blame(Failure{Text: fmt.Sprintf("no head came since epoch %d; whether its partitions are proven is not known", m.epoch())})
			m.finish(s, ended{state: s, verdict: s.bad(), blind: true}, s.LastError)
		default:
			m.moveBatches(s)
		}
	}
}

// moveBatches asks for whatever the epoch means for the messages of a run.
func (m *Machine) moveBatches(s *State) {
	for _, b := range slices.Clone(s.Batches) { // a declaration may go meanwhile
		if _, live := m.batch(s.Ref, b.ID); live != nil {
			m.trySubmit(s, live)
			m.act(s, live)
		}
	}
}

// hear ends a silence that was told.
func (m *Machine) hear(epoch abi.ChainEpoch) {
	if m.silent > 0 && epoch > m.epoch() && m.clock-epoch < SilentAfter {
		m.emit(Heard{Epochs: m.silent})
		m.silent = 0
	}
}

func (m *Machine) advanceAll() {
	for _, s := range slices.Clone(m.active) {
		m.advance(s)
	}
}

// revert takes back what rested on tipsets at height from and above; epoch is
// the height of the new head.
func (m *Machine) revert(from, epoch abi.ChainEpoch) {
	for _, s := range m.active {
		back := s.Phase == Settling && epoch < s.closes()
		if back || s.Kind == PoSt && s.Phase != Waiting && MustAbort(s.Info, from) {
			m.abort(s, fmt.Sprintf("the chain was reverted from epoch %d", from))
			continue
		}
		m.doubt(s, from)
	}
	m.reopen(func(e ended) bool { return m.reopens(e, from, epoch) })
}

// doubt watches the messages again that were executed at height from or above.
func (m *Machine) doubt(s *State, from abi.ChainEpoch) {
	for i := range s.Batches {
		b := &s.Batches[i]
		switch {
		case b.Stage < Executed || b.LandedAt < from:
		case b.By == Another || b.Attempt == 0:
			b.Stage, b.LandedAt, b.By = Ready, 0, Us
		default:
			b.unsee()
			b.Stage, b.LandedAt = Sent, 0
			m.emit(Watch{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
		}
	}
}

// lookAgain is what a reset of the head stream means: nothing that was
// concluded from earlier heads is certain.
func (m *Machine) lookAgain(epoch abi.ChainEpoch) {
	for _, s := range m.active {
		for i := range s.Batches {
			if b := &s.Batches[i]; b.Stage == Sent {
				m.emit(Watch{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
			}
		}
		m.doubt(s, 0)
		if s.Kind == Recovery && s.Phase == Working {
			s.LookAt = epoch
		}
	}
	m.reopen(func(e ended) bool { return epoch < e.state.closes() })
}

// reopen starts ended runs again.
func (m *Machine) reopen(which func(ended) bool) {
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool {
		if !which(e) {
			return false
		}
		s := e.state
		*s = State{Ref: s.Ref, Info: s.Info, Phase: Waiting}
		m.active = append(m.active, s)
		return true
	})
	m.sort()
}

// reopens reports whether an ended run is open again and what ended it is no
// longer true.
func (m *Machine) reopens(e ended, from, epoch abi.ChainEpoch) bool {
	s := e.state
	if epoch >= s.closes() {
		return false
	}
	undone := slices.ContainsFunc(s.Batches, func(b BatchState) bool {
		return b.Stage >= Executed && b.LandedAt >= from
	})
	if s.Kind == Recovery {
		return undone || e.verdict == NotDeclared
	}
	return undone || e.verdict == Missed || MustAbort(s.Info, from)
}

func (m *Machine) abort(s *State, reason string) {
	m.emit(Abort{Ref: s.Ref, Reason: reason})
	*s = State{Ref: s.Ref, Info: s.Info, Phase: Waiting, LastError: reason}
}

// discover takes up every deadline that is due at the head and was not yet
// taken up, also those that the head jumped over, at most a period of them.
func (m *Machine) discover() {
	info := m.head
	if !m.seen || !sameGrid(m.next, info) || m.lost() {
		m.next = info
		m.seen = true
		m.takePast()
	}
	for m.conf.StartAt(m.next) <= m.epoch() {
		due := At(info, KeyOf(m.next))
		m.next = Ahead(due, 1)
		if !m.knows(PoSt, KeyOf(due)) {
			m.active = append(m.active, &State{Ref: Ref{Key: KeyOf(due)}, Info: due})
		}
	}
}

// lost reports whether the head is more than a period away from the deadline
// that would come next: the node was away for days, or its chain is another.
func (m *Machine) lost() bool {
	period := m.head.WPoStProvingPeriod
	return m.next.Close+period <= m.epoch() || m.next.Open > m.epoch()+period
}

// sameGrid reports whether a and b are deadlines of one miner on one network.
func sameGrid(a, b dline.Info) bool {
	if a.WPoStChallengeWindow != b.WPoStChallengeWindow || a.WPoStProvingPeriod != b.WPoStProvingPeriod ||
		a.WPoStPeriodDeadlines != b.WPoStPeriodDeadlines || a.WPoStProvingPeriod <= 0 {
		return false
	}
	return (a.PeriodStart-b.PeriodStart)%a.WPoStProvingPeriod == 0
}

// advance moves one run on to the head's epoch.
func (m *Machine) advance(s *State) {
	s.Info.CurrentEpoch = m.epoch()
	if s.stopped && m.openAgain(s) {
		m.abort(s, "the clock, by which its window was over, was wrong")
	}
	switch {
	case m.epoch() >= s.closes():
		m.close(s)
	case s.Phase == Waiting && (s.Kind == Recovery || m.conf.ShouldRun(s.Info, m.epoch())):
		m.start(s)
	case s.Kind == Recovery && s.Phase == Working && s.LookAt > 0 && m.now() >= s.LookAt && m.now() <= s.last():
		m.look(s, 0)
	}
	m.moveBatches(s)
}

// openAgain reports whether a run that was stopped by the clock is in time all
// the same: the clock is not believed any more, or was set back.
func (m *Machine) openAgain(s *State) bool { return m.epoch() < s.closes() && m.clock < s.closes() }

func (m *Machine) start(s *State) {
	s.Phase, s.PlanTries = Planning, 0
	m.number(s)
	m.emit(Start{Ref: s.Ref, Info: s.Info})
}

// number makes a new run of s.
func (m *Machine) number(s *State) {
	m.runs[s.Kind]++
	s.Run = m.runs[s.Kind]
}

// forget drops what no reorg can bring back.
func (m *Machine) forget() {
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool {
		return !e.blind && m.epoch() >= e.state.Info.Close+m.conf.settling()
	})
	for key, open := range m.recovered {
		if m.epoch() >= open {
			delete(m.recovered, key)
		}
	}
}
