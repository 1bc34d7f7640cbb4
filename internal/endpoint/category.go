package endpoint

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Category sorts failed calls, in the words of the metrics' label "category".
type Category string

// Categories of failure, for every service around the chain.
const (
	Transient Category = "transient" // no answer: line, time-out, overload
	Limited   Category = "limited"   // too many calls, asked to wait
	Refused   Category = "refused"   // answered with an error
	Auth      Category = "auth"      // token or permission
	NoMethod  Category = "no_method" // the service does not know the method
	Foreign   Category = "foreign"   // another network, another kind of service
	Nonsense  Category = "nonsense"  // an answer that cannot be true
	Canceled  Category = "canceled"  // the caller went away
)

// Categories lists them all, for metrics that show each from the start.
func Categories() []Category {
	return []Category{Transient, Limited, Refused, Auth, NoMethod, Foreign, Nonsense, Canceled}
}

// CategoryOf says what kind of failure err is; empty for nil.
func CategoryOf(err error) Category {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrLimited):
		return Limited
	case errors.Is(err, ErrNonsense):
		return Nonsense
	case errors.Is(err, ErrForeign):
		return Foreign
	case errors.Is(err, ErrToken), errors.Is(err, ErrPermission):
		return Auth
	case errors.Is(err, ErrNoMethod):
		return NoMethod
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, ErrAnswered):
		return Refused
	}
	return Transient
}

// WithoutEffect reports whether a call that failed with err certainly did
// nothing at the service: it never left, or was turned away at the door.
func WithoutEffect(err error) bool {
	var op *net.OpError
	switch {
	case errors.Is(err, ErrLimited), errors.Is(err, ErrToken), errors.Is(err, ErrPermission),
		errors.Is(err, ErrNoMethod), errors.Is(err, ErrForeign):
		return true
	}
	return errors.As(err, &op) && op.Op == "dial"
}

// RetryAfter returns how long a service that has had too many calls asked to be
// left alone, 0 where it did not say; false for any other error.
func RetryAfter(err error) (time.Duration, bool) {
	var l *limitError
	if !errors.As(err, &l) {
		return 0, errors.Is(err, ErrLimited)
	}
	return l.after, true
}

// limitError is HTTP status 429, or 503 with a time to come back.
type limitError struct {
	after time.Duration
	err   error
}

func (e *limitError) Error() string   { return e.err.Error() }
func (e *limitError) Unwrap() []error { return []error{ErrLimited, e.err} }

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(header, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
