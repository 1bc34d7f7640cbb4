package queue

import (
	"context"
	"errors"
	"time"

	"wdpost/internal/task"
)

// archiveBatch bounds the rows moved in one transaction: a question of a full
// message has a few megabytes.
const archiveBatch = 20

// slavesKept is for how long a slave that is gone is remembered.
const slavesKept = 7 * 24 * time.Hour

// clockKept is for how long the database's clock is not read again.
const clockKept = time.Minute

// upkeep is the state of the periodic work.
type upkeep struct {
	// trustedSince is since when signs of life could have been recorded without
	// a break as far as this master knows. Nobody is taken for dead before a
	// whole heartbeat time-out has passed since: while the database was away,
	// or all masters were, no slave could say that it lives.
	trustedSince time.Time
	lastPass     time.Time
	lastArchive  time.Time
}

// upkeepInterval is the time between two passes.
func (q *Queue) upkeepInterval() time.Duration {
	return min(time.Second, q.cfg.HeartbeatTimeout/3)
}

// runUpkeep does the periodic work until ctx ends.
func (q *Queue) runUpkeep(ctx context.Context) {
	u := &upkeep{trustedSince: time.Now(), lastPass: time.Now(), lastArchive: time.Now()}
	for failures := 0; ; {
		if !pause(ctx, q.upkeepInterval()) {
			return
		}
		err := q.keep(ctx, u)
		switch {
		case err != nil && ctx.Err() == nil:
			failures++
			if failures == 1 {
				q.log.Warn("rescue, drop and archive are held up; trying on", "err", err)
			}
		case failures > 0:
			q.log.Info("rescue, drop and archive go on", "after_failures", failures)
			failures = 0
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
		if err := q.clock.set(ctx, q.store); err != nil {
			return err
		}
	}
	dropped, err := q.store.DropClosed(ctx, q.clock.now())
	if err != nil {
		return err
	}
	for _, t := range dropped {
		q.cfg.Metrics.failed.WithLabelValues(string(task.KindExpired)).Inc()
		q.log.Warn("task dropped: its window closed", "task", t.ID, "attempt", t.Attempt, "slave", t.Slave)
	}
	settled, err := q.store.Settle(ctx, q.clock.now())
	if err != nil {
		return err
	}
	for _, t := range settled {
		q.log.Info("answer in hand is final", "task", t.ID, "attempt", t.Attempt, "reason", t.Reason)
	}
	rescued, err := q.rescue(ctx, u)
	if err != nil {
		return err
	}
	if len(dropped)+len(settled)+len(rescued) > 0 {
		q.asks.wake()
		q.claims.wake()
	}
	if time.Since(u.lastArchive) >= q.cfg.ArchiveInterval {
		u.lastArchive = time.Now()
		return q.archive(ctx)
	}
	return nil
}

// rescue gives up the attempts of slaves that are lost.
func (q *Queue) rescue(ctx context.Context, u *upkeep) ([]Task, error) {
	if time.Since(u.trustedSince) < q.cfg.HeartbeatTimeout {
		return nil, nil
	}
	now := q.clock.now()
	rescued, err := q.store.Rescue(ctx, now, RescuePolicy{
		SilentSince:  now - seconds(q.cfg.HeartbeatTimeout),
		StartedSince: now - seconds(q.cfg.Timeout),
		ReadyAt:      now,
		MaxRetry:     q.cfg.MaxRetry,
	})
	for _, t := range rescued {
		q.cfg.Metrics.rescued.Inc()
		q.log.Warn("task rescued", "task", t.ID, "attempt", t.Attempt, "task_state", t.State, "err", t.Reason)
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
		q.log.Info("tasks archived", "tasks", total)
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
		n, err := s.Archive(ctx, now.Unix()-seconds(age), archiveBatch)
		total += n
		if err != nil || n < archiveBatch {
			return total, err
		}
	}
}
