package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// Finish checks an answer and stores it. A wrong one counts as a failed
// attempt and is refused with task.ErrBadAnswer; one under an old attempt is
// refused with task.ErrLost. Both are final. Other errors mean try again. An
// answer without a proof goes to the asker too, once nobody else is left to try
// and no retry: with its reasons it may ask for other copies.
func (q *Queue) Finish(ctx context.Context, slave string, l task.Lease, a task.Answer) error {
	if err := q.door.check(); err != nil {
		return err
	}
	log := q.log.With(attr.Task(l.ID), attr.Attempt(l.Attempt), attr.Slave(slave))
	t, err := q.store.Show(ctx, l.ID)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("task %s: %w: no such task", l, task.ErrLost)
	}
	if err != nil {
		return err
	}
	if t.Attempt != l.Attempt {
		q.cfg.Metrics.refused.WithLabelValues("attempt").Inc()
		return fmt.Errorf("task %s: %w: attempt %d is the latest, by %q", l, task.ErrLost, t.Attempt, t.Slave)
	}
	slave = cmp.Or(t.Slave, slave) // two of one name are told apart
	if t.State == task.Done {
		return nil // the same attempt: delivered before, the reply was lost
	}
	var question task.Question
	if err := decode(t.In, &question); err != nil {
		return q.refuse(ctx, l, task.Permanent(fmt.Errorf("stored question: %w", err)))
	}
	a = a.Normal()
	switch err := q.check(ctx, question, a); {
	case errors.Is(err, task.ErrBadAnswer):
		q.cfg.Metrics.refused.WithLabelValues("answer").Inc()
		log.Warn("answer refused", attr.Err(err))
		q.slaves.failed(slave, true)
		return q.refuse(ctx, l, err)
	case err != nil:
		return fmt.Errorf("check the answer of task %s: %w", l, err)
	}
	offered, err := q.offer(ctx, slave, t, a)
	if err != nil || offered {
		return err
	}
	if t.Out == nil && len(a.Proofs) == 0 && len(a.Elsewhere()) > 0 && t.Retries < q.cfg.MaxRetry {
		// Not final: what nobody can read now, somebody may read in a moment.
		return q.fail(ctx, slave, l, task.VerdictOf(unread(a)), failure{noBlame: true})
	}
	out, err := encode(better(a, t))
	if err != nil {
		return err
	}
	switch err := q.store.Finish(ctx, q.clock.now(), l, out); {
	case errors.Is(err, task.ErrLost):
		q.cfg.Metrics.refused.WithLabelValues("attempt").Inc()
		return err
	case err != nil && ctx.Err() == nil:
		q.trouble("finish", err) // until an answer is stored again
		return err
	case err != nil:
		return err
	}
	q.well("finish")
	q.asks.wake()
	q.cfg.Metrics.finished.Inc()
	if len(a.Proofs) > 0 {
		q.slaves.failed(slave, false)
	}
	log.Info("task finished", attr.Miner(abi.ActorID(question.MinerID)), attr.Skipped(len(a.Faults)), attr.Took(time.Duration(q.clock.now()-cmp.Or(t.StartedAt, t.CreatedAt))*time.Second))
	return nil
}

// unread is the failure of an attempt that could read nothing.
func unread(a task.Answer) error {
	why := ""
	if len(a.Reasons) > 0 {
		why = ": " + a.Reasons[0].String()
	}
	return fmt.Errorf("none of the %d sectors can be read%s", len(a.Faults), why)
}

// offer keeps an answer that leaves sectors out as the answer in hand and has
// another slave try, if there is one that has not and the window leaves time
// for it: the manager has found the files of every sector it asks about, so
// what one slave cannot read another may. It reports whether it did so.
func (q *Queue) offer(ctx context.Context, slave string, t Task, a task.Answer) (bool, error) {
	if len(a.Elsewhere()) == 0 || t.State != task.Running && t.State != task.Ready {
		return false, nil
	}
	now := q.clock.now()
	patience := q.patience(now, t)
	if t.NotAfter-now < 2*patience {
		return false, nil
	}
	slaves, err := q.live(ctx)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(others(slaves, slave, t.SectorSize), func(o string) bool { return o != t.Slave && !slices.Contains(t.Tried, o) }) {
		return false, nil
	}
	out, err := encode(better(a, t))
	if err != nil {
		return false, err
	}
	// The next attempt may take as long as this one; the time for all of them
	// together ends at half of what the window leaves.
	until := now + min(patience, max((t.NotAfter-now)/2, 1))
	o := Offer{Out: out, Reason: leftOut(slave, a), SettleAt: until}
	if err := q.store.Offer(ctx, now, t.Lease(), o); err != nil {
		return false, err
	}
	q.cfg.Metrics.offered.Inc()
	q.log.Warn("answer in hand leaves sectors out; another slave is asked", attr.Task(t.ID), attr.Attempt(t.Attempt), attr.Slave(slave),
		attr.SkippedList(a.Faults), attr.Reason(o.Reason), attr.Patience(time.Duration(until-now)*time.Second))
	q.claims.wake()
	return true, nil
}

// patience is how long another attempt may take, in seconds: somewhat longer
// than this one did. How long one took that was rescued meanwhile is not known:
// then half of what the window leaves.
func (q *Queue) patience(now int64, t Task) int64 {
	least := seconds(2 * q.cfg.HeartbeatTimeout)
	switch {
	case t.State == task.Running:
		return 2*(now-t.StartedAt+1) + least
	case t.NotAfter == NoEnd:
		return least + seconds(10*time.Minute)
	}
	return max(least, (t.NotAfter-now)/2)
}

// leftOut says which sectors a slave left out, and why, as far as it tells.
func leftOut(slave string, a task.Answer) string {
	out := fmt.Sprintf("slave %q left out %d sectors, the first is %d", slave, len(a.Faults), a.Faults[0])
	for i, r := range a.Reasons {
		if i == 3 {
			return out + "; …"
		}
		out += "; " + r.String()
	}
	return out
}

// better returns a or the answer in hand, both verified: the one with a proof,
// and of two such the one that leaves out fewer sectors.
func better(a task.Answer, t Task) task.Answer {
	var inHand task.Answer
	if t.Out == nil || decode(t.Out, &inHand) != nil {
		return a
	}
	if c := cmp.Compare(len(inHand.Proofs), len(a.Proofs)); c > 0 || c == 0 && len(inHand.Faults) < len(a.Faults) {
		return inHand
	}
	return a
}

// check refuses what cannot be a right answer.
func (q *Queue) check(ctx context.Context, question task.Question, a task.Answer) error {
	if err := a.Check(question); err != nil {
		return err
	}
	if len(a.Proofs) == 0 {
		return nil
	}
	return q.cfg.Verifier.VerifyWindowPoSt(ctx, question, a)
}

// refuse ends an attempt whose answer was wrong and says so.
func (q *Queue) refuse(ctx context.Context, l task.Lease, cause error) error {
	if err := q.Fail(ctx, "", l, task.VerdictOf(cause)); err != nil && !errors.Is(err, task.ErrLost) {
		return err
	}
	return fmt.Errorf("task %s: %w", l, cause)
}

// Fail ends an attempt without an answer.
func (q *Queue) Fail(ctx context.Context, slave string, l task.Lease, v *task.Verdict) error {
	return q.fail(ctx, slave, l, v, failure{})
}

// failure is how an attempt ends that failed.
type failure struct {
	unheard bool // only while its slave has not been heard of
	noBlame bool // it says nothing against the slave
}

// fail ends an attempt.
func (q *Queue) fail(ctx context.Context, slave string, l task.Lease, v *task.Verdict, how failure) error {
	if err := q.door.check(); err != nil {
		return err
	}
	now := q.clock.now()
	f := Failure{Kind: v.Kind, Reason: v.Err.Error(), ReadyAt: now, MaxRetry: q.cfg.MaxRetry, Unheard: how.unheard}
	if v.Kind == task.KindRetry {
		// A slave of another size cannot take over, but which size the task has
		// only its row tells: a reserve that nobody takes ends by itself.
		slaves, err := q.live(ctx)
		if err != nil {
			return err
		}
		f.Others = others(slaves, slave, 0)
	}
	if slave != "" {
		f.Reason = fmt.Sprintf("slave %q: %s", slave, f.Reason)
	}
	if v.Kind == task.KindRetry {
		f.ReadyAt = now + seconds(cmp.Or(v.After, q.cfg.RetryInterval))
	}
	state, err := q.store.Fail(ctx, now, l, f)
	if err != nil {
		return err
	}
	q.cfg.Metrics.failed.WithLabelValues(string(v.Kind)).Inc()
	if v.Kind == task.KindRetry && slave != "" && !how.noBlame {
		q.slaves.failed(slave, true)
	}
	q.log.Warn("attempt failed", attr.Task(l.ID), attr.Attempt(l.Attempt), attr.Slave(slave),
		attr.Verdict(string(v.Kind)), attr.TaskState(string(state)), attr.Err(v.Err))
	if state == task.Failed {
		q.asks.wake()
	}
	q.claims.wake()
	return nil
}
