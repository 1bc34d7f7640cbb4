package slave_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"wdpost/internal/slave"
	"wdpost/internal/task"
)

// The reply to a claim is lost: the slave has the task with its next claim, under
// the same lease, and nothing twice.
func TestLostClaimReply(t *testing.T) {
	simulate(t, func(w *world) {
		proven := map[uint64]int{}
		var mu sync.Mutex
		prove := func(ctx context.Context, q task.Question) (task.Answer, error) {
			mu.Lock()
			proven[q.Replicas[0].SectorID]++
			mu.Unlock()
			return within(time.Second)(ctx, q)
		}
		p := w.start("a", prove, func(c *slave.Config) { c.Concurrent = 3 })
		var asks sync.WaitGroup
		time.Sleep(25 * time.Second)
		p.master.set(func(call string) (bool, error) { return true, map[string]error{"Claim": errors.New("lost")}[call] })
		begin := time.Now()
		for n := range 3 {
			asks.Go(func() {
				time.Sleep(time.Duration(n) * time.Second) // one claim each is answered in vain
				w.wantRight(question(10*n), time.Minute)
			})
		}
		time.Sleep(25 * time.Second) // the claim before this fault ends, the next one's reply is lost
		p.master.set(nil)
		asks.Wait()
		if took := time.Since(begin); took > 35*time.Second {
			t.Errorf("the tasks took %v", took)
		}
		for n := range 3 {
			got, err := w.store.Show(w.t.Context(), question(10*n).ID())
			if err != nil || got.State != task.Done || got.Attempt != 1 || proven[uint64(10*n)] != 1 {
				t.Errorf("proven %d times, stored %+v, %v", proven[uint64(10*n)], got, err)
			}
		}
		p.stop()
	})
}
