package history

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, b *Book, steps ...Step) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, s := range steps {
		b.Note(s)
	}
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

var day = time.Date(2026, 3, 14, 23, 59, 0, 0, time.UTC)

func TestStepsAndEnds(t *testing.T) {
	b := New(filepath.Join(t.TempDir(), "history"), slog.Default())
	if list, err := b.Steps(t.Context(), Query{}); err != nil || list != nil {
		t.Fatalf("an empty book: %v, %v", list, err)
	}
	write(t, b,
		Step{At: day, Miner: 1000, PeriodStart: 2880, Deadline: 3, What: "proof", Took: time.Minute, Task: "0f"},
		Step{At: day.Add(2 * time.Minute), Miner: 1000, PeriodStart: 2880, Deadline: 3, What: Ended, Verdict: "missed"},
		Step{At: day.Add(3 * time.Minute), Miner: 1001, PeriodStart: 2900, Deadline: 3, What: Ended, Verdict: "proven"},
		Step{At: day.Add(4 * time.Minute), Miner: 1000, PeriodStart: 2880, Deadline: 3, What: Ended, Verdict: "proven"},
	)
	miner, period, deadline := uint64(1000), int64(2880), uint64(3)
	steps, err := b.Steps(t.Context(), Query{Miner: &miner, PeriodStart: &period, Deadline: &deadline})
	if err != nil || len(steps) != 3 || steps[0].Took != time.Minute || steps[0].Task != "0f" {
		t.Fatalf("steps over midnight: %+v, %v", steps, err)
	}
	ends, err := b.Ends(t.Context(), Query{Since: day})
	if err != nil || len(ends) != 2 || ends[0].Miner != 1001 || ends[1].Verdict != "proven" {
		t.Fatalf("ends: %+v, %v", ends, err)
	}
	if ends, err := b.Ends(t.Context(), Query{Since: day.AddDate(0, 2, 0)}); err != nil || len(ends) != 0 {
		t.Fatalf("ends of later: %+v, %v", ends, err)
	}
}

// TestACutLineCostsItself: a crash in the middle of a line, then a restart.
func TestACutLineCostsItself(t *testing.T) {
	dir, day := t.TempDir(), time.Now()
	b := New(dir, slog.Default())
	write(t, b, Step{At: day, Miner: 1, What: "a"})
	file := filepath.Join(dir, stepsFile(day))
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(whole, whole[:len(whole)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, b, Step{At: day, Miner: 1, What: "b"})
	steps, err := b.Steps(t.Context(), Query{})
	if err != nil || len(steps) != 2 || steps[1].What != "b" {
		t.Fatalf("%+v, %v", steps, err)
	}
}

// TestNobodyWaitsForTheBook: without a writer, on a folder that cannot be
// written, notes are lost and counted.
func TestNobodyWaitsForTheBook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := New(filepath.Join(file, "below"), slog.New(slog.DiscardHandler))
	for range queued + 7 {
		b.Note(Step{At: day, What: "x"})
	}
	if b.Lost() != 7 {
		t.Fatalf("lost %d", b.Lost())
	}
	write(t, b, Step{At: day})
	if b.Lost() < 8 {
		t.Error("an unwritten note is not counted")
	}
}

func TestOldFilesGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := New(dir, slog.Default())
		now := time.Now()
		write(t, b, Step{At: now.AddDate(0, 0, -20), What: Ended}, Step{At: now.AddDate(-2, 0, 0), What: Ended}, Step{At: now, What: "new"})
		b.prune(now)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 { // steps of today, ends of twenty days ago
			t.Fatalf("%v, %v", entries, err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"what\":\"x\"}\n{\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stepsFile(day)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(dir, slog.Default()).Steps(t.Context(), Query{}); err != nil && len(text) < maxLine {
			t.Fatal(err)
		}
	})
}
