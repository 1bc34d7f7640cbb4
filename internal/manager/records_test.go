package manager

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"wdpost/internal/ledger"
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

// TestOutcomesAreCounted: once for each run, with the margin of proven ones.
func TestOutcomesAreCounted(t *testing.T) {
	w := build(t, "", "")
	close := time.Now().Add(10 * time.Minute)
	run := ledger.Run{RunKey: ledger.RunKey{Miner: 1008, Deadline: 3}, ClosesAt: close}
	if err := w.records.OpenRun(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.records.EndRun(t.Context(), run.RunKey, ledger.RunEnd{Verdict: "proven", Skipped: 2, At: close.Add(-7 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	name := subject(1008)
	if got := testutil.ToFloat64(w.figures.deadlines.WithLabelValues(name, "proven")); got != 1 {
		t.Errorf("%v proven deadlines", got)
	}
	if got := testutil.ToFloat64(w.figures.skipped.WithLabelValues(name)); got != 2 {
		t.Errorf("%v skipped sectors", got)
	}
	var margin dto.Metric
	if err := w.figures.margin.WithLabelValues(name).(prometheus.Histogram).Write(&margin); err != nil {
		t.Fatal(err)
	}
	if h := margin.GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 420 {
		t.Errorf("margins %v", h)
	}
}
