package poster

import (
	"fmt"
	"slices"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
)

// change makes a partition of deadline 2 another one, from the head's state on.
func (s *sim) change(index int, change func(*simPart)) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	st := s.chain.states[s.chain.last()]
	parts := slices.Clone(st.parts[2])
	change(&parts[index])
	st.parts[2] = parts
}

// TestSectorsAreTerminatedBetweenChallengeAndSubmission: the kept proof answers
// another question than the chain's, and is made again.
func TestSectorsAreTerminatedBetweenChallengeAndSubmission(t *testing.T) {
	for _, at := range []abi.ChainEpoch{33, 40, 43} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			simulate(t, oneDeadline(2), func(s *sim) {
				s.start()
				s.until(at)
				s.change(1, func(p *simPart) { p.all = []uint64{2} }) // 3 is terminated
				s.until(110)
			})
		})
	}
}

// TestAPartitionEndsBetweenChallengeAndSubmission: all of its sectors are
// terminated; the other is proven without it.
func TestAPartitionEndsBetweenChallengeAndSubmission(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.start()
		s.until(41)
		s.change(1, func(p *simPart) { p.all = nil })
		s.until(110)
		if got := s.chain.state().proven[window{0, 2}]; got[0] != 1 {
			t.Errorf("proven %v", got)
		}
	})
}

// TestSectorsAreAddedBetweenChallengeAndSubmission: a partition grew.
func TestSectorsAreAddedBetweenChallengeAndSubmission(t *testing.T) {
	simulate(t, map[uint64][][]uint64{2: {{0}, {2, 3}}}, func(s *sim) {
		s.start()
		s.until(42)
		s.change(0, func(p *simPart) { p.all = []uint64{0, 1} })
		s.until(110)
	})
}
