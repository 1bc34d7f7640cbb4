package poster

import "testing"

// TestNothingReadInTheFirstCopies: where not one first copy of a message's sectors
// can be read, the other copies are asked for, as they are where some can.
func TestNothingReadInTheFirstCopies(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.checker.copies = map[uint64][]Files{}
		for n := range uint64(100) {
			s.checker.copies[n] = []Files{{CacheDir: "/bad", SealedFile: "/bad/s"}, {CacheDir: "/good", SealedFile: "/good/s"}}
		}
		s.prover.badDir = "/bad"
		s.start()
		s.until(110)
		if got := s.chain.state().parts[2][0].faulty; len(got) > 0 {
			t.Errorf("%v are faulty", got)
		}
	})
}
