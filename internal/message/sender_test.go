package message

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/endpoint"
)

// ways are the implementations of Sender. Each open is a new process over the
// same world.
var ways = map[string]func(*testing.T, *world) Sender{
	"messager": func(t *testing.T, w *world) Sender {
		m, err := NewMessager(MessagerConfig{Address: "/ip4/127.0.0.1/tcp/1/ws"})
		if err != nil {
			t.Fatal(err)
		}
		m.api = fakeMessager(w)
		return m
	},
	"lotus":      func(_ *testing.T, w *world) Sender { return NewNodeSender(fakeNode{w, true}, 0) },
	"other node": func(_ *testing.T, w *world) Sender { return NewNodeSender(fakeNode{w, false}, 0) },
}

// conform runs f over every implementation in simulated time.
func conform(t *testing.T, f func(t *testing.T, w *world, open func() Sender)) {
	for name, open := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				f(t, w, func() Sender { return open(t, w) })
			})
		})
	}
}

func push(t *testing.T, s Sender, id string, n byte) Handle {
	t.Helper()
	h, err := s.Push(t.Context(), id, post(n), Spec{})
	if err != nil {
		t.Fatalf("push %s: %v", id, err)
	}
	if h.ID != id {
		t.Fatalf("push %s: handle %s", id, h)
	}
	return h
}

func TestPushLandWait(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		if o, err := s.Find(t.Context(), h); err != nil || o.State != Pending {
			t.Errorf("found %v, %v; want it pending", o.State, err)
		}
		start, done := time.Now(), make(chan struct{})
		go func() {
			defer close(done)
			o, err := s.Wait(t.Context(), h, 5)
			if err != nil || !o.Succeeded() || o.Height != 101 || o.Handle.CID == nil {
				t.Errorf("outcome %+v, %v", o, err)
			}
		}()
		time.Sleep(time.Minute)
		w.land(exitcode.Ok)
		time.Sleep(time.Minute)
		w.advance(4)
		time.Sleep(time.Minute)
		select {
		case <-done:
			t.Fatal("the wait ended 4 epochs deep, want 5")
		default:
		}
		w.advance(1)
		<-done
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("the wait took %v", took)
		}
	})
}

func TestPushTwiceSendsOnce(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		first := push(t, s, "a", 1)
		again := push(t, s, "a", 2) // other params under the same id
		if w.sent() != 1 {
			t.Errorf("%d messages were sent", w.sent())
		}
		if first.CID != nil && !first.CID.Equals(*again.CID) {
			t.Errorf("handles %s and %s", first, again)
		}
		push(t, s, "b", 3)
		if w.sent() != 2 {
			t.Errorf("%d messages for two ids", w.sent())
		}
	})
}

func TestPushAtTheSameTime(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { push(t, s, "a", 1) })
		}
		wg.Wait()
		if w.sent() != 1 {
			t.Errorf("%d messages were sent", w.sent())
		}
	})
}

// A push whose answer is lost either happened or not. Both ways, pushing again
// makes one message, in the same process and in a new one.
func TestLostAnswers(t *testing.T) {
	for _, happened := range []bool{false, true} {
		for _, restart := range []bool{false, true} {
			conform(t, func(t *testing.T, w *world, open func() Sender) {
				s := open()
				w.set(func() {
					w.fault = func(method string) (bool, error) {
						if method == "push" {
							return happened, errLine
						}
						return true, nil
					}
				})
				_, err := s.Push(t.Context(), "a", post(1), Spec{})
				if !errors.Is(err, endpoint.ErrUnreachable) || errors.Is(err, ErrRefused) {
					t.Errorf("happened %v: error %v; want an uncertain one", happened, err)
				}
				w.set(func() { w.fault = nil })
				if restart {
					s = open()
				}
				h := push(t, s, "a", 1)
				if w.sent() != 1 {
					t.Errorf("happened %v, restart %v: %d messages were sent", happened, restart, w.sent())
				}
				w.land(exitcode.Ok)
				if o, err := s.Wait(t.Context(), h, 0); err != nil || !o.Succeeded() {
					t.Errorf("outcome %+v, %v", o, err)
				}
			})
		}
	}
}

func TestRefusedPush(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		w.set(func() {
			w.fault = func(method string) (bool, error) {
				if method == "push" {
					return false, errAnswer
				}
				return true, nil
			}
		})
		_, err := s.Push(t.Context(), "a", post(1), Spec{})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "exit=[16]") {
			t.Errorf("error %v", err)
		}
		if _, err := s.Push(t.Context(), "a", post(1), Spec{Fees: Fees{GasOverEstimation: 0.5}}); !errors.Is(err, ErrRefused) {
			t.Errorf("impossible fees: %v", err)
		}
		w.set(func() { w.fault = nil })
		push(t, s, "a", 1)
		if w.sent() != 1 {
			t.Errorf("%d messages were sent", w.sent())
		}
	})
}

func TestExitCodeIsNotSuccess(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		w.land(exitcode.ErrIllegalArgument)
		o, err := s.Wait(t.Context(), h, 0)
		if err != nil || o.State != Landed || o.Succeeded() || o.Receipt.ExitCode != 16 {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

func TestReplacedByAnother(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		w.land(exitcode.Ok)
		w.set(func() { w.entries[0].replaced = true })
		w.advance(3)
		o, err := s.Wait(t.Context(), h, 2)
		if err != nil || o.State != Replaced || o.Succeeded() {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

func TestWaitOutlivesTrouble(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		w.set(func() { w.fault = func(string) (bool, error) { return false, errLine } })
		go func() {
			time.Sleep(10 * time.Minute)
			w.set(func() { w.fault = nil })
			w.land(exitcode.Ok)
		}()
		if o, err := s.Wait(t.Context(), h, 0); err != nil || !o.Succeeded() {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		closed := errors.New("the deadline is closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(closed) })
		w.set(func() { w.fault = func(string) (bool, error) { return false, errLine } })
		_, err := s.Wait(ctx, h, 0)
		if !errors.Is(err, closed) || !errors.Is(err, endpoint.ErrUnreachable) || !strings.Contains(err.Error(), "message a") {
			t.Errorf("error %v; want the cause, the message and the last failure", err)
		}
	})
}

func TestUnknownMessage(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		if o, err := open().Find(t.Context(), Handle{ID: "never pushed"}); err != nil || o.State != Unknown {
			t.Errorf("found %+v, %v", o, err)
		}
		w.set(func() { w.fault = func(string) (bool, error) { return false, errLine } })
		c := cidOf("x")
		if _, err := open().Find(t.Context(), Handle{ID: "a", CID: &c}); !errors.Is(err, endpoint.ErrUnreachable) {
			t.Errorf("an outage reads as %v", err)
		}
	})
}

func TestFindAfterRestart(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		h := push(t, open(), "a", 1)
		w.land(exitcode.Ok)
		if o, err := open().Find(t.Context(), h); err != nil || !o.Succeeded() {
			t.Errorf("found %+v, %v", o, err)
		}
	})
}

func TestReplaceAtAHigherPrice(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		s := open()
		h := push(t, s, "a", 1)
		again, err := s.Replace(t.Context(), h, Fees{})
		if err != nil || again.ID != "a" || again.CID == nil || w.sent() != 1 {
			t.Fatalf("handle %s, %v, %d sent", again, err, w.sent())
		}
		w.land(exitcode.Ok)
		for _, h := range []Handle{h, again} { // the old handle follows as well
			if o, err := s.Wait(t.Context(), h, 0); err != nil || !o.Succeeded() || !o.Handle.CID.Equals(*again.CID) {
				t.Errorf("outcome %+v, %v", o, err)
			}
		}
		if _, err := s.Replace(t.Context(), again, Fees{}); !errors.Is(err, ErrRefused) {
			t.Errorf("replacing a landed message: %v", err)
		}
	})
}

func TestHasKey(t *testing.T) {
	conform(t, func(t *testing.T, w *world, open func() Sender) {
		w.keys = append(w.keys, keyOf(idAddr(100)))
		s := open()
		if ok, err := s.HasKey(t.Context(), keyOf(idAddr(100))); !ok || err != nil {
			t.Errorf("own key: %v, %v", ok, err)
		}
		if ok, err := s.HasKey(t.Context(), keyOf(idAddr(101))); ok || err != nil {
			t.Errorf("other key: %v, %v", ok, err)
		}
	})
}

func TestMessagerFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := ways["messager"](t, w)
		h := push(t, s, "a", 1)
		w.set(func() { w.entries[0].failed = "estimate gas: actor not found" })
		o, err := s.Wait(t.Context(), h, 5)
		if err != nil || o.State != Failed || !strings.Contains(o.Reason, "actor not found") {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

// A node that forgets a message gets it again, as it was signed. A process that
// does not have it any more says so instead of waiting for ever.
func TestNodeForgets(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			h := push(t, ways["lotus"](t, w), "a", 1)
			s := ways["lotus"](t, w)
			if !restart {
				s = NewNodeSender(fakeNode{w, true}, 0)
				if again := push(t, s, "a", 1); !again.CID.Equals(*h.CID) {
					t.Fatalf("handles %s and %s", h, again)
				}
			}
			w.set(func() { w.entries[0].failed = "gone" })
			stop := time.AfterFunc(time.Hour, func() { t.Error("the wait does not end") })
			defer stop.Stop()
			go func() { // the chain goes on
				for t.Context().Err() == nil && sleep(t.Context(), 30*time.Second) {
					w.advance(1)
					w.mu.Lock()
					if e := w.entries[0]; e.failed == "" && !e.landed {
						e.landed, e.height = true, w.head
					}
					w.mu.Unlock()
				}
			}()
			o, err := s.Wait(t.Context(), h, 2)
			want := Landed
			if restart {
				want = Unknown
			}
			if err != nil || o.State != want {
				t.Errorf("restart %v: outcome %s, %v; want %s", restart, o.State, err, want)
			}
		})
	}
}

// A messager that lost a message says so.
func TestMessagerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		s := ways["messager"](t, w)
		h := push(t, s, "a", 1)
		w.set(func() { w.entries = nil })
		if o, err := s.Wait(t.Context(), h, 5); err != nil || o.State != Unknown {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}
