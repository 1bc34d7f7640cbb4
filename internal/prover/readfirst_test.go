package prover_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/prover"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// backend is a processor as a function.
type backend func(ctx context.Context, q task.Question) (task.Answer, error)

func (b backend) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return b(ctx, q)
}

// readFirst is a bench whose proofs a backend makes.
func readFirst(t *testing.T, n uint64, b backend, edit func(*prover.ReadFirstConfig)) (*prover.ReadFirst, *bench) {
	t.Helper()
	bed := &bench{reader: &reader{sectors: map[uint64]sector{}, fail: map[uint64]error{}}}
	bed.question = task.Question{MinerID: 1000, ProofType: post.Window2KiBV1_1.String(), Seed: task.Hash32{1, 2, 3}, AllowSkip: true}
	for i := uint64(1); i <= n; i++ {
		s := makeSector(t, i)
		bed.reader.sectors[i] = s
		bed.question.Replicas = append(bed.question.Replicas, task.Replica{SectorID: i, CommR: s.commR})
	}
	quiet := slog.New(slog.DiscardHandler)
	cfg := prover.ReadFirstConfig{
		Survey:  prover.NewSurvey(prover.SurveyConfig{Reader: bed.reader, PartitionSectors: 1}),
		Backend: b, Pace: prover.OpenPace("", quiet), Log: quiet,
	}
	if edit != nil {
		edit(&cfg)
	}
	return prover.NewReadFirst(cfg), bed
}

// A processor is given only sectors that were read here, with their vanilla
// proofs; the others are faults in the same pass, with their reasons.
func TestBackendGetsOnlyWhatWasRead(t *testing.T) {
	var asked task.Question
	r, bed := readFirst(t, 4, func(_ context.Context, q task.Question) (task.Answer, error) {
		asked = q
		return task.Answer{Proofs: [][]byte{{1}}}, nil
	}, nil)
	bed.reader.fail[2] = &task.FaultError{Kind: task.FaultStore, Store: "/mnt/dead", Err: errors.New("timed out")}
	bed.reader.edit = func(n uint64, v *post.Vanilla) *post.Vanilla {
		if n == 3 {
			v.Inclusion[0].Leaf.SetUint64(7) // a flipped bit
		}
		return v
	}
	a, err := r.ProveWindowPoSt(t.Context(), bed.question)
	if err != nil || len(a.Proofs) != 1 || !slices.Equal(a.Faults, []uint64{2, 3}) {
		t.Fatalf("%+v, %v", a, err)
	}
	if e := a.Elsewhere(); !slices.Equal(e, []uint64{2}) {
		t.Errorf("another machine may read %v", e)
	}
	if len(asked.Replicas) != 2 || asked.Replicas[0].SectorID != 1 || asked.Replicas[1].SectorID != 4 {
		t.Fatalf("the processor was asked for %+v", asked.Replicas)
	}
	shape, _ := merkle.ShapeOf(2 << 10)
	if _, err := post.DecodeVanilla(shape, post.Window2KiBV1_1.Challenges(), asked.Replicas[1].Vanilla); err != nil {
		t.Error(err)
	}
	if bed.question.Replicas[0].Vanilla != nil {
		t.Error("the question of the caller was changed")
	}
	for n := uint64(1); n <= 4; n++ {
		bed.reader.fail[n] = errors.New("gone")
	}
	asked = task.Question{}
	if a, err = r.ProveWindowPoSt(t.Context(), bed.question); err != nil || len(a.Faults) != 4 || len(a.Proofs) != 0 || asked.Replicas != nil {
		t.Errorf("with nothing to read: %+v, %v, asked %+v", a, err, asked.Replicas)
	}
}

// A processor that hangs is given up after the time that proofs take, told by
// those it made before; waiting for a free place is not hanging.
func TestHangingBackendIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := false
		r, bed := readFirst(t, 2, func(ctx context.Context, q task.Question) (task.Answer, error) {
			if hang {
				<-ctx.Done()
				return task.Answer{}, context.Cause(ctx)
			}
			time.Sleep(4 * time.Minute)
			return task.Answer{Proofs: [][]byte{{1}}}, nil
		}, nil)
		bed.question.NotAfter = time.Now().Add(100 * time.Minute).Unix()
		done := make(chan error, 2)
		for range 2 { // the second waits for the place of the first
			go func() {
				_, err := r.ProveWindowPoSt(t.Context(), bed.question)
				done <- err
			}()
		}
		time.Sleep(time.Minute)
		if text, ok := r.Progress(bed.question.ID()); !ok || text != "proving for 1m0s" {
			t.Errorf("progress %q", text)
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		hang = true
		begin := time.Now()
		_, err := r.ProveWindowPoSt(t.Context(), bed.question)
		if took := time.Since(begin); !errors.Is(err, prover.ErrHung) || took != 12*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		// Without any proof made before, half of the window.
		r, bed = readFirst(t, 2, func(ctx context.Context, q task.Question) (task.Answer, error) {
			<-ctx.Done()
			return task.Answer{}, context.Cause(ctx)
		}, nil)
		bed.question.NotAfter = time.Now().Add(20 * time.Minute).Unix()
		begin = time.Now()
		_, err = r.ProveWindowPoSt(t.Context(), bed.question)
		if took := time.Since(begin).Round(time.Minute); !errors.Is(err, prover.ErrHung) || took != 10*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestPaceSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pace.json")
	quiet := slog.New(slog.DiscardHandler)
	p := prover.OpenPace(path, quiet)
	p.Note("x", 2, 10*time.Second)
	for range 3 {
		p.Note("x", 1, 2*time.Second)
	}
	p = prover.OpenPace(path, quiet)
	if d := p.Expect("x", 3); d != 15*time.Second {
		t.Errorf("%v", d)
	}
	for range 8 {
		p.Note("x", 1, 2*time.Second)
	}
	if d := p.Expect("x", 3); d != 6*time.Second {
		t.Errorf("the slow ones are long ago: %v", d)
	}
}

// The sectors of dead stores, however many, do not keep healthy ones waiting:
// only the reader bounds how many are read at once.
func TestDeadStoresDoNotHoldUpHealthySectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{sectors: map[uint64]sector{}, fail: map[uint64]error{}}
		q := task.Question{MinerID: 1000, ProofType: post.Window2KiBV1_1.String(), AllowSkip: true}
		healthy := makeSector(t, 9999)
		for n := range uint64(300) { // the dead ones come first
			q.Replicas = append(q.Replicas, task.Replica{SectorID: n, CommR: task.Hash32{1}})
			r.fail[n] = errors.New("timed out")
		}
		r.sectors[9999] = healthy
		q.Replicas = append(q.Replicas, task.Replica{SectorID: 9999, CommR: healthy.commR})
		begin := time.Now()
		var waited atomic.Int64
		r.before = func(_ context.Context, n uint64) {
			if n == 9999 {
				waited.Store(int64(time.Since(begin)))
				return
			}
			time.Sleep(time.Minute)
		}
		read, err := prover.NewSurvey(prover.SurveyConfig{Reader: r, PartitionSectors: 1}).Read(t.Context(), q)
		if err != nil || len(read.Faults) != 300 || len(read.Reasons) != 1 {
			t.Fatalf("%+v, %v", read, err)
		}
		if took := time.Since(begin); waited.Load() != 0 || took != time.Minute {
			t.Errorf("the healthy sector waited %v, all took %v", time.Duration(waited.Load()), took)
		}
	})
}
