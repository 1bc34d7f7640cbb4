package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
)

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

// Claims that carry the question as it is stored pass over what is none, too.
func TestUndecodedClaims(t *testing.T) {
	simulate(t, func(w *world) {
		q := queue.Undecoded{Queue: w.master(w.ctx)}
		for id, in := range map[string]string{"1": "[1]", "2": "", "3": `{"miner_id":`, "4": `{"miner_id":1008}`} {
			if _, err := w.store.Put(w.ctx, 100, queue.NewTask{ID: id, In: []byte(in), NotAfter: queue.NoEnd}); err != nil {
				t.Fatal(err)
			}
		}
		a, err := q.Claim(w.ctx, queue.Slave{Name: "a"}, task.Want{})
		if err != nil || a.ID != "4" || string(a.Stored) != `{"miner_id":1008}` {
			t.Fatalf("claimed %+v, %v", a, err)
		}
		if counts, err := w.store.Counts(w.ctx); err != nil || counts[task.Failed] != 3 {
			t.Fatalf("%v, %v", counts, err)
		}
	})
}
