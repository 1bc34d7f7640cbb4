package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
)

// clock counts the database's time: set now and then from the database, and
// carried on by this host's monotonic clock, so that neither a wrong nor a
// jumping host clock matters.
//
// A jump of the database's clock itself must not move the ends of windows: it
// shows as a difference to what was carried on, and is made up for by a shift
// that all masters of the database use.
type clock struct {
	mu    sync.Mutex
	base  time.Time     // the database's time …
	setAt time.Duration // … at this moment of steady
	shift time.Duration
	known bool
	start time.Time
	slept time.Duration // before start
}

// jumpTolerance is the difference that is a jump. Less is taken over: clocks
// drift, and the nodes of a cluster do not agree to the second.
const jumpTolerance = 5 * time.Second

// clockKept is for how long the database's clock is not read again.
const clockKept = 10 * time.Second

// steady is the time since the clock was made, the sleep of the machine
// included, whatever is done to the host's clock. The caller holds the mutex.
func (c *clock) steady() time.Duration {
	if c.start.IsZero() {
		c.start, c.slept = time.Now(), asleep()
	}
	return time.Since(c.start) + asleep() - c.slept
}

// asleep is how long the machine was suspended since it was started.
func asleep() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil {
		return 0
	}
	// The two are read one after the other: what is less than a second is noise.
	return time.Duration(boot.Nano() - awake.Nano()).Round(time.Second)
}

// take compares a reading with what was carried on, and takes it over unless it
// jumped. The reading was made between two moments of steady.
func (c *clock) take(r Reading, asked, answered time.Duration) (jump time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A read that took long is taken to have been answered in the middle.
	at := r.Time.Add((answered - asked) / 2)
	if c.known {
		jump = at.Sub(c.base.Add(answered - c.setAt))
		reset := r.Shift == 0 && c.shift != 0 // another master found no task left to hold on to it for
		if !reset && (jump > jumpTolerance || jump < -jumpTolerance) && answered-asked < jumpTolerance {
			return jump
		}
	}
	c.base, c.setAt, c.shift, c.known = at, answered, r.Shift, true
	return 0
}

// moment is steady, for callers without the mutex.
func (c *clock) moment() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steady()
}

// now returns the database's time in Unix seconds.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(c.steady() - c.setAt).Unix()
}

// age returns how long ago the clock was set.
func (c *clock) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steady() - c.setAt
}

// readClock sets the clock from the database, and makes up for a jump.
func (q *Queue) readClock(ctx context.Context) error {
	for range 3 { // another master may be about the same
		asked := q.clock.moment()
		r, err := q.store.Now(ctx)
		if err != nil {
			return err
		}
		jump := q.clock.take(r, asked, q.clock.moment())
		if jump == 0 {
			return nil
		}
		q.log.Warn("the database's clock jumped; tasks keep the ends of their windows", attr.In(jump))
		q.cfg.Board.Set(condition.Condition{
			Kind: condition.ClockJumped, Detail: fmt.Sprintf("the clock of the database's host jumped by %s; tasks keep the ends of their windows", jump.Round(time.Second)),
		})
		if err := q.store.ShiftClock(ctx, r.Shift, r.Shift-jump); err != nil {
			return err
		}
	}
	return nil
}

// settleClock goes back to the clock as it is once no task is left to which its
// jump would do harm.
func (q *Queue) settleClock(ctx context.Context, unfinished int) error {
	q.clock.mu.Lock()
	shift := q.clock.shift
	q.clock.mu.Unlock()
	if shift == 0 {
		q.cfg.Board.Clear(condition.ClockJumped, "")
	}
	if shift == 0 || unfinished > 0 {
		return nil
	}
	if err := q.store.ShiftClock(ctx, shift, 0); err != nil {
		return err
	}
	return q.readClock(ctx)
}
