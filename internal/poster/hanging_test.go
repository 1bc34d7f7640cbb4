package poster

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/ledger"
)

// hangingLedger does not come back from some calls while it hangs, whatever
// their context says.
type hangingLedger struct {
	*memLedger
	mu      sync.Mutex
	hang    chan struct{} // nil: it works
	methods string        // "" for all
}

func (l *hangingLedger) wait(op string) {
	l.mu.Lock()
	hang := l.hang
	if l.methods != "" && !strings.Contains(l.methods, op) {
		hang = nil
	}
	l.mu.Unlock()
	if hang != nil {
		<-hang
	}
}

func (l *hangingLedger) set(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case on && l.hang == nil:
		l.hang = make(chan struct{})
	case !on && l.hang != nil:
		close(l.hang)
		l.hang = nil
	}
}

func (l *hangingLedger) OpenRun(ctx context.Context, r ledger.Run) error {
	l.wait("OpenRun")
	return l.memLedger.OpenRun(ctx, r)
}

func (l *hangingLedger) EndRun(ctx context.Context, k ledger.RunKey, e ledger.RunEnd) error {
	l.wait("EndRun")
	return l.memLedger.EndRun(ctx, k, e)
}

func (l *hangingLedger) Runs(ctx context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	l.wait("Runs")
	return l.memLedger.Runs(ctx, q)
}

func (l *hangingLedger) PutProof(ctx context.Context, p ledger.Proof) error {
	l.wait("PutProof")
	return l.memLedger.PutProof(ctx, p)
}

func (l *hangingLedger) Proofs(ctx context.Context, k ledger.RunKey) ([]ledger.Proof, error) {
	l.wait("Proofs")
	return l.memLedger.Proofs(ctx, k)
}

func (l *hangingLedger) PutMessage(ctx context.Context, m ledger.Message) error {
	l.wait("PutMessage")
	return l.memLedger.PutMessage(ctx, m)
}

func (l *hangingLedger) Messages(ctx context.Context, k ledger.RunKey) ([]ledger.Message, error) {
	l.wait("Messages")
	return l.memLedger.Messages(ctx, k)
}

// TestPosterF2LedgerHangs: a ledger that hangs, in any call and without
// honouring its context, costs no window, no recovery and no orderly stop.
func TestPosterF2LedgerHangs(t *testing.T) {
	for _, methods := range []string{"", "OpenRun", "Runs", "Proofs Messages", "PutProof PutMessage", "EndRun"} {
		t.Run("hanging="+methods, func(t *testing.T) {
			simulate(t, map[uint64][][]uint64{2: sectorsOf(0, 4), 3: sectorsOf(20, 1)}, func(s *sim) {
				s.chain.states[0].parts[3][0].faulty = []uint64{20, 21}
				s.noLedger = true
				hung := &hangingLedger{memLedger: s.ledger, methods: methods}
				hung.set(true)
				defer hung.set(false)
				s.adjust = func(cfg *Config) { cfg.Ledger = hung }
				s.start()
				s.until(48)
				if got := s.chain.state().proven[window{0, 2}]; len(got) != 4 {
					t.Errorf("proven at 48: %v", got)
				}
				if got := s.sent("recover"); got != 1 {
					t.Errorf("%d declarations", got)
				}
				if methods == "" && s.stood[condition.LedgerBehind] == "" {
					t.Error("nobody is told that the ledger is away")
				}
				began := time.Now()
				s.kill()
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("the stop took %v", took)
				}
			})
		})
	}
}
