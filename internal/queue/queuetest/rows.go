package queuetest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// wholeRows follows one task through its life and compares everything that is
// stored of it after each step, so that no column can be forgotten anywhere.
func wholeRows(t *testing.T, b *bundle) {
	deadline := uint64(17)
	n := queue.NewTask{
		ID: id(1), In: []byte("question"), NotAfter: 900, SectorSize: 2048,
		About: queue.About{Known: true, Miner: 1008, Deadline: &deadline, Partitions: []uint64{0, 2}, Sectors: 7, Stores: []string{"/mnt/a", "/mnt/存储"}},
	}
	want := queue.Task{ID: id(1), State: task.Ready, CreatedAt: 100, NotAfter: 900, SectorSize: 2048, About: n.About, In: n.In}
	same := func(step string) {
		t.Helper()
		got, err := b.Show(b.ctx, id(1))
		b.ok(err)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n got %+v\nwant %+v", step, got, want)
		}
	}
	claim := func(now int64, slave string, c queue.Claimer) task.Lease {
		t.Helper()
		c.Slave, c.ID = slave, "process of "+slave
		ts, err := b.Claim(b.ctx, now, []queue.Claimer{c})
		b.ok(err)
		want.State, want.StartedAt, want.HeartbeatAt, want.Slave, want.Holder = task.Running, now, now, slave, c.ID
		want.Attempt++
		if !reflect.DeepEqual(ts[0], want) {
			t.Fatalf("claimed:\n got %+v\nwant %+v", ts[0], want)
		}
		same("claim")
		return ts[0].Lease()
	}
	stored, err := b.Put(b.ctx, 100, n)
	b.ok(err)
	if !reflect.DeepEqual(stored, want) {
		t.Fatalf("put: got %+v, want %+v", stored, want)
	}
	same("put")

	l := claim(110, "a", queue.Claimer{})
	for _, beat := range []struct {
		now      int64
		progress string
		advanced bool
	}{{115, "reading 5s", false}, {120, "reading 10s", false}, {125, "proving 3% 15s", true}, {130, "proving 3% 20s", false}} {
		if _, err := b.Heartbeat(b.ctx, beat.now, []queue.Beat{{Lease: l, Slave: "a", Progress: beat.progress}}); err != nil {
			t.Fatal(err)
		}
		want.HeartbeatAt, want.Progress = beat.now, beat.progress
		if beat.advanced {
			want.AdvancedAt = beat.now
		}
		same("heartbeat " + beat.progress)
	}
	if _, err := b.Fail(b.ctx, 140, l, queue.Failure{Kind: task.KindRetry, Reason: "disk", ReadyAt: 150, MaxRetry: 2}); err != nil {
		t.Fatal(err)
	}
	want.State, want.StartedAt, want.HeartbeatAt, want.AdvancedAt, want.Progress = task.Ready, 0, 0, 0, ""
	want.Retries, want.ReadyAt, want.Verdict, want.Reason, want.Tried, want.Troubles = 1, 150, task.KindRetry, "disk", []string{"a"}, 1
	same("fail")

	l = claim(160, "b", queue.Claimer{Avoid: 10})
	b.ok(b.Offer(b.ctx, 170, l, queue.Offer{Out: []byte("partial"), Reason: "one is missing", SettleAt: 400}))
	want.State, want.StartedAt, want.HeartbeatAt, want.ReadyAt = task.Ready, 0, 0, 170
	want.Out, want.SettleAt, want.Reason, want.Tried, want.Troubles = []byte("partial"), 400, "one is missing", []string{"a", "b"}, 2
	same("offer")

	_ = claim(180, "c", queue.Claimer{})
	if _, err := b.Rescue(b.ctx, 200, queue.RescuePolicy{SilentSince: 190, ReadyAt: 200, MaxRetry: 2, Others: []string{"d"}}); err != nil {
		t.Fatal(err)
	}
	want.State, want.StartedAt, want.HeartbeatAt, want.ReadyAt = task.Ready, 0, 0, 200
	want.Retries, want.Tried, want.Reason = 2, []string{"a", "b", "c"}, `slave "c" gave no sign of life for 20 s`
	same("rescue")

	l = claim(210, "d", queue.Claimer{})
	b.ok(b.Finish(b.ctx, 220, l, []byte("answer")))
	want.State, want.FinishedAt, want.Out, want.SettleAt, want.Verdict, want.Reason = task.Done, 220, []byte("answer"), 0, "", ""
	same("finish")

	if n, err := b.Archive(b.ctx, 300, 10); err != nil || n != 1 {
		t.Fatalf("archived %d, %v", n, err)
	}
	want.Archived = true
	same("archive")
	listed, err := b.List(b.ctx, queue.Filter{Archived: true})
	b.ok(err)
	bare := want
	bare.In, bare.Out = nil, nil
	if !reflect.DeepEqual(listed, []queue.Task{bare}) {
		t.Fatalf("listed %+v, want %+v", listed, bare)
	}

	b.ok(b.Retry(b.ctx, 310, id(1)))
	want = queue.Task{
		ID: id(1), State: task.Ready, CreatedAt: 100, NotAfter: 900, SectorSize: 2048, About: n.About, In: n.In, Attempt: want.Attempt + 1, Troubles: 2,
	}
	same("retry from the archive")
	b.ok(b.Cancel(b.ctx, 320, id(1), task.KindCancelled, "no"))
	want.State, want.FinishedAt, want.Verdict, want.Reason = task.Failed, 320, task.KindCancelled, "no"
	same("cancel")
}

// A task whose retries were used up by sick slaves waits for one that has not
// tried it, and fails where none takes it.
func reserve(t *testing.T, b *bundle) {
	fail := func(now int64, slave string, others ...string) task.State {
		t.Helper()
		f := queue.Failure{Kind: task.KindRetry, Reason: "sick", ReadyAt: now, MaxRetry: 1, Others: others}
		st, err := b.Fail(b.ctx, now, b.must(now, slave, 1).Lease(), f)
		b.ok(err)
		return st
	}
	b.put(100, 1, 900)
	if st := fail(100, "a", "b", "c"); st != task.Ready {
		t.Fatal(st)
	}
	if st := fail(101, "b", "a", "c"); st != task.Ready {
		t.Fatalf("given up though c has not tried it: %s", st)
	}
	for _, slave := range []string{"a", "b"} {
		if got := b.claim(500, slave); got.ID != "" {
			t.Fatalf("%s tries the reserve of another", slave)
		}
	}
	if st := fail(200, "c", "a", "b"); st != task.Failed {
		t.Fatalf("given up by all: %s", st)
	}

	b.put(300, 2, 900)
	f := queue.Failure{Kind: task.KindRetry, Reason: "sick", ReadyAt: 300, Others: []string{"b"}}
	if _, err := b.Fail(b.ctx, 300, b.must(300, "a", 2).Lease(), f); err != nil {
		t.Fatal(err)
	}
	for now, want := range map[int64]int{599: 0, 600: 1} { // half of what the window leaves
		due, err := b.Due(b.ctx, now, queue.RescuePolicy{})
		b.ok(err)
		if due.Settle != (want == 1) {
			t.Errorf("at %d: due %+v", now, due)
		}
	}
	if got, err := b.Settle(b.ctx, 600); err != nil || len(got) != 1 || got[0].State != task.Failed {
		t.Fatalf("settled %+v, %v", got, err)
	}
	if got := b.state(2, task.Failed); got.Reason != "sick" || got.FinishedAt != 600 {
		t.Fatalf("failed as %+v", got)
	}
}

// A task that ended with a verdict waits behind those of which nothing bad is
// known, though its window ends first (storage and queue, F17).
func troublesWait(t *testing.T, b *bundle) {
	b.put(100, 1, 500)
	if _, err := b.Fail(b.ctx, 101, b.must(100, "a", 1).Lease(), retry("unreadable", 101, 5)); err != nil {
		t.Fatal(err)
	}
	b.put(102, 2, 900)
	b.must(110, "b", 2)
	b.must(110, "b", 1)

	// The slave of task 2 falls silent: that is not the task's fault.
	if _, err := b.Rescue(b.ctx, 130, queue.RescuePolicy{SilentSince: 110, ReadyAt: 130, MaxRetry: 5}); err != nil {
		t.Fatal(err)
	}
	b.must(131, "c", 2)
}

// An attempt that does not advance is given up also when no retry is left, if
// another slave can take over; one that advances never is (F15, F24).
func stalledAttempts(t *testing.T, b *bundle) {
	b.put(100, 1, queue.NoEnd)
	b.put(100, 2, queue.NoEnd)
	hung, busy := b.must(100, "hung", 1).Lease(), b.must(100, "busy", 2).Lease()
	for now := int64(105); now <= 700; now += 5 {
		beats := []queue.Beat{{Lease: hung, Progress: "proving"}, {Lease: busy, Progress: "proving " + string('0'+rune(now/100)) + "%"}}
		if heard, err := b.Heartbeat(b.ctx, now, beats); err != nil || len(heard.Lost) > 0 {
			t.Fatalf("%+v, %v", heard, err)
		}
	}
	p := queue.RescuePolicy{SilentSince: 600, StalledSince: 400, ReadyAt: 700, MaxRetry: 0}
	if got, err := b.Rescue(b.ctx, 700, p); err != nil || len(got) != 0 {
		t.Fatalf("given up with nobody to take over: %+v, %v", got, err)
	}
	p.Others = []string{"healthy", "hung"}
	got, err := b.Rescue(b.ctx, 700, p)
	b.ok(err)
	if len(got) != 1 || got[0].ID != id(1) || got[0].State != task.Ready {
		t.Fatalf("given up %+v", got)
	}
	if c := b.claim(800, "hung"); c.ID != "" {
		t.Fatalf("the slave that hung has it again: %+v", c)
	}
	b.must(701, "healthy", 1)
}

// A slave that cannot see a store is passed over for a while.
func unseenStores(t *testing.T, b *bundle) {
	_, err := b.Put(b.ctx, 100, queue.NewTask{ID: id(1), In: []byte("q"), NotAfter: 900, About: queue.About{Known: true, Stores: []string{"/mnt/a", "/mnt/b"}}})
	b.ok(err)
	blind := queue.Claimer{Slave: "blind", Unseen: []string{"/mnt/b"}, Avoid: 10}
	claim := func(now int64, c ...queue.Claimer) []queue.Task {
		t.Helper()
		ts, err := b.Claim(b.ctx, now, c)
		b.ok(err)
		return ts
	}
	if got := claim(109, blind); got[0].ID != "" {
		t.Fatal("a slave that cannot see the store got the task first")
	}
	if got := claim(109, blind, queue.Claimer{Slave: "sees"}); got[0].ID != "" || got[1].ID != id(1) {
		t.Fatalf("claimed %+v", got)
	}
	b.put(200, 2, 900)
	late := queue.Claimer{Slave: "sick", Handicap: 5}
	if got := claim(204, late); got[0].ID != "" {
		t.Fatal("a slave that fails again and again is served at once")
	}
	if got := claim(205, late); got[0].ID != id(2) {
		t.Fatal("a slave that failed is never served")
	}
}

// A lease whose reply was lost goes to the process it was given to; to another
// of the same name only when the first had time to be heard of (F12).
func otherProcess(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	ts, err := b.Claim(b.ctx, 100, []queue.Claimer{{Slave: "a", ID: "one"}})
	b.ok(err)
	again := func(now int64, process string) string {
		t.Helper()
		ts, err := b.Claim(b.ctx, now, []queue.Claimer{{Slave: "a", ID: process, Elsewhere: 8, Again: ts[0].Lease()}})
		b.ok(err)
		return ts[0].ID
	}
	if again(101, "two") != "" {
		t.Fatal("the twin has the task too")
	}
	if again(102, "one") != id(1) {
		t.Fatal("the process whose reply was lost has nothing")
	}
	if again(108, "three") != id(1) {
		t.Fatal("the successor of a process that died has nothing")
	}
	if got := b.show(1); got.Holder != "three" || got.Attempt != 1 {
		t.Fatalf("stored %+v", got)
	}
}

// The shift of the clock is one for all, and changed by one at a time.
func clock(t *testing.T, b *bundle) {
	before, err := b.Now(b.ctx)
	b.ok(err)
	if before.Shift != 0 {
		t.Fatalf("shifted by %s", before.Shift)
	}
	b.ok(b.ShiftClock(b.ctx, 0, time.Hour))
	b.ok(b.connect().ShiftClock(b.ctx, 0, 2*time.Hour)) // too late
	after, err := b.Now(b.ctx)
	b.ok(err)
	if d := after.Time.Sub(before.Time); after.Shift != time.Hour || d < time.Hour || d > time.Hour+time.Minute {
		t.Fatalf("shifted by %s, moved by %s", after.Shift, d)
	}
	b.ok(b.ShiftClock(b.ctx, time.Hour, 0))
	if r, err := b.Now(b.ctx); err != nil || r.Shift != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
}

func sweep(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.ok(b.Sweep(b.ctx, 1000))
	if got := b.show(1); string(got.In) != "question 1" {
		t.Fatalf("the question of a task was swept up: %+v", got)
	}
}

func resolve(t *testing.T, b *bundle) {
	for _, n := range []int{0x10, 0x11, 0x20} {
		b.put(100, n, 900)
	}
	b.ok(b.Cancel(b.ctx, 100, id(0x20), task.KindCancelled, ""))
	if _, err := b.Archive(b.ctx, 100, 10); err != nil {
		t.Fatal(err)
	}
	prefix := id(0)[:30]
	for begin, want := range map[string][]string{
		prefix + "1": {id(0x10), id(0x11)}, prefix + "11": {id(0x11)}, prefix + "2": {id(0x20)}, "ff": nil,
	} {
		if got, err := b.Resolve(b.ctx, begin); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", begin, got, err)
		}
	}
	_, err := b.Resolve(b.ctx, "%")
	b.is(err, queue.ErrNotFound)
}
