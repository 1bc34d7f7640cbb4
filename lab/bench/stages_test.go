package bench

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var errBroken = errors.New("broken")

// script is a run of three stages that note what was run; the one named fails.
type script struct {
	ran     []string
	fails   string
	missing string // stage whose product is gone
}

func (s *script) stages() []Stage {
	var out []Stage
	for _, name := range []string{"one", "two", "three"} {
		out = append(out, Stage{
			Name:    name,
			Lasting: func() bool { return s.missing != name },
			Run: func(context.Context) (Usage, error) {
				if s.fails == name {
					return Usage{}, errBroken
				}
				s.ran = append(s.ran, name)
				return Usage{PeakAnon: 7}, nil
			},
		})
	}
	return out
}

func TestRecordContinues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	log := slog.New(slog.DiscardHandler)
	run := func(s *script) error {
		t.Helper()
		record, err := OpenRecord(path, "run")
		if err != nil {
			t.Fatal(err)
		}
		return record.Continue(t.Context(), s.stages(), log)
	}
	for _, step := range []struct {
		name   string
		script script
		want   []string
		broken bool
	}{
		{"the second fails", script{fails: "two"}, []string{"one"}, true},
		{"it goes on with the second", script{}, []string{"two", "three"}, false},
		{"all is done", script{}, nil, false},
		{"what the second made is gone", script{missing: "two"}, []string{"two", "three"}, false},
		{"what the first made is gone and the third fails", script{missing: "one", fails: "three"}, []string{"one", "two"}, true},
		{"it goes on with the third", script{}, []string{"three"}, false},
	} {
		s := step.script
		err := run(&s)
		if errors.Is(err, errBroken) != step.broken || err != nil && !step.broken {
			t.Errorf("%s: %v", step.name, err)
		}
		if !slices.Equal(s.ran, step.want) {
			t.Errorf("%s: ran %v, want %v", step.name, s.ran, step.want)
		}
	}
	record, err := OpenRecord(path, "run")
	if err != nil || len(record.Stages) != 3 || record.Stages[2].Usage.PeakAnon != 7 {
		t.Errorf("record %+v, %v", record, err)
	}
}

func TestRecordRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	record, err := OpenRecord(path, "run")
	if err != nil {
		t.Fatal(err)
	}
	if err := record.write(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRecord(path, "other"); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("the record of another run: %v", err)
	}
	if err := os.WriteFile(path, []byte(`{"of":"ru`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRecord(path, "run"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged record: %v", err)
	}
}

// TestFull proves a partition of one sector, loses the proof, and makes that
// stage and those after it again.
func TestFull(t *testing.T) {
	if testing.Short() {
		t.Skip("makes keys and proves")
	}
	place := testPlace(t)
	cfg := FullConfig{Place: place, Sectors: 1, Log: slog.New(slog.DiscardHandler)}
	if err := Full(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	proof := filepath.Join(place.Dir, "full-partition-1.proof")
	before, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	key := rawPath(place.KeyDir(), scaleSetup(1))
	made, err := os.Stat(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(proof); err != nil {
		t.Fatal(err)
	}
	if err := Full(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(proof)
	if err != nil || len(after) != len(before) {
		t.Errorf("the proof made again: %d bytes, %v", len(after), err)
	}
	if again, err := os.Stat(key); err != nil || !again.ModTime().Equal(made.ModTime()) {
		t.Errorf("the key was made again: %v", err)
	}
	if n, err := (&FullConfig{Place: place}).sectors(); err != nil || n != 1 {
		t.Errorf("goes on with %d sectors, %v", n, err)
	}
	cfg.Sectors = 2
	if err := Full(t.Context(), cfg); err == nil {
		t.Error("a run of another size takes the record")
	}
}
