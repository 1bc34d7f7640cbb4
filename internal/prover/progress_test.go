package prover_test

import (
	"context"
	"log/slog"
	"testing"

	"wdpost/internal/prover"
)

// onLog calls f at each line of the log.
type onLog struct {
	slog.Handler
	f func(message string)
}

func (h onLog) Enabled(context.Context, slog.Level) bool { return true }
func (h onLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h onLog) Handle(_ context.Context, r slog.Record) error {
	h.f(r.Message)
	return nil
}

// TestProgress looks at a question from within: while its sectors are read,
// when they are, when the proof is made, and after the answer.
func TestProgress(t *testing.T) {
	var b *bench
	seen := map[string]prover.Progress{}
	look := func(when string) {
		p, ok := b.engine.Progress(b.question.ID())
		if !ok {
			t.Errorf("%s: the question is unknown", when)
		}
		seen[when] = p
	}
	b = newBench(t, 2, func(cfg *prover.Config) {
		cfg.Reads = 1 // one after the other
		cfg.Log = slog.New(onLog{slog.DiscardHandler, func(message string) {
			if message == "sectors read" || message == "proof made" {
				look(message)
			}
		}})
	})
	b.reader.before = func(context.Context, uint64) {
		if b.reader.calls.Load() == 1 {
			look("first sector")
		}
	}
	if _, err := b.engine.ProveWindowPoSt(t.Context(), b.question); err != nil {
		t.Fatal(err)
	}
	for when, want := range map[string]string{
		"first sector": "reading sectors 0%", "sectors read": "reading sectors 100%", "proof made": "proving 100%",
	} {
		if got := seen[when].String(); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	if _, ok := b.engine.Progress(b.question.ID()); ok {
		t.Error("an answered question is still under way")
	}
}
