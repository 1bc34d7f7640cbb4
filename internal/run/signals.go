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
)

// ErrStopping is the cause of a context ended by the first stop signal:
// take no new work, finish or hand back what runs.
var ErrStopping = errors.New("stop requested")

// ErrStopNow is the cause of a context ended by the second stop signal:
// drop everything and leave.
var ErrStopNow = errors.New("second stop signal: stopping now")

// Signals returns two contexts under parent. The first SIGINT or SIGTERM ends
// soft (cause ErrStopping), the second ends hard (cause ErrStopNow). hard
// outlives soft, so work that may finish after the first signal runs under
// hard. release ends both and restores the default signal behaviour.
func Signals(parent context.Context) (soft, hard context.Context, release func()) {
	hard, cancelHard := context.WithCancelCause(parent)
	soft, cancelSoft := context.WithCancelCause(hard)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for _, cancel := range []func(){
			func() { cancelSoft(ErrStopping) },
			func() { cancelHard(ErrStopNow) },
		} {
			select {
			case <-ch:
				cancel()
			case <-done:
				return
			}
		}
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
