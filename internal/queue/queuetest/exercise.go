// Package queuetest checks that a database keeps the promises of queue.Store,
// and helps tests to a private MariaDB server.
package queuetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// Exercise runs every rule of queue.Store against stores that open returns.
// Each call of open must give an empty, migrated store; connect, called with
// such a store open, another connection to the same data, as a second master
// has it. The times in the tests are their own and do not touch the clock.
func Exercise(t *testing.T, open func(t *testing.T) (store queue.Store, connect func() queue.Store)) {
	for name, rule := range map[string]func(*testing.T, *bundle){
		"PutIsIdempotent":       putIsIdempotent,
		"PutOfAFailedTask":      putOfAFailedTask,
		"ClaimOrder":            claimOrder,
		"ClaimFilters":          claimFilters,
		"ClaimAvoids":           claimAvoids,
		"ClaimIsExclusive":      claimIsExclusive,
		"HeartbeatFences":       heartbeatFences,
		"FinishIsIdempotent":    finishIsIdempotent,
		"FinishFences":          finishFences,
		"LateAnswerIsTaken":     lateAnswerIsTaken,
		"FailVerdicts":          failVerdicts,
		"RescueSilent":          rescueSilent,
		"RescueOverdue":         rescueOverdue,
		"DropClosed":            dropClosed,
		"Archive":               archive,
		"PollAndShow":           pollAndShow,
		"List":                  list,
		"RetryAndCancel":        retryAndCancel,
		"Slaves":                slaves,
		"LargeAndOddBodies":     largeBodies,
		"EndedContext":          endedContext,
		"SeveralMastersAtOnce":  severalMasters,
		"ClaimUsesItsIndexOnly": manyTasks,
	} {
		t.Run(name, func(t *testing.T) {
			store, connect := open(t)
			rule(t, &bundle{Store: store, t: t, ctx: t.Context(), connect: connect})
		})
	}
}

// bundle is a store with short-hands that fail the test.
type bundle struct {
	queue.Store
	t       *testing.T
	ctx     context.Context
	connect func() queue.Store
}

// id makes a task id out of a small number.
func id(n int) string { return fmt.Sprintf("%032x", n) }

func (b *bundle) put(now int64, n int, notAfter int64) queue.Task {
	b.t.Helper()
	t, err := b.Put(b.ctx, now, queue.NewTask{ID: id(n), In: fmt.Appendf(nil, "question %d", n), NotAfter: notAfter, SectorSize: 2048})
	if err != nil {
		b.t.Fatalf("put %d: %v", n, err)
	}
	return t
}

// claim returns the task given to one claimer, without ID if there was none.
func (b *bundle) claim(now int64, slave string) queue.Task {
	b.t.Helper()
	ts, err := b.Claim(b.ctx, now, []queue.Claimer{{Slave: slave}})
	if err != nil || len(ts) != 1 {
		b.t.Fatalf("claim: %v, %d results", err, len(ts))
	}
	return ts[0]
}

// must claims and fails the test if it is not the wanted task.
func (b *bundle) must(now int64, slave string, n int) queue.Task {
	b.t.Helper()
	t := b.claim(now, slave)
	if t.ID != id(n) {
		b.t.Fatalf("claimed %q, want task %d", t.ID, n)
	}
	return t
}

func (b *bundle) show(n int) queue.Task {
	b.t.Helper()
	t, err := b.Show(b.ctx, id(n))
	if err != nil {
		b.t.Fatalf("show %d: %v", n, err)
	}
	return t
}

func (b *bundle) state(n int, want task.State) queue.Task {
	b.t.Helper()
	t := b.show(n)
	if t.State != want {
		b.t.Fatalf("task %d is %s, want %s: %+v", n, t.State, want, t)
	}
	return t
}

func (b *bundle) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) is(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Fatalf("error %v, want %v", err, want)
	}
}

func retry(reason string, readyAt int64, limit int) queue.Failure {
	return queue.Failure{Kind: task.KindRetry, Reason: reason, ReadyAt: readyAt, MaxRetry: limit}
}

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

func claimOrder(t *testing.T, b *bundle) {
	b.put(100, 1, queue.NoEnd)
	b.put(101, 2, 900)
	b.put(102, 3, 800)
	b.put(103, 4, 900)
	b.put(99, 5, queue.NoEnd)
	var got []string
	for {
		c := b.claim(200, "a")
		if c.ID == "" {
			break
		}
		got = append(got, c.ID)
		if c.State != task.Running || c.Attempt != 1 || c.StartedAt != 200 || c.Slave != "a" || !bytes.HasPrefix(c.In, []byte("question")) {
			t.Fatalf("claimed %+v", c)
		}
		if stored, _ := b.Show(b.ctx, c.ID); stored.Attempt != c.Attempt || stored.State != c.State || stored.HeartbeatAt != 200 {
			t.Fatalf("claimed %+v, stored %+v", c, stored)
		}
	}
	if want := []string{id(3), id(2), id(4), id(5), id(1)}; !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
}

func claimFilters(t *testing.T, b *bundle) {
	b.put(100, 1, 150)
	if got := b.claim(150, "a"); got.ID != "" {
		t.Fatalf("a task whose window closed was claimed: %+v", got)
	}
	b.put(151, 2, 900)
	sized := func(sizes ...uint64) string {
		ts, err := b.Claim(b.ctx, 152, []queue.Claimer{{Slave: "a", SectorSizes: sizes}})
		b.ok(err)
		return ts[0].ID
	}
	if got := sized(32<<30, 64<<30); got != "" {
		t.Fatalf("a task of another size was claimed: %s", got)
	}
	if got := sized(32<<30, 2048); got != id(2) {
		t.Fatalf("claimed %q", got)
	}
	b.put(160, 3, 900)
	l := b.must(160, "a", 3).Lease()
	if _, err := b.Fail(b.ctx, 161, l, retry("disk", 170, 2)); err != nil {
		t.Fatal(err)
	}
	if got := b.claim(169, "b"); got.ID != "" {
		t.Fatalf("claimed before its time: %+v", got)
	}
	b.must(170, "b", 3)
}

func claimAvoids(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	if _, err := b.Fail(b.ctx, 101, l, retry("gpu", 110, 2)); err != nil {
		t.Fatal(err)
	}
	try := func(now int64, slave string) string {
		ts, err := b.Claim(b.ctx, now, []queue.Claimer{{Slave: slave, Avoid: 10}})
		b.ok(err)
		return ts[0].ID
	}
	if got := try(119, "a"); got != "" {
		t.Fatal("the slave that failed got the task before the others had their chance")
	}
	if got := try(120, "a"); got != id(1) {
		t.Fatal("the only slave never gets the task again")
	}
}

func claimIsExclusive(t *testing.T, b *bundle) {
	const tasks, slaves = 40, 8
	for n := range tasks {
		b.put(100, n, 900)
	}
	other := b.connect()
	var mu sync.Mutex
	seen := make(map[string]string)
	var wg sync.WaitGroup
	for s := range slaves {
		store := []queue.Store{b.Store, other}[s%2]
		name := fmt.Sprintf("slave-%d", s)
		wg.Go(func() {
			for {
				ts, err := store.Claim(b.ctx, 200, []queue.Claimer{{Slave: name}, {Slave: name}})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				mu.Lock()
				for _, c := range ts {
					if who, twice := seen[c.ID]; c.ID != "" && twice {
						t.Errorf("task %s went to %s and %s", c.ID, who, name)
					}
					seen[c.ID] = name
				}
				mu.Unlock()
				if ts[0].ID == "" {
					return
				}
			}
		})
	}
	wg.Wait()
	delete(seen, "")
	if len(seen) != tasks {
		t.Fatalf("%d of %d tasks were claimed", len(seen), tasks)
	}
}

func heartbeatFences(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "a", 1).Lease()
	beat := func(now int64, l task.Lease, progress string) []task.Lease {
		t.Helper()
		lost, err := b.Heartbeat(b.ctx, now, []queue.Beat{{Lease: l, Slave: "a", Progress: progress}})
		b.ok(err)
		return lost
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

func rescueSilent(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.put(100, 2, 900)
	b.must(100, "dead", 1)
	alive := b.must(100, "alive", 2).Lease()
	if _, err := b.Heartbeat(b.ctx, 110, []queue.Beat{{Lease: alive}}); err != nil {
		t.Fatal(err)
	}
	p := queue.RescuePolicy{SilentSince: 100, StartedSince: 0, ReadyAt: 125, MaxRetry: 1}
	got, err := b.Rescue(b.ctx, 115, p)
	b.ok(err)
	if len(got) != 1 || got[0].ID != id(1) || got[0].State != task.Ready || got[0].Retries != 1 {
		t.Fatalf("rescued %+v", got)
	}
	if s := b.state(1, task.Ready); s.ReadyAt != 125 || !strings.Contains(s.Reason, `"dead"`) || s.Slave != "dead" {
		t.Fatalf("stored %+v", s)
	}
	if again, err := b.Rescue(b.ctx, 115, p); err != nil || len(again) != 0 {
		t.Fatalf("rescued twice: %+v, %v", again, err)
	}
	b.must(125, "dead", 1)
	p.SilentSince = 125
	got, err = b.Rescue(b.ctx, 140, p)
	b.ok(err)
	for _, r := range got {
		if r.ID == id(1) && r.State != task.Failed {
			t.Fatalf("rescued beyond the limit: %+v", r)
		}
	}
	b.state(1, task.Failed)
}

func rescueOverdue(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	l := b.must(100, "slow", 1).Lease()
	if _, err := b.Heartbeat(b.ctx, 400, []queue.Beat{{Lease: l}}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Rescue(b.ctx, 400, queue.RescuePolicy{SilentSince: 385, StartedSince: 100, ReadyAt: 410, MaxRetry: 2})
	b.ok(err)
	if len(got) != 1 || !strings.Contains(got[0].Reason, "did not finish") {
		t.Fatalf("rescued %+v", got)
	}
	if lost, err := b.Heartbeat(b.ctx, 401, []queue.Beat{{Lease: l}}); err != nil || len(lost) != 1 {
		t.Fatalf("the slow slave does not learn of it: %v, %v", lost, err)
	}
}

func dropClosed(t *testing.T, b *bundle) {
	b.put(100, 1, 200)
	b.put(100, 2, 201)
	b.put(100, 3, queue.NoEnd)
	b.put(100, 4, 150)
	l := b.must(100, "a", 4).Lease()
	got, err := b.DropClosed(b.ctx, 200)
	b.ok(err)
	if len(got) != 2 {
		t.Fatalf("dropped %+v", got)
	}
	for _, n := range []int{1, 4} {
		if s := b.state(n, task.Failed); s.Verdict != task.KindExpired || s.FinishedAt != 200 || s.Reason == "" {
			t.Fatalf("dropped as %+v", s)
		}
	}
	b.state(2, task.Ready)
	b.state(3, task.Ready)
	b.is(b.Finish(b.ctx, 201, l, []byte("too late")), task.ErrLost)
	if again, err := b.DropClosed(b.ctx, 200); err != nil || len(again) != 0 {
		t.Fatalf("dropped twice: %+v, %v", again, err)
	}
}

func archive(t *testing.T, b *bundle) {
	for n := range 5 {
		b.put(100, n, 900)
		b.ok(b.Finish(b.ctx, int64(110+n), b.must(100, "a", n).Lease(), fmt.Appendf(nil, "answer %d", n)))
	}
	b.put(100, 9, 900)
	for _, want := range []int{2, 1, 0} {
		if got, err := b.Archive(b.ctx, 112, 2); err != nil || got != want {
			t.Fatalf("archived %d, %v; want %d", got, err, want)
		}
	}
	live, err := b.List(b.ctx, queue.Filter{})
	b.ok(err)
	old, err := b.List(b.ctx, queue.Filter{Archived: true})
	b.ok(err)
	if len(live) != 3 || len(old) != 3 || !old[0].Archived {
		t.Fatalf("%d tasks left, %d archived", len(live), len(old))
	}
	if got := b.put(300, 0, 900); got.State != task.Done || !got.Archived || string(got.Out) != "answer 0" {
		t.Fatalf("put of an archived task: %+v", got)
	}
	b.ok(b.Retry(b.ctx, 301, id(1)))
	if got := b.state(1, task.Ready); got.Archived || got.Out != nil {
		t.Fatalf("retried from the archive: %+v", got)
	}
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

func slaves(t *testing.T, b *bundle) {
	see := func(now int64, name string) bool {
		t.Helper()
		drain, err := b.SeeSlave(b.ctx, now, queue.Slave{Name: name, Version: "v1", Address: "10.0.0.1:5", Concurrent: 2})
		b.ok(err)
		return drain
	}
	see(100, "a")
	see(101, "b")
	see(110, "a")
	b.put(100, 1, 900)
	b.must(100, "a", 1)
	got, err := b.Slaves(b.ctx, 0)
	b.ok(err)
	if len(got) != 2 || got[0].Name != "a" || got[0].FirstSeen != 100 || got[0].LastSeen != 110 || got[0].Running != 1 || got[0].Concurrent != 2 {
		t.Fatalf("slaves %+v", got)
	}
	b.ok(b.DrainSlave(b.ctx, "a", true))
	b.ok(b.DrainSlave(b.ctx, "a", true))
	if !see(111, "a") || see(111, "b") {
		t.Error("the wish to drain went to the wrong slave")
	}
	b.ok(b.DrainSlave(b.ctx, "a", false))
	if see(112, "a") {
		t.Error("the wish to drain cannot be taken back")
	}
	b.is(b.DrainSlave(b.ctx, "c", true), queue.ErrNotFound)
	b.ok(b.ForgetSlaves(b.ctx, 112))
	if got, err := b.Slaves(b.ctx, 0); err != nil || len(got) != 1 || got[0].Name != "a" {
		t.Fatalf("after forgetting: %+v, %v", got, err)
	}
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

func severalMasters(t *testing.T, b *bundle) {
	const masters, tasks = 4, 30
	stores := []queue.Store{b.Store}
	for len(stores) < masters {
		stores = append(stores, b.connect())
	}
	var wg sync.WaitGroup
	for m, s := range stores {
		wg.Go(func() { // every master asks every question and answers what it gets
			for n := range tasks {
				if _, err := s.Put(b.ctx, 100, queue.NewTask{ID: id(n), In: []byte("q"), NotAfter: 900}); err != nil {
					t.Errorf("put: %v", err)
				}
				ts, err := s.Claim(b.ctx, 100, []queue.Claimer{{Slave: fmt.Sprint(m)}})
				if err != nil {
					t.Errorf("claim: %v", err)
					continue
				}
				if ts[0].ID == "" {
					continue
				}
				if _, err := s.Heartbeat(b.ctx, 101, []queue.Beat{{Lease: ts[0].Lease()}}); err != nil {
					t.Errorf("heartbeat: %v", err)
				}
				if err := s.Finish(b.ctx, 102, ts[0].Lease(), fmt.Append(nil, m)); err != nil {
					t.Errorf("finish: %v", err)
				}
				if _, err := s.Rescue(b.ctx, 110, queue.RescuePolicy{SilentSince: 90, MaxRetry: 1}); err != nil {
					t.Errorf("rescue: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for n := range tasks {
		if got := b.state(n, task.Done); got.Attempt != 1 {
			t.Errorf("task %d took %d attempts", n, got.Attempt)
		}
	}
}

func manyTasks(t *testing.T, b *bundle) {
	for n := range 300 {
		b.put(int64(n), n, queue.NoEnd)
	}
	// The claimers see the oldest tasks, whoever else holds locks meanwhile.
	if n, err := b.Ready(b.ctx, 1000, 1000); err != nil || n != 300 {
		t.Fatalf("%d tasks are ready, %v", n, err)
	}
	if n, err := b.Ready(b.ctx, 1000, 7); err != nil || n != 7 {
		t.Fatalf("counted %d tasks up to 7, %v", n, err)
	}
	ts, err := b.Claim(b.ctx, 1000, make([]queue.Claimer, 50))
	b.ok(err)
	for i, c := range ts {
		if c.ID != id(i) {
			t.Fatalf("claim %d got %s", i, c.ID)
		}
	}
}
