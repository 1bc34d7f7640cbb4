package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/task"
)

// Conditions of upkeep, of the table t.
const (
	silentOrStalled = `t.started_at IS NOT NULL AND (COALESCE(t.heartbeat_at, t.started_at) <= ? OR COALESCE(t.advanced_at, t.started_at) <= ?)`
	closed          = `t.not_after <= ?`
	// An answer in hand, or a reserve that nobody took.
	settled = `t.settle_at <= ? AND (t.out_body IS NOT NULL OR t.started_at IS NULL)`
)

// Due implements queue.Store.
func (s *Store) Due(ctx context.Context, now int64, p queue.RescuePolicy) (d queue.Due, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		var lost, over, settle sql.NullBool
		var unfinished int
		err := q.QueryRowContext(ctx, `SELECT MAX(`+silentOrStalled+`), MAX(`+closed+`), MAX(`+settled+`), COUNT(*) FROM `+schema.Tasks+
			` t WHERE t.finished_at IS NULL`, p.SilentSince, p.StalledSince, now, now).Scan(&lost, &over, &settle, &unfinished)
		d = queue.Due{Lost: lost.Bool, Closed: over.Bool, Settle: settle.Bool, Unfinished: unfinished > 0}
		return err
	})
	return d, err
}

// Rescue implements queue.Store.
func (s *Store) Rescue(ctx context.Context, now int64, p queue.RescuePolicy) ([]queue.Task, error) {
	const lost = `t.finished_at IS NULL AND ` + silentOrStalled
	var rescued []queue.Task
	// Most of the time there is nothing to do: look before taking locks.
	args := []any{p.SilentSince, p.StalledSince}
	found, err := s.selectTasks(ctx, lost, args...)
	if err != nil || !slices.ContainsFunc(found, func(t queue.Task) bool { return reasonToRescue(now, t, p) != "" }) {
		return nil, err
	}
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		rescued = nil
		rows, err := q.QueryContext(ctx, `SELECT `+stateOnly+` FROM `+schema.Tasks+` t WHERE `+lost+s.Dialect.RowLock, args...)
		if err != nil {
			return err
		}
		tasks, err := scanAll(rows)
		if err != nil {
			return err
		}
		for _, t := range tasks {
			why := reasonToRescue(now, t, p)
			if why == "" {
				continue
			}
			f := queue.Failure{Kind: task.KindRetry, Reason: why, ReadyAt: p.ReadyAt, MaxRetry: p.MaxRetry, Others: p.Others, Silent: true}
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

// reasonToRescue says why an attempt is given up; empty where it goes on. One
// that does not advance goes on where no other attempt could follow: to begin
// again would take as long, and the window's close bounds it.
func reasonToRescue(now int64, t queue.Task, p queue.RescuePolicy) string {
	seen := max(t.HeartbeatAt, t.StartedAt)
	if seen <= p.SilentSince {
		return fmt.Sprintf("slave %q gave no sign of life for %d s", t.Slave, now-seen)
	}
	moved := max(t.AdvancedAt, t.StartedAt)
	another := t.Retries < p.MaxRetry && t.SettleAt == 0 || slices.ContainsFunc(p.Others, func(o string) bool {
		return o != t.Slave && !slices.Contains(t.Tried, o)
	})
	if moved <= p.StalledSince && another {
		return fmt.Sprintf("slave %q did not get on for %d s (%s)", t.Slave, now-moved, working(t.Progress))
	}
	return ""
}

// DropClosed implements queue.Store.
func (s *Store) DropClosed(ctx context.Context, now int64) ([]queue.Task, error) {
	const reason = "the window closed before an answer came"
	found, err := s.selectTasks(ctx, `t.finished_at IS NULL AND `+closed, now)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var dropped []queue.Task
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		dropped = nil
		for _, t := range found {
			why := reason
			switch {
			case t.Attempt == 0:
				why += "; no slave took the task"
			case t.State == task.Running:
				why += fmt.Sprintf("; slave %q was at it (%s)", t.Slave, working(t.Progress))
			}
			if t.Reason != "" {
				why += "; before that: " + t.Reason
			}
			why = clip(why, maxReason)
			n, err := affected(q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET finished_at = ?, verdict = ?, progress = NULL,
				error_reason = ? WHERE id = ? AND finished_at IS NULL AND not_after <= ?`, now, string(task.KindExpired), why, t.ID, now))
			if err != nil {
				return err
			}
			if n == 0 {
				continue
			}
			t.State, t.FinishedAt, t.Verdict, t.Reason = task.Failed, now, task.KindExpired, why
			if t.Out != nil {
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
	found, err := s.selectTasks(ctx, `t.finished_at IS NULL AND `+settled, now)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	var over []queue.Task
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		over = nil
		for _, t := range found {
			n, err := affected(q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET finished_at = ?, progress = NULL
				WHERE id = ? AND finished_at IS NULL AND settle_at <= ? AND (out_body IS NOT NULL OR started_at IS NULL)`, now, t.ID, now))
			if err != nil {
				return err
			}
			if n > 0 {
				t.State, t.FinishedAt, t.SettleAt = task.Done, now, 0
				if t.Out == nil {
					t.State = task.Failed
				}
				over = append(over, t)
			}
		}
		return nil
	})
	return over, err
}

// archiveBytes bounds the questions moved in one transaction: a cluster sends
// each of them whole to every node.
const archiveBytes = 16 << 20

// Archive implements queue.Store.
func (s *Store) Archive(ctx context.Context, finishedBefore int64, limit int) (int, error) {
	var moved int
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		moved = 0
		ids, err := s.oldest(ctx, q, finishedBefore, limit)
		if err != nil || len(ids) == 0 {
			return err
		}
		moved = len(ids)
		in, args := inList(ids)
		if _, err := q.ExecContext(ctx, `REPLACE INTO `+schema.Archive+` (in_body, `+schema.StateNames("")+`, `+schema.AboutNames("")+
			`) SELECT COALESCE(`+schema.Question+`, ''), `+liveColumns+live+` WHERE t.id IN `+in, args...); err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, `DELETE FROM `+schema.Tasks+` WHERE id IN `+in, args...); err != nil {
			return err
		}
		_, err = q.ExecContext(ctx, `DELETE FROM `+schema.Bodies+` WHERE id IN `+in, args...)
		return err
	})
	return moved, err
}

// oldest returns the tasks that are archived next, at least one where there
// are any, of which the questions stay within bounds.
func (s *Store) oldest(ctx context.Context, q Querier, finishedBefore int64, limit int) ([]string, error) {
	rows, err := q.QueryContext(ctx, `SELECT t.id, COALESCE(b.size, 0)+LENGTH(t.in_body)`+live+
		` WHERE t.finished_at <= ? ORDER BY t.finished_at LIMIT ?`+s.Dialect.RowLock, finishedBefore, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	var total int64
	for rows.Next() {
		var id string
		var size int64
		if err := rows.Scan(&id, &size); err != nil {
			return nil, err
		}
		if total += size; total > archiveBytes && len(ids) > 0 {
			break
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Sweep implements queue.Store.
func (s *Store) Sweep(ctx context.Context, putBefore int64) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		_, err := q.ExecContext(ctx, `DELETE FROM `+schema.Bodies+` WHERE put_at < ? AND NOT EXISTS (SELECT 1 FROM `+schema.Tasks+
			` t WHERE t.id = `+schema.Bodies+`.id)`, putBefore)
		return err
	})
}

// pollChunk bounds the names in one statement.
const pollChunk = 200

// Poll implements queue.Store.
func (s *Store) Poll(ctx context.Context, ids []string) ([]queue.Task, error) {
	var out []queue.Task
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		out = nil
		for chunk := range slices.Chunk(ids, pollChunk) {
			in, args := inList(chunk)
			known := make(map[string]bool, len(chunk))
			for _, from := range []string{`SELECT ` + stateOnly + ` FROM ` + schema.Tasks + ` t`, `SELECT ` + oldColumns + old} {
				rows, err := q.QueryContext(ctx, from+` WHERE t.id IN `+in, args...)
				if err != nil {
					return err
				}
				tasks, err := scanAll(rows)
				if err != nil {
					return err
				}
				for _, t := range tasks {
					if known[t.ID] {
						continue
					}
					known[t.ID], t.Archived = true, from != `SELECT `+stateOnly+` FROM `+schema.Tasks+` t`
					if t.FinishedAt == 0 {
						t.Out = nil // an answer is sent once it is final
					}
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
		t, err = find(ctx, q, id)
		return err
	})
	return t, err
}

// Resolve implements queue.Store.
func (s *Store) Resolve(ctx context.Context, prefix string) (ids []string, err error) {
	const most = 5
	if strings.Trim(prefix, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" || prefix == "" {
		return nil, notFound(prefix) // nothing that an id may have
	}
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		ids = nil
		for _, table := range []string{schema.Tasks, schema.Archive} {
			rows, err := q.QueryContext(ctx, `SELECT id FROM `+table+` WHERE id LIKE ? LIMIT ?`, prefix+"%", most)
			if err != nil {
				return err
			}
			some, err := scanStrings(rows)
			if err != nil {
				return err
			}
			ids = append(ids, some...)
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		return nil
	})
	return ids, err
}

// stateCondition is the SQL of each state, of the table t.
var stateCondition = map[task.State]string{
	task.Ready:   `(t.finished_at IS NULL AND t.started_at IS NULL)`,
	task.Running: `(t.finished_at IS NULL AND t.started_at IS NOT NULL)`,
	task.Done:    `(t.finished_at IS NOT NULL AND t.out_body IS NOT NULL)`,
	task.Failed:  `(t.finished_at IS NOT NULL AND t.out_body IS NULL)`,
}

// List implements queue.Store.
func (s *Store) List(ctx context.Context, f queue.Filter) ([]queue.Task, error) {
	from, where, args := liveColumns+live, []string{"1 = 1"}, []any(nil)
	if f.Archived {
		from = oldColumns + old
	}
	if len(f.States) > 0 {
		var some []string
		for _, st := range f.States {
			some = append(some, stateCondition[st])
		}
		where = append(where, "("+strings.Join(some, " OR ")+")")
	}
	if f.Slave != "" {
		where, args = append(where, "t.slave = ?"), append(args, f.Slave)
	}
	if f.CreatedBefore != 0 {
		where, args = append(where, "t.created_at <= ?"), append(args, f.CreatedBefore)
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	args = append(args, limit)
	var out []queue.Task
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+from+` WHERE `+strings.Join(where, " AND ")+
			` ORDER BY t.created_at DESC, t.id LIMIT ?`, args...)
		if err != nil {
			return err
		}
		out, err = scanAll(rows)
		for i := range out {
			out[i].Archived, out[i].Out = f.Archived, nil
		}
		return err
	})
	return out, err
}

// Retry implements queue.Store.
func (s *Store) Retry(ctx context.Context, now int64, id string) error {
	return s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := s.findState(ctx, q, id)
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
		t, err := s.findState(ctx, q, id)
		if err != nil {
			return err
		}
		if _, ok := t.State.Next(task.Cancelled); !ok {
			return fmt.Errorf("cancel task %s: %w: it is %s already", id, queue.ErrState, t.State)
		}
		_, err = q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET finished_at = ?, verdict = ?, error_reason = ?, progress = NULL, out_body = NULL
			WHERE id = ? AND finished_at IS NULL`, now, string(kind), clip(reason, maxReason), id)
		return err
	})
}

// Ready implements queue.Store.
func (s *Store) Ready(ctx context.Context, now int64, limit int) (n int, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		return q.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 AS one FROM `+s.Dialect.ClaimTable+
			` WHERE `+ready+` LIMIT ?) AS ready`, now, now, limit).Scan(&n)
	})
	return n, err
}

// Counts implements queue.Store.
func (s *Store) Counts(ctx context.Context) (map[task.State]int, error) {
	counts := make(map[task.State]int)
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		for _, st := range task.States() {
			var n int
			if err := q.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+schema.Tasks+` t WHERE `+stateCondition[st]).Scan(&n); err != nil {
				return err
			}
			counts[st] = n
		}
		return nil
	})
	return counts, err
}

// selectTasks reads rows without their questions.
func (s *Store) selectTasks(ctx context.Context, where string, args ...any) (out []queue.Task, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+stateOnly+` FROM `+schema.Tasks+` t WHERE `+where, args...)
		if err != nil {
			return err
		}
		out, err = scanAll(rows)
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
