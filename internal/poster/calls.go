package poster

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
)

// leastCall is what one call gets at least, however little time is left.
const leastCall = 5 * time.Second

// limit is what one call may take: a sixth of the time until the epoch, so that
// a peer that is slow on every call still gets the row of calls done, within
// bounds.
func (r *run) limit() time.Duration {
	return max(leastCall, min(r.m.cfg.CallTimeout, time.Until(r.m.timeOf(r.closes()))/6))
}

// ask makes one call under its own limit. A time-out is told as such.
func ask[T any](ctx context.Context, limit time.Duration, what string, f func(context.Context) (T, error)) (T, error) {
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v, err := f(call)
	switch {
	case err == nil:
		return v, nil
	case call.Err() != nil && ctx.Err() == nil:
		return v, &vagueError{fmt.Errorf("%s: no answer within %v: %w", what, limit.Round(time.Millisecond), err)}
	case ctx.Err() != nil:
		return v, &vagueError{fmt.Errorf("%s: %w", what, err)}
	}
	return v, fmt.Errorf("%s: %w", what, err)
}

// vagueError marks what only says that something did not come to an end.
type vagueError struct{ error }

func (e *vagueError) Unwrap() error { return e.error }

// together runs calls beside each other and returns the first error. A panic of
// one is its error.
func together(ctx context.Context, calls ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, f := range calls {
		g.Go(func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("a defect was caught: %v\n%s", p, debug.Stack())
				}
			}()
			return f(ctx)
		})
	}
	return g.Wait()
}

// spawn runs f and gives its event to the loop. A panic in f costs this one
// attempt: it becomes the event that failed makes of its text, nil for none.
func (m *miner) spawn(ctx, all context.Context, f func(context.Context) deadline.Event, failed func(why deadline.Failure) deadline.Event) {
	m.work.Go(func() {
		ev := func() (ev deadline.Event) {
			defer func() {
				if p := recover(); p != nil {
					m.log.Error("a defect was caught; the attempt is repeated", attr.Panic(p), attr.Stack(debug.Stack()))
					ev = failed(deadline.Failure{Text: fmt.Sprintf("panic: %v", p)})
				}
			}()
			return f(ctx)
		}()
		if ev != nil {
			m.send(all, ev)
		}
	})
}

// guard runs f beside the loop; a panic in it is logged and costs f alone.
func (m *miner) guard(f func()) {
	m.work.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				m.log.Error("a defect was caught", attr.Panic(p), attr.Stack(debug.Stack()))
			}
		}()
		f()
	})
}
