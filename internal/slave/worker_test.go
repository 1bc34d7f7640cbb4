package slave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/slave"
	"wdpost/internal/task"
)

var rightProof = []byte("right")

// checker accepts only the right proof.
type checker struct{}

func (checker) VerifyWindowPoSt(_ context.Context, _ task.Question, a task.Answer) error {
	if len(a.Proofs) > 0 && !bytes.Equal(a.Proofs[0], rightProof) {
		return fmt.Errorf("%w: not the right proof", task.ErrBadAnswer)
	}
	return nil
}

// prover is a function that proves.
type prover func(ctx context.Context, q task.Question) (task.Answer, error)

func (p prover) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return p(ctx, q)
}

// within proves after a while, unless its context ends.
func within(d time.Duration) prover {
	return func(ctx context.Context, _ task.Question) (task.Answer, error) {
		select {
		case <-time.After(d):
			return task.Answer{Proofs: [][]byte{rightProof}}, nil
		case <-ctx.Done():
			return task.Answer{}, ctx.Err()
		}
	}
}

// master is a queue seen by a slave through calls that fail as told: an error
// of fault is what the slave sees, apply whether the call took effect.
type master struct {
	q    *queue.Queue
	name string

	mu    sync.Mutex
	fault func(call string) (apply bool, err error)
	calls map[string]int
}

func (m *master) set(f func(call string) (bool, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *master) call(name string) (apply bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls = map[string]int{}
	}
	m.calls[name]++
	if m.fault == nil {
		return true, nil
	}
	return m.fault(name)
}

func (m *master) Claim(ctx context.Context, want task.Want, wait time.Duration) (task.Assignment, error) {
	apply, err := m.call("Claim")
	if err != nil && !apply {
		return task.Assignment{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	a, real := m.q.Claim(ctx, queue.Slave{Name: m.name}, want)
	if err != nil {
		return task.Assignment{}, err
	}
	return a, real
}

func (m *master) Heartbeat(ctx context.Context, progress map[task.Lease]string) (task.Pulse, error) {
	apply, err := m.call("Heartbeat")
	if err != nil && !apply {
		return task.Pulse{}, err
	}
	var beats []queue.Beat
	for l, p := range progress {
		beats = append(beats, queue.Beat{Lease: l, Progress: p})
	}
	pulse, real := m.q.Heartbeat(ctx, queue.Slave{Name: m.name}, beats)
	if err != nil {
		return task.Pulse{}, err
	}
	return pulse, real
}

func (m *master) Finish(ctx context.Context, l task.Lease, a task.Answer) error {
	apply, err := m.call("Finish")
	if err != nil && !apply {
		return err
	}
	real := m.q.Finish(ctx, m.name, l, a)
	if err != nil {
		return err
	}
	return real
}

func (m *master) Fail(ctx context.Context, l task.Lease, v *task.Verdict) error {
	apply, err := m.call("Fail")
	if err != nil && !apply {
		return err
	}
	real := m.q.Fail(ctx, m.name, l, v)
	if err != nil {
		return err
	}
	return real
}

// world is a master's queue and its slaves in simulated time.
type world struct {
	t     *testing.T
	dir   string
	store queue.Store
	q     *queue.Queue

	mu        sync.Mutex
	processes []*process
}

func simulate(t *testing.T, test func(w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store, err := sqlite.Open(t.Context(), filepath.Join(dir, "queue.db"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		q, err := queue.New(t.Context(), store, queue.Config{MaxRetry: 5, Verifier: checker{}, Log: slog.New(slog.DiscardHandler), RetryInterval: time.Second, PollInterval: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			q.Run(ctx)
		}()
		w := &world{t: t, dir: dir, store: store, q: q}
		defer func() {
			for _, p := range w.processes {
				p.killed()
				<-p.done
			}
			synctest.Wait()
			cancel()
			<-done
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(w)
	})
}

// process is a running slave.
type process struct {
	*slave.Worker
	master         *master
	softly, killed context.CancelFunc
	done           chan struct{}
}

// stop ends a process orderly.
func (p *process) stop() { p.softly(); <-p.done }

// start runs a slave until it is stopped.
func (w *world) start(name string, p prover, change func(*slave.Config)) *process {
	w.t.Helper()
	m := &master{q: w.q, name: name}
	cfg := slave.Config{
		Master: m, Prover: p, Verifier: checker{}, Log: slog.New(slog.DiscardHandler), Spool: filepath.Join(w.dir, name),
	}
	if change != nil {
		change(&cfg)
	}
	worker, err := slave.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	hard, killed := context.WithCancel(context.Background())
	soft, softly := context.WithCancel(hard)
	out := &process{Worker: worker, master: m, softly: softly, killed: killed, done: make(chan struct{})}
	w.mu.Lock()
	w.processes = append(w.processes, out)
	w.mu.Unlock()
	go func() {
		defer close(out.done)
		worker.Run(soft, hard)
	}()
	return out
}

func (w *world) spooled(name string) []string {
	w.t.Helper()
	files, err := os.ReadDir(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		out = append(out, f.Name())
	}
	return out
}

func question(n int) task.Question {
	return task.Question{
		MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", AllowSkip: true,
		Replicas: []task.Replica{{SectorID: uint64(n)}, {SectorID: uint64(n) + 1}, {SectorID: uint64(n) + 2}},
	}
}

// ask puts a question and waits for the answer for at most d.
func (w *world) ask(q task.Question, d time.Duration) (task.Answer, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	return w.q.Ask(ctx, q)
}

func (w *world) wantRight(q task.Question, d time.Duration) task.Answer {
	w.t.Helper()
	a, err := w.ask(q, d)
	if err != nil || len(a.Proofs) != 1 || !bytes.Equal(a.Proofs[0], rightProof) {
		w.t.Fatalf("answer %+v, %v", a, err)
	}
	return a
}

func TestProvesAndDelivers(t *testing.T) {
	simulate(t, func(w *world) {
		var log bytes.Buffer
		p := w.start("a", within(7*time.Second), func(c *slave.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		w.wantRight(question(1), 7*time.Second+10*time.Millisecond)
		p.stop()
		if s := w.spooled("a"); len(s) != 0 {
			t.Errorf("left in the spool: %v", s)
		}
		for _, key := range []string{"got task:", "slave: task:"} {
			if !strings.Contains(log.String(), key) {
				t.Errorf("the log lacks %q", key)
			}
		}
	})
}

func TestWorksOnSeveralAtOnce(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(10*time.Second), func(c *slave.Config) { c.Concurrent = 3 })
		begin := time.Now()
		var wg sync.WaitGroup
		for n := range 6 {
			wg.Go(func() { w.wantRight(question(10*n), time.Minute) })
		}
		time.Sleep(5 * time.Second)
		if s := p.Status(); len(s) != 3 || s[0].Miner != 1008 || s[0].Sectors != 3 || s[0].Stage != "proving" {
			t.Errorf("status %+v", s)
		}
		wg.Wait()
		if took := time.Since(begin); took > 20*time.Second+100*time.Millisecond {
			t.Errorf("six tasks of 10 s, three at once, took %v", took)
		}
		p.stop()
	})
}

// Two slaves that are never idle finish equal tasks in the ideal time.
func TestSlavesShareTheWork(t *testing.T) {
	simulate(t, func(w *world) {
		const tasks, each = 20, 10 * time.Second
		for _, name := range []string{"a", "b"} {
			w.start(name, within(each), nil)
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for n := range tasks {
			wg.Go(func() { w.wantRight(question(10*n), time.Hour) })
		}
		wg.Wait()
		if took, ideal := time.Since(begin), tasks/2*each; float64(took) > 1.05*float64(ideal) {
			t.Errorf("%d tasks of %v took %v, ideal %v", tasks, each, took, ideal)
		}
	})
}

// The first signal ends claiming and lets the work end, the second hands back.
func TestTwoLevelStop(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(30*time.Second), nil)
		got := make(chan error, 1)
		go func() {
			_, err := w.ask(question(1), time.Minute)
			got <- err
		}()
		time.Sleep(time.Second)
		begin := time.Now()
		p.stop()
		if err := <-got; err != nil || time.Since(begin) < 28*time.Second {
			t.Errorf("after the first signal: %v after %v", err, time.Since(begin))
		}

		p = w.start("b", within(time.Hour), nil)
		go func() { _, _ = w.ask(question(10), 5*time.Minute) }()
		time.Sleep(time.Second)
		begin = time.Now()
		p.softly()
		time.Sleep(time.Second)
		p.killed()
		<-p.done
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("the second signal took %v", took)
		}
		if got, err := w.store.Show(w.t.Context(), question(10).ID()); err != nil || got.State != task.Ready || got.Retries != 0 {
			t.Errorf("handed back as %+v, %v", got, err)
		}
	})
}

func TestLostTaskIsStopped(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(time.Hour), nil)
		go func() { _, _ = w.ask(question(1), time.Minute) }()
		time.Sleep(2 * time.Second)
		if err := w.store.Cancel(w.t.Context(), time.Now().Unix(), question(1).ID(), task.KindCancelled, "by hand"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if s := p.Status(); len(s) != 0 {
			t.Errorf("a cancelled task is still worked on: %+v", s)
		}
		p.stop()
		if p.master.calls["Fail"] > 0 {
			t.Error("a lost task was reported")
		}
	})
}

func TestWindowCloses(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(time.Hour), nil)
		q := question(1)
		q.NotAfter = time.Now().Add(time.Minute).Unix()
		if _, err := w.ask(q, time.Hour); err == nil {
			t.Fatal("an answer after the window closed")
		}
		time.Sleep(2 * time.Second)
		if s := p.Status(); len(s) != 0 {
			t.Errorf("a worthless task is still worked on: %+v", s)
		}
		p.stop()
	})
}

// The window's close moves while the slave works: it follows.
func TestWindowMoves(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(3*time.Minute), nil)
		q := question(1)
		q.NotAfter = time.Now().Add(time.Minute).Unix()
		go func() { _, _ = w.ask(q, time.Hour) }()
		time.Sleep(30 * time.Second)
		later := q
		later.NotAfter += 600
		w.wantRight(later, 10*time.Minute)
		p.stop()
	})
}

// The master is away when the answer is ready: it is delivered when the master
// is back, by the same process or, after kill -9, by the next.
func TestAnswerOutlivesMasterAndProcess(t *testing.T) {
	away := func(string) (bool, error) { return false, errors.New("connection refused") }
	for _, end := range []string{"none", "killed", "stopped"} {
		simulate(t, func(w *world) {
			p := w.start("a", within(5*time.Second), nil)
			got := make(chan error, 1)
			go func() {
				_, err := w.ask(question(1), 5*time.Minute)
				got <- err
			}()
			time.Sleep(2 * time.Second)
			p.master.set(away)
			time.Sleep(5 * time.Second)
			if s := w.spooled("a"); len(s) != 1 {
				t.Fatalf("in the spool: %v", s)
			}
			switch end {
			case "killed":
				p.killed()
				<-p.done
				p = w.start("a", within(time.Hour), nil)
			case "stopped":
				asked := time.Now()
				p.stop()
				if took := time.Since(asked); took > time.Minute {
					t.Errorf("without a master it takes %s to stop", took)
				}
				p = w.start("a", within(time.Hour), nil)
			}
			p.master.set(nil)
			if err := <-got; err != nil {
				t.Fatal(err)
			}
			if got, err := w.store.Show(w.t.Context(), question(1).ID()); err != nil || got.Attempt != 1 {
				t.Errorf("stored %+v, %v", got, err)
			}
			p.stop()
			if s := w.spooled("a"); len(s) != 0 {
				t.Errorf("left in the spool: %v", s)
			}
		})
	}
}

func TestSpoolIsReadWithCare(t *testing.T) {
	simulate(t, func(w *world) {
		dir := filepath.Join(w.dir, "a")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		old := fmt.Sprintf(`{"lease":{"id":"old","attempt":1},"answer":{"proofs":["AA=="],"faults":[]},"until":%q}`, time.Now().Add(-time.Hour).Format(time.RFC3339))
		unknown := fmt.Sprintf(`{"lease":{"id":"unknown","attempt":1},"answer":{"proofs":["AA=="],"faults":[]},"until":%q}`, time.Now().Add(time.Hour).Format(time.RFC3339))
		for name, body := range map[string]string{
			"garbage-1.json": "\x00", "cut-1.json": `{"lease":{"id":"cut"`, "empty-1.json": "{}", "other-1.json": unknown,
			"unknown-1.json": unknown, "old-1.json": old, "incoming-77": "half",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := w.start("a", within(0), nil)
		w.wantRight(question(1), time.Minute)
		p.stop()
		want := "cut-1.json.corrupt empty-1.json.corrupt garbage-1.json.corrupt incoming-77 other-1.json.corrupt"
		if got := strings.Join(w.spooled("a"), " "); got != want {
			t.Errorf("left in the spool: %s", got)
		}
	})
}

func TestWrongProofIsNotSent(t *testing.T) {
	simulate(t, func(w *world) {
		calls := 0
		p := w.start("a", func(context.Context, task.Question) (task.Answer, error) {
			switch calls++; calls {
			case 1:
				return task.Answer{Proofs: [][]byte{[]byte("wrong")}}, nil
			case 2:
				return task.Answer{Faults: []uint64{99}}, nil
			case 3:
				panic("cosmic ray")
			}
			return task.Answer{Proofs: [][]byte{rightProof}}, nil
		}, nil)
		w.wantRight(question(1), 2*time.Minute)
		if calls != 4 || p.master.calls["Finish"] != 1 {
			t.Errorf("%d proofs, %d answers sent", calls, p.master.calls["Finish"])
		}
		p.stop()
	})
}

// A prover that reports unreadable sectors instead of skipping them is asked
// again without them.
func TestProverThatCannotSkip(t *testing.T) {
	peer := func(unreadable ...uint64) prover {
		return func(_ context.Context, q task.Question) (task.Answer, error) {
			for _, r := range q.Replicas {
				for _, n := range unreadable {
					if r.SectorID == n {
						return task.Answer{Faults: []uint64{n}}, nil
					}
				}
			}
			return task.Answer{Proofs: [][]byte{rightProof}}, nil
		}
	}
	simulate(t, func(w *world) {
		p := w.start("a", peer(3, 1), nil)
		if a := w.wantRight(question(1), time.Minute); len(a.Faults) != 2 || a.Faults[0] != 1 || a.Faults[1] != 3 {
			t.Errorf("faults %v", a.Faults)
		}
		strict := question(10)
		strict.AllowSkip = false
		p.stop()
		p = w.start("b", peer(10), nil)
		if a, err := w.ask(strict, time.Minute); err != nil || len(a.Proofs) != 0 || len(a.Faults) != 1 {
			t.Errorf("without skipping: %+v, %v", a, err)
		}
		p.stop()
	})
}

// A machine whose storage is not mounted is no reason to give the sectors up:
// another one proves them.
func TestNothingReadableIsAFailureOfTheMachine(t *testing.T) {
	simulate(t, func(w *world) {
		blind := w.start("blind", func(_ context.Context, q task.Question) (task.Answer, error) {
			var all []uint64
			for _, r := range q.Replicas {
				all = append(all, r.SectorID)
			}
			return task.Answer{Faults: all}, nil
		}, nil)
		go func() {
			time.Sleep(3 * time.Second)
			w.start("b", within(time.Second), nil)
		}()
		if a := w.wantRight(question(1), time.Minute); len(a.Faults) != 0 {
			t.Errorf("faults %v", a.Faults)
		}
		blind.stop()
	})
}

func TestFailingSlaveSlowsDown(t *testing.T) {
	simulate(t, func(w *world) {
		calls := 0
		p := w.start("a", func(context.Context, task.Question) (task.Answer, error) {
			calls++
			return task.Answer{}, errors.New("no GPU")
		}, nil)
		for n := range 10 {
			go func() { _, _ = w.ask(question(10*n), 3*time.Minute) }()
		}
		time.Sleep(2 * time.Minute)
		if calls > 10 || calls < 5 {
			t.Errorf("%d attempts in two minutes", calls)
		}
		p.killed()
		<-p.done
		time.Sleep(time.Minute)
	})
}

// Every call to the master fails once, in both ways: the answer comes all the
// same, and is stored once.
func TestFaults(t *testing.T) {
	for _, call := range []string{"Claim", "Heartbeat", "Finish", "Fail"} {
		for _, apply := range []bool{false, true} {
			for nth := 1; nth <= 3; nth++ {
				t.Run(fmt.Sprintf("%s/applied=%v/call=%d", call, apply, nth), func(t *testing.T) {
					simulate(t, func(w *world) {
						failures := 0
						prove := func(ctx context.Context, q task.Question) (task.Answer, error) {
							if failures++; failures == 1 {
								return task.Answer{}, errors.New("first attempt")
							}
							return within(20*time.Second)(ctx, q)
						}
						p := w.start("a", prove, nil)
						seen := 0
						p.master.set(func(c string) (bool, error) {
							if c == call {
								if seen++; seen == nth {
									return apply, errors.New("injected")
								}
							}
							return true, nil
						})
						other := w.start("b", prove, nil)
						w.wantRight(question(1), 2*time.Minute)
						if got, err := w.store.Show(w.t.Context(), question(1).ID()); err != nil || got.State != task.Done {
							t.Errorf("stored %+v, %v", got, err)
						}
						p.stop()
						other.stop()
						if left := append(w.spooled("a"), w.spooled("b")...); len(left) != 0 {
							t.Errorf("left in the spools: %v", left)
						}
					})
				})
			}
		}
	}
}

func TestHealth(t *testing.T) {
	simulate(t, func(w *world) {
		p := w.start("a", within(0), nil)
		time.Sleep(10 * time.Minute)
		if err := p.Health(w.t.Context()); err != nil {
			t.Errorf("with a master: %v", err)
		}
		p.master.set(func(string) (bool, error) { return false, errors.New("gone") })
		time.Sleep(10 * time.Minute)
		if p.Health(w.t.Context()) == nil {
			t.Error("healthy without a master")
		}
		p.stop()
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := slave.Config{Master: &master{}, Prover: within(0), Verifier: checker{}, Log: slog.New(slog.DiscardHandler), Spool: t.TempDir()}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*slave.Config){
		"no master":           func(c *slave.Config) { c.Master = nil },
		"no spool":            func(c *slave.Config) { c.Spool = "" },
		"spool is a file":     func(c *slave.Config) { c.Spool = file },
		"negative concurrent": func(c *slave.Config) { c.Concurrent = -1 },
		"negative interval":   func(c *slave.Config) { c.PullInterval = -1 },
	} {
		c := good
		change(&c)
		if _, err := slave.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := slave.New(good); err != nil {
		t.Error(err)
	}
}
