package task

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// VerdictKind says what the end of an attempt means for its task.
type VerdictKind string

// The kinds that a prover may return.
const (
	// KindPermanent: no other attempt can succeed (the question is malformed,
	// no sector is readable anywhere). The task fails now.
	KindPermanent VerdictKind = "permanent"
	// KindRetry: this attempt failed, another may succeed. Counted against
	// the retry limit.
	KindRetry VerdictKind = "retry"
	// KindAborted: the attempt was stopped through no fault of the task (the
	// slave is leaving, the lease was lost). Handed back and not counted.
	KindAborted VerdictKind = "aborted"
)

// ErrUnable is wrapped by errors that say that this machine cannot make proofs of
// the question's kind at all: no key for it, or not enough memory. It is a retry:
// another machine may.
var ErrUnable = errors.New("this machine cannot prove it")

// The kinds that only the queue records.
const (
	KindExpired   VerdictKind = "expired"   // the window closed before an answer
	KindCancelled VerdictKind = "cancelled" // an operator cancelled the task
)

// Verdict is an error that tells the queue what to do with the task.
type Verdict struct {
	Kind  VerdictKind
	After time.Duration // earliest next attempt, KindRetry only; 0 leaves it to the queue
	Err   error         // the cause, for the operator
}

// Error returns the cause's text, preceded by the kind unless it is a retry.
func (v *Verdict) Error() string {
	if v.Kind == KindRetry {
		return v.Err.Error()
	}
	return fmt.Sprintf("%s: %v", v.Kind, v.Err)
}

// Unwrap returns the cause.
func (v *Verdict) Unwrap() error { return v.Err }

// Permanent says that err will not go away by trying again.
func Permanent(err error) error { return &Verdict{Kind: KindPermanent, Err: err} }

// Retry says that another attempt may succeed, after at least the given time;
// 0 leaves the time to the queue.
func Retry(err error, after time.Duration) error {
	return &Verdict{Kind: KindRetry, After: after, Err: err}
}

// Aborted says that the attempt was stopped from outside.
func Aborted(err error) error { return &Verdict{Kind: KindAborted, Err: err} }

// VerdictOf returns the verdict in err's chain. Without one, a bad question is
// permanent, an ended context is an abort, and everything else a retry at the
// queue's interval.
func VerdictOf(err error) *Verdict {
	var v *Verdict
	switch {
	case errors.As(err, &v):
		return v
	case errors.Is(err, ErrBadQuestion):
		return &Verdict{Kind: KindPermanent, Err: err}
	case errors.Is(err, context.Canceled):
		return &Verdict{Kind: KindAborted, Err: err}
	}
	return &Verdict{Kind: KindRetry, Err: err}
}
