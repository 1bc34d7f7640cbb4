package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// ErrWithdrawn is the cause with which an asker's context may end: nobody wants
// the answer any more, and the task is cancelled unless someone else here waits
// for it too. After any other cause the task goes on, and its answer is kept.
var ErrWithdrawn = errors.New("question withdrawn")

// askDesk is where askers wait for answers. One loop looks for all of them.
type askDesk struct {
	kick    chan struct{} // capacity 1: something may be over
	mu      sync.Mutex
	waiting map[string]map[chan Task]struct{} // by task id; channels have capacity 1
}

// wake makes the loop look again.
func (d *askDesk) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// join registers for the end of a task; leave returns whether it was the last.
func (d *askDesk) join(id string) (over chan Task, leave func() (last bool)) {
	over = make(chan Task, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = make(map[string]map[chan Task]struct{})
	}
	if d.waiting[id] == nil {
		d.waiting[id] = make(map[chan Task]struct{})
	}
	d.waiting[id][over] = struct{}{}
	return over, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting[id], over)
		if len(d.waiting[id]) > 0 {
			return false
		}
		delete(d.waiting, id)
		return true
	}
}

// ids returns the names of the tasks waited for.
func (d *askDesk) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.waiting))
}

// tell gives the end of a task to everyone who waits for it.
func (d *askDesk) tell(t Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for over := range d.waiting[t.ID] {
		select {
		case over <- t:
		default: // told before and not looked yet
		}
	}
}

// Ask puts the question in the queue and waits for its verified answer, until
// the window closes or ctx ends. The same question asked again, after a
// restart too, is the same task, and a stored answer is returned at once. If
// the task fails the error is a *task.Verdict; asking again begins a new round
// of attempts, except after an operator's cancellation.
//
// The database may be away at any time meanwhile, or not have been there yet.
func (q *Queue) Ask(ctx context.Context, question task.Question) (task.Answer, error) {
	if err := question.Check(); err != nil {
		return task.Answer{}, task.Permanent(err)
	}
	if question.NotAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, time.Unix(question.NotAfter, 0))
		defer cancel()
	}
	n := NewTask{ID: question.ID(), NotAfter: NoEnd, About: About{
		Known: true, Miner: question.MinerID, Deadline: question.Deadline, Partitions: question.Partitions,
		Sectors: len(question.Replicas), Stores: question.Stores(),
	}}
	var err error
	if n.In, err = encode(question); err != nil {
		return task.Answer{}, task.Permanent(err)
	}
	if n.SectorSize, err = task.SectorSize(question.ProofType); err != nil {
		return task.Answer{}, task.Permanent(err)
	}
	if err := q.awaitOpen(ctx); err != nil {
		return task.Answer{}, fmt.Errorf("task %s: %w", n.ID, err)
	}
	for {
		t, err := q.put(ctx, n, question.NotAfter)
		if err == nil && q.unread(ctx, t) {
			continue // what nobody could read then, somebody may read now
		}
		if err == nil && t.State != task.Done && t.State != task.Failed {
			t, err = q.awaitEnd(ctx, t)
		}
		if err != nil {
			return task.Answer{}, fmt.Errorf("task %s: %w", n.ID, err)
		}
		answer, again, err := q.outcome(ctx, question, t)
		if again {
			continue
		}
		return answer, err
	}
}

// awaitOpen waits until the database has been opened.
func (q *Queue) awaitOpen(ctx context.Context) error {
	select {
	case <-q.door.opened:
		return nil
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the window closed before an answer came: %w", q.door.check())
	}
	return context.Cause(ctx)
}

// put stores the question, trying until ctx ends.
func (q *Queue) put(ctx context.Context, n NewTask, notAfter int64) (Task, error) {
	log := q.log.With(attr.Task(n.ID))
	b := q.backoff()
	var out patience.Outage
	defer q.well("put") // stored, or nobody waits for it any more
	for {
		if ctx.Err() != nil {
			return Task{}, context.Cause(ctx)
		}
		now := q.clock.now()
		if notAfter > 0 {
			// The window's close on the database's clock. The asker is beside us.
			n.NotAfter = now + max(int64(time.Until(time.Unix(notAfter, 0))/time.Second), 0)
		}
		t, err := q.store.Put(ctx, now, n)
		if err == nil {
			if t.CreatedAt == now && t.State == task.Ready && t.Attempt == 0 {
				q.cfg.Metrics.put.Inc()
			}
			out.Over(log, "task stored after all")
			log.Info("task queued", attr.TaskState(string(t.State)), attr.Attempt(t.Attempt))
			q.puts.Add(1)
			q.claims.wake()
			return t, nil
		}
		if !errors.Is(err, ErrUnavailable) {
			return Task{}, err
		}
		if ctx.Err() == nil {
			q.trouble("put", err)
			out.Failed(log, "task not stored; retrying", cause(err), attr.Err(err))
		}
		if b.Wait(ctx) != nil {
			return Task{}, context.Cause(ctx)
		}
	}
}

// awaitEnd waits until the task, stored as given, is over or gone.
func (q *Queue) awaitEnd(ctx context.Context, stored Task) (Task, error) {
	over, leave := q.asks.join(stored.ID)
	q.asks.wake() // it may be over already
	for {
		select {
		case t := <-over:
			if t.State != "" && t.Attempt < stored.Attempt {
				continue // the end of the round before, read before it was reopened
			}
			leave()
			return t, nil
		case <-ctx.Done():
		}
		if leave() && errors.Is(context.Cause(ctx), ErrWithdrawn) {
			q.withdraw(context.WithoutCancel(ctx), stored.ID)
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Task{}, errors.New("the window closed before an answer came")
		}
		return Task{}, context.Cause(ctx)
	}
}

// unread reopens a task whose stored answer is that nothing could be read, and
// reports whether it did.
func (q *Queue) unread(ctx context.Context, t Task) bool {
	var a task.Answer
	if t.State != task.Done || decode(t.Out, &a) != nil || len(a.Proofs) > 0 {
		return false
	}
	err := q.store.Retry(ctx, q.clock.now(), t.ID)
	return err == nil || errors.Is(err, ErrUnavailable)
}

// outcome turns a task that is over into an answer. again says that there is
// none yet and the question must be put once more.
func (q *Queue) outcome(ctx context.Context, question task.Question, t Task) (a task.Answer, again bool, err error) {
	switch {
	case t.State == "": // gone from the database
		return task.Answer{}, true, nil
	case t.State == task.Failed && t.Verdict == task.KindAborted:
		return task.Answer{}, true, nil // another asker withdrew it, we did not
	case t.State == task.Failed:
		v := &task.Verdict{Kind: t.Verdict, Err: errors.New(t.Reason)}
		return task.Answer{}, false, fmt.Errorf("task %s failed: %w", t.ID, v)
	case t.State != task.Done:
		return task.Answer{}, true, nil
	}
	// The answer was verified before it was stored. Check it again: the rows
	// are open to hands and accidents, and nothing unverified is passed on.
	if err = decode(t.Out, &a); err == nil {
		widest := question
		widest.AllowSkip = true
		err = q.check(ctx, widest, a)
	}
	switch {
	case ctx.Err() != nil:
		return task.Answer{}, false, context.Cause(ctx)
	case err != nil:
		q.log.Error("stored answer is wrong; the task starts over", attr.Task(t.ID), attr.Err(err))
		if err := q.store.Retry(ctx, q.clock.now(), t.ID); err != nil && !errors.Is(err, ErrState) {
			return task.Answer{}, false, err
		}
		return task.Answer{}, true, nil
	}
	if !question.AllowSkip {
		a = a.Narrow()
	}
	return a, false, nil
}

// withdraw cancels a task that nobody waits for any more.
func (q *Queue) withdraw(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := q.store.Cancel(ctx, q.clock.now(), id, task.KindAborted, "withdrawn by the asker")
	if err != nil && !errors.Is(err, ErrState) {
		q.log.Warn("withdrawn task not cancelled; it is proven for nothing", attr.Task(id), attr.Err(err))
		return
	}
	q.log.Info("task withdrawn", attr.Task(id))
}

// runAsks delivers ends of tasks until ctx ends.
func (q *Queue) runAsks(ctx context.Context) {
	tick := time.NewTicker(q.cfg.PollInterval)
	defer tick.Stop()
	b := q.backoff()
	var out patience.Outage
	for {
		select {
		case <-q.asks.kick:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := q.serveAsks(ctx); err != nil && ctx.Err() == nil {
			q.trouble("ask", err)
			out.Failed(q.log, "answers cannot be read; retrying", cause(err), attr.Err(err))
			if b.Wait(ctx) != nil {
				return
			}
			continue
		}
		b.Reset()
		q.well("ask")
		out.Over(q.log, "answers are read again")
	}
}

// serveAsks looks once for the ends of all tasks waited for.
func (q *Queue) serveAsks(ctx context.Context) error {
	ids := q.asks.ids()
	if len(ids) == 0 {
		return nil
	}
	tasks, err := q.store.Poll(ctx, ids)
	if err != nil {
		return err
	}
	missing := make(map[string]bool, len(ids))
	for _, id := range ids {
		missing[id] = true
	}
	for _, t := range tasks {
		delete(missing, t.ID)
		if t.State == task.Done || t.State == task.Failed {
			q.asks.tell(t)
		}
	}
	for id := range missing {
		q.asks.tell(Task{ID: id}) // not stored yet, or deleted by hand: put it (again)
	}
	return nil
}
