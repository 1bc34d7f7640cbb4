package extprover

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
	"syscall"
	"testing"
	"time"

	"wdpost/internal/task"
)

// longest bounds every wait of these tests; none of them depends on it.
const longest = time.Minute

func TestAsk(t *testing.T) {
	h, _ := startHost(t, HostConfig{}, processor("server", "A"))
	got, err := h.ProveWindowPoSt(t.Context(), question(doAnswer, "x", "y"))
	if err != nil || len(got.Proofs) != 1 || string(got.Proofs[0]) != "A 2" {
		t.Fatalf("got %v, %v", got, err)
	}
	_, err = h.ProveWindowPoSt(t.Context(), question(doFail))
	var failed *ProcessorError
	if !errors.As(err, &failed) || failed.Msg != "no such sector" || !strings.Contains(err.Error(), failed.Child) {
		t.Fatalf("got %v", err)
	}
	if _, err := h.ProveWindowPoSt(t.Context(), question(doPanic)); err == nil || !strings.Contains(err.Error(), "at the disco") {
		t.Fatalf("got %v", err)
	}
	if _, err := h.ProveWinningPoSt(t.Context(), question(doAnswer)); !errors.Is(err, ErrNoProcessor) {
		t.Fatalf("got %v", err)
	}
}

func TestPeerWithGarbage(t *testing.T) {
	h, log := startHost(t, HostConfig{}, processor("peer", ""))
	for range 3 {
		got, err := h.ProveWindowPoSt(t.Context(), question(doAnswer))
		if err != nil || string(got.Proofs[0]) != "peer" {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if _, err := h.ProveWindowPoSt(t.Context(), question(doBadJSON)); err == nil || !strings.Contains(err.Error(), "malformed response") {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"loading parameters", "progress: 50%", "request=999", "it has no id"} {
		log.wait(t, want)
	}
}

// TestWithdraw: the caller returns at once; our child is told, a peer's is not
// and keeps its place taken.
func TestWithdraw(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		h, log := startHost(t, HostConfig{}, processor("server", "A"))
		withdrawOne(t, h)
		log.wait(t, "cause: "+ErrCancelled.Error())
		if _, err := h.ProveWindowPoSt(t.Context(), question(doAnswer)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("peer", func(t *testing.T) {
		h, log := startHost(t, HostConfig{AbandonTimeout: 200 * time.Millisecond}, processor("peer", ""))
		withdrawOne(t, h)
		if _, err := h.ProveWindowPoSt(t.Context(), question(doAnswer)); err != nil {
			t.Fatal(err)
		}
		log.wait(t, "has not answered the withdrawn request")
		if strings.Contains(log.String(), "unexpected line") {
			t.Error("the peer was sent a withdrawal")
		}
	})
}

func withdrawOne(t *testing.T, h *Host) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("window closed")
	done := make(chan error)
	go func() {
		_, err := h.ProveWindowPoSt(ctx, question(doBlock))
		done <- err
	}()
	waitFor(t, "the request to be in flight", func() bool { return status(h, 0).InFlight == 1 })
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Fatalf("got %v", err)
	}
}

// TestSilence: a request that children have lost is given to another one while
// there is time, and those are not asked first again.
func TestSilence(t *testing.T) {
	mute := processor("mute", "")
	mute.Concurrent = 2
	h, log := startHost(t, HostConfig{}, mute, mute, processor("server", "A"))
	waitFor(t, "all children", func() bool { return status(h, 0).Ready && status(h, 1).Ready && status(h, 2).Ready })
	q := question(doAnswer, "x")
	q.NotAfter = time.Now().Add(2 * time.Second).Unix() // when to ask others; the test may take longer
	for range 3 {
		got, err := h.ProveWindowPoSt(t.Context(), q)
		if err != nil || string(got.Proofs[0]) != "A 1" {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	log.wait(t, "another external processor is asked too")
	for i := range 2 {
		if n := status(h, i).InFlight; n != 1 {
			t.Errorf("silent child %d counts %d requests, want the one it still owes", i, n)
		}
	}
}

// TestSecondOpinion: an error does not end a request that another child has.
func TestSecondOpinion(t *testing.T) {
	p := &pool{stage: StageWindowPoSt}
	for range 2 {
		c := newChild(p, Processor{Concurrent: 1, Weight: 1}, &HostConfig{Log: slog.New(slog.DiscardHandler)})
		c.status.Ready = true
		p.children = append(p.children, c)
	}
	r := &pending{id: 7, result: make(chan result, 1)}
	p.waiting = append(p.waiting, r)
	p.dispatch()
	p.askAnother(r, time.Second)
	if len(r.children) != 2 {
		t.Fatalf("%d children have the request", len(r.children))
	}
	first, second := r.children[0], r.children[1]
	p.settle(second, 7, result{err: errors.New("out of memory")})
	if len(r.result) != 0 {
		t.Fatal("the error of the second child ended the request of the first")
	}
	p.settle(first, 7, result{answer: task.Answer{Faults: []uint64{3}}})
	if got := <-r.result; got.err != nil || len(got.answer.Faults) != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestWithdrawWaiting: a request that no child has yet just goes away.
func TestWithdrawWaiting(t *testing.T) {
	h, _ := startHost(t, HostConfig{}, processor("server", "A"))
	block, release := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := h.ProveWindowPoSt(block, question(doBlock))
		first <- err
	}()
	waitFor(t, "the first request", func() bool { return status(h, 0).InFlight == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := h.ProveWindowPoSt(ctx, question(doAnswer))
		done <- err
	}()
	waitFor(t, "the second to wait", func() bool { _, w := h.Status(); return w[StageWindowPoSt] == 1 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, w := h.Status(); w[StageWindowPoSt] != 0 {
		t.Fatal("the withdrawn request still waits")
	}
	release()
	<-first
}

// TestDeath: requests of a child that dies are asked again of its successor.
func TestDeath(t *testing.T) {
	h, log := startHost(t, HostConfig{}, processor("server", "A"))
	marker := filepath.Join(t.TempDir(), "crash once")
	touch(t, marker)
	got, err := h.ProveWindowPoSt(t.Context(), question(doCrashIf, marker))
	if err != nil || string(got.Proofs[0]) != "A 1" {
		t.Fatalf("got %v, %v", got, err)
	}
	log.wait(t, "exit status 3")
	if s := status(h, 0); s.Deaths != 1 || s.InFlight != 0 || s.Answered != 1 {
		t.Errorf("status %+v", s)
	}
}

// TestPoison: a request that kills whoever takes it is given up in the end.
func TestPoison(t *testing.T) {
	h, _ := startHost(t, HostConfig{MaxDeaths: 3}, processor("server", "A"))
	_, err := h.ProveWindowPoSt(t.Context(), question(doCrash))
	if err == nil || !strings.Contains(err.Error(), "ended 3 processes") {
		t.Fatalf("got %v", err)
	}
	if _, err := h.ProveWindowPoSt(t.Context(), question(doAnswer)); err != nil {
		t.Fatal(err)
	}
}

// TestDeathGoesToAnother: with two children, the dead one's work moves over.
func TestDeathGoesToAnother(t *testing.T) {
	a, b := processor("server", "A"), processor("server", "B")
	h, _ := startHost(t, HostConfig{RestartMin: time.Hour, RestartMax: time.Hour}, a, b)
	waitFor(t, "both", func() bool { return status(h, 0).Ready && status(h, 1).Ready })
	marker := filepath.Join(t.TempDir(), "go")
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			got, err := h.ProveWindowPoSt(t.Context(), question(doWait, marker))
			answers <- fmt.Sprintf("%s %v", bytes.Join(got.Proofs, nil), err)
		}()
	}
	waitFor(t, "one request each", func() bool { return status(h, 0).InFlight == 1 && status(h, 1).InFlight == 1 })
	if err := syscall.Kill(status(h, 0).Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the death", func() bool { return status(h, 0).Deaths == 1 })
	touch(t, marker)
	for range 2 {
		if got := <-answers; got != "B 1 <nil>" {
			t.Errorf("got %q", got)
		}
	}
}

func TestReadyTimeout(t *testing.T) {
	p := processor("silent", "")
	p.ReadyTimeout = 50 * time.Millisecond
	h, log := startHost(t, HostConfig{RestartMin: time.Millisecond, RestartMax: time.Millisecond}, p)
	log.wait(t, `did not print \"window_post processor ready\" within 50ms`)
	waitFor(t, "a second try", func() bool { return status(h, 0).Deaths >= 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.ProveWindowPoSt(ctx, question(doAnswer)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestChildThatExits(t *testing.T) {
	h, log := startHost(t, HostConfig{RestartMin: time.Millisecond}, processor("exits", ""))
	log.wait(t, `msg="Error: no licence"`)
	log.wait(t, "exit status 7")
	waitFor(t, "another try", func() bool { return status(h, 0).Deaths >= 2 })
}

func TestMissingProgram(t *testing.T) {
	_, log := startHost(t, HostConfig{}, Processor{Bin: "/does/not/exist"})
	log.wait(t, "check Bin in the configuration")
}

// TestStubborn: the stop ends a child that ignores everything, and what it started.
func TestStubborn(t *testing.T) {
	h, _, stop := newHost(t, HostConfig{StopGrace: 100 * time.Millisecond}, processor("stubborn", ""))
	waitFor(t, "ready", func() bool { return status(h, 0).Ready })
	stop()
}

// TestDeaf: a child that never reads its stdin keeps neither callers nor the stop.
func TestDeaf(t *testing.T) {
	h, _, stop := newHost(t, HostConfig{StopGrace: 100 * time.Millisecond}, processor("deaf", ""))
	waitFor(t, "ready", func() bool { return status(h, 0).Ready })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	big := question(doAnswer, make([]string, 5000)...)
	go func() {
		_, err := h.ProveWindowPoSt(ctx, big)
		done <- err
	}()
	waitFor(t, "in flight", func() bool { return status(h, 0).InFlight == 1 })
	cancel()
	<-done
	stop()
}

// TestConcurrent: never more requests than Concurrent, and as many as that.
func TestConcurrent(t *testing.T) {
	p := processor("server", "A")
	p.Concurrent = 3
	h, _ := startHost(t, HostConfig{}, p)
	marker := filepath.Join(t.TempDir(), "go")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := h.ProveWindowPoSt(t.Context(), question(doWait, marker)); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, "eight requests", func() bool { _, w := h.Status(); return status(h, 0).InFlight+w[StageWindowPoSt] == 8 })
	waitFor(t, "three in flight", func() bool { return status(h, 0).InFlight == 3 })
	touch(t, marker)
	wg.Wait()
}

// TestWeights checks the choice among children by itself.
func TestWeights(t *testing.T) {
	h, err := NewHost(HostConfig{Log: slog.New(slog.DiscardHandler), WindowPoSt: []Processor{
		{Bin: "a", Weight: 5, Concurrent: 100}, {Bin: "b", Concurrent: 100}, {Bin: "c", Weight: 2, Concurrent: 1}, {Bin: "down", Weight: 9},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := h.pools[StageWindowPoSt]
	count := map[string]int{}
	for _, c := range p.children[:3] {
		c.status.Ready = true
	}
	for i := range 80 {
		c := p.pick(&pending{})
		count[c.proc.Bin]++
		if c.proc.Bin == "c" && i > 70 { // from now on it is full
			c.inflight[1] = &pending{}
		}
	}
	if count["a"] < 50 || count["a"] > 53 || count["b"] < 10 || count["b"] > 12 || count["down"] != 0 {
		t.Errorf("shares %v, want about 50, 10, 20", count)
	}
	if count["c"] < 18 || count["c"] > 20 {
		t.Errorf("shares %v", count)
	}
}

func TestNewHostRefuses(t *testing.T) {
	for _, p := range []Processor{{}, {Bin: "x", Weight: -1}, {Bin: "x", Concurrent: -1}} {
		if _, err := NewHost(HostConfig{WindowPoSt: []Processor{p}}); err == nil {
			t.Errorf("%+v accepted", p)
		}
	}
}

// Helpers.

func processor(role, name string) Processor {
	return Processor{Bin: os.Args[0], Envs: map[string]string{childEnv: role, "NAME": name}, ReadyTimeout: longest}
}

func question(miner uint64, cacheDirs ...string) task.Question {
	q := task.Question{MinerID: miner, ProofType: "StackedDrgWindow2KiBV1_2"}
	for i, d := range cacheDirs {
		q.Replicas = append(q.Replicas, task.Replica{SectorID: uint64(i), CacheDir: d})
	}
	return q
}

func startHost(t *testing.T, cfg HostConfig, procs ...Processor) (*Host, *logBuffer) {
	h, log, _ := newHost(t, cfg, procs...)
	return h, log
}

func newHost(t *testing.T, cfg HostConfig, procs ...Processor) (*Host, *logBuffer, func()) {
	t.Helper()
	log := &logBuffer{}
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.WindowPoSt = procs
	if cfg.RestartMin == 0 {
		cfg.RestartMin = 10 * time.Millisecond
	}
	h, err := NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); h.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(longest):
			t.Error("the host does not stop")
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	t.Cleanup(stop)
	return h, log, stop
}

func status(h *Host, i int) ChildStatus {
	children, _ := h.Status()
	return children[i]
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(longest); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) wait(t *testing.T, text string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%q in the log", text), func() bool { return strings.Contains(l.String(), text) })
}
