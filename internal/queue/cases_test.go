package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// jumping is a database whose host's clock jumps.
type jumping struct {
	queue.Store
	by *jumps
}

type jumps struct {
	mu sync.Mutex
	by time.Duration
}

func (j *jumps) set(d time.Duration) { j.mu.Lock(); defer j.mu.Unlock(); j.by = d }

func (s jumping) Now(ctx context.Context) (queue.Reading, error) {
	r, err := s.Store.Now(ctx)
	s.by.mu.Lock()
	defer s.by.mu.Unlock()
	r.Time = r.Time.Add(s.by.by)
	return r, err
}

// The clock of the database jumps by an hour, forth and back, as local time does
// in autumn: no task is dropped by any master, also by none that is started
// after it, the board tells, and windows close when they do (F10).
func TestJumpingClockDropsNothing(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		simulate(t, func(w *world) {
			j := &jumps{}
			whole := w.store
			w.store = jumping{w.store, j}
			defer func() { w.store = whole }()
			board := condition.NewBoard()
			q := w.master(w.ctx, func(c *queue.Config) { c.Board = board })
			w.master(w.ctx)
			timed := question(1)
			timed.NotAfter = time.Now().Add(5 * time.Minute).Unix()
			w.slave(w.ctx, q, "a", w.after(4*time.Minute, right, nil))
			time.AfterFunc(30*time.Second, func() { j.set(by) })
			time.AfterFunc(time.Minute, func() { w.master(w.ctx) })
			w.wantRight(q.Ask(w.ctx, timed))
			got, err := w.store.Show(w.ctx, timed.ID())
			if err != nil || got.Attempt != 1 || got.Retries != 0 {
				t.Errorf("%s: stored %+v, %v", by, got, err)
			}
			if !stands(board, condition.ClockJumped, "") {
				t.Errorf("%s: nobody is told: %+v", by, board.List())
			}
			dead := question(10)
			dead.NotAfter = time.Now().Add(time.Minute).Unix()
			w.slave(w.ctx, q, "b", w.after(time.Hour, right, nil))
			if _, err := w.store.Put(w.ctx, 0, queue.NewTask{ID: "x", NotAfter: 1}); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if _, err := q.Ask(w.ctx, dead); err == nil || time.Since(begin) > 62*time.Second {
				t.Errorf("%s: a window closed after %s: %v", by, time.Since(begin), err)
			}
		})
	}
}

// stands reports whether a condition is on the board.
func stands(b *condition.Board, kind condition.Kind, subject string) bool {
	return slices.ContainsFunc(b.List(), func(c condition.Condition) bool {
		return c.Kind == kind && strings.Contains(c.Subject, subject)
	})
}

// Two slaves with one name are told apart by their processes, and both work; a
// restarted one keeps its name (field reports, F12).
func TestTwoSlavesWithOneName(t *testing.T) {
	simulate(t, func(w *world) {
		board := condition.NewBoard()
		q := w.master(w.ctx, func(c *queue.Config) { c.Board = board })
		proven := map[string][]string{} // by task: processes
		var mu sync.Mutex
		work := func(ctx context.Context, process string) {
			me := queue.Slave{Name: "gpu", ID: process}
			holding := &task.Holding{Unsure: true} // as after each start
			begin := time.Now()
			for ctx.Err() == nil {
				holding.Unsure = time.Since(begin) < 40*time.Second
				poll, cancel := context.WithTimeout(ctx, 10*time.Second)
				a, err := q.Claim(poll, me, task.Want{Holding: holding})
				cancel()
				if err != nil {
					continue
				}
				for range 12 {
					time.Sleep(5 * time.Second)
					_, _ = q.Heartbeat(ctx, me, []queue.Beat{{Lease: a.Lease}})
				}
				mu.Lock()
				proven[a.ID] = append(proven[a.ID], process)
				mu.Unlock()
				if err := q.Finish(ctx, me.Name, a.Lease, right); err != nil && ctx.Err() == nil {
					t.Errorf("finish of %s: %v", process, err)
				}
			}
		}
		w.wg.Go(func() { work(w.ctx, "process-1") })
		time.Sleep(time.Second)
		w.wg.Go(func() { work(w.ctx, "process-2") })
		var asks sync.WaitGroup
		for n := range 6 {
			asks.Go(func() { w.wantRight(q.Ask(w.ctx, question(10*n))) })
			time.Sleep(time.Second)
		}
		asks.Wait()
		mu.Lock()
		defer mu.Unlock()
		for id, by := range proven {
			if len(by) != 1 {
				t.Errorf("task %s was proven by %v", id, by)
			}
		}
		if !stands(board, condition.SlaveNameTwice, "gpu") {
			t.Errorf("nobody is told: %+v", board.List())
		}
		slaves, err := w.store.Slaves(w.ctx, 0)
		if err != nil || len(slaves) < 2 {
			t.Errorf("slaves %+v, %v", slaves, err)
		}
	})
}

func TestRestartedSlaveKeepsItsName(t *testing.T) {
	simulate(t, func(w *world) {
		board := condition.NewBoard()
		q := w.master(w.ctx, func(c *queue.Config) { c.Board = board })
		for n := range 5 {
			me := queue.Slave{Name: "gpu", ID: fmt.Sprint("process-", n)}
			for range 3 {
				if _, err := q.Heartbeat(w.ctx, me, nil); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
		}
		time.Sleep(10 * time.Second)
		slaves, err := w.store.Slaves(w.ctx, 0)
		if err != nil || len(slaves) != 1 || slaves[0].Name != "gpu" || stands(board, condition.SlaveNameTwice, "") {
			t.Fatalf("slaves %+v, %v, board %+v", slaves, err, board.List())
		}
	})
}

// What keeps waiting tasks from being proven is told before their windows are
// missed, and that it is over (operator, F6; field reports, F19).
func TestWhatTasksWaitFor(t *testing.T) {
	simulate(t, func(w *world) {
		board := condition.NewBoard()
		q := w.master(w.ctx, func(c *queue.Config) { c.Board = board })
		here := question(1)
		here.Replicas[0].SealedFile = "/mnt/存储/sealed/s-t01008-1"
		go q.Ask(w.ctx, here)
		report := func(r task.Report) {
			t.Helper()
			if err := q.Seen(w.ctx, queue.Slave{Name: "a", ID: "p", Report: &r}); err != nil {
				t.Fatal(err)
			}
		}
		told := func(kind condition.Kind, subject string, want bool) {
			t.Helper()
			time.Sleep(15 * time.Second)
			if stands(board, kind, subject) != want {
				t.Errorf("%s %q stands: %v, want %v: %+v", kind, subject, !want, want, board.List())
			}
		}
		time.Sleep(10 * time.Second)
		told(condition.NoSlave, "", true)
		report(task.Report{State: task.SlaveWaiting, Why: "no key for WindowPoSt 2KiB"})
		told(condition.SlaveWaits, "a", true)
		report(task.Report{State: task.SlaveReady, SectorSizes: []uint64{4096}})
		told(condition.NoSlaveForSize, "2KiB", true)
		for _, c := range board.List() {
			if c.Kind == condition.NoSlaveForSize && !strings.Contains(c.Detail, "only 4KiB") {
				t.Errorf("told %q", c.Detail)
			}
			if c.Kind == condition.NoSlave || c.Kind == condition.SlaveWaits {
				t.Errorf("%s still stands", c.Kind)
			}
		}
		report(task.Report{State: task.SlaveReady, SectorSizes: []uint64{2048}, Unseen: []string{"/mnt/存储"}})
		told(condition.StoreUnseen, "/mnt/存储", true)
		report(task.Report{State: task.SlaveReady, SectorSizes: []uint64{2048}})
		told(condition.StoreUnseen, "", false)
		told(condition.NoSlaveForSize, "", false)
	})
}

// However fast sick slaves fail, a healthy one that is busy has its turn: the
// task is not given up while it has not tried (F15).
func TestHealthySlaveHasItsTurn(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		w.slave(w.ctx, q, "healthy", w.after(4*time.Minute, right, nil))
		time.Sleep(time.Millisecond)
		busy := make(chan struct{})
		go func() { defer close(busy); w.wantRight(q.Ask(w.ctx, question(10))) }()
		time.Sleep(time.Second)
		for n := range 5 {
			w.slave(w.ctx, q, fmt.Sprint("sick-", n), w.after(0, task.Answer{}, errors.New("GPU fell off the bus")))
		}
		begin := time.Now()
		timed := question(1)
		timed.NotAfter = time.Now().Add(25 * time.Minute).Unix()
		w.wantRight(q.Ask(w.ctx, timed))
		if took := time.Since(begin); took > 9*time.Minute {
			t.Errorf("took %s", took)
		}
		<-busy
	})
}

// A processor that hangs while its slave gives signs of life is found by its
// progress, on the last attempt too; one that gets on is left alone, however
// long it takes (F15, F24).
func TestProgressDecidesAboutATimeout(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx, func(c *queue.Config) { c.MaxRetry = 0 })
		begin := time.Now()
		me := queue.Slave{Name: "slow", ID: "p"}
		w.wg.Go(func() {
			a, err := q.Claim(w.ctx, me, task.Want{})
			if err != nil {
				return
			}
			for percent := range 100 { // 15 minutes
				time.Sleep(9 * time.Second)
				pulse, err := q.Heartbeat(w.ctx, me, []queue.Beat{{Lease: a.Lease, Progress: fmt.Sprintf("proving %d%% %ds", percent, 9*percent)}})
				if err != nil || len(pulse.Lost) > 0 {
					t.Errorf("after %s: %+v, %v", time.Since(begin), pulse, err)
					return
				}
			}
			if err := q.Finish(w.ctx, me.Name, a.Lease, right); err != nil {
				t.Errorf("finish: %v", err)
			}
		})
		time.Sleep(time.Second)
		go func() { // an idle slave that would take over
			time.Sleep(time.Second)
			w.slave(w.ctx, q, "idle", w.after(time.Second, right, nil))
		}()
		w.wantRight(q.Ask(w.ctx, question(1)))
		if got, err := w.store.Show(w.ctx, question(1).ID()); err != nil || got.Attempt != 1 || got.Slave != "slow" {
			t.Fatalf("stored %+v, %v", got, err)
		}
	})
}

// A slave that fails at once is served after those that do not (black hole).
func TestFailingSlaveIsServedLast(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		failed := 0
		w.slave(w.ctx, q, "hole", func(task.Assignment) (task.Answer, error) {
			failed++
			return task.Answer{}, errors.New("no such device")
		})
		w.slave(w.ctx, q, "good", w.after(2*time.Second, right, nil))
		for n := range 20 {
			w.wantRight(q.Ask(w.ctx, question(10*n)))
			time.Sleep(time.Second)
		}
		if failed > 6 {
			t.Errorf("the slave that fails was given %d tasks", failed)
		}
	})
}

// Every slave that may read more is asked, and the best of all partial answers
// is what comes back at the end.
func TestBestPartialAnswerIsKept(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		six := question(1)
		for n := uint64(3); n <= 6; n++ {
			six.Replicas = append(six.Replicas, task.Replica{SectorID: n})
		}
		partial := map[string][]uint64{"a": {1, 2, 3}, "b": {1}, "c": {1, 2, 3, 4, 5, 6}, "d": {2, 3}}
		asked := map[string]int{}
		var mu sync.Mutex
		for name, faults := range partial {
			w.slave(w.ctx, q, name, func(task.Assignment) (task.Answer, error) {
				mu.Lock()
				asked[name]++
				mu.Unlock()
				time.Sleep(10 * time.Second)
				a := task.Answer{Proofs: right.Proofs, Faults: faults}
				if len(faults) == len(six.Replicas) {
					a.Proofs = nil
				}
				return a, nil
			})
		}
		time.Sleep(time.Second)
		six.NotAfter = time.Now().Add(25 * time.Minute).Unix()
		a, err := q.Ask(w.ctx, six)
		if err != nil || len(a.Proofs) != 1 || !slices.Equal(a.Faults, []uint64{1}) {
			t.Fatalf("answer %+v, %v", a, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for name, n := range asked {
			if n != 1 {
				t.Errorf("slave %s was asked %d times", name, n)
			}
		}
		if len(asked) != len(partial) {
			t.Errorf("asked %v", asked)
		}
	})
}

// A sector whose data is wrong is nobody's to read: no other slave is asked.
func TestDamagedSectorsAreNotAskedAgain(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		calls := 0
		for _, name := range []string{"a", "b"} {
			w.slave(w.ctx, q, name, func(task.Assignment) (task.Answer, error) {
				calls++
				return task.Answer{Proofs: right.Proofs, Faults: []uint64{1}, Reasons: []task.Reason{{Kind: task.FaultData, Sectors: []uint64{1}}}}, nil
			})
		}
		time.Sleep(time.Second)
		if a, err := q.Ask(w.ctx, question(1)); err != nil || len(a.Faults) != 1 || calls != 1 {
			t.Fatalf("answer %+v, %v after %d attempts", a, err, calls)
		}
	})
}

// hindered is an error of a database that answers and refuses, with a remedy.
type hindered struct{}

func (hindered) Error() string   { return "the disk is full" }
func (hindered) Remedy() string  { return "make room there" }
func (hindered) Is(e error) bool { return e == queue.ErrUnavailable }

// A database that refuses questions or answers, though it can be read, stands as
// a condition with the remedy until it takes them (operator, F3, F21).
func TestRefusalsOfTheDatabaseStand(t *testing.T) {
	simulate(t, func(w *world) {
		board := condition.NewBoard()
		q := w.master(w.ctx, func(c *queue.Config) { c.Board = board })
		w.slave(w.ctx, q, "a", w.after(time.Second, right, nil))
		for _, method := range []string{"Put", "Finish"} {
			w.setFault(func(m string) (bool, error) {
				if m == method {
					return false, hindered{}
				}
				return true, nil
			})
			done := make(chan struct{})
			go func() { defer close(done); w.wantRight(q.Ask(w.ctx, question(100*len(method)))) }()
			time.Sleep(30 * time.Second)
			if list := board.List(); len(list) != 1 || list[0].Kind != condition.DatabaseRefuses || list[0].Remedy != "make room there" || !strings.Contains(list[0].Detail, "the disk is full") {
				t.Errorf("%s: board %+v", method, list)
			}
			w.setFault(nil)
			<-done
			if list := board.List(); len(list) != 0 {
				t.Errorf("%s: over, board %+v", method, list)
			}
		}
	})
}

// A slave that was silent for a while brings an answer that leaves sectors out:
// another that has not tried is asked, as it would be of one that was in time.
func TestLatePartialAnswerIsBettered(t *testing.T) {
	simulate(t, func(w *world) {
		q := w.master(w.ctx)
		three := question(1)
		three.NotAfter = time.Now().Add(time.Hour).Unix()
		answered := make(chan task.Answer, 1)
		w.wg.Go(func() {
			a, err := q.Ask(w.ctx, three)
			if err != nil {
				w.t.Error(err)
			}
			answered <- a
		})
		lost, err := q.Claim(timeout(w.ctx, 10*time.Second), queue.Slave{Name: "a"}, task.Want{})
		if err != nil {
			t.Fatal(err)
		}
		if a, err := q.Claim(timeout(w.ctx, time.Second), queue.Slave{Name: "b"}, task.Want{}); !errors.Is(err, task.ErrNoTask) {
			t.Fatalf("%+v, %v", a, err)
		}
		for { // until it is rescued
			got, err := w.store.Show(w.ctx, lost.ID)
			if err != nil {
				t.Fatal(err)
			}
			if got.State == task.Ready {
				break
			}
			time.Sleep(time.Second)
		}
		if err := q.Finish(w.ctx, "a", lost.Lease, task.Answer{Proofs: right.Proofs, Faults: []uint64{1}}); err != nil {
			t.Fatal(err)
		}
		w.slave(w.ctx, q, "b", w.after(10*time.Second, right, nil))
		if a := <-answered; len(a.Proofs) != 1 || len(a.Faults) != 0 {
			t.Errorf("answer %+v", a)
		}
	})
}
