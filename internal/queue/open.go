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
)

// errNotOpen is what calls get before the database was there for the first
// time; see IsNotOpen.
var errNotOpen = fmt.Errorf("%w: it has not been there yet", ErrUnavailable)

// IsNotOpen reports whether a call failed because the database was not there
// yet. That is logged where the queue opens it, and nowhere else.
func IsNotOpen(err error) bool { return errors.Is(err, errNotOpen) }

// openRetry is the time between two tries to open the database.
const openRetry = time.Second

// door is whether the database has been opened.
type door struct {
	opened chan struct{} // closed when it has

	mu   sync.Mutex
	last error // why it has not
}

// Opened is closed once the queue has opened its database.
func (q *Queue) Opened() <-chan struct{} { return q.door.opened }

// check returns an error that IsNotOpen until the door is open.
func (d *door) check() error {
	select {
	case <-d.opened:
		return nil
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		return fmt.Errorf("%w: %w", errNotOpen, d.last)
	}
	return errNotOpen
}

// open prepares the database and reads its clock, once.
func (q *Queue) open(ctx context.Context) error {
	if q.cfg.Prepare != nil {
		if err := q.cfg.Prepare(ctx); err != nil {
			return err
		}
	}
	if err := q.readClock(ctx); err != nil {
		return fmt.Errorf("read the database's clock: %w", err)
	}
	close(q.door.opened)
	return nil
}

// awaitDatabase opens the database for as long as it is away. It returns nil
// without having done so if ctx ends.
func (q *Queue) awaitDatabase(ctx context.Context) error {
	if q.door.check() == nil {
		return nil
	}
	var out patience.Outage
	for {
		err := q.open(ctx)
		switch {
		case err == nil:
			q.well("open")
			out.Over(q.log, "the database is there")
			return nil
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, ErrUnavailable):
			return err
		}
		q.door.mu.Lock()
		q.door.last = err
		q.door.mu.Unlock()
		q.trouble("open", err)
		out.Failed(q.log, "the database is not there yet; tasks wait, retrying", cause(err), attr.Err(err))
		if patience.Sleep(ctx, openRetry) != nil {
			return nil
		}
	}
}

// Database says in a few words how the database is: "ready", or why not.
func (q *Queue) Database() string {
	if err := q.door.check(); err != nil {
		return cause(err)
	}
	q.away.mu.Lock()
	defer q.away.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(q.away.what)) {
		return cause(q.away.what[what])
	}
	return "ready"
}
