package manager

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/patience"
)

// guarded calls f and makes an error of a panic: it costs what f does, not the
// process. what names it in the log.
func (m *Manager) guarded(ctx context.Context, what string, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("panic; it costs only what was being done", attr.Process(what), attr.Panic(p), attr.Stack(debug.Stack()))
			err = fmt.Errorf("%s: panic: %v", what, p)
		}
	}()
	return f(ctx)
}

// keep runs a part of the manager until ctx ends, and again when it fails: a
// part that is down is a condition, and the others go on.
func (m *Manager) keep(ctx context.Context, part string, f func(context.Context) error) {
	pause := patience.Backoff{Min: time.Second, Max: time.Minute}
	for {
		began := time.Now()
		err := m.guarded(ctx, part, f)
		if ctx.Err() != nil {
			m.board.Clear(condition.PartFailed, part)
			return
		}
		if err == nil {
			return
		}
		if time.Since(began) > time.Minute {
			pause.Reset()
		}
		in := pause.Next()
		m.log.Error("a part of the manager failed; retrying", attr.Process(part), attr.Err(err), attr.In(in))
		m.board.Set(condition.Condition{Kind: condition.PartFailed, Subject: part, Detail: err.Error()})
		if patience.Sleep(ctx, in) == nil {
			go func() { // over, once it has run for a while
				if patience.Sleep(ctx, time.Minute) == nil {
					m.board.Clear(condition.PartFailed, part)
				}
			}()
		}
	}
}
