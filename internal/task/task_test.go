package task_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wdpost/internal/task"
)

func question() task.Question {
	q := task.Question{
		MinerID:   1008,
		ProofType: "StackedDrgWindow2KiBV1_2",
		Replicas: []task.Replica{
			{SectorID: 1, CommR: task.Hash32{1}, CacheDir: "/a/cache/s-t01008-1", SealedFile: "/a/sealed/s-t01008-1"},
			{SectorID: 2, CommR: task.Hash32{2}, CacheDir: "/a/cache/s-t01008-2", SealedFile: "/a/sealed/s-t01008-2"},
		},
	}
	for i := range q.Seed {
		q.Seed[i] = byte(i)
	}
	return q
}

// The encoding is a contract between masters of different versions: it must
// never change under the same tag.
func TestIDIsPinned(t *testing.T) {
	if got, want := question().ID(), "634a089405dbc1fdaf1625ada640c4b3"; got != want {
		t.Fatalf("id %s, want %s", got, want)
	}
}

func TestIDDependsOnTheQuestionAlone(t *testing.T) {
	base := question().ID()
	same := map[string]func(*task.Question){
		"order":       func(q *task.Question) { slices.Reverse(q.Replicas) },
		"paths":       func(q *task.Question) { q.Replicas[0].CacheDir = "/elsewhere" },
		"not after":   func(q *task.Question) { q.NotAfter = 99 },
		"allow skip":  func(q *task.Question) { q.AllowSkip = true },
		"description": func(q *task.Question) { q.Partitions = []uint64{1} },
	}
	for name, change := range same {
		q := question()
		change(&q)
		if q.ID() != base {
			t.Errorf("%s changed the id", name)
		}
	}
	other := map[string]func(*task.Question){
		"miner":      func(q *task.Question) { q.MinerID++ },
		"proof type": func(q *task.Question) { q.ProofType = "StackedDrgWindow2KiBV1" },
		"seed":       func(q *task.Question) { q.Seed[31]++ },
		"comm_r":     func(q *task.Question) { q.Replicas[1].CommR[0]++ },
		"sector":     func(q *task.Question) { q.Replicas[1].SectorID = 3 },
		"fewer":      func(q *task.Question) { q.Replicas = q.Replicas[:1] },
	}
	for name, change := range other {
		q := question()
		change(&q)
		if q.ID() == base {
			t.Errorf("%s left the id as it was", name)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, change := range map[string]func(*task.Question){
		"no sectors":   func(q *task.Question) { q.Replicas = nil },
		"twice":        func(q *task.Question) { q.Replicas[1].SectorID = 1 },
		"unknown type": func(q *task.Question) { q.ProofType = "Groth" },
	} {
		q := question()
		change(&q)
		if err := q.Check(); !errors.Is(err, task.ErrBadQuestion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := question().Check(); err != nil {
		t.Error(err)
	}
}

func TestSectorSize(t *testing.T) {
	for name, want := range map[string]uint64{
		"StackedDrgWindow2KiBV1": 2 << 10, "StackedDrgWindow8MiBV1_2": 8 << 20, "StackedDrgWinning512MiBV1": 512 << 20,
		"StackedDrgWindow32GiBV1_2": 32 << 30, "StackedDrgWindow64GiBV1": 64 << 30,
	} {
		if got, err := task.SectorSize(name); got != want || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "StackedDrgWindow", "StackedDrgWindow2KiB", "StackedDrgWindowKiBV1", "StackedDrgWindow2TiBV1", "StackedDrgWindow0KiBV1", "StackedDrgWindow-2KiBV1", "StackedDrgWindow99999GiBV1"} {
		if got, err := task.SectorSize(name); !errors.Is(err, task.ErrBadQuestion) {
			t.Errorf("%q: %d, %v", name, got, err)
		}
	}
}

func TestWithoutLeavesTheQuestionAlone(t *testing.T) {
	q := question()
	if got := q.Without([]uint64{1, 7}); len(got.Replicas) != 1 || got.Replicas[0].SectorID != 2 {
		t.Fatalf("got %+v", got.Replicas)
	}
	if len(q.Replicas) != 2 || q.Replicas[0].SectorID != 1 {
		t.Fatalf("the question changed: %+v", q.Replicas)
	}
}

func TestNarrow(t *testing.T) {
	both := task.Answer{Proofs: [][]byte{{1}}, Faults: []uint64{3}}
	if n := both.Narrow(); n.Proofs != nil || len(n.Faults) != 1 {
		t.Errorf("with faults: %+v", n)
	}
	clean := task.Answer{Proofs: [][]byte{{1}}}
	if n := clean.Narrow(); len(n.Proofs) != 1 {
		t.Errorf("without faults: %+v", n)
	}
}

func TestAnswerCheck(t *testing.T) {
	skip, strict := question(), question()
	skip.AllowSkip = true
	proof := [][]byte{{1}}
	for name, tc := range map[string]struct {
		q  task.Question
		a  task.Answer
		ok bool
	}{
		"proof":                  {strict, task.Answer{Proofs: proof}, true},
		"faults alone":           {strict, task.Answer{Faults: []uint64{1}}, true},
		"all faulty":             {skip, task.Answer{Faults: []uint64{1, 2}}, true},
		"proof and skipped":      {skip, task.Answer{Proofs: proof, Faults: []uint64{2}}, true},
		"skipping not allowed":   {strict, task.Answer{Proofs: proof, Faults: []uint64{2}}, false},
		"nothing":                {skip, task.Answer{}, false},
		"two proofs":             {skip, task.Answer{Proofs: [][]byte{{1}, {2}}}, false},
		"empty proof":            {skip, task.Answer{Proofs: [][]byte{{}}}, false},
		"foreign sector":         {skip, task.Answer{Faults: []uint64{3}}, false},
		"descending faults":      {skip, task.Answer{Faults: []uint64{2, 1}}, false},
		"fault twice":            {skip, task.Answer{Faults: []uint64{2, 2}}, false},
		"proof over no sector":   {skip, task.Answer{Proofs: proof, Faults: []uint64{1, 2}}, false},
		"descending, normalised": {skip, task.Answer{Faults: []uint64{2, 1, 2}}.Normal(), true},
	} {
		if err := tc.a.Check(tc.q); (err == nil) != tc.ok || err != nil && !errors.Is(err, task.ErrBadAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := task.Answer{Proofs: proof, Faults: []uint64{2}}
	if q := a.Proven(skip); len(q.Replicas) != 1 || q.Replicas[0].SectorID != 1 {
		t.Errorf("proven: %+v", q.Replicas)
	}
}

func TestVerdictOf(t *testing.T) {
	cause := errors.New("disk")
	for name, tc := range map[string]struct {
		err   error
		kind  task.VerdictKind
		after time.Duration
	}{
		"naked":         {cause, task.KindRetry, 0},
		"permanent":     {fmt.Errorf("sector 3: %w", task.Permanent(cause)), task.KindPermanent, 0},
		"retry":         {task.Retry(cause, time.Minute), task.KindRetry, time.Minute},
		"aborted":       {task.Aborted(cause), task.KindAborted, 0},
		"cancelled ctx": {fmt.Errorf("prove: %w", context.Canceled), task.KindAborted, 0},
		"bad question":  {fmt.Errorf("x: %w", task.ErrBadQuestion), task.KindPermanent, 0},
	} {
		v := task.VerdictOf(tc.err)
		if v.Kind != tc.kind || v.After != tc.after {
			t.Errorf("%s: %s after %v", name, v.Kind, v.After)
		}
		if errors.Is(tc.err, cause) && !errors.Is(v, cause) {
			t.Errorf("%s: the cause is gone", name)
		}
	}
}

// Whatever happens, a task that is done stays done unless someone reopens it,
// and an illegal event changes nothing.
func TestStateMachine(t *testing.T) {
	events := []task.Event{task.Claimed, task.Answered, task.HandBack, task.GivenUp, task.Expired, task.Cancelled, task.Reopened}
	rapid.Check(t, func(t *rapid.T) {
		s := task.Ready
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			e := rapid.SampledFrom(events).Draw(t, "event")
			next, ok := s.Next(e)
			if !slices.Contains(task.States(), next) {
				t.Fatalf("%s in %s leads to %q", e, s, next)
			}
			if ok && s == task.Done && e != task.Reopened {
				t.Fatalf("%s is legal in %s", e, s)
			}
			if ok {
				s = next
			}
		}
	})
	if _, err := task.ParseState("lost"); err == nil {
		t.Error("unknown state accepted")
	}
}

// The hand-written reader agrees with the general one on everything.
func FuzzHash32(f *testing.F) {
	whole, _ := json.Marshal(task.Hash32{0, 1, 10, 255})
	f.Add(whole)
	f.Add(bytes.ReplaceAll(whole, []byte(","), []byte(" ,\n ")))
	f.Add(bytes.Replace(whole, []byte("10"), []byte("010"), 1))
	f.Add(bytes.Replace(whole, []byte("255"), []byte("256"), 1))
	f.Add(bytes.Replace(whole, []byte("255"), []byte("2.0"), 1))
	f.Add(append(bytes.Clone(whole), ' '))
	f.Add([]byte("[]"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var got task.Hash32
		gotErr := json.Unmarshal(in, &got)
		var ints []uint16
		wantErr := json.Unmarshal(in, &ints)
		if wantErr == nil && len(ints) != len(got) {
			wantErr = errors.New("length")
		}
		for _, v := range ints {
			if v > 255 && wantErr == nil {
				wantErr = errors.New("range")
			}
		}
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, want %v", in, gotErr, wantErr)
		}
		for i, v := range ints {
			if gotErr == nil && got[i] != byte(v) {
				t.Fatalf("%q: byte %d is %d", in, i, got[i])
			}
		}
		if gotErr == nil {
			if out, err := json.Marshal(got); err != nil || json.Unmarshal(out, &got) != nil {
				t.Fatalf("%q does not come back: %s, %v", in, out, err)
			}
		}
	})
}

func FuzzQuestion(f *testing.F) {
	b, _ := json.Marshal(question())
	f.Add(b)
	f.Add([]byte(`{"miner_id":1,"replicas":[{"comm_r":[]}]}`))
	f.Add([]byte(`{"seed":[256]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var q task.Question
		if json.Unmarshal(in, &q) != nil {
			return
		}
		_ = q.Check()
		out, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		var again task.Question
		if err := json.Unmarshal(out, &again); err != nil || again.ID() != q.ID() {
			t.Fatalf("round trip: %v", err)
		}
	})
}
