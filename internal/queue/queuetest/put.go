package queuetest

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

func putIsIdempotent(t *testing.T, b *bundle) {
	first := b.put(100, 1, 900)
	if first.State != task.Ready || first.CreatedAt != 100 || first.Attempt != 0 || first.NotAfter != 900 {
		t.Fatalf("stored %+v", first)
	}
	if again := b.put(200, 1, 900); again.CreatedAt != 100 || again.State != task.Ready || !bytes.Equal(again.In, first.In) {
		t.Fatalf("put again: %+v", again)
	}
	if later := b.put(201, 1, 950); later.NotAfter != 950 {
		t.Fatalf("a new window's close was not taken: %+v", later)
	}
	if unknown := b.put(202, 1, queue.NoEnd); unknown.NotAfter != 950 {
		t.Fatalf("an unknown close replaced a known one: %+v", unknown)
	}
	l := b.must(210, "a", 1).Lease()
	if got := b.put(211, 1, 950); got.State != task.Running || got.Attempt != 1 {
		t.Fatalf("put of a running task: %+v", got)
	}
	b.ok(b.Finish(b.ctx, 220, l, []byte("answer")))
	if got := b.put(230, 1, 950); got.State != task.Done || string(got.Out) != "answer" || got.FinishedAt != 220 {
		t.Fatalf("put of a finished task: %+v", got)
	}
}

func putOfAFailedTask(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	if st, err := b.Fail(b.ctx, 101, l, queue.Failure{Kind: task.KindPermanent, Reason: "no"}); err != nil || st != task.Failed {
		t.Fatalf("fail: %s, %v", st, err)
	}
	got := b.put(102, 1, 950)
	if got.State != task.Ready || got.Retries != 0 || got.Reason != "" || got.Verdict != "" || got.NotAfter != 950 {
		t.Fatalf("reopened: %+v", got)
	}
	b.is(b.Finish(b.ctx, 103, l, []byte("of the round before")), task.ErrLost)
	if again := b.must(104, "a", 1); again.Attempt <= l.Attempt {
		t.Fatalf("attempt %d after %d", again.Attempt, l.Attempt)
	}

	b.put(105, 2, 900)
	b.ok(b.Cancel(b.ctx, 106, id(2), task.KindCancelled, "not wanted"))
	if got := b.put(107, 2, 900); got.State != task.Failed || got.Verdict != task.KindCancelled {
		t.Fatalf("a cancelled task came back: %+v", got)
	}

	b.put(107, 4, 900)
	b.ok(b.Cancel(b.ctx, 107, id(4), task.KindAborted, "withdrawn"))
	if got := b.put(107, 4, 900); got.State != task.Ready {
		t.Fatalf("a withdrawn task did not come back: %+v", got)
	}

	b.put(108, 3, 110)
	if _, err := b.DropClosed(b.ctx, 110); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Archive(b.ctx, 110, 10); err != nil {
		t.Fatal(err)
	}
	if got := b.put(111, 3, 900); got.State != task.Ready || got.Archived {
		t.Fatalf("a failed task in the archive was not reopened: %+v", got)
	}
}

func retry(reason string, readyAt int64, limit int) queue.Failure {
	return queue.Failure{Kind: task.KindRetry, Reason: reason, ReadyAt: readyAt, MaxRetry: limit}
}

func pollAndShow(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.put(100, 2, 900)
	b.ok(b.Finish(b.ctx, 110, b.must(100, "a", 1).Lease(), []byte("answer")))
	b.put(100, 3, 900)
	b.ok(b.Cancel(b.ctx, 111, id(3), task.KindCancelled, "no"))
	names := []string{id(1), id(2), id(3), id(77)}
	for n := 1000; n < 1500; n++ {
		names = append(names, id(n))
	}
	check := func() {
		t.Helper()
		got, err := b.Poll(b.ctx, names)
		b.ok(err)
		states := make(map[string]queue.Task)
		for _, g := range got {
			states[g.ID] = g
		}
		if len(got) != 3 || string(states[id(1)].Out) != "answer" || states[id(2)].State != task.Ready || states[id(3)].Reason != "no" {
			t.Fatalf("polled %+v", got)
		}
	}
	check()
	if n, err := b.Ready(b.ctx, 120, 10); err != nil || n != 1 {
		t.Fatalf("%d tasks are ready, %v", n, err)
	}
	if _, err := b.Archive(b.ctx, 110, 10); err != nil {
		t.Fatal(err)
	}
	check()
	if got := b.show(1); string(got.In) != "question 1" || string(got.Out) != "answer" {
		t.Fatalf("shown %+v", got)
	}
	_, err := b.Show(b.ctx, id(77))
	b.is(err, queue.ErrNotFound)
	if got, err := b.Poll(b.ctx, nil); err != nil || len(got) != 0 {
		t.Fatalf("polled nothing: %v, %v", got, err)
	}
}

func list(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.put(101, 2, 900)
	b.put(102, 3, 900)
	b.put(103, 4, 900)
	b.ok(b.Cancel(b.ctx, 104, id(4), task.KindCancelled, "no"))
	b.must(104, "a", 1)
	b.ok(b.Finish(b.ctx, 105, b.must(104, "b", 2).Lease(), []byte("x")))
	names := func(f queue.Filter) string {
		ts, err := b.List(b.ctx, f)
		b.ok(err)
		var out []string
		for _, l := range ts {
			if l.In != nil || l.Out != nil {
				t.Error("a listing carries bodies")
			}
			out = append(out, strings.TrimLeft(l.ID, "0")+string(l.State[0]))
		}
		return strings.Join(out, " ")
	}
	for want, f := range map[string]queue.Filter{
		"4f 3r 2d 1r": {},
		"3r":          {States: []task.State{task.Ready}},
		"4f 1r":       {States: []task.State{task.Running, task.Failed}},
		"2d":          {Slave: "b"},
		"4f 3r":       {Limit: 2},
		"":            {Archived: true},
	} {
		if got := names(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	counts, err := b.Counts(b.ctx)
	b.ok(err)
	for _, st := range task.States() {
		if counts[st] != 1 {
			t.Errorf("%d tasks are %s", counts[st], st)
		}
	}
}

func retryAndCancel(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.is(b.Retry(b.ctx, 101, id(1)), queue.ErrState)
	l := b.must(101, "a", 1).Lease()
	b.is(b.Retry(b.ctx, 101, id(1)), queue.ErrState)
	b.ok(b.Finish(b.ctx, 102, l, []byte("wrong")))
	b.is(b.Cancel(b.ctx, 103, id(1), task.KindCancelled, "no"), queue.ErrState)
	b.ok(b.Retry(b.ctx, 104, id(1)))
	if got := b.state(1, task.Ready); got.Out != nil || got.Attempt <= l.Attempt {
		t.Fatalf("retried %+v", got)
	}
	b.is(b.Finish(b.ctx, 105, l, []byte("wrong")), task.ErrLost)
	b.ok(b.Cancel(b.ctx, 106, id(1), task.KindCancelled, "no"))
	b.ok(b.Retry(b.ctx, 107, id(1)))
	b.ok(b.Cancel(b.ctx, 108, id(1), task.KindCancelled, "no"))
	b.is(b.Retry(b.ctx, 900, id(1)), queue.ErrState)
	b.is(b.Retry(b.ctx, 100, id(8)), queue.ErrNotFound)
	b.is(b.Cancel(b.ctx, 100, id(8), task.KindCancelled, ""), queue.ErrNotFound)
}

func largeBodies(t *testing.T, b *bundle) {
	in := bytes.Repeat([]byte("\x00\xff'\"\\\n%_ü"), 400_000)
	out := bytes.Repeat([]byte{0, 1, 2, 0xfe}, 50_000)
	_, err := b.Put(b.ctx, 100, queue.NewTask{ID: id(1), In: in, NotAfter: 900})
	b.ok(err)
	got := b.must(100, "it's \\ \"ü", 1)
	if !bytes.Equal(got.In, in) {
		t.Fatal("the question changed on its way")
	}
	b.ok(b.Finish(b.ctx, 110, got.Lease(), out))
	if s := b.show(1); !bytes.Equal(s.Out, out) || s.Slave != "it's \\ \"ü" {
		t.Fatal("the answer changed on its way")
	}
}

func endedContext(t *testing.T, b *bundle) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.Put(ctx, 100, queue.NewTask{ID: id(1), In: []byte("x"), NotAfter: 900})
	b.is(err, queue.ErrUnavailable)
	b.put(100, 1, 900)
	_, err = b.Claim(ctx, 100, []queue.Claimer{{Slave: "a"}})
	b.is(err, queue.ErrUnavailable)
	b.is(b.Finish(ctx, 100, task.Lease{ID: id(1)}, nil), queue.ErrUnavailable)
	b.must(101, "a", 1)
}
