package poster

import (
	"testing"
	"testing/synctest"

	"wdpost/internal/condition"
)

// TestAWrongClockAtTheStartCostsNoWindow: six heads pass before the clock is found
// wrong. The window that is open then was over by it, and stayed so.
func TestAWrongClockAtTheStartCostsNoWindow(t *testing.T) {
	simulate(t, map[uint64][][]uint64{1: sectorsOf(0, 1)}, func(s *sim) {
		s.genesis = s.genesis.Add(-100 * simDelay)
		s.reopened = true // it ended unsure
		s.start()
		s.until(110)
		if s.log.count("no head came since epoch") == 0 {
			t.Error("the clock ended nothing")
		}
	})
}

// TestAWrongClockIsSeenThroughTipsetsThatGrow: on a real network most epochs bring
// more than one head of the same height. The watch over the clock began anew at each.
func TestAWrongClockIsSeenThroughTipsetsThatGrow(t *testing.T) {
	simulate(t, map[uint64][][]uint64{3: sectorsOf(0, 1)}, func(s *sim) {
		s.genesis = s.genesis.Add(-100 * simDelay)
		s.reopened = true
		s.start()
		for s.chain.head().Height < 110 && !t.Failed() {
			s.tick()
			head := s.chain.head()
			s.poster.OnHead(Head{TipSet: head, RevertedFrom: head.Height})
			synctest.Wait()
		}
		if s.stood[condition.ClockUntrusted] == "" {
			t.Error("nobody is told")
		}
	})
}
