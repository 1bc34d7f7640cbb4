package deadline

import "slices"

func (m *Machine) planned(e Planned) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Planning {
		return
	}
	s.Phase, s.OnChain, s.AllFaulty, s.LastError = Working, e.OnChain, e.AllFaulty, ""
	if s.Kind == Recovery {
		m.looked(s, e)
	}
	m.addBatches(s, e.Batches)
	m.settle(s)
}

func (m *Machine) planFailed(e PlanFailed) {
	s := m.find(e.Ref)
	if s == nil || s.Phase != Planning {
		return
	}
	s.PlanTries++
	s.blame(e.Why)
	m.emit(Start{Ref: s.Ref, Info: s.Info, Try: s.PlanTries})
}

// addBatches appends batches and asks for whatever each needs next.
func (m *Machine) addBatches(s *State, batches []PlannedBatch) {
	for _, p := range batches {
		if slices.ContainsFunc(s.Batches, func(b BatchState) bool { return b.ID == p.ID }) {
			continue // of a recovery: declared already
		}
		b := BatchState{ID: p.ID, Stage: p.Stage, Attempt: p.Attempt, SentAt: m.now()}
		if p.Stage == Submitting { // the same attempt is made again
			b.Stage, b.Attempt = Ready, max(p.Attempt-1, 0)
		}
		b.unsee()
		s.Batches = append(s.Batches, b)
		switch added := &s.Batches[len(s.Batches)-1]; added.Stage {
		case Proving:
			m.emit(Prove{Ref: s.Ref, Batch: p.ID})
		case Ready:
			m.trySubmit(s, added)
		case Sent:
			m.emit(Watch{Ref: s.Ref, Batch: p.ID, Attempt: p.Attempt})
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
func (m *Machine) proveFailed(ref Ref, id BatchID, why Failure, from Stage) {
	s, b := m.batch(ref, id)
	if b == nil || s.Phase != Working || b.Stage != from {
		return
	}
	if from == Submitting {
		b.Attempt-- // nothing was handed over
	}
	b.Stage = Proving
	b.blame(why)
	b.ProveTries++
	m.emit(Prove{Ref: s.Ref, Batch: b.ID, Try: b.ProveTries})
}

func (m *Machine) regrouped(e Regrouped) {
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
			s.Batches[i].blame(e.Why)
		}
	}
	m.settle(s)
}

// trySubmit hands a ready batch over if the head and the clock allow it.
func (m *Machine) trySubmit(s *State, b *BatchState) {
	if b.Stage != Ready || !m.canSubmit(s) {
		return
	}
	b.Stage, b.SubmitTries = Submitting, 0
	b.Attempt++
	m.emit(m.submit(s, b))
}

func (m *Machine) submit(s *State, b *BatchState) Submit {
	return Submit{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt, Try: b.SubmitTries, OtherSender: b.OtherSender, GasLimit: max(b.gas, s.gas)}
}

func (m *Machine) submitted(e Submitted) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || !s.works() || b.Stage != Submitting {
		return
	}
	b.sent(m)
	m.emit(Watch{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt})
}

func (m *Machine) submitFailed(e SubmitFailed) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || !s.works() || b.Stage != Submitting {
		return
	}
	b.SubmitTries++
	b.blame(e.Why)
	b.OtherSender = b.OtherSender || e.OtherSender
	switch {
	case m.canSubmit(s):
		m.emit(m.submit(s, b))
	case m.now() <= s.last(): // the head went back
		b.Stage = Ready
		b.Attempt--
	}
	// Otherwise it is too late: the message may have been handed over all the
	// same, so it is watched from Close on.
}
