package queuetest

import (
	"sync"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// again claims for a slave that may have been given the lease before.
func (b *bundle) again(now int64, slave string, l task.Lease) queue.Task {
	b.t.Helper()
	ts, err := b.Claim(b.ctx, now, []queue.Claimer{{Slave: slave, Again: l}})
	if err != nil || len(ts) != 1 {
		b.t.Fatalf("claim: %v, %d results", err, len(ts))
	}
	return ts[0]
}

// unheard returns the leases of which nothing was heard.
func (b *bundle) unheard(now int64) map[task.Lease]string {
	b.t.Helper()
	ts, err := b.Unheard(b.ctx, now)
	b.ok(err)
	out := make(map[task.Lease]string)
	for _, t := range ts {
		out[t.Lease()] = t.Slave
	}
	return out
}

func claimAgain(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.put(101, 2, 900)
	if got := b.unheard(102); len(got) != 0 {
		t.Fatalf("nothing was claimed, yet unheard: %v", got)
	}
	l := b.must(102, "a", 1).Lease()
	if got := b.unheard(103); len(got) != 1 || got[l] != "a" {
		t.Fatalf("unheard: %v", got)
	}
	for now := int64(103); now < 106; now++ { // as often as replies are lost
		got := b.again(now, "a", l)
		if got.Lease() != l || got.Progress != queue.GivenAgain || got.State != task.Running || string(got.In) != "question 1" {
			t.Fatalf("given again: %+v", got)
		}
		if s := b.show(1); s.Attempt != 1 || s.Retries != 0 || s.StartedAt != 102 || s.HeartbeatAt != now || s.Slave != "a" {
			t.Fatalf("stored: %+v", s)
		}
		if got := b.unheard(now); len(got) != 1 {
			t.Fatalf("unheard: %v", got)
		}
	}
	// The claim that was given up must not take the task away from the one that
	// took it over.
	back := queue.Failure{Kind: task.KindAborted, ReadyAt: 106, Unheard: true}
	_, err := b.Fail(b.ctx, 106, l, back)
	b.is(err, task.ErrLost)
	b.state(1, task.Running)

	// A sign of life settles it, whatever it says.
	heard, err := b.Heartbeat(b.ctx, 107, []queue.Beat{{Lease: l, Slave: "a"}})
	if b.ok(err); len(heard.Lost) != 0 {
		t.Fatalf("lost %v", heard.Lost)
	}
	if got := b.unheard(107); len(got) != 0 {
		t.Fatalf("unheard: %v", got)
	}
	second := b.again(108, "a", l)
	if second.ID != id(2) || second.Progress == queue.GivenAgain {
		t.Fatalf("a task that was heard of was given again: %+v", second)
	}
	_, err = b.Fail(b.ctx, 108, l, back)
	b.is(err, task.ErrLost)
	b.ok(b.Finish(b.ctx, 109, l, []byte("answer")))

	// What was given once and not again can be handed back.
	if _, err := b.Fail(b.ctx, 109, second.Lease(), back); err != nil {
		t.Fatal(err)
	}
	b.state(2, task.Ready)
}

func claimAgainIsGuarded(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	for what, got := range map[string]queue.Task{
		"another slave's":   b.again(101, "b", l),
		"a forged attempt":  b.again(101, "a", task.Lease{ID: l.ID, Attempt: 2}),
		"an unknown task":   b.again(101, "a", task.Lease{ID: id(9), Attempt: 1}),
		"one that is over":  b.again(900, "a", l),
		"nobody's, nothing": b.again(101, "", task.Lease{}),
	} {
		if got.ID != "" {
			t.Errorf("%s: given %+v", what, got)
		}
	}
	if got := b.unheard(900); len(got) != 0 {
		t.Errorf("a task whose window closed is unheard: %v", got)
	}
	if s := b.state(1, task.Running); s.HeartbeatAt != 100 || s.Progress != "" {
		t.Fatalf("stored: %+v", s)
	}

	if _, err := b.Rescue(b.ctx, 120, queue.RescuePolicy{SilentSince: 105, ReadyAt: 120, MaxRetry: 2}); err != nil {
		t.Fatal(err)
	}
	if got := b.again(121, "a", l); got.Attempt != 2 || got.Progress == queue.GivenAgain {
		t.Fatalf("a rescued task is claimed anew: %+v", got)
	}
	b.ok(b.Finish(b.ctx, 122, task.Lease{ID: l.ID, Attempt: 2}, []byte("answer")))
	if got := b.again(123, "a", task.Lease{ID: l.ID, Attempt: 2}); got.ID != "" {
		t.Fatalf("a finished task was given again: %+v", got)
	}
	b.state(1, task.Done)
}

// Tasks are given again, handed back and finished at the same moment, by two
// masters: each ends in one piece.
func claimAgainAtOnce(t *testing.T, b *bundle) {
	other := b.connect()
	for n := range 20 {
		b.put(100, n, 900)
		l := b.must(100, "a", n).Lease()
		var given [2]queue.Task
		var finished, back error
		var wg sync.WaitGroup
		for i, s := range []queue.Store{b.Store, other} {
			wg.Go(func() {
				ts, err := s.Claim(b.ctx, 101, []queue.Claimer{{Slave: "a", Again: l}})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				given[i] = ts[0]
			})
		}
		wg.Go(func() { finished = other.Finish(b.ctx, 101, l, []byte("answer")) })
		wg.Go(func() {
			_, back = b.Fail(b.ctx, 101, l, queue.Failure{Kind: task.KindAborted, ReadyAt: 101, Unheard: true})
		})
		wg.Wait()
		stored, err := b.Show(b.ctx, l.ID)
		b.ok(err)
		switch {
		case stored.Attempt == l.Attempt && stored.State == task.Done && finished == nil:
		case stored.Attempt == l.Attempt+1 && stored.State == task.Running && back == nil: // claimed anew
		default:
			t.Fatalf("%+v: finished %v, handed back %v", stored, finished, back)
		}
		for _, g := range given {
			if g.Progress == queue.GivenAgain && (g.Lease() != l || back == nil) {
				t.Fatalf("given %+v again, handed back %v", g, back)
			}
			if g.ID != "" && g.Progress != queue.GivenAgain { // a task of its own: over with it
				b.ok(b.Finish(b.ctx, 102, g.Lease(), []byte("answer")))
			}
		}
	}
}
