package mysql_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/mysql"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/task"
)

// breaker stands between store and server and breaks the connection at one
// statement: before the server has it, or after the server has done it and
// before the store hears of it.
type breaker struct {
	server string
	lis    net.Listener

	mu     sync.Mutex
	armed  bool
	left   int  // statements that still pass
	done   bool // whether the statement takes effect
	struck bool
}

func newBreaker(t *testing.T, server string) *breaker {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaker{server: server, lis: lis}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = lis.Close()
		wg.Wait()
	})
	return b
}

// arm breaks the connection at the n-th statement from now, counted from 0.
func (b *breaker) arm(n int, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed, b.left, b.done, b.struck = true, n, done, false
}

// disarm lets everything pass and reports whether the connection was broken.
func (b *breaker) disarm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.armed = false
	return b.struck
}

// strike decides the fate of a statement.
func (b *breaker) strike() (cut, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.armed || b.struck {
		return false, false
	}
	if b.left--; b.left >= 0 {
		return false, false
	}
	b.struck = true
	return true, b.done
}

// serve forwards one connection packet by packet (MySQL protocol: 3 bytes of
// length, little-endian, a sequence number, the payload; 0x03 is a query).
func (b *breaker) serve(store net.Conn) {
	defer store.Close()
	server, err := net.Dial("tcp", b.server)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex // held while replies may pass
	muted := false
	answered := make(chan struct{}, 1)
	go func() {
		defer store.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			mu.Lock()
			if muted {
				mu.Unlock()
				answered <- struct{}{}
				return
			}
			if n > 0 {
				_, _ = store.Write(buf[:n]) // the store may have hung up
			}
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(store, head); err != nil {
			return
		}
		body := make([]byte, binary.LittleEndian.Uint32([]byte{head[0], head[1], head[2], 0}))
		if _, err := io.ReadFull(store, body); err != nil {
			return
		}
		if head[3] == 0 && len(body) > 0 && body[0] == 0x03 {
			if cut, done := b.strike(); cut {
				if done {
					mu.Lock()
					muted = true
					mu.Unlock()
					_, _ = server.Write(append(head, body...))
					<-answered
				}
				return
			}
		}
		if _, err := server.Write(append(head, body...)); err != nil {
			return
		}
	}
}

// scenario is one method of the store and what must hold once a call of it has
// succeeded, however many failed before.
type scenario struct {
	prepare func(s *steps)
	call    func(s *steps) error
	check   func(s *steps)
	final   error // besides nil, the answer to a repeated call that took effect
}

// steps is a store with short-hands that fail the test.
type steps struct {
	queue.Store
	t     *testing.T
	ctx   context.Context
	lease task.Lease
}

func (s *steps) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *steps) put() error {
	_, err := s.Put(s.ctx, 100, queue.NewTask{ID: "1", In: []byte("q"), NotAfter: 900})
	return err
}

func (s *steps) claimed() {
	s.t.Helper()
	s.ok(s.put())
	ts, err := s.Claim(s.ctx, 100, []queue.Claimer{{Slave: "a"}})
	s.ok(err)
	s.lease = ts[0].Lease()
}

func (s *steps) finished() {
	s.t.Helper()
	s.claimed()
	s.ok(s.Finish(s.ctx, 110, s.lease, []byte("a")))
}

func (s *steps) is(state task.State, retries, attempt int) {
	s.t.Helper()
	got, err := s.Show(s.ctx, "1")
	s.ok(err)
	if got.State != state || got.Retries != retries || got.Attempt != attempt {
		s.t.Fatalf("%s after %d retries and %d attempts, want %s, %d, %d", got.State, got.Retries, got.Attempt, state, retries, attempt)
	}
}

var scenarios = map[string]scenario{
	"Put": {
		prepare: func(*steps) {},
		call:    (*steps).put,
		check:   func(s *steps) { s.is(task.Ready, 0, 0) },
	},
	"Put again after a failure": {
		prepare: func(s *steps) {
			s.claimed()
			_, err := s.Fail(s.ctx, 101, s.lease, queue.Failure{Kind: task.KindPermanent})
			s.ok(err)
		},
		call:  (*steps).put,
		check: func(s *steps) { s.is(task.Ready, 0, 2) },
	},
	"Claim again": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			for {
				ts, err := s.Claim(s.ctx, 105, []queue.Claimer{{Slave: "a", Again: s.lease}})
				if err != nil || ts[0].Lease() == s.lease {
					return err
				}
				time.Sleep(10 * time.Millisecond) // the row is locked, see "Claim"
			}
		},
		check: func(s *steps) { s.is(task.Running, 0, 1) },
	},
	"Unheard": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			ts, err := s.Unheard(s.ctx, 105)
			if err == nil && (len(ts) != 1 || ts[0].Lease() != s.lease) {
				s.t.Errorf("unheard %+v", ts)
			}
			return err
		},
		check: func(s *steps) { s.is(task.Running, 0, 1) },
	},
	"Heartbeat": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			heard, err := s.Heartbeat(s.ctx, 105, []queue.Beat{{Lease: s.lease}})
			if len(heard.Lost) > 0 {
				s.t.Error("lost")
			}
			return err
		},
		check: func(s *steps) { s.is(task.Running, 0, 1) },
	},
	"Finish": {
		prepare: (*steps).claimed,
		call:    func(s *steps) error { return s.Finish(s.ctx, 110, s.lease, []byte("a")) },
		check:   func(s *steps) { s.is(task.Done, 0, 1) },
	},
	"Fail": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			_, err := s.Fail(s.ctx, 110, s.lease, queue.Failure{Kind: task.KindRetry, MaxRetry: 3})
			return err
		},
		check: func(s *steps) { s.is(task.Ready, 1, 1) },
		final: task.ErrLost,
	},
	"Offer": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			return s.Offer(s.ctx, 110, s.lease, queue.Offer{Out: []byte("a"), SettleAt: 300})
		},
		check: func(s *steps) { s.is(task.Ready, 0, 1) },
	},
	"Settle": {
		prepare: func(s *steps) {
			s.claimed()
			s.ok(s.Offer(s.ctx, 110, s.lease, queue.Offer{Out: []byte("a"), SettleAt: 300}))
		},
		call:  func(s *steps) error { _, err := s.Settle(s.ctx, 300); return err },
		check: func(s *steps) { s.is(task.Done, 0, 1) },
	},
	"Rescue": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			_, err := s.Rescue(s.ctx, 200, queue.RescuePolicy{SilentSince: 185, MaxRetry: 3})
			return err
		},
		check: func(s *steps) { s.is(task.Ready, 1, 1) },
	},
	"DropClosed": {
		prepare: (*steps).claimed,
		call:    func(s *steps) error { _, err := s.DropClosed(s.ctx, 900); return err },
		check:   func(s *steps) { s.is(task.Failed, 0, 1) },
	},
	"Archive": {
		prepare: (*steps).finished,
		call:    func(s *steps) error { _, err := s.Archive(s.ctx, 200, 10); return err },
		check: func(s *steps) {
			live, err := s.List(s.ctx, queue.Filter{})
			s.ok(err)
			old, err := s.List(s.ctx, queue.Filter{Archived: true})
			s.ok(err)
			if len(live) != 0 || len(old) != 1 {
				s.t.Fatalf("%d tasks left, %d archived", len(live), len(old))
			}
			s.is(task.Done, 0, 1)
		},
	},
	"Retry": {
		prepare: (*steps).finished,
		call:    func(s *steps) error { return s.Retry(s.ctx, 120, "1") },
		check:   func(s *steps) { s.is(task.Ready, 0, 2) },
		final:   queue.ErrState,
	},
	"Cancel": {
		prepare: (*steps).claimed,
		call:    func(s *steps) error { return s.Cancel(s.ctx, 120, "1", task.KindCancelled, "no") },
		check:   func(s *steps) { s.is(task.Failed, 0, 1) },
		final:   queue.ErrState,
	},
	"Due": {
		prepare: (*steps).claimed,
		call: func(s *steps) error {
			due, err := s.Due(s.ctx, 900, queue.RescuePolicy{})
			if err == nil && !due.Closed {
				s.t.Errorf("due %+v", due)
			}
			return err
		},
		check: func(s *steps) { s.is(task.Running, 0, 1) },
	},
	"Sweep": {
		prepare: (*steps).claimed,
		call:    func(s *steps) error { return s.Sweep(s.ctx, 900) },
		check:   func(s *steps) { s.is(task.Running, 0, 1) },
	},
	"ShiftClock": {
		prepare: func(*steps) {},
		call:    func(s *steps) error { return s.ShiftClock(s.ctx, 0, 0) },
		check:   func(*steps) {},
	},
	"SeeSlaves": {
		prepare: func(s *steps) { s.ok(s.put()) },
		call:    func(s *steps) error { _, err := s.SeeSlaves(s.ctx, 100, []queue.Slave{{Name: "a"}}); return err },
		check: func(s *steps) {
			got, err := s.Slaves(s.ctx, 0)
			s.ok(err)
			if len(got) != 1 {
				s.t.Fatalf("slaves %+v", got)
			}
		},
	},
	// A claim whose reply is lost holds the task until it is rescued: that is
	// the one effect that cannot be taken twice.
	"Claim": {
		prepare: func(s *steps) { s.ok(s.put()) },
		call: func(s *steps) error {
			for {
				ts, err := s.Claim(s.ctx, 100, []queue.Claimer{{Slave: "a"}})
				if err != nil {
					return err
				}
				if ts[0].ID != "" {
					s.lease = ts[0].Lease()
					return nil
				}
				t, err := s.Show(s.ctx, "1")
				if err != nil || t.State == task.Running {
					return err
				}
				// The broken connection's lock on the row stands until the server
				// notices; meanwhile claims pass it over.
				time.Sleep(10 * time.Millisecond)
			}
		},
		check: func(s *steps) {
			s.is(task.Running, 0, 1)
			if s.lease.ID == "" {
				_, err := s.Rescue(s.ctx, 200, queue.RescuePolicy{SilentSince: 185, MaxRetry: 3})
				s.ok(err)
				ts, err := s.Claim(s.ctx, 201, []queue.Claimer{{Slave: "b"}})
				s.ok(err)
				if ts[0].Attempt != 2 {
					s.t.Fatalf("claimed %+v", ts[0])
				}
			}
		},
	},
}

// Every statement of every method is lost once, before and after it took
// effect; the call is repeated, and its effect is there exactly once.
func TestBrokenConnections(t *testing.T) {
	cfg, exec := fresh(t)
	b := newBreaker(t, cfg.Address)
	cfg.Address = b.lis.Addr().String()
	db, err := mysql.Open(t.Context(), cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, sc := range scenarios {
		for _, done := range []bool{false, true} {
			for n := 0; ; n++ {
				struck := false
				t.Run(fmt.Sprintf("%s/statement=%d/done=%v", strings.ReplaceAll(name, " ", "_"), n, done), func(t *testing.T) {
					for _, table := range []string{"wdpost_tasks", "wdpost_bodies", "tasks_archived", "slaves"} {
						exec("DELETE FROM " + table)
					}
					s := &steps{Store: db, t: t, ctx: t.Context()}
					sc.prepare(s)
					b.arm(n, done)
					err := sc.call(s)
					struck = b.disarm()
					for try := 0; errors.Is(err, queue.ErrUnavailable); try++ {
						if try == 3 {
							t.Fatalf("the store does not recover: %v", err)
						}
						err = sc.call(s)
					}
					if err != nil && (sc.final == nil || !errors.Is(err, sc.final)) {
						t.Fatal(err)
					}
					sc.check(s)
				})
				if !struck {
					break // the method has no more statements
				}
			}
		}
	}
}

func TestConformanceWithoutSkipLocked(t *testing.T) {
	queuetest.Exercise(t, func(t *testing.T) (queue.Store, func() queue.Store) {
		cfg, _ := fresh(t)
		connect := func() queue.Store {
			db := open(t, cfg)
			db.WithoutSkipLocked()
			return db
		}
		return connect(), connect
	})
}
