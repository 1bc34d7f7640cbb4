package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"wdpost/internal/task"
)

// maxClaims bounds the tasks handed out in one transaction.
const maxClaims = 32

// claimDesk is where claimers wait. All of them are served by one loop, a
// transaction for many, so that a hundred idle slaves cost the database
// nothing.
type claimDesk struct {
	kick    chan struct{} // capacity 1: something may have become ready
	mu      sync.Mutex
	waiting []*claimWait
}

// claimWait is one waiting claimer. It is on the list or, while a transaction
// runs, taken by the loop; a claimer that leaves while taken waits for the
// loop's word, a task or none.
type claimWait struct {
	claimer Claimer
	got     chan Task // capacity 1; a task without ID is the word "none" to one that left

	taken, gone bool // under the desk's mutex
}

// wake makes the loop look again.
func (d *claimDesk) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Claim waits for a task until ctx ends; then, and when the slave is draining,
// it returns task.ErrNoTask. A task whose stored question is unreadable is failed
// and passed over.
func (q *Queue) Claim(ctx context.Context, slave Slave, sectorSizes []uint64) (task.Assignment, error) {
	if err := q.seen(ctx, slave); err != nil {
		return task.Assignment{}, err
	}
	for {
		if q.slaves.draining(slave.Name) {
			pause(ctx, q.cfg.HeartbeatTimeout) // a draining slave need not ask often
			return task.Assignment{}, task.ErrNoTask
		}
		t, err := q.await(ctx, Claimer{Slave: slave.Name, SectorSizes: sectorSizes, Avoid: seconds(q.cfg.RetryInterval)})
		if err != nil {
			return task.Assignment{}, err
		}
		a := task.Assignment{Lease: t.Lease(), HeartbeatTimeout: q.cfg.HeartbeatTimeout}
		if err := decode(t.In, &a.Question); err != nil {
			v := &task.Verdict{Kind: task.KindPermanent, Err: fmt.Errorf("stored question: %w", err)}
			if err := q.Fail(ctx, "", a.Lease, v); err != nil && !errors.Is(err, task.ErrLost) {
				return task.Assignment{}, err
			}
			continue
		}
		if t.NotAfter != NoEnd {
			a.Remaining = remaining(t, q.clock.now())
		}
		q.cfg.Metrics.claimed.Inc()
		q.cfg.Metrics.waited.Observe(float64(max(t.StartedAt-max(t.CreatedAt, t.ReadyAt), 0)))
		q.log.Info("task claimed", "task", t.ID, "attempt", t.Attempt, "slave", slave.Name, "miner", a.Question.MinerID)
		return a, nil
	}
}

// HandBack returns a claimed task that never reached its slave.
func (q *Queue) HandBack(ctx context.Context, slave string, l task.Lease, cause error) error {
	return q.Fail(ctx, slave, l, &task.Verdict{Kind: task.KindAborted, Err: cause})
}

// await queues up for one task.
func (q *Queue) await(ctx context.Context, c Claimer) (Task, error) {
	w := &claimWait{claimer: c, got: make(chan Task, 1)}
	d := &q.claims
	d.mu.Lock()
	d.waiting = append(d.waiting, w)
	d.mu.Unlock()
	d.wake()
	select {
	case t := <-w.got:
		return t, nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	w.gone = true
	taken := w.taken
	d.waiting = slices.DeleteFunc(d.waiting, func(o *claimWait) bool { return o == w })
	d.mu.Unlock()
	if !taken {
		return Task{}, task.ErrNoTask
	}
	// The loop is in the middle of claiming for us: what it brings is ours to
	// give back.
	t := <-w.got
	if t.ID == "" {
		return Task{}, task.ErrNoTask
	}
	handBack, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := q.HandBack(handBack, c.Slave, t.Lease(), errors.New("the slave stopped waiting")); err != nil {
		q.log.Warn("claimed task not handed back; it is rescued after the heartbeat time-out", "task", t.ID, "err", err)
	}
	return Task{}, task.ErrNoTask
}

// runClaims serves the desk until ctx ends.
func (q *Queue) runClaims(ctx context.Context) {
	tick := time.NewTicker(q.cfg.PollInterval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-q.claims.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := q.serveClaims(ctx); err != nil && ctx.Err() == nil {
			failures++
			if failures == 1 {
				q.log.Warn("tasks cannot be handed out; trying on", "err", err)
			}
			if !pause(ctx, q.backoff(failures)) {
				return
			}
			continue
		}
		if failures > 0 {
			q.log.Info("tasks are handed out again", "after_failures", failures)
		}
		failures = 0
	}
}

// serveClaims hands out tasks until there are no takers or none was taken by
// any of them.
func (q *Queue) serveClaims(ctx context.Context) error {
	served := make(map[*claimWait]bool) // found nothing in this round
	for {
		batch := q.claims.take(served)
		if len(batch) == 0 {
			return nil
		}
		ready, err := q.store.Ready(ctx, q.clock.now(), 1)
		if err != nil || ready == 0 {
			q.claims.putBack(batch)
			return err
		}
		claimers := make([]Claimer, len(batch))
		for i, w := range batch {
			claimers[i] = w.claimer
		}
		tasks, err := q.store.Claim(ctx, q.clock.now(), claimers)
		if err != nil {
			q.claims.putBack(batch)
			return err
		}
		var empty []*claimWait
		for i, w := range batch {
			if tasks[i].ID == "" {
				served[w] = true
				empty = append(empty, w)
				continue
			}
			w.got <- tasks[i]
		}
		q.claims.putBack(empty)
	}
}

// take takes waiting claimers off the list that are not in except.
func (d *claimDesk) take(except map[*claimWait]bool) []*claimWait {
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []*claimWait
	d.waiting = slices.DeleteFunc(d.waiting, func(w *claimWait) bool {
		if except[w] || len(batch) == maxClaims {
			return false
		}
		w.taken = true
		batch = append(batch, w)
		return true
	})
	return batch
}

// putBack puts claimers without a task at the head of the list again, and
// tells those that left meanwhile that there is none.
func (d *claimDesk) putBack(batch []*claimWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := make([]*claimWait, 0, len(batch)+len(d.waiting))
	for _, w := range batch {
		if w.gone {
			w.got <- Task{}
			continue
		}
		w.taken = false
		kept = append(kept, w)
	}
	d.waiting = append(kept, d.waiting...)
}

// decode reads a body strictly enough to refuse garbage.
func decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("not the JSON of this version: %w", err)
	}
	return nil
}

// encode writes a body.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}
