package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/task"
)

// rightProof is what the verifier of these tests accepts.
var rightProof = []byte("right")

type verifier struct{}

func (verifier) VerifyWindowPoSt(_ context.Context, _ task.Question, a task.Answer) error {
	if len(a.Proofs) > 0 && !bytes.Equal(a.Proofs[0], rightProof) {
		return fmt.Errorf("%w: not the right proof", task.ErrBadAnswer)
	}
	return nil
}

func question(n int) task.Question {
	return task.Question{
		MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", AllowSkip: true,
		Replicas: []task.Replica{{SectorID: uint64(n)}, {SectorID: uint64(n) + 1}},
	}
}

var right = task.Answer{Proofs: [][]byte{rightProof}}

// world is a database with some masters, in a bubble of simulated time.
type world struct {
	t     *testing.T
	ctx   context.Context
	store queue.Store // without faults
	path  string
	wg    sync.WaitGroup

	mu    sync.Mutex
	fault queuetest.Fault
}

// simulate runs a test in simulated time against an SQLite file.
func simulate(t *testing.T, test func(w *world)) {
	path := filepath.Join(t.TempDir(), "queue.db")
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{t: t, ctx: ctx, store: store, path: path}
		defer func() { // also after a failed check
			cancel()
			w.wg.Wait()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(w)
	})
}

// setFault installs or, with nil, removes a fault.
func (w *world) setFault(f queuetest.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = f
}

// master starts a queue on the database. Its context ends it.
func (w *world) master(ctx context.Context, change ...func(*queue.Config)) *queue.Queue {
	w.t.Helper()
	store := queuetest.Faulty{Store: w.store, Fault: func(method string) (bool, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.fault == nil {
			return true, nil
		}
		return w.fault(method)
	}}
	// Polls are what simulated time costs real time for.
	cfg := queue.Config{MaxRetry: 2, Verifier: verifier{}, Log: slog.New(slog.DiscardHandler), PollInterval: time.Second}
	for _, c := range change {
		c(&cfg)
	}
	q, err := queue.New(ctx, store, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.wg.Go(func() { q.Run(ctx) })
	return q
}

// slave claims and answers until its context ends, and never gives up on an
// error of the master.
func (w *world) slave(ctx context.Context, q *queue.Queue, name string, prove func(task.Assignment) (task.Answer, error)) {
	me := queue.Slave{Name: name, Concurrent: 1}
	again := func(do func() error) {
		for ctx.Err() == nil {
			err := do()
			if err == nil || errors.Is(err, task.ErrLost) || errors.Is(err, task.ErrBadAnswer) {
				return
			}
			time.Sleep(time.Second)
		}
	}
	w.wg.Go(func() {
		for ctx.Err() == nil {
			poll, cancel := context.WithTimeout(ctx, 10*time.Second)
			a, err := q.Claim(poll, me, task.Want{})
			cancel()
			if errors.Is(err, task.ErrNoTask) {
				continue
			}
			if err != nil {
				time.Sleep(time.Second)
				continue
			}
			beating, stop := context.WithCancel(ctx)
			w.wg.Go(func() {
				for beating.Err() == nil {
					_, _ = q.Heartbeat(beating, me, []queue.Beat{{Lease: a.Lease}})
					select {
					case <-time.After(5 * time.Second):
					case <-beating.Done():
					}
				}
			})
			answer, err := prove(a)
			if ctx.Err() != nil { // killed meanwhile
				stop()
				return
			}
			if err != nil {
				again(func() error { return q.Fail(ctx, name, a.Lease, task.VerdictOf(err)) })
			} else {
				again(func() error { return q.Finish(ctx, name, a.Lease, answer) })
			}
			stop()
		}
	})
}

// after is a prover that takes a while, or until the test is over.
func (w *world) after(d time.Duration, a task.Answer, err error) func(task.Assignment) (task.Answer, error) {
	return func(task.Assignment) (task.Answer, error) {
		select {
		case <-time.After(d):
		case <-w.ctx.Done():
		}
		return a, err
	}
}

func (w *world) wantRight(a task.Answer, err error) {
	w.t.Helper()
	if err != nil || len(a.Proofs) != 1 || !bytes.Equal(a.Proofs[0], rightProof) {
		w.t.Fatalf("answer %+v, %v", a, err)
	}
}

func TestIdleSlaveGetsTaskAtOnce(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		w.slave(w.ctx, q, "a", w.after(7*time.Second, right, nil))
		time.Sleep(3 * time.Second)
		begin := time.Now()
		w.wantRight(q.Ask(w.ctx, question(1)))
		if took := time.Since(begin); took > 7*time.Second+10*time.Millisecond {
			t.Fatalf("a task of 7 s took %v", took)
		}
	})
}

func TestSameQuestionIsAnsweredFromTheStore(t *testing.T) {
	simulate(t, func(w *world) {
		first, stop := context.WithCancel(w.ctx)
		q := w.master(first)
		w.slave(first, q, "a", w.after(time.Second, right, nil))
		w.wantRight(q.Ask(w.ctx, question(1)))
		stop()
		begin := time.Now()
		w.wantRight(w.master(w.ctx).Ask(w.ctx, question(1)))
		if time.Since(begin) > 0 {
			t.Fatal("the stored answer did not come at once")
		}
	})
}

func TestAskerThatReturnsFindsTheAnswer(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		gone, leave := context.WithTimeout(w.ctx, 2*time.Second)
		defer leave()
		if _, err := q.Ask(gone, question(1)); err == nil {
			t.Fatal("an answer without a slave")
		}
		w.slave(w.ctx, q, "a", w.after(time.Second, right, nil))
		time.Sleep(5 * time.Second)
		begin := time.Now()
		w.wantRight(q.Ask(w.ctx, question(1)))
		if time.Since(begin) > 0 {
			t.Fatal("the task was not done meanwhile")
		}
	})
}

func TestDeadSlavesTaskIsRescued(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		doomed, kill := context.WithCancel(w.ctx)
		w.slave(doomed, q, "doomed", w.after(time.Hour, right, nil))
		done := make(chan struct{})
		begin := time.Now()
		go func() {
			defer close(done)
			w.wantRight(q.Ask(w.ctx, question(1)))
		}()
		time.Sleep(40 * time.Second)
		kill()
		w.slave(w.ctx, q, "b", w.after(time.Second, right, nil))
		<-done
		if took := time.Since(begin); took < 50*time.Second || took > 60*time.Second {
			t.Fatalf("rescued and answered after %v", took)
		}
		if got, err := w.store.Show(w.ctx, question(1).ID()); err != nil || got.Attempt != 2 || got.Retries != 1 || got.Slave != "b" {
			t.Fatalf("stored %+v, %v", got, err)
		}
	})
}

func TestSlowSlavesTaskIsRescued(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		w.slave(w.ctx, q, "slow", w.after(20*time.Minute, right, nil))
		go func() {
			time.Sleep(time.Minute)
			w.slave(w.ctx, q, "b", w.after(time.Second, right, nil))
		}()
		begin := time.Now()
		w.wantRight(q.Ask(w.ctx, question(1)))
		if took := time.Since(begin); took < 5*time.Minute || took > 5*time.Minute+5*time.Second {
			t.Fatalf("rescued and answered after %v", took)
		}
	})
}

func TestFailuresUseUpTheRetries(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		calls := 0
		w.slave(w.ctx, q, "a", func(task.Assignment) (task.Answer, error) {
			calls++
			return task.Answer{}, fmt.Errorf("failure %d", calls)
		})
		_, err := q.Ask(w.ctx, question(1))
		var v *task.Verdict
		if !errors.As(err, &v) || calls != 3 || !strings.Contains(err.Error(), "failure 3") {
			t.Fatalf("after %d attempts: %v", calls, err)
		}
		if _, err := q.Ask(w.ctx, question(1)); err == nil || calls != 6 {
			t.Fatalf("asked again, after %d attempts: %v", calls, err)
		}
	})
}

func TestPermanentFailureIsFinal(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		calls := 0
		w.slave(w.ctx, q, "a", func(task.Assignment) (task.Answer, error) {
			calls++
			return task.Answer{}, task.Permanent(errors.New("no such sectors"))
		})
		if _, err := q.Ask(w.ctx, question(1)); task.VerdictOf(err).Kind != task.KindPermanent || calls != 1 {
			t.Fatalf("after %d attempts: %v", calls, err)
		}
	})
}

func TestWrongAnswerIsRefusedAndTheTaskRetried(t *testing.T) {
	for name, wrong := range map[string]task.Answer{
		"wrong proof":       {Proofs: [][]byte{[]byte("wrong")}},
		"of another task":   {Faults: []uint64{77}},
		"empty":             {},
		"proof of nothing":  {Proofs: [][]byte{rightProof}, Faults: []uint64{1, 2}},
		"more than a proof": {Proofs: [][]byte{rightProof, rightProof}},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				q := w.master(w.ctx)
				calls := 0
				w.slave(w.ctx, q, "a", func(task.Assignment) (task.Answer, error) {
					if calls++; calls == 1 {
						return wrong, nil
					}
					return right, nil
				})
				w.wantRight(q.Ask(w.ctx, question(1)))
				if calls != 2 {
					t.Fatalf("%d attempts", calls)
				}
			})
		})
	}
}

func TestForgedLeaseIsRefused(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		go q.Ask(w.ctx, question(1))
		a, err := q.Claim(w.ctx, queue.Slave{Name: "a"}, task.Want{})
		if err != nil {
			t.Fatal(err)
		}
		forged := task.Lease{ID: a.ID, Attempt: a.Attempt + 1}
		if err := q.Finish(w.ctx, "b", forged, right); !errors.Is(err, task.ErrLost) {
			t.Errorf("finish: %v", err)
		}
		if err := q.Finish(w.ctx, "b", task.Lease{ID: "unknown", Attempt: 1}, right); !errors.Is(err, task.ErrLost) {
			t.Errorf("finish of an unknown task: %v", err)
		}
		if err := q.Fail(w.ctx, "b", forged, task.VerdictOf(errors.New("x"))); !errors.Is(err, task.ErrLost) {
			t.Errorf("fail: %v", err)
		}
		if pulse, err := q.Heartbeat(w.ctx, queue.Slave{Name: "b"}, []queue.Beat{{Lease: forged}}); err != nil || len(pulse.Lost) != 1 {
			t.Errorf("heartbeat: %v, %v", pulse, err)
		}
		if err := q.Finish(w.ctx, "a", a.Lease, right); err != nil {
			t.Error(err)
		}
		if err := q.Finish(w.ctx, "a", a.Lease, right); err != nil {
			t.Errorf("finish again: %v", err)
		}
	})
}

func TestSkippedSectors(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		w.slave(w.ctx, q, "a", w.after(0, task.Answer{Proofs: right.Proofs, Faults: []uint64{2}}, nil))
		a, err := q.Ask(w.ctx, question(1))
		if err != nil || len(a.Faults) != 1 || len(a.Proofs) != 1 {
			t.Fatalf("with skipping: %+v, %v", a, err)
		}
		strict := question(1)
		strict.AllowSkip = false
		if a, err = q.Ask(w.ctx, strict); err != nil || len(a.Faults) != 1 || len(a.Proofs) != 0 {
			t.Fatalf("without skipping: %+v, %v", a, err)
		}
	})
}

// What one slave cannot read another may: the better answer wins, and the one
// in hand when none comes in time.
func TestSkippedSectorsAreTriedElsewhere(t *testing.T) {
	partial := func(n ...uint64) task.Answer { return task.Answer{Proofs: right.Proofs, Faults: n} }
	for name, tc := range map[string]struct {
		answers   map[string]task.Answer // by slave; one without never answers
		remaining time.Duration
		want      int // sectors left out
		within    time.Duration
	}{
		"the other reads all":       {map[string]task.Answer{"a": partial(1), "b": right}, time.Hour, 0, 40 * time.Second},
		"the other reads less":      {map[string]task.Answer{"a": partial(1), "b": partial(1, 2)}, time.Hour, 1, 40 * time.Second},
		"the other never answers":   {map[string]task.Answer{"a": partial(1), "b": {}}, time.Hour, 1, 80 * time.Second},
		"the window closes soon":    {map[string]task.Answer{"a": partial(1), "b": right}, time.Minute, 1, 20 * time.Second},
		"there is no other":         {map[string]task.Answer{"a": partial(1)}, time.Hour, 1, 20 * time.Second},
		"no window, the other does": {map[string]task.Answer{"a": partial(1), "b": right}, 0, 0, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				q := w.master(w.ctx)
				for _, slave := range []string{"a", "b"} {
					answer, ok := tc.answers[slave]
					if !ok {
						continue
					}
					w.slave(w.ctx, q, slave, func(task.Assignment) (task.Answer, error) {
						if slave == "b" && len(answer.Proofs) == 0 {
							<-w.ctx.Done()
							return task.Answer{}, w.ctx.Err()
						}
						time.Sleep(10 * time.Second)
						return answer, nil
					})
					if slave == "a" {
						time.Sleep(time.Millisecond) // a is first in the queue
					}
				}
				time.Sleep(5 * time.Second)
				three := question(1)
				three.Replicas = append(three.Replicas, task.Replica{SectorID: 3})
				if tc.remaining > 0 {
					three.NotAfter = time.Now().Add(tc.remaining).Unix()
				}
				begin := time.Now()
				a, err := q.Ask(w.ctx, three)
				if err != nil || len(a.Proofs) != 1 || len(a.Faults) != tc.want {
					t.Fatalf("answer %+v, %v", a, err)
				}
				if took := time.Since(begin); took > tc.within {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}
