package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"wdpost/internal/queue"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/rpc"
	"wdpost/internal/task"
)

// wire is a network of some masters in simulated time, which can be cut.
type wire struct {
	masters map[string]*bufconn.Listener

	mu    sync.Mutex
	conns map[string][]*wireConn // by master
}

// wireConn is the slave's end of a connection. Once it is cut nothing that
// either side sends arrives any more; once it is broken too, the slave knows.
type wireConn struct {
	net.Conn
	cut, broken chan struct{}
}

// Read implements net.Conn.
func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.cut:
		<-c.broken
		return 0, errors.New("connection reset")
	default:
		return n, err
	}
}

// Write implements net.Conn.
func (c *wireConn) Write(p []byte) (int, error) {
	select {
	case <-c.cut:
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

// Close implements net.Conn. The other end of a cut connection does not learn
// of it.
func (c *wireConn) Close() error {
	select {
	case <-c.cut:
		return nil
	default:
		return c.Conn.Close()
	}
}

func (w *wire) dial(ctx context.Context, address string) (net.Conn, error) {
	lis := w.masters[address]
	if lis == nil {
		return nil, errors.New("connection refused")
	}
	conn, err := lis.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, cut: make(chan struct{}), broken: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[address] = append(w.conns[address], c)
	return c, nil
}

// cut loses what is sent from now on over the connections that a master has.
func (w *wire) cut(address string) (breakUp func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	conns := w.conns[address]
	w.conns[address] = nil
	for _, c := range conns {
		close(c.cut)
	}
	return func() {
		for _, c := range conns {
			close(c.broken)
		}
	}
}

// lossy is masters on one SQLite file behind a wire.
type lossy struct {
	t      *testing.T
	wire   *wire
	store  queue.Store
	queues []*queue.Queue
}

// simulateLoss runs a test with two masters, "one:1" and "two:1".
func simulateLoss(t *testing.T, test func(t *testing.T, w *lossy)) {
	path := filepath.Join(t.TempDir(), "queue.db")
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		store, err := sqlite.Open(t.Context(), path, quiet)
		if err != nil {
			t.Fatal(err)
		}
		w := &lossy{t: t, store: store, wire: &wire{masters: map[string]*bufconn.Listener{}, conns: map[string][]*wireConn{}}}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for _, address := range []string{"one:1", "two:1"} {
			q, err := queue.New(ctx, store, queue.Config{MaxRetry: 2, Verifier: nodding{}, Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			lis := bufconn.Listen(1 << 20)
			w.wire.masters[address] = lis
			w.queues = append(w.queues, q)
			wg.Go(func() { q.Run(ctx) })
			server := rpc.NewServer(rpc.ServerConfig{Queue: q, Log: quiet})
			wg.Go(func() {
				if err := server.Serve(ctx, lis); err != nil {
					t.Error(err)
				}
			})
		}
		defer func() {
			cancel()
			wg.Wait()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, w)
	})
}

// nodding takes every proof.
type nodding struct{}

func (nodding) VerifyWindowPoSt(context.Context, task.Question, task.Answer) error { return nil }

func (w *lossy) dial(addresses ...string) *rpc.Client {
	w.t.Helper()
	c, err := rpc.NewClient(rpc.ClientConfig{Addresses: addresses, Name: "slave-1", ID: "process-1", Dial: w.wire.dial, ReconnectInterval: time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// ask puts question n to master m without waiting for an answer.
func (w *lossy) ask(m, n int) string {
	q := task.Question{MinerID: 1008, ProofType: "StackedDrgWindow2KiBV1_2", Replicas: []task.Replica{{SectorID: uint64(n)}}}
	ctx, cancel := context.WithCancel(w.t.Context())
	go func() {
		time.Sleep(time.Millisecond)
		cancel()
	}()
	if _, err := w.queues[m].Ask(ctx, q); !errors.Is(err, context.Canceled) {
		w.t.Fatalf("ask: %v", err)
	}
	return q.ID()
}

// claim asks until there is a task, as a slave that holds the given leases.
func (w *lossy) claim(c *rpc.Client, unsure bool, held ...task.Lease) task.Assignment {
	w.t.Helper()
	for try := 0; ; try++ {
		a, err := c.Claim(w.t.Context(), task.Want{Holding: &task.Holding{Leases: held, Unsure: unsure}}, 20*time.Second)
		switch {
		case err == nil:
			return a
		case try == 20:
			w.t.Fatalf("claim: %v", err)
		case !errors.Is(err, task.ErrNoTask):
			unsure = true
			time.Sleep(time.Second)
		}
	}
}

// wantRunning checks that the task has not been rescued or claimed twice.
func (w *lossy) wantRunning(l task.Lease) {
	w.t.Helper()
	got, err := w.store.Show(w.t.Context(), l.ID)
	if err != nil || got.State != task.Running || got.Attempt != 1 || got.Retries != 0 {
		w.t.Fatalf("stored %+v, %v", got, err)
	}
}

// A master answers a claim, and the answer is lost with the connection: the
// slave has the task as soon as it is connected again, under the same lease.
func TestLostClaimReply(t *testing.T) {
	for _, addresses := range [][]string{{"one:1"}, {"one:1", "two:1"}} {
		t.Run(fmt.Sprint(len(addresses)), func(t *testing.T) {
			simulateLoss(t, func(t *testing.T, w *lossy) {
				c := w.dial(addresses...)
				defer c.Close()
				got := make(chan task.Assignment)
				go func() { got <- w.claim(c, false) }()
				time.Sleep(3 * time.Second)
				breakUp := w.wire.cut("one:1")
				if len(addresses) == 2 {
					delete(w.wire.masters, "one:1")
				}
				id := w.ask(0, 7)
				synctest.Wait()
				w.wantRunning(task.Lease{ID: id}) // given out, and the reply is lost
				begin := time.Now()
				breakUp()
				a := <-got
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("the task came after %v", took)
				}
				if a.Lease != (task.Lease{ID: id, Attempt: 1}) || a.Question.ID() != id {
					t.Fatalf("claimed %+v", a)
				}
				w.wantRunning(a.Lease)
				if err := c.Finish(w.t.Context(), a.Lease, task.Answer{Proofs: [][]byte{{1}}}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The slave gave up on a claim that a master still serves, over a connection
// that it does not know to be dead. Whichever master hands out a task, and over
// whichever connection, the slave has it at once, and has it once.
func TestTwoClaimsInFlight(t *testing.T) {
	simulateLoss(t, func(t *testing.T, w *lossy) {
		first := w.dial("one:1")
		defer first.Close()
		given, giveUp := context.WithCancel(w.t.Context())
		go first.Claim(given, task.Want{Holding: &task.Holding{}}, 20*time.Second)
		time.Sleep(time.Second)
		breakUp := w.wire.cut("one:1")
		giveUp()
		breakUp()
		synctest.Wait()

		second := w.dial("two:1")
		defer second.Close()
		got := make(chan task.Assignment)
		go func() { got <- w.claim(second, true) }()
		time.Sleep(time.Second)
		begin := time.Now()
		id := w.ask(0, 7) // the first master has the dead claim at hand
		a := <-got
		if took := time.Since(begin); took > time.Second || a.ID != id {
			t.Fatalf("after %v: %+v", took, a)
		}
		w.wantRunning(a.Lease)
		// The dead claim's end must not take the task away from the slave.
		if _, err := second.Heartbeat(w.t.Context(), map[task.Lease]string{a.Lease: "proving"}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			time.Sleep(5 * time.Second)
			pulse, err := second.Heartbeat(w.t.Context(), map[task.Lease]string{a.Lease: "proving"})
			if err != nil || len(pulse.Lost) > 0 {
				t.Fatalf("%+v, %v", pulse, err)
			}
		}
		w.wantRunning(a.Lease)
	})
}

// What a slave has is not given to it again, however unsure it is; nor is
// another slave's.
func TestUnsureSlaveGetsNothingTwice(t *testing.T) {
	simulateLoss(t, func(t *testing.T, w *lossy) {
		c := w.dial("one:1")
		defer c.Close()
		first := w.ask(0, 1)
		a := w.claim(c, true)
		if a.ID != first {
			t.Fatalf("claimed %+v", a)
		}
		if a, err := c.Claim(w.t.Context(), task.Want{Holding: &task.Holding{Leases: []task.Lease{a.Lease}, Unsure: true}}, 3*time.Second); !errors.Is(err, task.ErrNoTask) {
			t.Fatalf("claimed %+v, %v", a, err)
		}
		// A slave that does not tell what it has gets nothing again either.
		if a, err := c.Claim(w.t.Context(), task.Want{}, 3*time.Second); !errors.Is(err, task.ErrNoTask) {
			t.Fatalf("claimed %+v, %v", a, err)
		}
		other, err := rpc.NewClient(rpc.ClientConfig{Addresses: []string{"two:1"}, Name: "slave-2", Dial: w.wire.dial})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if a, err := other.Claim(w.t.Context(), task.Want{Holding: &task.Holding{Unsure: true}}, 3*time.Second); !errors.Is(err, task.ErrNoTask) {
			t.Fatalf("claimed %+v, %v", a, err)
		}
		second := w.ask(1, 2)
		if b := w.claim(c, true, a.Lease); b.ID != second {
			t.Fatalf("claimed %+v", b)
		}
		w.wantRunning(a.Lease)
	})
}
