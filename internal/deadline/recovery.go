package deadline

// checkRecoveries takes up the recovery of the deadline two ahead of the open
// one, once.
func (m *Machine) checkRecoveries() {
	open := m.head
	if open.CurrentEpoch < open.Open || open.CurrentEpoch >= open.Close {
		return // the first proving period has not begun
	}
	target := RecoveryTarget(open)
	if _, done := m.recovered[KeyOf(target)]; done || m.now() > target.FaultCutoff-2 {
		return
	}
	m.recovered[KeyOf(target)] = target.Open
	s := &State{Ref: Ref{Key: KeyOf(target), Kind: Recovery}, Info: target}
	m.active = append(m.active, s)
	m.start(s)
	m.sort()
}

// look asks once more which faulty sectors can be read.
func (m *Machine) look(s *State, try int) {
	s.Phase, s.LookAt = Planning, 0
	m.emit(Start{Ref: s.Ref, Info: s.Info, Try: try})
}

// looked takes in which faulty sectors are left; they are looked at again
// before the cut-off.
func (m *Machine) looked(s *State, e Planned) {
	s.Left = e.Left
	if e.Left == 0 {
		return
	}
	s.LastError = e.Reason
	left := s.last() - m.now()
	again := m.now() + max(1, min(left/2, LookEvery))
	if s.LookAt == 0 || again < s.LookAt {
		s.LookAt = again
	}
}
