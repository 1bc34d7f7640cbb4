package queue

import (
	"context"
	"errors"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// archiveBatch bounds the rows moved in one transaction; the store bounds their
// bytes.
const archiveBatch = 200

// slavesKept is for how long a slave that is gone is remembered.
const slavesKept = 7 * 24 * time.Hour

// upkeep is the state of the periodic work.
type upkeep struct {
	// trustedSince is since when signs of life could have been recorded without
	// a break as far as this master knows. Nobody is taken for dead before a
	// whole heartbeat time-out has passed since: while the database was away,
	// or all masters were, no slave could say that it lives.
	trustedSince time.Time
	lastPass     time.Time
	lastArchive  time.Time
	lastSeen     time.Time // when signs of life of slaves were last written
	lastDue      time.Time // when it was last looked whether anything is due
	unfinished   bool      // then there were tasks that are not over
	puts         uint64    // of this master, then
}

// idleInterval is the time between two looks while there is nothing to do.
const idleInterval = 3 * time.Second

// upkeepInterval is the time between two passes.
func (q *Queue) upkeepInterval() time.Duration {
	return min(time.Second, q.cfg.HeartbeatTimeout/3)
}

// runUpkeep does the periodic work until ctx ends.
func (q *Queue) runUpkeep(ctx context.Context) {
	u := &upkeep{trustedSince: time.Now(), lastPass: time.Now(), lastArchive: time.Now()}
	var out patience.Outage
	for patience.Sleep(ctx, q.upkeepInterval()) == nil {
		err := q.keep(ctx, u)
		switch {
		case err == nil:
			q.well("upkeep")
			out.Over(q.log, "rescue, drop and archive work again")
		case ctx.Err() == nil:
			q.trouble("upkeep", err)
			out.Failed(q.log, "rescue, drop and archive are held up; retrying", cause(err), attr.Err(err))
		}
	}
}

// keep does one pass of the periodic work.
func (q *Queue) keep(ctx context.Context, u *upkeep) (err error) {
	now := time.Now()
	if now.Sub(u.lastPass) > q.upkeepInterval()+q.cfg.HeartbeatTimeout/2 {
		u.trustedSince = now // this process stood still
	}
	u.lastPass = now
	defer func() {
		if err != nil {
			u.trustedSince = time.Now()
		}
	}()
	if q.clock.age() > clockKept {
		if err := q.readClock(ctx); err != nil {
			return err
		}
	}
	if now.Sub(u.lastSeen) >= seenInterval {
		u.lastSeen = now
		if err := q.writeSlaves(ctx); err != nil {
			return err
		}
	}
	if err := q.keepTasks(ctx, u); err != nil {
		return err
	}
	if time.Since(u.lastArchive) >= q.cfg.ArchiveInterval {
		u.lastArchive = time.Now()
		return q.archive(ctx)
	}
	return nil
}

// keepTasks drops, settles and rescues what is due.
func (q *Queue) keepTasks(ctx context.Context, u *upkeep) error {
	policy := func() RescuePolicy {
		now := q.clock.now()
		return RescuePolicy{
			SilentSince: now - seconds(q.cfg.HeartbeatTimeout), StalledSince: now - seconds(q.cfg.Timeout), ReadyAt: now, MaxRetry: q.cfg.MaxRetry,
		}
	}
	puts := q.puts.Load()
	if !u.unfinished && puts == u.puts && time.Since(u.lastDue) < idleInterval {
		return nil
	}
	due, err := q.store.Due(ctx, q.clock.now(), policy())
	if err != nil {
		return err
	}
	u.lastDue, u.puts, u.unfinished, due.Unfinished = time.Now(), puts, due.Unfinished, false
	if due == (Due{}) {
		return nil
	}
	if due.Closed { // not before it is sure that no clock has jumped
		if err := q.readClock(ctx); err != nil {
			return err
		}
	}
	dropped, err := q.store.DropClosed(ctx, q.clock.now())
	if err != nil {
		return err
	}
	for _, t := range dropped {
		q.cfg.Metrics.failed.WithLabelValues(string(task.KindExpired)).Inc()
		q.log.Warn("task dropped: its window closed", attr.Task(t.ID), attr.Attempt(t.Attempt), attr.Slave(t.Slave), attr.Reason(t.Reason))
	}
	settled, err := q.store.Settle(ctx, q.clock.now())
	if err != nil {
		return err
	}
	for _, t := range settled {
		q.log.Info("answer in hand is final", attr.Task(t.ID), attr.Attempt(t.Attempt), attr.TaskState(string(t.State)), attr.Reason(t.Reason))
	}
	var rescued []Task
	if due.Lost && time.Since(u.trustedSince) >= q.cfg.HeartbeatTimeout {
		if rescued, err = q.rescue(ctx, policy()); err != nil {
			return err
		}
	}
	if len(dropped)+len(settled)+len(rescued) > 0 {
		q.asks.wake()
		q.claims.wake()
	}
	return nil
}

// rescue gives up the attempts of slaves that are lost.
func (q *Queue) rescue(ctx context.Context, p RescuePolicy) ([]Task, error) {
	slaves, err := q.live(ctx)
	if err != nil {
		return nil, err
	}
	p.Others = others(slaves, "", 0)
	rescued, err := q.store.Rescue(ctx, q.clock.now(), p)
	for _, t := range rescued {
		q.cfg.Metrics.rescued.Inc()
		q.slaves.failed(t.Slave, true)
		q.log.Warn("task rescued", attr.Task(t.ID), attr.Attempt(t.Attempt), attr.TaskState(string(t.State)), attr.Reason(t.Reason))
	}
	return rescued, err
}

// archive moves what is old enough.
func (q *Queue) archive(ctx context.Context) error {
	total, err := Archive(ctx, q.store, q.cfg.ArchiveAfter)
	if err != nil {
		return err
	}
	if total > 0 {
		q.log.Info("tasks archived", attr.TaskCount(total))
	}
	if err := q.store.Sweep(ctx, q.clock.now()-seconds(time.Hour)); err != nil {
		return err
	}
	counts, err := q.store.Counts(ctx)
	if err != nil {
		return err
	}
	if err := q.settleClock(ctx, counts[task.Ready]+counts[task.Running]); err != nil {
		return err
	}
	return q.store.ForgetSlaves(ctx, q.clock.now()-seconds(slavesKept))
}

// Archive moves all tasks that finished before the given age, now.
func Archive(ctx context.Context, s Store, age time.Duration) (int, error) {
	if age < 0 {
		return 0, errors.New("archive: the age is negative")
	}
	now, err := s.Now(ctx)
	if err != nil {
		return 0, err
	}
	total := 0
	for {
		n, err := s.Archive(ctx, now.Time.Unix()-seconds(age), archiveBatch)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}
