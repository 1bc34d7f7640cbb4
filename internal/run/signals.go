// Package run is the process kit of our daemons: a logger that understands
// RUST_LOG, a two-level stop, and the debug listener with metrics, health and
// profiles. It knows nothing about proofs.
package run

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// ErrStopping is the cause of a context ended by the first stop signal:
// take no new work, finish or hand back what runs.
var ErrStopping = errors.New("stop requested")

// ErrStopNow is the cause of a context ended by the second stop signal:
// drop everything and leave.
var ErrStopNow = errors.New("second stop signal: stopping now")

// sameInstant is how long after a stop signal another one counts as the same:
// process groups, `timeout`, container inits and terminals send a signal to the
// process and to its group at once.
const sameInstant = 500 * time.Millisecond

// Signals returns two contexts under parent. The first SIGINT or SIGTERM ends
// soft (cause ErrStopping), the second ends hard (cause ErrStopNow); two in the
// same instant count as one. hard outlives soft, so work that may finish after
// the first signal runs under hard. release ends both and restores the default
// signal behaviour.
func Signals(parent context.Context) (soft, hard context.Context, release func()) {
	hard, cancelHard := context.WithCancelCause(parent)
	soft, cancelSoft := context.WithCancelCause(hard)
	ch := make(chan os.Signal, 8)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		two(ch, done, func() { cancelSoft(ErrStopping) }, func() { cancelHard(ErrStopNow) })
	}()
	return soft, hard, func() {
		signal.Stop(ch)
		select {
		case <-done:
		default:
			close(done)
		}
		cancelSoft(context.Canceled)
		cancelHard(context.Canceled)
	}
}

// two calls first at the first signal and second at the next that is not the
// same one again.
func two(ch <-chan os.Signal, done <-chan struct{}, first, second func()) {
	select {
	case <-ch:
		first()
	case <-done:
		return
	}
	began := time.Now()
	for {
		select {
		case <-ch:
			if time.Since(began) >= sameInstant {
				second()
				return
			}
		case <-done:
			return
		}
	}
}

// Hangups passes on SIGHUP, which by default would end the process: a closed
// terminal must not, and operators mean a reload by it. stop leaves SIGHUP
// ignored.
func Hangups() (hup <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	return ch, func() {
		signal.Stop(ch)
		signal.Ignore(syscall.SIGHUP)
	}
}
