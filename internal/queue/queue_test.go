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

func TestWindowCloses(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		late := question(1)
		late.NotAfter = time.Now().Add(time.Minute).Unix()
		w.slave(w.ctx, q, "slow", w.after(2*time.Minute, right, nil))
		begin := time.Now()
		if _, err := q.Ask(w.ctx, late); err == nil || time.Since(begin) > time.Minute {
			t.Fatalf("after %v: %v", time.Since(begin), err)
		}
		time.Sleep(2 * time.Second)
		if got, err := w.store.Show(w.ctx, late.ID()); err != nil || got.Verdict != task.KindExpired {
			t.Fatalf("stored %+v, %v", got, err)
		}
		time.Sleep(10 * time.Minute)
		if a, err := q.Claim(timeout(w.ctx, time.Minute), queue.Slave{Name: "b"}, task.Want{}); err == nil {
			t.Fatalf("claimed %+v", a)
		}
	})
}

func TestClaimTellsTheRemainingWindow(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		timed := question(1)
		timed.NotAfter = time.Now().Add(10 * time.Minute).Unix()
		go q.Ask(w.ctx, timed)
		time.Sleep(4 * time.Minute)
		a, err := q.Claim(w.ctx, queue.Slave{Name: "a"}, task.Want{})
		if err != nil || (a.Remaining-6*time.Minute).Abs() > 2*time.Second || a.HeartbeatTimeout != 15*time.Second {
			t.Fatalf("assignment %+v, %v", a, err)
		}
		timed.NotAfter += 60 // the asker corrects itself
		go q.Ask(w.ctx, timed)
		time.Sleep(time.Minute)
		pulse, err := q.Heartbeat(w.ctx, queue.Slave{Name: "a"}, []queue.Beat{{Lease: a.Lease}})
		if left := pulse.Remaining[a.Lease]; err != nil || (left-6*time.Minute).Abs() > 2*time.Second {
			t.Fatalf("pulse %+v, %v", pulse, err)
		}
	})
}

// The clock of the database is an hour off: windows last as long as they do.
func TestClocksDiffer(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		simulate(t, func(w *world) {
			w.store = shifted{w.store, off}
			q := w.master(w.ctx)
			w.slave(w.ctx, q, "a", w.after(50*time.Second, right, nil))
			timed := question(1)
			timed.NotAfter = time.Now().Add(time.Minute).Unix()
			w.wantRight(q.Ask(w.ctx, timed))
			w.store = w.store.(shifted).Store
		})
	}
}

type shifted struct {
	queue.Store
	off time.Duration
}

func (s shifted) Now(ctx context.Context) (queue.Reading, error) {
	r, err := s.Store.Now(ctx)
	r.Time = r.Time.Add(s.off)
	return r, err
}

func TestWithdrawnQuestionIsCancelled(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		asking, withdraw := context.WithCancelCause(w.ctx)
		other, leave := context.WithCancelCause(w.ctx)
		errs := make(chan error)
		for _, ctx := range []context.Context{asking, other} {
			go func() {
				_, err := q.Ask(ctx, question(1))
				errs <- err
			}()
		}
		a, err := q.Claim(w.ctx, queue.Slave{Name: "a"}, task.Want{})
		if err != nil {
			t.Fatal(err)
		}
		withdraw(queue.ErrWithdrawn)
		if err := <-errs; !errors.Is(err, queue.ErrWithdrawn) {
			t.Fatalf("withdrawn: %v", err)
		}
		beat := func() int {
			pulse, err := q.Heartbeat(w.ctx, queue.Slave{Name: "a"}, []queue.Beat{{Lease: a.Lease}})
			if err != nil {
				t.Fatal(err)
			}
			return len(pulse.Lost)
		}
		if beat() != 0 {
			t.Fatal("the task was cancelled though another asker waits")
		}
		leave(queue.ErrWithdrawn)
		<-errs
		if beat() != 1 {
			t.Fatal("the task goes on though nobody waits")
		}
		w.slave(w.ctx, q, "b", w.after(0, right, nil))
		w.wantRight(q.Ask(w.ctx, question(1)))
	})
}

func TestCancelledTaskStaysCancelled(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		go func() {
			time.Sleep(time.Second)
			if err := w.store.Cancel(w.ctx, time.Now().Unix(), question(1).ID(), task.KindCancelled, "by hand"); err != nil {
				t.Error(err)
			}
		}()
		for range 2 {
			if _, err := q.Ask(w.ctx, question(1)); err == nil || !strings.Contains(err.Error(), "by hand") {
				t.Fatalf("asked: %v", err)
			}
		}
	})
}

func TestSpoiltAnswerIsProvenAgain(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		id := question(1).ID()
		if _, err := w.store.Put(w.ctx, time.Now().Unix(), queue.NewTask{ID: id, In: []byte("{}"), NotAfter: queue.NoEnd}); err != nil {
			t.Fatal(err)
		}
		ts, err := w.store.Claim(w.ctx, time.Now().Unix(), []queue.Claimer{{Slave: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Finish(w.ctx, time.Now().Unix(), ts[0].Lease(), []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		// The question's row is spoilt as well: the slave cannot be given it.
		if _, err := q.Ask(timeout(w.ctx, time.Minute), question(1)); err == nil {
			t.Fatal("an answer out of garbage")
		}
		if got, err := w.store.Show(w.ctx, id); err != nil || got.State == task.Done {
			t.Fatalf("stored %+v, %v", got, err)
		}
	})
}

// timeout is context.WithTimeout for tests that leave the rest to the bubble.
func timeout(ctx context.Context, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

func TestUnreadableQuestionFails(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		if _, err := w.store.Put(w.ctx, time.Now().Unix(), queue.NewTask{ID: "old", In: []byte("\x00 of an older version"), NotAfter: queue.NoEnd}); err != nil {
			t.Fatal(err)
		}
		w.slave(w.ctx, q, "a", w.after(0, right, nil))
		w.wantRight(q.Ask(w.ctx, question(1)))
		time.Sleep(time.Second)
		if got, err := w.store.Show(w.ctx, "old"); err != nil || got.State != task.Failed || got.Verdict != task.KindPermanent {
			t.Fatalf("stored %+v, %v", got, err)
		}
	})
}

func TestDrainedSlaveGetsNothing(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		var names []string
		var mu sync.Mutex
		for _, name := range []string{"a", "b"} {
			w.slave(w.ctx, q, name, func(task.Assignment) (task.Answer, error) {
				mu.Lock()
				defer mu.Unlock()
				names = append(names, name)
				return right, nil
			})
		}
		time.Sleep(time.Second)
		if err := w.store.DrainSlave(w.ctx, "a", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		for n := range 10 {
			w.wantRight(q.Ask(w.ctx, question(10*n)))
		}
		if strings.Contains(strings.Join(names, ""), "a") {
			t.Fatalf("tasks went to %v", names)
		}
	})
}

// Claimers come and go while tasks are handed out: none is lost for longer
// than it takes to give it back.
func TestImpatientClaimers(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		for i := range 20 {
			w.wg.Go(func() {
				for w.ctx.Err() == nil {
					ctx, cancel := context.WithTimeout(w.ctx, time.Duration(i)*100*time.Microsecond)
					a, err := q.Claim(ctx, queue.Slave{Name: fmt.Sprint(i)}, task.Want{})
					if err == nil {
						if err := q.Finish(w.ctx, fmt.Sprint(i), a.Lease, right); err != nil {
							t.Error(err)
						}
					}
					cancel()
					select {
					case <-time.After(10 * time.Millisecond):
					case <-w.ctx.Done():
					}
				}
			})
		}
		begin := time.Now()
		var asks sync.WaitGroup
		for n := range 20 {
			asks.Go(func() { w.wantRight(q.Ask(w.ctx, question(10*n))) })
		}
		asks.Wait()
		if took := time.Since(begin); took > 5*time.Second {
			t.Fatalf("took %v: tasks had to be rescued", took)
		}
	})
}

func TestMastersShareADatabase(t *testing.T) {
	simulate(t, func(w *world) {
		first, kill := context.WithCancel(w.ctx)
		poll := func(c *queue.Config) { c.PollInterval = 100 * time.Millisecond }
		one, two := w.master(first, poll), w.master(w.ctx, poll)
		w.slave(w.ctx, two, "a", w.after(time.Second, right, nil))
		begin := time.Now()
		w.wantRight(one.Ask(w.ctx, question(1)))
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Fatalf("a task of 1 s at the other master took %v", took)
		}
		go one.Ask(first, question(10))
		time.Sleep(500 * time.Millisecond)
		kill()
		w.wantRight(two.Ask(w.ctx, question(10)))
	})
}

// While the database is away nobody can give a sign of life; nobody is taken
// for dead for it, and everything goes on when it comes back.
func TestDatabaseGoesAway(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		w.slave(w.ctx, q, "a", w.after(2*time.Minute, right, nil))
		begin := time.Now()
		go func() {
			time.Sleep(30 * time.Second)
			w.setFault(func(string) (bool, error) { return false, errors.New("connection refused") })
			time.Sleep(time.Minute)
			w.setFault(nil)
		}()
		w.wantRight(q.Ask(w.ctx, question(1)))
		if took := time.Since(begin); took > 2*time.Minute+5*time.Second {
			t.Fatalf("took %v", took)
		}
		if got, _ := w.store.Show(w.ctx, question(1).ID()); got.Attempt != 1 || got.Retries != 0 {
			t.Fatalf("rescued without need: %+v", got)
		}
	})
}

// Every statement fails once, in both ways, at every point of a task's life:
// the answer comes all the same, right, and stored once.
func TestFaults(t *testing.T) {
	for _, method := range queuetest.Methods() {
		for _, apply := range []bool{false, true} {
			for nth := range 3 {
				t.Run(fmt.Sprintf("%s/applied=%v/call=%d", method, apply, nth), func(t *testing.T) {
					simulate(t, func(w *world) {
						q := w.master(w.ctx)
						seen := 0
						w.setFault(func(m string) (bool, error) {
							if m != method {
								return true, nil
							}
							seen++
							if seen == nth+1 {
								return apply, errors.New("injected")
							}
							return true, nil
						})
						failures := 0
						prove := func(task.Assignment) (task.Answer, error) {
							time.Sleep(8 * time.Second)
							if failures++; failures == 1 {
								return task.Answer{}, errors.New("first attempt")
							}
							return right, nil
						}
						w.slave(w.ctx, q, "a", prove)
						w.slave(w.ctx, q, "b", prove)
						begin := time.Now()
						w.wantRight(q.Ask(w.ctx, question(1)))
						if took := time.Since(begin); took > 75*time.Second {
							t.Errorf("took %v", took)
						}
						got, err := w.store.Show(w.ctx, question(1).ID())
						if err != nil || got.State != task.Done {
							t.Errorf("stored %+v, %v", got, err)
						}
					})
				})
			}
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]queue.Config{
		"no verifier":    {Log: slog.New(slog.DiscardHandler)},
		"no logger":      {Verifier: verifier{}},
		"negative retry": {Verifier: verifier{}, Log: slog.New(slog.DiscardHandler), MaxRetry: -1},
		"negative time":  {Verifier: verifier{}, Log: slog.New(slog.DiscardHandler), Timeout: -1},
	} {
		if _, err := queue.New(t.Context(), nil, cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestArchive(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx, func(c *queue.Config) { c.ArchiveInterval, c.ArchiveAfter = 10*time.Second, 30*time.Second })
		w.slave(w.ctx, q, "a", w.after(0, right, nil))
		for n := range 30 {
			w.wantRight(q.Ask(w.ctx, question(10*n)))
		}
		time.Sleep(time.Minute)
		old, err := w.store.List(w.ctx, queue.Filter{Archived: true})
		if err != nil || len(old) != 30 {
			t.Fatalf("%d tasks archived, %v", len(old), err)
		}
		if _, err := queue.Archive(w.ctx, w.store, -1); err == nil {
			t.Error("a negative age was accepted")
		}
		w.wantRight(q.Ask(w.ctx, question(0)))
	})
}
