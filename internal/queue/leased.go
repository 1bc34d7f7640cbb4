package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wdpost/internal/task"
)

// Leased returns the question of a task and the time until its window closes (0:
// unknown), if the slave has it under this lease now; task.ErrLost otherwise.
func (q *Queue) Leased(ctx context.Context, slave string, l task.Lease) (question task.Question, left time.Duration, err error) {
	if err := q.door.check(); err != nil {
		return task.Question{}, 0, err
	}
	t, err := q.store.Show(ctx, l.ID)
	if errors.Is(err, ErrNotFound) || err == nil && (t.Attempt != l.Attempt || t.State != task.Running || !goesBy(t.Slave, slave)) {
		return task.Question{}, 0, fmt.Errorf("task %s: %w: slave %q does not have it", l, task.ErrLost, slave)
	}
	if err != nil {
		return task.Question{}, 0, err
	}
	if err := decode(t.In, &question); err != nil {
		return task.Question{}, 0, fmt.Errorf("stored question of task %s: %w", l, err)
	}
	if t.NotAfter != NoEnd {
		left = remaining(t.NotAfter, q.clock.now())
	}
	return question, left, nil
}

// goesBy reports whether a name in the tables is that of a slave with the given
// configured name: twins have their ids behind it.
func goesBy(name, configured string) bool {
	return name == configured || strings.HasPrefix(name, configured+"~")
}

// Draining reports whether a slave is to take no more work, as this master last
// read it.
func (q *Queue) Draining(slave string) bool { return q.slaves.drains(slave) }
