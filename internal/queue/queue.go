package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"wdpost/internal/task"
)

// Verifier checks a proof.
type Verifier interface {
	// VerifyWindowPoSt returns nil only if the answer's proof is valid for the
	// question without the answer's faults. An error that wraps
	// task.ErrBadAnswer says that the proof is wrong; any other that it could
	// not be checked. An answer without proof is valid.
	VerifyWindowPoSt(ctx context.Context, q task.Question, a task.Answer) error
}

// Config is the policy of one master. Zero values take the defaults.
type Config struct {
	Timeout          time.Duration // of one attempt, signs of life or not; default 5 min
	HeartbeatTimeout time.Duration // silence after which a slave is lost; default 15 s
	MaxRetry         int           // attempts after the first; 0 means none
	RetryInterval    time.Duration // between a failure and the next attempt; default 10 s
	ArchiveInterval  time.Duration // between two looks for tasks to archive; default 1 h
	ArchiveAfter     time.Duration // age at which a finished task is archived; default 48 h

	// PollInterval is how often the database is asked for what other masters
	// did: tasks that became ready, answers that came in. What this master
	// does itself is seen at once. Default 100 ms.
	PollInterval time.Duration
	// MaxBackoff bounds the wait between two tries while the database is
	// away. Default 5 s.
	MaxBackoff time.Duration

	// Prepare, unless nil, makes the database ready for use. Run calls it until
	// it succeeds or fails with another error than ErrUnavailable; meanwhile
	// questions wait and other calls fail.
	Prepare func(context.Context) error

	Verifier Verifier     // required
	Log      *slog.Logger // required
	Metrics  *Metrics     // nil counts nothing
}

// withDefaults fills what is unset and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Minute)
	c.HeartbeatTimeout = cmp.Or(c.HeartbeatTimeout, 15*time.Second)
	c.RetryInterval = cmp.Or(c.RetryInterval, 10*time.Second)
	c.ArchiveInterval = cmp.Or(c.ArchiveInterval, time.Hour)
	c.ArchiveAfter = cmp.Or(c.ArchiveAfter, 48*time.Hour)
	c.PollInterval = cmp.Or(c.PollInterval, 100*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 5*time.Second)
	if c.Verifier == nil || c.Log == nil {
		return c, errors.New("queue: a verifier and a logger are required")
	}
	if c.MaxRetry < 0 {
		return c, fmt.Errorf("queue: the retry limit %d is negative", c.MaxRetry)
	}
	for _, d := range []time.Duration{c.Timeout, c.HeartbeatTimeout, c.RetryInterval, c.ArchiveInterval, c.ArchiveAfter, c.PollInterval, c.MaxBackoff} {
		if d <= 0 {
			return c, fmt.Errorf("queue: %v is not a time span", d)
		}
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c, nil
}

// Queue is one master's view of a store. Run must be running for Ask and Claim
// to return.
type Queue struct {
	store  Store
	cfg    Config
	log    *slog.Logger
	clock  clock
	claims claimDesk
	asks   askDesk
	slaves slaveBook
	door   door
}

// New prepares a queue. Without Config.Prepare it reads the database's clock, so
// the database must be there.
func New(ctx context.Context, store Store, cfg Config) (*Queue, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	q := &Queue{store: store, cfg: cfg, log: cfg.Log}
	q.claims.kick = make(chan struct{}, 1)
	q.asks.kick = make(chan struct{}, 1)
	q.door.opened = make(chan struct{})
	if cfg.Prepare == nil {
		if err := q.open(ctx); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// Run hands out tasks, delivers answers and does the periodic work until ctx
// ends, and returns nil then. Whatever the database does, it goes on trying; but
// one that turns out not to be usable when it is first there, by a mistake that
// only an operator can mend, is an error.
func (q *Queue) Run(ctx context.Context) error {
	if err := q.awaitDatabase(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	loops := []func(context.Context){q.runClaims, q.runAsks, q.runUpkeep}
	done := make(chan struct{})
	for _, loop := range loops {
		go func() {
			loop(ctx)
			done <- struct{}{}
		}()
	}
	for range loops {
		<-done
	}
	return nil
}

// Health reports whether the database answers.
func (q *Queue) Health(ctx context.Context) error {
	if err := q.door.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := q.store.Now(ctx); err != nil {
		return fmt.Errorf("task database: %w", err)
	}
	return nil
}

// HeartbeatTimeout is what slaves are told.
func (q *Queue) HeartbeatTimeout() time.Duration { return q.cfg.HeartbeatTimeout }

// Heartbeat records signs of life of a slave's tasks and returns the leases
// that are lost and the remaining windows of the others, which a repeated
// question may have changed.
func (q *Queue) Heartbeat(ctx context.Context, slave Slave, beats []Beat) (task.Pulse, error) {
	if err := q.door.check(); err != nil {
		return task.Pulse{}, err
	}
	if err := q.seen(ctx, slave); err != nil {
		return task.Pulse{}, err
	}
	if len(beats) == 0 {
		return task.Pulse{}, nil
	}
	now := q.clock.now()
	lost, err := q.store.Heartbeat(ctx, now, beats)
	if err != nil {
		return task.Pulse{}, err
	}
	q.cfg.Metrics.refused.WithLabelValues("heartbeat").Add(float64(len(lost)))
	pulse := task.Pulse{Lost: lost, Remaining: make(map[task.Lease]time.Duration)}
	var ids []string
	for _, b := range beats {
		ids = append(ids, b.Lease.ID)
	}
	tasks, err := q.store.Poll(ctx, ids)
	if err != nil {
		return task.Pulse{}, err
	}
	for _, t := range tasks {
		if t.NotAfter != NoEnd && !slices.Contains(lost, t.Lease()) {
			pulse.Remaining[t.Lease()] = remaining(t, now)
		}
	}
	return pulse, nil
}

// remaining is the time until a task's window closes, never 0, which would
// mean unknown.
func remaining(t Task, now int64) time.Duration {
	return max(time.Duration(t.NotAfter-now)*time.Second, time.Millisecond)
}

// Finish checks an answer and stores it. A wrong one counts as a failed
// attempt and is refused with task.ErrBadAnswer; one under an old attempt is
// refused with task.ErrLost. Both are final. Other errors mean try again.
func (q *Queue) Finish(ctx context.Context, slave string, l task.Lease, a task.Answer) error {
	if err := q.door.check(); err != nil {
		return err
	}
	log := q.log.With("task", l.ID, "attempt", l.Attempt, "slave", slave)
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
		log.Warn("answer refused", "err", err)
		return q.refuse(ctx, l, err)
	case err != nil:
		return fmt.Errorf("check the answer of task %s: %w", l, err)
	}
	offered, err := q.offer(ctx, slave, t, a)
	if err != nil || offered {
		return err
	}
	if t.Out == nil && len(a.Proofs) == 0 && len(a.Faults) == len(question.Replicas) {
		// Not final: what nobody can read now, somebody may read later.
		return q.Fail(ctx, slave, l, task.VerdictOf(unread(a)))
	}
	out, err := encode(better(a, t))
	if err != nil {
		return err
	}
	if err := q.store.Finish(ctx, q.clock.now(), l, out); err != nil {
		if errors.Is(err, task.ErrLost) {
			q.cfg.Metrics.refused.WithLabelValues("attempt").Inc()
		}
		return err
	}
	q.asks.wake()
	q.cfg.Metrics.finished.Inc()
	log.Info("task finished", "miner", question.MinerID, "skipped", len(a.Faults), "took_s", q.clock.now()-t.StartedAt)
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
// another slave try, if there is one and the window leaves time for it: the
// manager has found the files of every sector it asks about, so what one slave
// cannot read another may. It reports whether it did so.
func (q *Queue) offer(ctx context.Context, slave string, t Task, a task.Answer) (bool, error) {
	if len(a.Faults) == 0 || t.Out != nil || t.State != task.Running || t.Retries >= q.cfg.MaxRetry {
		return false, nil
	}
	now := q.clock.now()
	took := now - t.StartedAt + 1
	patience := 2*took + seconds(2*q.cfg.HeartbeatTimeout)
	if t.NotAfter-now < 2*patience {
		return false, nil
	}
	others, err := q.store.Slaves(ctx, now-seconds(2*q.cfg.HeartbeatTimeout))
	if err != nil {
		return false, err
	}
	others = slices.DeleteFunc(others, func(s Slave) bool { return s.Name == slave || s.Draining })
	if len(others) == 0 {
		return false, nil
	}
	out, err := encode(a)
	if err != nil {
		return false, err
	}
	o := Offer{Out: out, Reason: fmt.Sprintf("slave %q left out %d sectors, the first is %d", slave, len(a.Faults), a.Faults[0]), SettleAt: now + patience}
	if err := q.store.Offer(ctx, now, t.Lease(), o); err != nil {
		return false, err
	}
	q.cfg.Metrics.offered.Inc()
	q.log.Warn("answer in hand leaves sectors out; another slave is asked", "task", t.ID, "attempt", t.Attempt, "slave", slave,
		"skipped", a.Faults, "patience_s", patience)
	q.claims.wake()
	return true, nil
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
	return q.fail(ctx, slave, l, v, false)
}

// fail ends an attempt, if unheard only while its slave has not been heard of.
func (q *Queue) fail(ctx context.Context, slave string, l task.Lease, v *task.Verdict, unheard bool) error {
	if err := q.door.check(); err != nil {
		return err
	}
	now := q.clock.now()
	f := Failure{Kind: v.Kind, Reason: v.Err.Error(), ReadyAt: now, MaxRetry: q.cfg.MaxRetry, Unheard: unheard}
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
	q.log.Warn("attempt failed", "task", l.ID, "attempt", l.Attempt, "slave", slave,
		"verdict", v.Kind, "task_state", state, "err", v.Err)
	if state == task.Failed {
		q.asks.wake()
	}
	q.claims.wake()
	return nil
}

// seconds rounds a duration up to whole seconds, the resolution of the tables.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// backoff is the wait before try n (from 1) while the database is away.
func (q *Queue) backoff(n int) time.Duration {
	return min(q.cfg.PollInterval<<min(n, 16), q.cfg.MaxBackoff)
}

// pause waits, or returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
