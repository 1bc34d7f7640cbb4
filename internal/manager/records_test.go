package manager

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"wdpost/internal/deadline"
	"wdpost/internal/message"
	"wdpost/internal/poster"
)

// contextUntil is a context that ends when a look at done succeeds, looked at
// after everything else waits.
func contextUntil(t *testing.T, done func() bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for !done() {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	return ctx, cancel
}

// TestPrune: the ledger is swept every six hours of what ended a month ago.
func TestPrune(t *testing.T) {
	w := build(t, "", "")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go w.records.run(ctx)
		start := time.Now()
		time.Sleep(13 * time.Hour)
		cancel()
		synctest.Wait()
		if len(w.ledger.pruned) != 2 {
			t.Fatalf("pruned %d times in 13 hours", len(w.ledger.pruned))
		}
		if before := w.ledger.pruned[0]; start.Add(ledgerSweep).Sub(before).Round(time.Hour) != ledgerKeeps {
			t.Errorf("pruned before %s", before)
		}
	})
}

// TestOutcomesAreCounted: what the poster tells is counted, with the margin of
// what is proven.
func TestOutcomesAreCounted(t *testing.T) {
	w := build(t, "", "")
	w.poster.Outcomes(poster.Outcome{What: poster.RunEnded, Miner: 1008, Verdict: deadline.Proven, Skipped: 2, Margin: 7 * time.Minute})
	w.poster.Outcomes(poster.Outcome{What: poster.MessagePushed, Miner: 1008})
	w.poster.Outcomes(poster.Outcome{What: poster.MessageEnded, Miner: 1008, Message: message.Outcome{State: message.Dropped}})
	name := subject(1008)
	if got := testutil.ToFloat64(w.figures.deadlines.WithLabelValues(name, "proven")); got != 1 {
		t.Errorf("%v proven deadlines", got)
	}
	if got := testutil.ToFloat64(w.figures.skipped.WithLabelValues(name)); got != 2 {
		t.Errorf("%v skipped sectors", got)
	}
	for event, want := range map[string]float64{"pushed": 1, "dropped": 1, "landed": 0} {
		if got := testutil.ToFloat64(w.figures.messages.WithLabelValues(name, deadline.PoSt.String(), event)); got != want {
			t.Errorf("%v messages %s, want %v", got, event, want)
		}
	}
	var margin dto.Metric
	if err := w.figures.margin.WithLabelValues(name).(prometheus.Histogram).Write(&margin); err != nil {
		t.Fatal(err)
	}
	if h := margin.GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 420 {
		t.Errorf("margins %v", h)
	}
}
