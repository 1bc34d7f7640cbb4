package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wdpost/internal/queue"
	"wdpost/internal/rpc"
	"wdpost/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeQueue records what reaches it and answers as told.
type fakeQueue struct {
	mu       sync.Mutex
	claim    func(ctx context.Context, s queue.Slave, want task.Want) (task.Assignment, error)
	err      error // of all other calls
	pulse    task.Pulse
	beats    []queue.Beat
	seen     []queue.Slave
	answers  map[task.Lease]task.Answer
	failures map[task.Lease]task.Verdict
	back     chan task.Lease
}

func newFakeQueue() *fakeQueue {
	return &fakeQueue{
		answers: map[task.Lease]task.Answer{}, failures: map[task.Lease]task.Verdict{}, back: make(chan task.Lease, 10),
		claim: func(ctx context.Context, _ queue.Slave, _ task.Want) (task.Assignment, error) {
			<-ctx.Done()
			return task.Assignment{}, task.ErrNoTask
		},
	}
}

func (q *fakeQueue) Seen(_ context.Context, s queue.Slave) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen = append(q.seen, s)
	return nil
}

func (q *fakeQueue) Claim(ctx context.Context, s queue.Slave, want task.Want) (task.Assignment, error) {
	return q.claim(ctx, s, want)
}

func (q *fakeQueue) HandBack(_ context.Context, _ string, l task.Lease, _ error) error {
	q.back <- l
	return nil
}

func (q *fakeQueue) Heartbeat(_ context.Context, _ queue.Slave, beats []queue.Beat) (task.Pulse, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.beats = append(q.beats, beats...)
	return q.pulse, q.err
}

func (q *fakeQueue) Finish(_ context.Context, _ string, l task.Lease, a task.Answer) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.answers[l] = a
	return q.err
}

func (q *fakeQueue) Fail(_ context.Context, _ string, l task.Lease, v *task.Verdict) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures[l] = *v
	return q.err
}

func (q *fakeQueue) Draining(string) bool { return false }

func (q *fakeQueue) HeartbeatTimeout() time.Duration { return 15 * time.Second }

// start serves a queue on loopback until the test ends.
func start(t *testing.T, q rpc.Queue, change func(*rpc.ServerConfig)) (address string, log *syncBuffer) {
	t.Helper()
	log = &syncBuffer{}
	cfg := rpc.ServerConfig{Queue: q, Log: slog.New(slog.NewTextHandler(log, nil)), Version: "v-master"}
	if change != nil {
		change(&cfg)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	server := rpc.NewServer(cfg)
	go func() { ended <- server.Serve(ctx, lis) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return lis.Addr().String(), log
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func dial(t *testing.T, change func(*rpc.ClientConfig), addresses ...string) *rpc.Client {
	t.Helper()
	cfg := rpc.ClientConfig{Addresses: addresses, Name: "slave-1", Version: "v-slave", Concurrent: 2, ReconnectInterval: 50 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	c, err := rpc.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func assignment() task.Assignment {
	return task.Assignment{
		Lease: task.Lease{ID: strings.Repeat("ab", 16), Attempt: 3}, Remaining: 90 * time.Second, HeartbeatTimeout: 15 * time.Second,
		Question: task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", Replicas: []task.Replica{{SectorID: 7, CacheDir: "/c"}}, AllowSkip: true},
	}
}

func TestRoundTrips(t *testing.T) {
	q := newFakeQueue()
	want := assignment()
	var who queue.Slave
	var asked task.Want
	q.claim = func(_ context.Context, s queue.Slave, w task.Want) (task.Assignment, error) {
		who, asked = s, w
		return want, nil
	}
	address, _ := start(t, q, nil)
	c := dial(t, nil, address)
	ctx := t.Context()

	limits, err := c.Hello(ctx)
	if err != nil || limits.Version != "v-master" || limits.HeartbeatTimeout != 15*time.Second || limits.MaxWait <= 0 {
		t.Fatalf("hello: %+v, %v", limits, err)
	}
	wanted := task.Want{SectorSizes: []uint64{2048}, Holding: &task.Holding{Leases: []task.Lease{{ID: "ab", Attempt: 2}}, Unsure: true}}
	got, err := c.Claim(ctx, wanted, time.Second)
	if err != nil || got.Lease != want.Lease || got.Remaining != want.Remaining || got.HeartbeatTimeout != want.HeartbeatTimeout || got.Question.ID() != want.Question.ID() || !got.Question.AllowSkip {
		t.Fatalf("claim: %+v, %v", got, err)
	}
	if !reflect.DeepEqual(asked, wanted) {
		t.Fatalf("the queue was asked for %+v", asked)
	}
	if who.Name != "slave-1" || who.Version != "v-slave" || who.Concurrent != 2 || who.Address == "" {
		t.Fatalf("the queue saw %+v", who)
	}
	q.pulse = task.Pulse{Lost: []task.Lease{{ID: "x", Attempt: 1}}, Remaining: map[task.Lease]time.Duration{want.Lease: time.Minute}}
	pulse, err := c.Heartbeat(ctx, map[task.Lease]string{want.Lease: "proving \xff" + strings.Repeat("ü", 80)})
	if err != nil || !reflect.DeepEqual(pulse, q.pulse) || len(q.beats) != 1 || q.beats[0].Lease != want.Lease {
		t.Fatalf("heartbeat: %+v, %v, %+v", pulse, err, q.beats)
	}
	large := task.Answer{Proofs: [][]byte{bytes.Repeat([]byte{1}, 3<<20)}, Faults: []uint64{7}}
	if err := c.Finish(ctx, want.Lease, large); err != nil {
		t.Fatal(err)
	}
	if a := q.answers[want.Lease]; len(a.Proofs) != 1 || !bytes.Equal(a.Proofs[0], large.Proofs[0]) || len(a.Faults) != 1 {
		t.Fatal("the answer changed on its way")
	}
	for _, v := range []task.Verdict{
		{Kind: task.KindPermanent, Err: errors.New("no")}, {Kind: task.KindRetry, After: time.Minute, Err: errors.New("later")}, {Kind: task.KindAborted, Err: errors.New("leaving")},
	} {
		if err := c.Fail(ctx, want.Lease, &v); err != nil {
			t.Fatal(err)
		}
		if got := q.failures[want.Lease]; got.Kind != v.Kind || got.After != v.After || got.Err.Error() != v.Err.Error() {
			t.Fatalf("failure %+v, want %+v", got, v)
		}
	}
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	q := newFakeQueue()
	address, _ := start(t, q, nil)
	c := dial(t, nil, address)
	l := assignment().Lease
	for name, tc := range map[string]struct{ sent, want error }{
		"lost":        {fmt.Errorf("x: %w", task.ErrLost), task.ErrLost},
		"bad answer":  {fmt.Errorf("x: %w", task.ErrBadAnswer), task.ErrBadAnswer},
		"unavailable": {fmt.Errorf("x: %w", queue.ErrUnavailable), nil},
		"other":       {errors.New("disk full"), nil},
	} {
		q.err = tc.sent
		for call, err := range map[string]error{
			"finish": c.Finish(t.Context(), l, task.Answer{}),
			"fail":   c.Fail(t.Context(), l, &task.Verdict{Kind: task.KindRetry, Err: errors.New("x")}),
		} {
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) ||
				tc.want == nil && (errors.Is(err, task.ErrLost) || errors.Is(err, task.ErrBadAnswer) || errors.Is(err, rpc.ErrRefused)) {
				t.Errorf("%s of %s: %v", call, name, err)
			}
		}
	}
}

func TestNoTask(t *testing.T) {
	address, _ := start(t, newFakeQueue(), nil)
	c := dial(t, nil, address)
	if _, err := c.Claim(t.Context(), task.Want{}, 20*time.Millisecond); !errors.Is(err, task.ErrNoTask) {
		t.Fatal(err)
	}
}

func TestWrongTokenIsRefused(t *testing.T) {
	address, log := start(t, newFakeQueue(), func(c *rpc.ServerConfig) { c.Token = "sesame" })
	for _, token := range []string{"", "open", "sesame "} {
		c := dial(t, func(c *rpc.ClientConfig) { c.Token = token }, address)
		if _, err := c.Hello(t.Context()); !errors.Is(err, rpc.ErrRefused) {
			t.Errorf("hello with token %q: %v", token, err)
		}
		if err := c.Finish(t.Context(), assignment().Lease, task.Answer{}); !errors.Is(err, rpc.ErrRefused) {
			t.Errorf("finish with token %q: %v", token, err)
		}
	}
	if !strings.Contains(log.String(), "wrong or missing token") || strings.Contains(log.String(), "sesame") {
		t.Errorf("log: %s", log)
	}
	c := dial(t, func(c *rpc.ClientConfig) { c.Token = "sesame" }, address)
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
}

// A master that stops lets go of waiting claims at once.
func TestStoppingServerEndsClaims(t *testing.T) {
	q := newFakeQueue()
	waiting := make(chan struct{})
	inner := q.claim
	q.claim = func(ctx context.Context, s queue.Slave, want task.Want) (task.Assignment, error) {
		close(waiting)
		return inner(ctx, s, want)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := rpc.NewServer(rpc.ServerConfig{Queue: q, Log: slog.New(slog.DiscardHandler)})
	go func() { ended <- server.Serve(ctx, lis) }()
	c := dial(t, nil, lis.Addr().String())
	claimed := make(chan error, 1)
	go func() {
		_, err := c.Claim(t.Context(), task.Want{}, time.Hour)
		claimed <- err
	}()
	<-waiting
	stop()
	if err := <-claimed; !errors.Is(err, task.ErrNoTask) {
		t.Errorf("claim: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTaskOfALeavingSlaveIsHandedBack(t *testing.T) {
	q := newFakeQueue()
	entered := make(chan struct{})
	q.claim = func(ctx context.Context, _ queue.Slave, _ task.Want) (task.Assignment, error) {
		close(entered)
		<-ctx.Done() // the slave leaves, and the task comes at that very moment
		return assignment(), nil
	}
	address, _ := start(t, q, nil)
	c := dial(t, nil, address)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-entered
		leave()
	}()
	if _, err := c.Claim(ctx, task.Want{}, time.Hour); err == nil {
		t.Fatal("claimed")
	}
	if l := <-q.back; l != assignment().Lease {
		t.Fatalf("handed back %v", l)
	}
}

func TestPanicCostsOneCall(t *testing.T) {
	q := newFakeQueue()
	q.claim = func(context.Context, queue.Slave, task.Want) (task.Assignment, error) { panic("oh") }
	address, log := start(t, q, nil)
	c := dial(t, nil, address)
	if _, err := c.Claim(t.Context(), task.Want{}, time.Second); err == nil {
		t.Fatal("claimed")
	}
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "panic") {
		t.Error("the panic is not in the log")
	}
}

func TestTooManyConnections(t *testing.T) {
	address, log := start(t, newFakeQueue(), func(c *rpc.ServerConfig) { c.MaxConnections = 1 })
	first := dial(t, nil, address)
	if _, err := first.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, nil, address).Hello(t.Context()); err == nil {
		t.Fatal("a second connection was served")
	}
	if _, err := first.Hello(t.Context()); err != nil {
		t.Fatalf("the first connection suffered: %v", err)
	}
	if !strings.Contains(log.String(), "max_connections") {
		t.Errorf("log: %s", log)
	}
}

func TestNextMasterTakesOver(t *testing.T) {
	address, _ := start(t, newFakeQueue(), nil)
	c := dial(t, nil, "127.0.0.1:1", address)
	if _, err := c.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMasterComesBack(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := lis.Addr().String()
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, nil, address)
	if _, err := c.Hello(t.Context()); err == nil {
		t.Fatal("nobody listens there")
	}
	lis, err = net.Listen("tcp", address)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- rpc.NewServer(rpc.ServerConfig{Queue: newFakeQueue(), Log: slog.New(slog.DiscardHandler)}).Serve(ctx, lis)
	}()
	for {
		if _, err := c.Hello(t.Context()); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAddressesAreChecked(t *testing.T) {
	for _, addresses := range [][]string{nil, {"nowhere"}} {
		if _, err := rpc.NewClient(rpc.ClientConfig{Addresses: addresses}); err == nil {
			t.Errorf("%q: accepted", addresses)
		}
	}
}

// https_proxy is for fetching parameters: the master is never looked for behind
// a proxy. 0.0.0.0 is this host, but no loopback address, which proxies are not
// used for anyway.
func TestProxyIsNotForTheMaster(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	address, _ := start(t, newFakeQueue(), nil)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, func(cfg *rpc.ClientConfig) { cfg.CallTimeout = 5 * time.Second }, net.JoinHostPort("0.0.0.0", port))
	if _, err := c.Hello(t.Context()); err != nil {
		t.Error(err)
	}
}
