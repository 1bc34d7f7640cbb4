package queue

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"wdpost/internal/condition"
	"wdpost/internal/patience"
)

// Remedy is an error of a database for which it is known what to do.
type Remedy interface {
	error
	// Remedy is one sentence.
	Remedy() string
}

// ErrAway wraps ErrUnavailable where the database cannot be reached at all, as
// opposed to one that answers and refuses.
var ErrAway = errAway{}

type errAway struct{}

func (errAway) Error() string { return ErrUnavailable.Error() }

// Is makes the error ErrUnavailable too.
func (errAway) Is(target error) bool { return target == ErrUnavailable }

// troubles are the works of a master that the database keeps from being done.
type troubles struct {
	mu   sync.Mutex
	what map[string]error
}

// trouble notes that a work of the master failed; it is shown as long as it
// stands.
func (q *Queue) trouble(what string, err error) {
	q.away.mu.Lock()
	defer q.away.mu.Unlock()
	if q.away.what == nil {
		q.away.what = make(map[string]error)
	}
	q.away.what[what] = err
	q.showTrouble()
}

// well notes that a work of the master is done again.
func (q *Queue) well(what string) {
	q.away.mu.Lock()
	defer q.away.mu.Unlock()
	if q.away.what[what] == nil {
		return
	}
	delete(q.away.what, what)
	q.showTrouble()
}

// showTrouble puts on the board what stands. The caller holds the mutex.
func (q *Queue) showTrouble() {
	var away, refuses condition.Condition
	for _, what := range slices.Sorted(maps.Keys(q.away.what)) {
		err := q.away.what[what]
		c := condition.Condition{Kind: condition.DatabaseRefuses, Detail: err.Error()}
		if r := Remedy(nil); errors.As(err, &r) {
			c.Remedy = r.Remedy()
		}
		if errors.Is(err, ErrAway) {
			c.Kind = condition.DatabaseAway
			away = c
		} else {
			refuses = c
		}
	}
	for kind, c := range map[condition.Kind]condition.Condition{condition.DatabaseAway: away, condition.DatabaseRefuses: refuses} {
		if c.Kind == "" {
			q.cfg.Board.Clear(kind, "")
		} else {
			q.cfg.Board.Set(c)
		}
	}
}

// backoff is the wait between tries while the database is away.
func (q *Queue) backoff() *patience.Backoff {
	return &patience.Backoff{Min: q.cfg.PollInterval, Max: q.cfg.MaxBackoff}
}

// cause is what is compared to see whether an error is another one than before:
// its first line.
func cause(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
