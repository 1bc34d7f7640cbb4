package queuetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

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
