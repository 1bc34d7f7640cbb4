package deadline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"wdpost/internal/message"
)

// bad is how a run ends that came to nothing.
func (s *State) bad() Verdict {
	if s.Kind == Recovery {
		return NotDeclared
	}
	return Missed
}

// close ends the work of a run whose window has closed, and asks the chain what
// became of it, while messages may still turn out to have landed in time.
func (m *Machine) close(s *State) {
	if s.Phase == Settling {
		if m.epoch() >= s.SettleAt {
			m.expire(s)
		}
		return
	}
	switch s.Phase {
	case Waiting:
		s.LastError = cmp.Or(s.LastError, "no head was seen while its window was open")
	case Planning:
		m.emit(Stop{s.Ref})
		s.LastError = fmt.Sprintf("its partitions could not be listed in %d attempts, last error: %s",
			s.PlanTries, cmp.Or(s.LastError, "the node did not answer in time"))
	case Working:
		m.emit(Stop{s.Ref})
	}
	m.settling(s)
}

// settling begins to ask what became of a closed window.
func (m *Machine) settling(s *State) {
	if s.Run == 0 {
		m.number(s)
	}
	s.Phase = Settling
	s.SettleAt = m.epoch() + m.conf.settling()
	for i := range s.Batches {
		if b := &s.Batches[i]; b.Stage == Submitting {
			b.unsee()
			b.Stage, b.SentAt = Sent, m.now()
			m.emit(Watch{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
		}
	}
	if m.settle(s); m.find(s.Ref) != nil && s.Kind == PoSt {
		m.emit(AskChain{Ref: s.Ref, Info: s.Info})
	}
}

// expire ends a run of which the chain said nothing.
func (m *Machine) expire(s *State) {
	reason := missedReason(s)
	if s.AskTries > 0 {
		reason += fmt.Sprintf("; the chain could not be asked in %d attempts", s.AskTries)
	}
	m.end(s, s.bad(), reason)
}

// settle ends a run if nothing more can become of it.
func (m *Machine) settle(s *State) {
	if s.Phase != Working && s.Phase != Settling {
		return
	}
	all, open := true, false
	by := Us
	for _, b := range s.Batches {
		all = all && b.Stage == Landed
		open = open || b.Stage == Sent && b.Seen.State != message.Unknown && !b.Seen.Failed() && b.Seen.State != message.Dropped || b.Stage == Executed
		by = max(by, b.By)
	}
	switch {
	case s.Kind == Recovery:
		m.settleRecovery(s, all, open)
	case s.Phase == Settling && len(s.Batches) == 0 && !s.planned():
		// nothing was planned: only the chain knows
	case all && len(s.Batches)+s.OnChain == 0 && s.AllFaulty > 0:
		m.end(s, AllFaulty, "")
	case all && len(s.Batches)+s.OnChain == 0:
		m.end(s, NothingToProve, "")
	case all && by == Another:
		m.end(s, ProvenByAnother, "")
	case all:
		m.end(s, Proven, "")
	}
}

// planned reports whether the run's partitions were ever listed.
func (s *State) planned() bool { return len(s.Batches)+s.OnChain+s.AllFaulty > 0 }

func (m *Machine) settleRecovery(s *State, all, open bool) {
	switch {
	case all && s.Left == 0 && s.LookAt == 0 && s.Phase == Working:
		m.end(s, Declared, "")
	case s.Phase != Settling || open:
	case all && s.Left == 0 && s.LastError == "":
		m.end(s, Declared, "")
	default:
		m.end(s, NotDeclared, missedReason(s))
	}
}

// chainSays ends a closed deadline by what the chain shows of it.
func (m *Machine) chainSays(e ChainSays) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Settling {
		return
	}
	by := Us
	for i := range s.Batches {
		b := &s.Batches[i]
		parts := partitionsOf(b.ID)
		if len(e.Missed) > 0 && (len(parts) == 0 || slices.ContainsFunc(parts, func(n uint64) bool { return slices.Contains(e.Missed, n) })) {
			continue
		}
		if b.Stage < Executed && !b.mayHaveLanded() {
			b.By = Another
		}
		b.Stage = Landed
		by = max(by, b.By)
	}
	s.lost = e.Missed
	switch {
	case len(e.Missed) > 0:
		m.end(s, Missed, missedReason(s))
	case len(e.Proven) == 0 && e.AllFaulty > 0:
		m.end(s, AllFaulty, "")
	case len(e.Proven) == 0:
		m.end(s, NothingToProve, "")
	case by == Another:
		m.end(s, ProvenByAnother, "")
	default:
		s.OnChain = max(s.OnChain, len(e.Proven)-landedPartitions(s))
		m.end(s, Proven, "")
	}
}

// mayHaveLanded reports whether the batch's own message may be the one that
// proved it: it was handed over, and nothing says that it came to nothing.
func (b *BatchState) mayHaveLanded() bool {
	return b.Attempt > 0 && b.Stage >= Submitting && !b.Seen.Failed() && b.Seen.State != message.Dropped && (b.Stage == Submitting || b.Seen.State != message.Unknown)
}

func landedPartitions(s *State) int {
	n := 0
	for _, b := range s.Batches {
		if b.Stage == Landed {
			n += len(partitionsOf(b.ID))
		}
	}
	return n
}

// partitionsOf reads a batch's name, nil for one that names no partitions.
func partitionsOf(id BatchID) []uint64 {
	var out []uint64
	for text := range strings.SplitSeq(string(id), ",") {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil
		}
		out = append(out, n)
	}
	return out
}

func (m *Machine) askFailed(e AskFailed) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Settling {
		return
	}
	s.AskTries++
	s.blame(Failure{Text: e.Why.Text, Vague: true})
	m.emit(AskChain{Ref: s.Ref, Info: s.Info, Try: s.AskTries})
}

// askBlind asks about deadlines that ended by the clock while no head came, and
// starts those again whose window is open after all.
func (m *Machine) askBlind() {
	m.reopen(func(e ended) bool { return e.blind && m.openAgain(e.state) })
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool {
		s := e.state
		if !e.blind || m.epoch() < s.closes() {
			return false
		}
		if s.Kind == PoSt {
			s.Run = 0
			m.active = append(m.active, s)
			m.settling(s)
		}
		return true
	})
	m.sort()
}

// takePast takes in what earlier processes left, once a head is known.
func (m *Machine) takePast() {
	if m.past == nil || !m.seen {
		return
	}
	past := *m.past
	m.past = nil
	known := map[Key]bool{}
	for key, verdict := range past.Ended {
		known[key] = true
		info := At(m.head, key)
		if (verdict != Missed || m.epoch() >= info.Close) && m.epoch() < info.Close+m.conf.settling() && !m.knows(PoSt, key) {
			m.ended = append(m.ended, ended{state: &State{Ref: Ref{Key: key}, Info: info}, verdict: verdict})
		}
	}
	for _, u := range past.Unfinished {
		known[u.Key] = true
		m.resume(u)
	}
	if past.Since <= 0 {
		return
	}
	for n := m.head.WPoStPeriodDeadlines - 1; n >= 1; n-- {
		di := Behind(Current(m.head, m.epoch()), n)
		if di.Close > past.Since && di.Close <= m.epoch() && !known[KeyOf(di)] && !m.knows(PoSt, KeyOf(di)) {
			s := &State{Ref: Ref{Key: KeyOf(di)}, Info: di, LastError: awayError}
			m.active = append(m.active, s)
			m.settling(s)
		}
	}
	m.sort()
}

const awayError = "the manager was not running when the window closed"

// resume settles a run of an earlier process whose window has closed.
func (m *Machine) resume(u Unfinished) {
	info := At(m.head, u.Key)
	if m.knows(PoSt, u.Key) || m.epoch() < info.Close {
		return
	}
	s := &State{Ref: Ref{Key: u.Key}, Info: info, LastError: awayError}
	m.number(s)
	for _, p := range u.Batches {
		b := BatchState{ID: p.ID, Stage: p.Stage, Attempt: p.Attempt, LastError: awayError}
		b.unsee()
		b.Withdrawn = true
		s.Batches = append(s.Batches, b)
		if p.Stage == Sent {
			m.emit(Watch{Ref: s.Ref, Batch: p.ID, Attempt: p.Attempt})
		}
	}
	m.active = append(m.active, s)
	m.sort()
	m.settling(s)
}
