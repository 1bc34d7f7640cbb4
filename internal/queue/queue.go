package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"wdpost/internal/condition"
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

	Verifier Verifier         // required
	Log      *slog.Logger     // required
	Metrics  *Metrics         // nil counts nothing
	Board    *condition.Board // of what keeps tasks from being proven; nil: nobody looks
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
	away   troubles
	puts   atomic.Uint64 // questions stored here
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
	loops := []func(context.Context){q.runClaims, q.runAsks, q.runUpkeep, q.runWatch}
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
	if _, err := q.seen(ctx, slave); err != nil {
		return task.Pulse{}, err
	}
	if len(beats) == 0 {
		return task.Pulse{}, nil
	}
	now := q.clock.now()
	heard, err := q.store.Heartbeat(ctx, now, beats)
	if err != nil {
		return task.Pulse{}, err
	}
	q.cfg.Metrics.refused.WithLabelValues("heartbeat").Add(float64(len(heard.Lost)))
	pulse := task.Pulse{Lost: heard.Lost, Remaining: make(map[task.Lease]time.Duration)}
	for l, notAfter := range heard.NotAfter {
		if notAfter != NoEnd {
			pulse.Remaining[l] = remaining(notAfter, now)
		}
	}
	return pulse, nil
}

// remaining is the time until a window closes, never 0, which would mean
// unknown.
func remaining(notAfter, now int64) time.Duration {
	return max(time.Duration(notAfter-now)*time.Second, time.Millisecond)
}

// seconds rounds a duration up to whole seconds, the resolution of the tables.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}
