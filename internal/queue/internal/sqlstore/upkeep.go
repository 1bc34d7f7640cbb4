package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// Rescue implements queue.Store.
func (s *Store) Rescue(ctx context.Context, now int64, p queue.RescuePolicy) ([]queue.Task, error) {
	const lost = `finished_at IS NULL AND started_at IS NOT NULL
		AND (COALESCE(heartbeat_at, started_at) <= ? OR started_at <= ? AND retry_count < ?)`
	var rescued []queue.Task
	// Most of the time there is nothing to do: look before taking locks.
	args := []any{p.SilentSince, p.StartedSince, p.MaxRetry}
	found, err := s.selectTasks(ctx, lost, args...)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		rescued = nil
		rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM tasks WHERE `+lost+s.Dialect.RowLock, args...)
		if err != nil {
			return err
		}
		tasks, err := scanAll(rows, false)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			why := fmt.Sprintf("slave %q gave no sign of life for %d s", t.Slave, now-max(t.HeartbeatAt, t.StartedAt))
			if max(t.HeartbeatAt, t.StartedAt) > p.SilentSince {
				why = fmt.Sprintf("slave %q did not finish within %d s", t.Slave, now-t.StartedAt)
			}
			f := queue.Failure{Kind: task.KindRetry, Reason: why, ReadyAt: p.ReadyAt, MaxRetry: p.MaxRetry}
			_, err := endAttempt(ctx, q, now, &t, f)
			if errors.Is(err, task.ErrLost) {
				continue
			}
			if err != nil {
				return err
			}
			rescued = append(rescued, t)
		}
		return nil
	})
	return rescued, err
}

// DropClosed implements queue.Store.
func (s *Store) DropClosed(ctx context.Context, now int64) ([]queue.Task, error) {
	const closed = `finished_at IS NULL AND not_after <= ?`
	const reason = "the window closed before an answer came"
	found, err := s.selectTasks(ctx, closed, now)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var dropped []queue.Task
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		dropped = nil
		for _, t := range found {
			why := reason
			if t.Reason != "" {
				why += "; before that: " + t.Reason
			}
			n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET finished_at = ?, verdict = ?, progress = NULL,
				error_reason = ? WHERE id = ? AND `+closed, now, string(task.KindExpired), clip(why, 4000), t.ID, now))
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			t.State, t.FinishedAt, t.Verdict, t.Reason = task.Failed, now, task.KindExpired, why
			if t.SettleAt != 0 {
				t.State = task.Done
			}
			dropped = append(dropped, t)
		}
		return nil
	})
	return dropped, err
}

// Settle implements queue.Store.
func (s *Store) Settle(ctx context.Context, now int64) ([]queue.Task, error) {
	const due = `finished_at IS NULL AND out_body IS NOT NULL AND settle_at <= ?`
	found, err := s.selectTasks(ctx, due, now)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var settled []queue.Task
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		settled = nil
		for _, t := range found {
			n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET finished_at = ?, progress = NULL WHERE id = ? AND `+due, now, t.ID, now))
			if err != nil {
				return err
			}
			if n > 0 {
				t.State, t.FinishedAt, t.SettleAt = task.Done, now, 0
				settled = append(settled, t)
			}
		}
		return nil
	})
	return settled, err
}

// Archive implements queue.Store.
func (s *Store) Archive(ctx context.Context, finishedBefore int64, limit int) (int, error) {
	var moved int
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		moved = 0
		rows, err := q.QueryContext(ctx, `SELECT id FROM tasks WHERE finished_at <= ? ORDER BY finished_at LIMIT ?`+s.Dialect.RowLock,
			finishedBefore, limit)
		if err != nil {
			return err
		}
		ids, err := scanStrings(rows)
		if err != nil || len(ids) == 0 {
			return err
		}
		moved = len(ids)
		in, args := inList(ids)
		if _, err := q.ExecContext(ctx, `REPLACE INTO tasks_archived (`+storedColumns+`) SELECT `+storedColumns+
			` FROM tasks WHERE id IN `+in, args...); err != nil {
			return err
		}
		_, err = q.ExecContext(ctx, `DELETE FROM tasks WHERE id IN `+in, args...)
		return err
	})
	return moved, err
}

// pollChunk bounds the names in one statement.
const pollChunk = 200

// Poll implements queue.Store.
func (s *Store) Poll(ctx context.Context, ids []string) ([]queue.Task, error) {
	var out []queue.Task
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		out = nil
		for len(ids) > 0 {
			chunk := ids[:min(pollChunk, len(ids))]
			ids = ids[len(chunk):]
			in, args := inList(chunk)
			// The question stays in the database; an answer is sent once it is final.
			const want = `, NULL, CASE WHEN finished_at IS NULL THEN NULL ELSE out_body END`
			known := make(map[string]bool, len(chunk))
			for _, table := range []string{"tasks", "tasks_archived"} {
				rows, err := q.QueryContext(ctx, `SELECT `+columns+want+` FROM `+table+` WHERE id IN `+in, args...)
				if err != nil {
					return err
				}
				tasks, err := scanAll(rows, true)
				if err != nil {
					return err
				}
				for _, t := range tasks {
					if known[t.ID] {
						continue
					}
					known[t.ID], t.Archived = true, table == "tasks_archived"
					out = append(out, t)
				}
				if len(known) == len(chunk) {
					break
				}
			}
		}
		return nil
	})
	return out, err
}

// Show implements queue.Store.
func (s *Store) Show(ctx context.Context, id string) (t queue.Task, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		t, err = find(ctx, q, id, "")
		return err
	})
	return t, err
}

// stateCondition is the SQL of each state.
var stateCondition = map[task.State]string{
	task.Ready:   `(finished_at IS NULL AND started_at IS NULL)`,
	task.Running: `(finished_at IS NULL AND started_at IS NOT NULL)`,
	task.Done:    `(finished_at IS NOT NULL AND out_body IS NOT NULL)`,
	task.Failed:  `(finished_at IS NOT NULL AND out_body IS NULL)`,
}

// List implements queue.Store.
func (s *Store) List(ctx context.Context, f queue.Filter) ([]queue.Task, error) {
	table, where, args := "tasks", []string{"1 = 1"}, []any(nil)
	if f.Archived {
		table = "tasks_archived"
	}
	if len(f.States) > 0 {
		var any []string
		for _, st := range f.States {
			any = append(any, stateCondition[st])
		}
		where = append(where, "("+strings.Join(any, " OR ")+")")
	}
	if f.Slave != "" {
		where, args = append(where, "slave = ?"), append(args, f.Slave)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	args = append(args, limit)
	var out []queue.Task
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM `+table+` WHERE `+strings.Join(where, " AND ")+
			` ORDER BY created_at DESC, id LIMIT ?`, args...)
		if err != nil {
			return err
		}
		out, err = scanAll(rows, false)
		for i := range out {
			out[i].Archived = f.Archived
		}
		return err
	})
	return out, err
}

// Retry implements queue.Store.
func (s *Store) Retry(ctx context.Context, now int64, id string) error {
	return s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := find(ctx, q, id, s.Dialect.RowLock)
		if err != nil {
			return err
		}
		if _, ok := t.State.Next(task.Reopened); !ok {
			return fmt.Errorf("retry task %s: %w: it is %s; only a task that is done or failed can be tried again", id, queue.ErrState, t.State)
		}
		if t.NotAfter <= now {
			return fmt.Errorf("retry task %s: %w: its window closed %d s ago", id, queue.ErrState, now-t.NotAfter)
		}
		if t.Archived {
			if err := unarchive(ctx, q, id); err != nil {
				return err
			}
		}
		return reopen(ctx, q, id, t.NotAfter)
	})
}

// Cancel implements queue.Store.
func (s *Store) Cancel(ctx context.Context, now int64, id string, kind task.VerdictKind, reason string) error {
	return s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := find(ctx, q, id, s.Dialect.RowLock)
		if err != nil {
			return err
		}
		if _, ok := t.State.Next(task.Cancelled); !ok {
			return fmt.Errorf("cancel task %s: %w: it is %s already", id, queue.ErrState, t.State)
		}
		_, err = q.ExecContext(ctx, `UPDATE tasks SET finished_at = ?, verdict = ?, error_reason = ?, progress = NULL, out_body = NULL
			WHERE id = ? AND finished_at IS NULL`, now, string(kind), clip(reason, 4000), id)
		return err
	})
}

// Ready implements queue.Store.
func (s *Store) Ready(ctx context.Context, now int64, limit int) (n int, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		return q.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM `+s.Dialect.ClaimTable+
			` WHERE finished_at IS NULL AND started_at IS NULL AND not_after > ? AND ready_at <= ? LIMIT ?) AS ready`,
			now, now, limit).Scan(&n)
	})
	return n, err
}

// Counts implements queue.Store.
func (s *Store) Counts(ctx context.Context) (map[task.State]int, error) {
	counts := make(map[task.State]int)
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		for _, st := range task.States() {
			var n int
			if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM tasks WHERE `+stateCondition[st]).Scan(&n); err != nil {
				return err
			}
			counts[st] = n
		}
		return nil
	})
	return counts, err
}

// selectTasks reads rows without their bodies.
func (s *Store) selectTasks(ctx context.Context, where string, args ...any) (out []queue.Task, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM tasks WHERE `+where, args...)
		if err != nil {
			return err
		}
		out, err = scanAll(rows, false)
		return err
	})
	return out, err
}

// scanStrings reads a column of strings and closes the rows.
func scanStrings(rows *sql.Rows) ([]string, error) {
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// inList returns "(?, ?, …)" and its arguments.
func inList(ids []string) (string, []any) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return "(?" + strings.Repeat(", ?", len(ids)-1) + ")", args
}
