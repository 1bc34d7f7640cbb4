package queuetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

func heartbeatFences(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	beat := func(now int64, l task.Lease, progress string) []task.Lease {
		t.Helper()
		heard, err := b.Heartbeat(b.ctx, now, []queue.Beat{{Lease: l, Slave: "a", Progress: progress}})
		b.ok(err)
		if got := heard.NotAfter[l]; len(heard.Lost) == 0 && got != 900 {
			t.Fatalf("the window closes at %d", got)
		}
		return heard.Lost
	}
	if lost := beat(105, l, "reading 3/10"); len(lost) != 0 {
		t.Fatalf("lost %v", lost)
	}
	if got := b.show(1); got.HeartbeatAt != 105 || got.Progress != "reading 3/10" {
		t.Fatalf("after a heartbeat: %+v", got)
	}
	if lost := beat(105, l, "reading 3/10"); len(lost) != 0 {
		t.Fatal("a heartbeat that changes nothing is lost")
	}
	if lost := beat(106, l, strings.Repeat("ü", 100)); len(lost) != 0 {
		t.Fatal("a long progress is lost")
	}
	for name, wrong := range map[string]task.Lease{
		"forged attempt": {ID: l.ID, Attempt: 2}, "old attempt": {ID: l.ID, Attempt: 0}, "unknown task": {ID: id(9), Attempt: 1},
	} {
		if lost := beat(107, wrong, ""); len(lost) != 1 || lost[0] != wrong {
			t.Errorf("%s: lost %v", name, lost)
		}
	}
	b.ok(b.Cancel(b.ctx, 108, id(1), task.KindCancelled, "stop"))
	if lost := beat(109, l, ""); len(lost) != 1 {
		t.Error("the slave of a cancelled task does not learn of it")
	}
}

func finishIsIdempotent(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	b.ok(b.Finish(b.ctx, 110, l, []byte("answer")))
	b.ok(b.Finish(b.ctx, 111, l, []byte("answer")))
	if got := b.state(1, task.Done); string(got.Out) != "answer" || got.FinishedAt != 110 || got.Attempt != 1 {
		t.Fatalf("finished %+v", got)
	}
	_, err := b.Fail(b.ctx, 112, l, retry("late doubt", 0, 2))
	b.is(err, task.ErrLost)
	b.state(1, task.Done)
	if got := b.claim(113, "b"); got.ID != "" {
		t.Fatalf("a finished task was claimed: %+v", got)
	}
}

func finishFences(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	old := b.must(100, "a", 1).Lease()
	if _, err := b.Rescue(b.ctx, 120, queue.RescuePolicy{SilentSince: 105, ReadyAt: 120, MaxRetry: 2}); err != nil {
		t.Fatal(err)
	}
	now := b.must(121, "b", 1).Lease()
	if now.Attempt != old.Attempt+1 {
		t.Fatalf("attempt %d after %d", now.Attempt, old.Attempt)
	}
	b.is(b.Finish(b.ctx, 122, old, []byte("late")), task.ErrLost)
	b.is(b.Finish(b.ctx, 122, task.Lease{ID: id(1), Attempt: 7}, []byte("forged")), task.ErrLost)
	b.is(b.Finish(b.ctx, 122, task.Lease{ID: id(5), Attempt: 1}, []byte("unknown")), task.ErrLost)
	_, err := b.Fail(b.ctx, 122, old, retry("late", 0, 2))
	b.is(err, task.ErrLost)
	b.ok(b.Finish(b.ctx, 123, now, []byte("answer")))
	b.is(b.Finish(b.ctx, 124, old, []byte("late")), task.ErrLost)
	if got := b.state(1, task.Done); string(got.Out) != "answer" {
		t.Fatalf("answer %q", got.Out)
	}
}

func lateAnswerIsTaken(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	if _, err := b.Rescue(b.ctx, 120, queue.RescuePolicy{SilentSince: 105, ReadyAt: 130, MaxRetry: 2}); err != nil {
		t.Fatal(err)
	}
	b.state(1, task.Ready)
	b.ok(b.Finish(b.ctx, 125, l, []byte("answer")))
	if got := b.state(1, task.Done); got.StartedAt == 0 {
		t.Fatalf("finished without having started: %+v", got)
	}
}

func failVerdicts(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	for n := range 3 {
		l := b.must(100, "a", 1).Lease()
		st, err := b.Fail(b.ctx, 100, l, retry(fmt.Sprintf("failure %d", n), 100, 2))
		b.ok(err)
		want := task.Ready
		if n == 2 {
			want = task.Failed
		}
		if got := b.state(1, want); st != want || got.Reason != fmt.Sprintf("failure %d", n) || got.Retries != min(n+1, 2) {
			t.Fatalf("after failure %d: %s, %+v", n, st, got)
		}
		_, err = b.Fail(b.ctx, 100, l, retry("again", 100, 2))
		b.is(err, task.ErrLost)
	}
	b.put(100, 2, 900)
	for range 5 {
		l := b.must(100, "a", 2).Lease()
		if _, err := b.Fail(b.ctx, 100, l, queue.Failure{Kind: task.KindAborted, Reason: "leaving", ReadyAt: 100, MaxRetry: 2}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.state(2, task.Ready); got.Retries != 0 || got.Attempt != 5 {
		t.Fatalf("aborts were counted: %+v", got)
	}
	l := b.must(100, "a", 2).Lease()
	if _, err := b.Fail(b.ctx, 100, l, queue.Failure{Kind: "oops"}); err == nil {
		t.Fatal("an unknown verdict was taken")
	}
	b.state(2, task.Running)
	st, err := b.Fail(b.ctx, 101, l, queue.Failure{Kind: task.KindPermanent, Reason: "\xff bad", MaxRetry: 2})
	b.ok(err)
	if got := b.state(2, task.Failed); st != task.Failed || got.FinishedAt != 101 || got.Verdict != task.KindPermanent {
		t.Fatalf("%s, %+v", st, got)
	}
}

// offered puts, claims and offers task n, to settle at 300.
func (b *bundle) offered(n int) queue.Offer {
	b.t.Helper()
	b.put(100, n, 900)
	o := queue.Offer{Out: fmt.Appendf(nil, "partial %d", n), Reason: "a sector is missing", SettleAt: 300}
	b.ok(b.Offer(b.ctx, 110, b.must(100, "a", n).Lease(), o))
	return o
}

func offer(t *testing.T, b *bundle) {
	o := b.offered(1)
	first := task.Lease{ID: id(1), Attempt: 1}
	got := b.state(1, task.Ready)
	if got.Retries != 0 || got.SettleAt != 300 || string(got.Out) != "partial 1" || got.Reason != o.Reason {
		t.Fatalf("offered %+v", got)
	}
	b.ok(b.Offer(b.ctx, 111, first, o))
	if polled, err := b.Poll(b.ctx, []string{id(1)}); err != nil || polled[0].Out != nil || polled[0].State != task.Ready {
		t.Fatalf("an answer in hand is given away: %+v, %v", polled, err)
	}
	b.is(b.Offer(b.ctx, 111, task.Lease{ID: id(1), Attempt: 2}, o), task.ErrLost)
	second := b.must(120, "b", 1).Lease()
	b.is(b.Offer(b.ctx, 121, first, o), task.ErrLost)
	if got := b.claim(121, "a"); got.ID != "" {
		t.Fatalf("who left sectors out was asked again: %+v", got)
	}
	// Another partial answer is taken, and a third slave asked.
	b.ok(b.Offer(b.ctx, 121, second, queue.Offer{Out: []byte("better"), Reason: "less is missing", SettleAt: 310}))
	if got := b.state(1, task.Ready); string(got.Out) != "better" || got.SettleAt != 310 || !slices.Equal(got.Tried, []string{"a", "b"}) || got.Troubles != 2 {
		t.Fatalf("offered again: %+v", got)
	}
	third := b.must(122, "c", 1).Lease()
	b.ok(b.Finish(b.ctx, 130, third, []byte("whole")))
	if got := b.state(1, task.Done); string(got.Out) != "whole" || got.SettleAt != 0 {
		t.Fatalf("bettered: %+v", got)
	}

	b.offered(2)
	if s, err := b.Settle(b.ctx, 299); err != nil || len(s) != 0 {
		t.Fatalf("settled too early: %+v, %v", s, err)
	}
	late := b.must(150, "b", 2).Lease()
	for _, want := range []int{1, 0} {
		if s, err := b.Settle(b.ctx, 300); err != nil || len(s) != want {
			t.Fatalf("settled %+v, %v", s, err)
		}
	}
	if got := b.state(2, task.Done); string(got.Out) != "partial 2" || got.FinishedAt != 300 {
		t.Fatalf("settled as %+v", got)
	}
	b.ok(b.Finish(b.ctx, 301, late, []byte("whole")))
	if got := b.state(2, task.Done); string(got.Out) != "partial 2" {
		t.Fatalf("an answer given away was changed: %q", got.Out)
	}

	for n, end := range map[int]func() error{
		3: func() error {
			st, err := b.Fail(b.ctx, 160, b.must(150, "b", 3).Lease(), queue.Failure{Kind: task.KindPermanent, Reason: "no"})
			if st != task.Done {
				t.Errorf("failed with an answer in hand: %s", st)
			}
			return err
		},
		4: func() error {
			b.must(150, "b", 4)
			r, err := b.Rescue(b.ctx, 170, queue.RescuePolicy{SilentSince: 155, MaxRetry: 1})
			if len(r) != 1 || r[0].State != task.Done {
				t.Errorf("rescued %+v", r)
			}
			return err
		},
		5: func() error { _, err := b.DropClosed(b.ctx, 900); return err },
	} {
		b.offered(n)
		b.ok(end())
		if got := b.state(n, task.Done); string(got.Out) != fmt.Sprintf("partial %d", n) {
			t.Fatalf("ended as %+v", got)
		}
	}
	b.put(100, 7, 900)
	rescued := b.must(100, "a", 7).Lease()
	if _, err := b.Rescue(b.ctx, 120, queue.RescuePolicy{SilentSince: 105, ReadyAt: 130, MaxRetry: 2}); err != nil {
		t.Fatal(err)
	}
	b.ok(b.Offer(b.ctx, 125, rescued, queue.Offer{Out: []byte("late"), Reason: "a sector is missing", SettleAt: 400}))
	if got := b.state(7, task.Ready); string(got.Out) != "late" || got.SettleAt != 400 || !slices.Equal(got.Tried, []string{"a"}) {
		t.Fatalf("offered late: %+v", got)
	}
	b.ok(b.Finish(b.ctx, 130, b.must(126, "b", 7).Lease(), []byte("whole")))

	b.offered(6)
	b.ok(b.Cancel(b.ctx, 120, id(6), task.KindCancelled, "no"))
	b.state(6, task.Failed)
}
