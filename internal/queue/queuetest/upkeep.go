package queuetest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

func rescueSilent(t *testing.T, b *bundle) {
	b.put(100, 1, 900)
	b.put(100, 2, 900)
	b.must(100, "dead", 1)
	alive := b.must(100, "alive", 2).Lease()
	if _, err := b.Heartbeat(b.ctx, 110, []queue.Beat{{Lease: alive}}); err != nil {
		t.Fatal(err)
	}
	p := queue.RescuePolicy{SilentSince: 100, StalledSince: 0, ReadyAt: 125, MaxRetry: 1}
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
	got, err := b.Rescue(b.ctx, 400, queue.RescuePolicy{SilentSince: 385, StalledSince: 100, ReadyAt: 410, MaxRetry: 2})
	b.ok(err)
	if len(got) != 1 || !strings.Contains(got[0].Reason, "did not get on") {
		t.Fatalf("rescued %+v", got)
	}
	beat := func(now int64, l task.Lease) int {
		heard, err := b.Heartbeat(b.ctx, now, []queue.Beat{{Lease: l}})
		b.ok(err)
		return len(heard.Lost)
	}
	if beat(401, l) != 0 {
		t.Fatal("the slow slave is stopped before another one has the task")
	}
	second := b.must(411, "b", 1).Lease()
	if beat(412, l) != 1 || beat(412, second) != 0 {
		t.Fatal("the slow slave does not learn that another one has the task")
	}
	for now := int64(800); now < 900; now += 50 {
		if beat(now, second) != 0 {
			t.Fatal("lost")
		}
		got, err := b.Rescue(b.ctx, now, queue.RescuePolicy{SilentSince: now - 15, StalledSince: now - 300, ReadyAt: now, MaxRetry: 1})
		if err != nil || len(got) != 0 {
			t.Fatalf("rescued though there is no retry left: %+v, %v", got, err)
		}
	}
	b.ok(b.Finish(b.ctx, 900, second, []byte("answer")))
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

func slaves(t *testing.T, b *bundle) {
	see := func(now int64, name string) bool {
		t.Helper()
		draining, err := b.SeeSlaves(b.ctx, now, []queue.Slave{{Name: name, ID: "p1", Version: "v1", Address: "10.0.0.1:5", Concurrent: 2}})
		b.ok(err)
		return slices.Contains(draining, name)
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
	told := task.Report{State: task.SlaveWaiting, Why: "no parameters", Cores: 4, SectorSizes: []uint64{2048}, Unseen: []string{"/mnt/存储"}}
	many := []queue.Slave{{Name: "a", ID: "p2", Version: "v2", Report: &told, Failures: 3}, {Name: "z", ID: "p3"}}
	for range 2 {
		if _, err := b.SeeSlaves(b.ctx, 110, many); err != nil {
			t.Fatal(err)
		}
		many[0].Report = nil // who tells nothing has told before
	}
	got, err = b.Slaves(b.ctx, 105)
	b.ok(err)
	if want := (queue.Slave{Name: "a", ID: "p2", Version: "v2", Running: 1, FirstSeen: 100, LastSeen: 110, Failures: 3, Report: &told}); len(got) != 2 || !reflect.DeepEqual(got[0], want) {
		t.Fatalf("slaves %+v, the report %+v", got, got[0].Report)
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
