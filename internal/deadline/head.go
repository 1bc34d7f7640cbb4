package deadline

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
)

// moveHead applies a revert, takes up deadlines that became due, and moves
// every deadline on by what the new epoch means for it.
func (m *Machine) moveHead(h Head) {
	from := h.RevertedFrom
	epoch := h.Info.CurrentEpoch
	if m.seen && epoch < m.epoch() && (from == 0 || from > epoch+1) {
		from = epoch + 1 // the head went back without saying so
	}
	if from > 0 {
		m.revert(from, epoch)
	}
	m.head = h.Info
	m.discover()
	for _, s := range slices.Clone(m.active) {
		m.advance(s)
	}
	m.checkRecoveries()
	m.forget()
}

// revert takes back what rested on tipsets at height from and above; epoch is
// the height of the new head.
func (m *Machine) revert(from, epoch abi.ChainEpoch) {
	for _, s := range m.active {
		back := s.Phase == Settling && epoch < s.Info.Close
		if s.Phase != Waiting && (MustAbort(s.Info, from) || back) {
			m.abort(s, fmt.Sprintf("the chain was reverted from epoch %d", from))
			continue
		}
		for i := range s.Batches {
			if b := &s.Batches[i]; b.Stage == Landed && b.LandedAt >= from {
				b.Stage, b.LandedAt = Sent, 0
				m.emit(Wait{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
			}
		}
	}
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool {
		if !m.reopens(e, from, epoch) {
			return false
		}
		s := e.state
		s.Phase, s.Batches = Waiting, nil
		m.active = append(m.active, s)
		return true
	})
	slices.SortFunc(m.active, func(a, b *State) int { return cmp.Compare(a.Info.Open, b.Info.Open) })
}

// reopens reports whether an ended deadline is open again and what ended it is
// no longer true.
func (m *Machine) reopens(e ended, from, epoch abi.ChainEpoch) bool {
	if epoch >= e.state.Info.Close {
		return false
	}
	undone := slices.ContainsFunc(e.state.Batches, func(b BatchState) bool {
		return b.Stage == Landed && b.LandedAt >= from
	})
	return undone || e.verdict == Missed || MustAbort(e.state.Info, from)
}

func (m *Machine) abort(s *State, reason string) {
	m.emit(Abort{Ref: s.Ref, Reason: reason})
	s.Phase, s.Batches, s.LastError = Waiting, nil, reason
}

// discover takes up every deadline that is due at the head and was not yet
// taken up, also those that the head jumped over, at most a period of them.
func (m *Machine) discover() {
	info := m.head
	if !m.seen || !sameGrid(m.next, info) || m.lost() {
		m.next = info
		m.seen = true
	}
	for m.conf.StartAt(m.next) <= m.epoch() {
		due := At(info, KeyOf(m.next))
		m.next = Ahead(due, 1)
		if !m.knows(KeyOf(due)) {
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

// advance moves one deadline on to the head's epoch.
func (m *Machine) advance(s *State) {
	s.Info.CurrentEpoch = m.epoch()
	switch {
	case m.epoch() >= s.Info.Close:
		m.close(s)
	case s.Phase == Waiting && m.conf.ShouldRun(s.Info, m.epoch()):
		s.Phase, s.PlanTries = Planning, 0
		m.runs++
		s.Run = m.runs
		m.emit(Start{Ref: s.Ref, Info: s.Info})
	case s.Phase == Working:
		for i := range s.Batches {
			m.trySubmit(s, &s.Batches[i])
		}
	}
}

// close ends a deadline whose window has closed, or leaves it watching the
// messages that may still turn out to have landed in time.
func (m *Machine) close(s *State) {
	switch s.Phase {
	case Waiting:
		m.end(s, Missed, cmp.Or(s.LastError, "no head was seen while its window was open"))
	case Planning:
		m.emit(Stop{s.Ref})
		m.end(s, Missed, fmt.Sprintf("its partitions could not be listed in %d attempts, last error: %s",
			s.PlanTries, cmp.Or(s.LastError, "the node did not answer in time")))
	case Working:
		m.emit(Stop{s.Ref})
		s.Phase = Settling
		s.SettleAt = m.epoch() + m.conf.settling()
		for i := range s.Batches {
			if b := &s.Batches[i]; b.Stage == Submitting {
				b.Stage = Sent
				m.emit(Wait{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
			}
		}
		m.settle(s)
	case Settling:
		if m.epoch() >= s.SettleAt {
			m.end(s, Missed, missedReason(s))
		}
	}
}

// checkRecoveries hands out the recovery target of the open deadline, once.
func (m *Machine) checkRecoveries() {
	open := m.head
	if open.CurrentEpoch < open.Open || open.CurrentEpoch >= open.Close {
		return // the first proving period has not begun
	}
	target := RecoveryTarget(open)
	if _, done := m.recovered[KeyOf(target)]; done || open.CurrentEpoch >= target.FaultCutoff {
		return
	}
	m.recovered[KeyOf(target)] = target.Open
	m.emit(CheckRecoveries{Info: target})
}

// forget drops what no reorg can bring back.
func (m *Machine) forget() {
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool { return m.epoch() >= e.state.Info.Close+m.conf.settling() })
	for key, open := range m.recovered {
		if m.epoch() >= open {
			delete(m.recovered, key)
		}
	}
}
