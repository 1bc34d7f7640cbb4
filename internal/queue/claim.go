package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
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
	waiting  map[*claimWait]struct{}
	joined   uint64
	dry      bool      // nothing was ready at the last look, and nothing became so here since
	searched time.Time // when lost replies were last looked for; the loop's
}

// claimWait is one waiting claimer. It is on the list or, while a transaction
// runs, taken by the loop; a claimer that leaves while taken waits for the
// loop's word, a task or none.
type claimWait struct {
	claimer Claimer
	number  uint64        // in the order of joining
	holding *task.Holding // nil: the slave does not tell
	got     chan Task     // capacity 1; a task without ID is the word "none"
	// unsure says that the slave may have been given a task without hearing of
	// it. Once the claimer waits it is the loop's.
	unsure bool

	taken, gone bool // under the desk's mutex
}

// wake makes the loop look again: something may have become ready.
func (d *claimDesk) wake() {
	d.mu.Lock()
	d.dry = false
	d.mu.Unlock()
	d.look()
}

// look makes the loop look again.
func (d *claimDesk) look() {
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
	return q.claim(ctx, slave, want, func(a *task.Assignment, t Task) error { return decode(t.In, &a.Question) })
}

// Undecoded is a queue whose claims carry the question as it is stored: one of a
// full message takes longer to read and write again than the rest of a claim.
type Undecoded struct{ *Queue }

// Claim is Queue.Claim.
func (q Undecoded) Claim(ctx context.Context, slave Slave, want task.Want) (task.Assignment, error) {
	return q.claim(ctx, slave, want, func(a *task.Assignment, t Task) error {
		if !json.Valid(t.In) || !bytes.HasPrefix(t.In, []byte("{")) {
			return errors.New("it is no JSON object")
		}
		a.Stored = t.In
		return nil
	})
}

// claim is Claim; fill puts the question into the assignment.
func (q *Queue) claim(ctx context.Context, slave Slave, want task.Want, fill func(*task.Assignment, Task) error) (task.Assignment, error) {
	if err := q.door.check(); err != nil {
		return task.Assignment{}, err
	}
	slave, err := q.seen(ctx, slave)
	if err != nil {
		return task.Assignment{}, err
	}
	for {
		if q.slaves.drains(slave.Name) || !want.Does(task.RoleRead) {
			_ = patience.Sleep(ctx, q.cfg.HeartbeatTimeout) // it need not ask often
			return task.Assignment{}, task.ErrNoTask
		}
		t, err := q.await(ctx, slave, want)
		if err != nil {
			return task.Assignment{}, err
		}
		a := task.Assignment{Lease: t.Lease(), HeartbeatTimeout: q.cfg.HeartbeatTimeout}
		if err := fill(&a, t); err != nil {
			v := &task.Verdict{Kind: task.KindPermanent, Err: fmt.Errorf("stored question: %w", err)}
			if err := q.Fail(ctx, "", a.Lease, v); err != nil && !errors.Is(err, task.ErrLost) {
				return task.Assignment{}, err
			}
			continue
		}
		if t.NotAfter != NoEnd {
			a.Remaining = remaining(t.NotAfter, q.clock.now())
		}
		q.claimed(t, slave.Name)
		return a, nil
	}
}

// claimed counts and logs a claim.
func (q *Queue) claimed(t Task, slave string) {
	log := q.log.With(attr.Task(t.ID), attr.Attempt(t.Attempt), attr.Slave(slave), attr.Miner(abi.ActorID(t.About.Miner)))
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
	err := q.fail(ctx, slave, l, &task.Verdict{Kind: task.KindAborted, Err: cause}, failure{unheard: true})
	if errors.Is(err, task.ErrLost) {
		return nil
	}
	return err
}

// await queues up for one task.
func (q *Queue) await(ctx context.Context, slave Slave, want task.Want) (Task, error) {
	w := &claimWait{
		claimer: Claimer{
			Slave: slave.Name, ID: slave.ID, SectorSizes: want.SectorSizes, Unseen: want.Unseen,
			Avoid: seconds(q.cfg.RetryInterval), Elsewhere: seconds(q.cfg.HeartbeatTimeout / 2),
		},
		holding: want.Holding, unsure: want.Holding != nil && want.Holding.Unsure, got: make(chan Task, 1),
	}
	d := &q.claims
	if d.join(w) {
		d.look()
	}
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
	delete(d.waiting, w)
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
	if err := q.HandBack(handBack, slave.Name, t.Lease(), errors.New("the slave stopped waiting")); err != nil {
		q.log.Warn("claimed task not handed back; it is rescued after the heartbeat time-out", attr.Task(t.ID), attr.Err(err))
	}
	return Task{}, task.ErrNoTask
}

// runClaims serves the desk until ctx ends.
func (q *Queue) runClaims(ctx context.Context) {
	tick := time.NewTicker(q.cfg.PollInterval)
	defer tick.Stop()
	b := q.backoff()
	var out patience.Outage
	for {
		select {
		case <-q.claims.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := q.serveClaims(ctx); err != nil && ctx.Err() == nil {
			q.trouble("claim", err)
			out.Failed(q.log, "tasks cannot be handed out; retrying", cause(err), attr.Err(err))
			if b.Wait(ctx) != nil {
				return
			}
			continue
		}
		b.Reset()
		q.well("claim")
		out.Over(q.log, "tasks are handed out again")
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
	for q.claims.anyone() {
		ready, err := q.store.Ready(ctx, q.clock.now(), 1)
		if err != nil {
			return err
		}
		if ready == 0 {
			q.claims.ranDry()
			return nil
		}
		batch := q.claims.take(func(w *claimWait) bool {
			w.claimer.Handicap = int64(min(2*q.slaves.failures(w.claimer.Slave), maxHandicap))
			return !served[w] && !q.slaves.drains(w.claimer.Slave)
		})
		if len(batch) == 0 {
			return nil
		}
		empty, err := q.handOut(ctx, batch, nil)
		if err != nil {
			return err
		}
		for _, w := range empty {
			served[w] = true
		}
	}
	return nil
}

// maxHandicap bounds the seconds for which slaves that fail leave new tasks to
// the others.
const maxHandicap = 10

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

// join puts a claimer on the list and reports whether to look for a task at
// once. One whose slave is unsure replaces earlier claims of that slave's
// process: nobody hears the replies to them.
func (d *claimDesk) join(w *claimWait) (look bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.unsure {
		for o := range d.waiting {
			if o.claimer.Slave == w.claimer.Slave && o.claimer.ID == w.claimer.ID {
				delete(d.waiting, o)
				o.got <- Task{}
			}
		}
	}
	if d.waiting == nil {
		d.waiting = make(map[*claimWait]struct{})
	}
	d.joined++
	w.number = d.joined
	d.waiting[w] = struct{}{}
	return !d.dry || w.unsure
}

// anyone reports whether somebody waits.
func (d *claimDesk) anyone() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting) > 0
}

// ranDry notes that nothing is ready: who comes now waits for the next poll, or
// for something that becomes ready here.
func (d *claimDesk) ranDry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dry = true
}

// unsure returns the waiting claimers of slaves that may have been given a task
// without hearing of it, by slave.
func (d *claimDesk) unsure() map[string]*claimWait {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out map[string]*claimWait
	for w := range d.waiting {
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

// take takes waiting claimers off the list that are wanted, those first that
// have waited longest, and of slaves that fail only then.
func (d *claimDesk) take(wanted func(*claimWait) bool) []*claimWait {
	d.mu.Lock()
	defer d.mu.Unlock()
	var batch []*claimWait
	for w := range d.waiting {
		if wanted(w) {
			batch = append(batch, w)
		}
	}
	slices.SortFunc(batch, func(a, b *claimWait) int {
		return cmp.Or(cmp.Compare(a.claimer.Handicap, b.claimer.Handicap), cmp.Compare(a.number, b.number))
	})
	batch = batch[:min(len(batch), maxClaims)]
	for _, w := range batch {
		w.taken = true
		delete(d.waiting, w)
	}
	return batch
}

// putBack puts claimers without a task on the list again, and tells those that
// left meanwhile that there is none.
func (d *claimDesk) putBack(batch []*claimWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range batch {
		if w.gone {
			w.got <- Task{}
			continue
		}
		w.taken = false
		d.waiting[w] = struct{}{}
	}
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
