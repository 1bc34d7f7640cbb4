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
	kick     chan struct{} // capacity 1: something may have become ready
	mu       sync.Mutex
	waiting  []*claimWait
	searched time.Time // when lost replies were last looked for; the loop's
}

// claimWait is one waiting claimer. It is on the list or, while a transaction
// runs, taken by the loop; a claimer that leaves while taken waits for the
// loop's word, a task or none.
type claimWait struct {
	claimer Claimer
	holding *task.Holding // nil: the slave does not tell
	got     chan Task     // capacity 1; a task without ID is the word "none"
	// unsure says that the slave may have been given a task without hearing of
	// it. Once the claimer waits it is the loop's.
	unsure bool

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
// it returns task.ErrNoTask. A slave that is unsure what it was given gets what
// it did not hear of first. A task whose stored question is unreadable is failed
// and passed over.
func (q *Queue) Claim(ctx context.Context, slave Slave, want task.Want) (task.Assignment, error) {
	if err := q.door.check(); err != nil {
		return task.Assignment{}, err
	}
	if err := q.seen(ctx, slave); err != nil {
		return task.Assignment{}, err
	}
	for {
		if q.slaves.draining(slave.Name) {
			pause(ctx, q.cfg.HeartbeatTimeout) // a draining slave need not ask often
			return task.Assignment{}, task.ErrNoTask
		}
		t, err := q.await(ctx, slave.Name, want)
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
		q.claimed(t, slave.Name, a.Question.MinerID)
		return a, nil
	}
}

// claimed counts and logs a claim.
func (q *Queue) claimed(t Task, slave string, miner uint64) {
	log := q.log.With("task", t.ID, "attempt", t.Attempt, "slave", slave, "miner", miner)
	if t.Progress == GivenAgain {
		q.cfg.Metrics.again.Inc()
		log.Warn("task given to its slave again: the reply to its claim was lost")
		return
	}
	q.cfg.Metrics.claimed.Inc()
	q.cfg.Metrics.waited.Observe(float64(max(t.StartedAt-max(t.CreatedAt, t.ReadyAt), 0)))
	log.Info("task claimed")
}

// HandBack returns a claimed task that never reached its slave, unless another
// claim of the slave took it over meanwhile.
func (q *Queue) HandBack(ctx context.Context, slave string, l task.Lease, cause error) error {
	err := q.fail(ctx, slave, l, &task.Verdict{Kind: task.KindAborted, Err: cause}, true)
	if errors.Is(err, task.ErrLost) {
		return nil
	}
	return err
}

// await queues up for one task.
func (q *Queue) await(ctx context.Context, slave string, want task.Want) (Task, error) {
	w := &claimWait{
		claimer: Claimer{Slave: slave, SectorSizes: want.SectorSizes, Avoid: seconds(q.cfg.RetryInterval)},
		holding: want.Holding, unsure: want.Holding != nil && want.Holding.Unsure, got: make(chan Task, 1),
	}
	d := &q.claims
	d.join(w)
	d.wake()
	select {
	case t := <-w.got:
		if t.ID == "" {
			return Task{}, task.ErrNoTask
		}
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
	if err := q.HandBack(handBack, slave, t.Lease(), errors.New("the slave stopped waiting")); err != nil {
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

// serveClaims hands out what was lost on its way, then tasks until there are
// no takers or none was taken by any of them.
func (q *Queue) serveClaims(ctx context.Context) error {
	lost, err := q.lostReplies(ctx)
	if err != nil {
		return err
	}
	if batch := q.claims.take(func(w *claimWait) bool { return lost[w].ID != "" }); len(batch) > 0 {
		if _, err := q.handOut(ctx, batch, lost); err != nil {
			return err
		}
	}
	served := make(map[*claimWait]bool) // found nothing in this round
	for {
		batch := q.claims.take(func(w *claimWait) bool { return !served[w] })
		if len(batch) == 0 {
			return nil
		}
		ready, err := q.store.Ready(ctx, q.clock.now(), 1)
		if err != nil || ready == 0 {
			q.claims.putBack(batch)
			return err
		}
		empty, err := q.handOut(ctx, batch, nil)
		if err != nil {
			return err
		}
		for _, w := range empty {
			served[w] = true
		}
	}
}

// lostReplies finds, for claimers whose slave may have been given a task
// without hearing of it, the lease to be given again. It asks the database at
// most once a poll, and not at all while everybody is sure.
func (q *Queue) lostReplies(ctx context.Context) (map[*claimWait]task.Lease, error) {
	unsure := q.claims.unsure()
	if len(unsure) == 0 || time.Since(q.claims.searched) < q.cfg.PollInterval {
		return nil, nil
	}
	q.claims.searched = time.Now()
	tasks, err := q.store.Unheard(ctx, q.clock.now())
	if err != nil {
		return nil, err
	}
	lost := make(map[*claimWait]task.Lease)
	for _, t := range tasks {
		if w := unsure[t.Slave]; w != nil && lost[w].ID == "" && !slices.Contains(w.holding.Leases, t.Lease()) {
			lost[w] = t.Lease()
		}
	}
	return lost, nil
}

// handOut gives claimers that were taken off the list a task each, in one
// transaction, and puts back and returns those for whom there was none.
func (q *Queue) handOut(ctx context.Context, batch []*claimWait, again map[*claimWait]task.Lease) (empty []*claimWait, err error) {
	claimers := make([]Claimer, len(batch))
	for i, w := range batch {
		claimers[i] = w.claimer
		claimers[i].Again = again[w]
	}
	tasks, err := q.store.Claim(ctx, q.clock.now(), claimers)
	if err != nil {
		for _, w := range batch {
			w.unsure = w.holding != nil // the transaction may have been committed
		}
		q.claims.putBack(batch)
		return nil, err
	}
	for i, w := range batch {
		if tasks[i].ID == "" {
			empty = append(empty, w)
			continue
		}
		w.got <- tasks[i]
	}
	q.claims.putBack(empty)
	return empty, nil
}

// join puts a claimer on the list. One whose slave is unsure replaces earlier
// claims of that slave: nobody hears the replies to them.
func (d *claimDesk) join(w *claimWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.unsure {
		d.waiting = slices.DeleteFunc(d.waiting, func(o *claimWait) bool {
			stale := o.claimer.Slave == w.claimer.Slave
			if stale {
				o.got <- Task{}
			}
			return stale
		})
	}
	d.waiting = append(d.waiting, w)
}

// unsure returns the waiting claimers of slaves that may have been given a task
// without hearing of it, by slave.
func (d *claimDesk) unsure() map[string]*claimWait {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out map[string]*claimWait
	for _, w := range d.waiting {
		if !w.unsure {
			continue
		}
		if out == nil {
			out = make(map[string]*claimWait)
		}
		out[w.claimer.Slave] = w // the latest
	}
	return out
}

// take takes waiting claimers off the list that are wanted.
func (d *claimDesk) take(wanted func(*claimWait) bool) []*claimWait {
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []*claimWait
	d.waiting = slices.DeleteFunc(d.waiting, func(w *claimWait) bool {
		if len(batch) == maxClaims || !wanted(w) {
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
