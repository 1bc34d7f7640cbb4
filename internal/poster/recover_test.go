package poster

import (
	"fmt"
	"slices"
	"testing"
)

func TestRecoveries(t *testing.T) {
	faulty := func(s *sim) { // deadline 3 lost partitions 0 and 1 yesterday
		st := s.chain.states[0]
		for i := range 2 {
			st.parts[3][i].faulty = slices.Clone(st.parts[3][i].all)
		}
	}
	parts := map[uint64][][]uint64{3: sectorsOf(0, 3)}
	t.Run("declared and proven", func(t *testing.T) {
		simulate(t, parts, func(s *sim) {
			faulty(s)
			s.checker.lose(map[uint64]bool{2: true})
			s.start() // at 21, in deadline 1: two before 3, whose cut-off is 30
			s.until(150)
			if n := s.sent("recover"); n != 2 { // sector 2 is back by the next period, once it is found
				t.Logf("%d declarations", n)
			}
			if got := s.chain.state().parts[3]; len(got[0].faulty) > 0 || !slices.Equal(got[1].faulty, []uint64{2}) {
				t.Errorf("partitions %+v", got)
			}
			if s.log.count("declare faults recovered message published") < 1 {
				t.Error("the log does not tell of the declaration")
			}
		})
	})
	t.Run("a store comes back before the cut-off", func(t *testing.T) {
		simulate(t, map[uint64][][]uint64{4: sectorsOf(0, 1)}, func(s *sim) {
			s.chain.states[0].parts[4][0].faulty = []uint64{0, 1}
			s.checker.lose(map[uint64]bool{0: true, 1: true})
			s.conf.MaxRecoverSectorLimit = 5
			s.start()
			s.until(48) // deadline 2 opened at 40; the cut-off of 4 is at 50
			s.checker.lose(nil)
			s.until(300)
			if got := s.chain.state().parts[4]; len(got[0].faulty) > 0 {
				t.Errorf("partitions %+v", got)
			}
		})
	})
	t.Run("limits", func(t *testing.T) {
		simulate(t, parts, func(s *sim) {
			faulty(s)
			s.conf.MaxRecoverSectorLimit = 3
			s.conf.MaxPartitionsPerRecoveryMessage = 1
			s.start()
			s.until(30)
			if n := s.sent("recover"); n != 2 {
				t.Errorf("%d declarations, want one for each partition", n)
			}
			s.until(60)
			if got := s.chain.state().parts[3]; len(got[0].recovering) != 2 || len(got[1].recovering) != 1 {
				t.Errorf("partitions %+v", got)
			}
		})
	})
	for _, apply := range []bool{false, true} {
		t.Run(fmt.Sprintf("push fails, apply=%v, and the manager is killed", apply), func(t *testing.T) {
			simulate(t, parts, func(s *sim) {
				faulty(s)
				s.sender.set(failFirst("push", 1, apply))
				s.start()
				s.kill()
				s.start()
				s.until(140)
				if n := s.sent("recover"); n != 1 {
					t.Errorf("%d declarations", n)
				}
			})
		})
	}
	t.Run("failed receipt", func(t *testing.T) {
		simulate(t, parts, func(s *sim) {
			faulty(s)
			s.start()
			s.chain.mu.Lock()
			s.chain.pool[0].outcome = 7
			s.chain.mu.Unlock()
			s.until(32)
			if n := s.sent("recover-1008-0-3"); n != 2 {
				t.Errorf("%d declarations, want the failed one and another", n)
			}
			s.until(140)
			if got := s.chain.state().parts[3]; len(got[0].faulty)+len(got[1].faulty) > 0 {
				t.Errorf("partitions %+v", got)
			}
		})
	})
	t.Run("not twice over a restart", func(t *testing.T) {
		simulate(t, map[uint64][][]uint64{3: sectorsOf(0, 1)}, func(s *sim) {
			s.chain.states[0].parts[3][0].faulty = []uint64{0, 1}
			s.chain.hold = true
			s.checker.lose(map[uint64]bool{1: true})
			s.start() // declares sector 0, which waits in the pool
			s.kill()
			s.checker.lose(nil)
			s.start() // declares sector 1 only
			s.until(25)
			s.ledger.inner.Lock()
			for _, m := range s.ledger.messages {
				if len(m.Sectors) != 1 {
					t.Errorf("message %s declares %v", m.ID, m.Sectors)
				}
			}
			s.ledger.inner.Unlock()
			s.chain.mu.Lock()
			s.chain.hold = false
			s.chain.mu.Unlock()
			s.until(140)
			if got := s.chain.state().parts[3]; len(got[0].faulty) > 0 {
				t.Errorf("partitions %+v", got)
			}
		})
	})
}
