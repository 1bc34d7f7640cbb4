// Package sqlstore holds the statements that the databases of package queue
// share. What differs between them is a [Dialect]; how a transaction is run,
// retried and made durable is a [Runner].
//
// The state of a task is read from the guide's columns, so that rows changed
// by hand mean what they look like:
//
//	started_at  finished_at  out_body   state
//	NULL        NULL         –          ready
//	set         NULL         –          running
//	–           set          set        done
//	–           set          NULL       failed
//
// An answer in hand (out_body set, finished_at NULL) changes nothing while the
// task goes on, and makes it done, not failed, when it ends.
package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"wdpost/internal/queue"
	"wdpost/internal/task"
)

// Querier is the part of database/sql that statements need.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Runner runs functions against the database.
type Runner interface {
	// Read runs fn once, outside any transaction.
	Read(ctx context.Context, fn func(context.Context, Querier) error) error
	// Once runs fn outside any transaction: each of its statements is one of
	// its own, durable when it has returned. Like Write it may run fn several
	// times, so fn must be of the kind that can be repeated.
	Once(ctx context.Context, fn func(context.Context, Querier) error) error
	// Write runs fn in a transaction, possibly several times (a conflict is
	// retried), so fn must set its results anew each time. The transaction is
	// durable when Write returns nil. Failures of the database are wrapped in
	// queue.ErrUnavailable; fn's own errors come back as they are, the
	// transaction undone.
	Write(ctx context.Context, fn func(context.Context, Querier) error) error
}

// Dialect is what differs between the databases.
type Dialect struct {
	// ClaimTable is the FROM item of a claim: the tasks table with the hint
	// that makes the claim walk its index in order.
	ClaimTable string
	// ClaimLock ends a claim's SELECT: it passes over rows that another claim
	// holds. Empty where writers are alone.
	ClaimLock string
	// RowLock ends a SELECT whose rows are changed next.
	RowLock string
	// Duplicate tells a primary-key conflict from other errors.
	Duplicate func(error) bool
}

// Store implements the statements of queue.Store; Now and Close are added by
// the database's own package.
type Store struct {
	Run     Runner
	Dialect Dialect
}

// columns are all columns of tasks and tasks_archived, in the order of scan.
const columns = `id, attempt, retry_count, created_at, started_at, finished_at, heartbeat_at,
	not_after, ready_at, settle_at, sector_size, slave, verdict, error_reason, progress, out_body IS NOT NULL`

const bodies = `, in_body, out_body`

// scanner is *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scan reads one row of columns, followed by the bodies if withBodies.
func scan(row scanner, withBodies bool) (queue.Task, error) {
	var (
		t                          queue.Task
		started, finished, beat    sql.NullInt64
		settle                     sql.NullInt64
		slave, verdict, why, doing sql.NullString
		hasAnswer                  bool
		dest                       = []any{
			&t.ID, &t.Attempt, &t.Retries, &t.CreatedAt, &started, &finished, &beat,
			&t.NotAfter, &t.ReadyAt, &settle, &t.SectorSize, &slave, &verdict, &why, &doing, &hasAnswer,
		}
	)
	if withBodies {
		dest = append(dest, &t.In, &t.Out)
	}
	if err := row.Scan(dest...); err != nil {
		return queue.Task{}, err
	}
	t.StartedAt, t.FinishedAt, t.HeartbeatAt = started.Int64, finished.Int64, beat.Int64
	if hasAnswer && !finished.Valid {
		t.SettleAt = settle.Int64
	}
	t.Slave, t.Verdict, t.Reason, t.Progress = slave.String, task.VerdictKind(verdict.String), why.String, doing.String
	switch {
	case finished.Valid && hasAnswer:
		t.State = task.Done
	case finished.Valid:
		t.State = task.Failed
	case started.Valid:
		t.State = task.Running
	default:
		t.State = task.Ready
	}
	return t, nil
}

// scanAll reads all rows and closes them.
func scanAll(rows *sql.Rows, withBodies bool) ([]queue.Task, error) {
	defer rows.Close()
	var out []queue.Task
	for rows.Next() {
		t, err := scan(rows, withBodies)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// find reads one task from tasks or, failing that, from the archive.
func find(ctx context.Context, q Querier, id, lock string) (queue.Task, error) {
	t, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+bodies+` FROM tasks WHERE id = ?`+lock, id), true)
	if !errors.Is(err, sql.ErrNoRows) {
		return t, err
	}
	t, err = scan(q.QueryRowContext(ctx, `SELECT `+columns+bodies+` FROM tasks_archived WHERE id = ?`, id), true)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Task{}, fmt.Errorf("task %s: %w", id, queue.ErrNotFound)
	}
	t.Archived = true
	return t, err
}

// Put implements queue.Store. The usual case, a new task, is one INSERT.
func (s *Store) Put(ctx context.Context, now int64, n queue.NewTask) (queue.Task, error) {
	var stored queue.Task
	err := s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		var err error
		stored, err = find(ctx, q, n.ID, "")
		if !errors.Is(err, queue.ErrNotFound) {
			return err
		}
		_, err = q.ExecContext(ctx,
			`INSERT INTO tasks (id, in_body, created_at, not_after, sector_size) VALUES (?, ?, ?, ?, ?)`,
			n.ID, n.In, now, n.NotAfter, int64(n.SectorSize))
		if err != nil && s.Dialect.Duplicate(err) { // another master was first
			stored, err = find(ctx, q, n.ID, "")
			return err
		}
		stored = queue.Task{
			ID: n.ID, State: task.Ready, CreatedAt: now, NotAfter: n.NotAfter, SectorSize: n.SectorSize, In: n.In,
		}
		return err
	})
	if err != nil || updateFor(stored, n) == nil {
		return stored, err
	}
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		var err error
		if stored, err = find(ctx, q, n.ID, s.Dialect.RowLock); err != nil {
			return err
		}
		update := updateFor(stored, n) // now under lock
		if update == nil {
			return nil
		}
		if err := update(ctx, q); err != nil {
			return err
		}
		stored, err = find(ctx, q, n.ID, "")
		return err
	})
	return stored, err
}

// updateFor returns what must change in a known task when its question is
// asked again; nil means nothing.
func updateFor(stored queue.Task, n queue.NewTask) func(context.Context, Querier) error {
	_, open := stored.State.Next(task.Expired) // that is: it is not over
	switch {
	case stored.State == task.Failed && stored.Verdict != task.KindCancelled:
		return func(ctx context.Context, q Querier) error {
			if stored.Archived {
				if err := unarchive(ctx, q, n.ID); err != nil {
					return err
				}
			}
			return reopen(ctx, q, n.ID, n.NotAfter)
		}
	case open && stored.NotAfter != n.NotAfter && n.NotAfter != queue.NoEnd:
		return func(ctx context.Context, q Querier) error {
			_, err := q.ExecContext(ctx, `UPDATE tasks SET not_after = ? WHERE id = ?`, n.NotAfter, n.ID)
			return err
		}
	}
	return nil
}

// reopen makes a task that is over ready, for a fresh round of attempts.
// Attempt numbers go on, so that nothing of an earlier round is accepted.
func reopen(ctx context.Context, q Querier, id string, notAfter int64) error {
	_, err := q.ExecContext(ctx, `UPDATE tasks SET started_at = NULL, finished_at = NULL, heartbeat_at = NULL,
		retry_count = 0, error_reason = NULL, out_body = NULL, slave = NULL, verdict = NULL, progress = NULL,
		ready_at = 0, settle_at = NULL, attempt = attempt + 1, not_after = ? WHERE id = ?`, notAfter, id)
	return err
}

// storedColumns are the columns that move to the archive and back.
const storedColumns = `id, in_body, created_at, started_at, finished_at, retry_count, error_reason, out_body, slave,
	heartbeat_at, attempt, not_after, ready_at, settle_at, sector_size, verdict, progress`

// unarchive moves one task back to the living.
func unarchive(ctx context.Context, q Querier, id string) error {
	_, err := q.ExecContext(ctx, `INSERT INTO tasks (`+storedColumns+`) SELECT `+storedColumns+
		` FROM tasks_archived WHERE id = ?`, id)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `DELETE FROM tasks_archived WHERE id = ?`, id)
	return err
}

// Claim implements queue.Store.
func (s *Store) Claim(ctx context.Context, now int64, claimers []queue.Claimer) ([]queue.Task, error) {
	var out []queue.Task
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		out = make([]queue.Task, len(claimers))
		for i, c := range claimers {
			t, err := s.claimOne(ctx, q, now, c)
			if err != nil {
				return err
			}
			out[i] = t
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// unheard is the condition that nothing was heard of a running task since it
// was given out. Its argument is queue.GivenAgain.
const unheard = `started_at IS NOT NULL AND finished_at IS NULL AND (progress IS NULL OR progress = ?)`

// Unheard implements queue.Store.
func (s *Store) Unheard(ctx context.Context, now int64) (out []queue.Task, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+columns+` FROM `+s.Dialect.ClaimTable+` WHERE `+unheard+` AND not_after > ?`,
			queue.GivenAgain, now)
		if err != nil {
			return err
		}
		out, err = scanAll(rows, false)
		return err
	})
	return out, err
}

// giveAgain gives a lease out a second time; the result has no ID if it is not
// to be had.
func (s *Store) giveAgain(ctx context.Context, q Querier, now int64, slave string, l task.Lease) (queue.Task, error) {
	const where = ` WHERE id = ? AND attempt = ? AND slave = ? AND not_after > ? AND ` + unheard
	args := []any{l.ID, l.Attempt, slave, now, queue.GivenAgain}
	// A row that is locked is not waited for: the claims of all slaves would.
	t, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+bodies+` FROM tasks`+where+s.Dialect.ClaimLock, args...), true)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Task{}, nil
	}
	if err != nil {
		return queue.Task{}, err
	}
	n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET heartbeat_at = ?, progress = ?`+where,
		append([]any{now, queue.GivenAgain}, args...)...))
	if err != nil || n == 0 {
		return queue.Task{}, err
	}
	t.HeartbeatAt, t.Progress = now, queue.GivenAgain
	return t, nil
}

// claimOne gives one claimer a task; without one the result has no ID.
func (s *Store) claimOne(ctx context.Context, q Querier, now int64, c queue.Claimer) (queue.Task, error) {
	if c.Again.ID != "" {
		if t, err := s.giveAgain(ctx, q, now, c.Slave, c.Again); err != nil || t.ID != "" {
			return t, err
		}
	}
	where := `finished_at IS NULL AND started_at IS NULL AND not_after > ? AND ready_at <= ?
		AND NOT (COALESCE(slave, '') = ? AND retry_count > 0 AND ready_at + ? > ?)`
	args := []any{now, now, c.Slave, c.Avoid, now}
	if len(c.SectorSizes) > 0 {
		where += ` AND sector_size IN (0` + strings.Repeat(`, ?`, len(c.SectorSizes)) + `)`
		for _, size := range c.SectorSizes {
			args = append(args, int64(size))
		}
	}
	query := `SELECT ` + columns + bodies + ` FROM ` + s.Dialect.ClaimTable + ` WHERE ` + where +
		` ORDER BY not_after, created_at, id LIMIT 1` + s.Dialect.ClaimLock
	for {
		t, err := scan(q.QueryRowContext(ctx, query, args...), true)
		if errors.Is(err, sql.ErrNoRows) {
			return queue.Task{}, nil
		}
		if err != nil {
			return queue.Task{}, err
		}
		n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET started_at = ?, heartbeat_at = ?, slave = ?,
			progress = NULL, attempt = attempt + 1
			WHERE id = ? AND attempt = ? AND started_at IS NULL AND finished_at IS NULL`,
			now, now, c.Slave, t.ID, t.Attempt))
		if err != nil {
			return queue.Task{}, err
		}
		if n == 0 {
			continue // taken between the two statements, where claims do not lock
		}
		t.State, t.StartedAt, t.HeartbeatAt, t.Slave, t.Progress = task.Running, now, now, c.Slave, ""
		t.Attempt++
		return t, nil
	}
}

// Heartbeat implements queue.Store.
func (s *Store) Heartbeat(ctx context.Context, now int64, beats []queue.Beat) ([]task.Lease, error) {
	var lost []task.Lease
	err := s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		lost = nil
		for _, b := range beats {
			n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET heartbeat_at = ?, progress = ?
				WHERE id = ? AND attempt = ? AND finished_at IS NULL`,
				now, clip(cmp.Or(b.Progress, "working"), 100), b.Lease.ID, b.Lease.Attempt))
			if err != nil {
				return err
			}
			if n == 0 {
				lost = append(lost, b.Lease)
			}
		}
		return nil
	})
	return lost, err
}

// Finish implements queue.Store.
func (s *Store) Finish(ctx context.Context, now int64, l task.Lease, out []byte) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET finished_at = ?, started_at = COALESCE(started_at, ?),
			out_body = ?, error_reason = NULL, verdict = NULL, progress = NULL
			WHERE id = ? AND attempt = ? AND finished_at IS NULL`, now, now, out, l.ID, l.Attempt))
		if err != nil || n > 0 {
			return err
		}
		t, err := find(ctx, q, l.ID, "")
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return fmt.Errorf("task %s: %w: no such task", l, task.ErrLost)
		case err != nil:
			return err
		case t.Attempt == l.Attempt && t.State == task.Done:
			return nil // delivered before, the reply was lost
		}
		return lostError(l, t)
	})
}

// Offer implements queue.Store.
func (s *Store) Offer(ctx context.Context, now int64, l task.Lease, o queue.Offer) error {
	return s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := find(ctx, q, l.ID, s.Dialect.RowLock)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return fmt.Errorf("task %s: %w: no such task", l, task.ErrLost)
		case err != nil:
			return err
		case t.Attempt == l.Attempt && t.State == task.Ready && bytes.Equal(t.Out, o.Out):
			return nil // offered before, the reply was lost
		case t.Attempt != l.Attempt || t.State != task.Running || t.Out != nil:
			return lostError(l, t)
		}
		_, err = q.ExecContext(ctx, `UPDATE tasks SET out_body = ?, settle_at = ?, error_reason = ?, verdict = ?,
			started_at = NULL, heartbeat_at = NULL, progress = NULL, ready_at = ?, retry_count = retry_count + 1 WHERE id = ?`,
			o.Out, o.SettleAt, clip(o.Reason, 4000), string(task.KindRetry), now, l.ID)
		return err
	})
}

// Fail implements queue.Store.
func (s *Store) Fail(ctx context.Context, now int64, l task.Lease, f queue.Failure) (task.State, error) {
	var after task.State
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := find(ctx, q, l.ID, s.Dialect.RowLock)
		if errors.Is(err, queue.ErrNotFound) {
			return fmt.Errorf("task %s: %w: no such task", l, task.ErrLost)
		}
		if err != nil {
			return err
		}
		if t.Attempt != l.Attempt || t.State != task.Running {
			return lostError(l, t)
		}
		if f.Unheard && t.Progress != "" {
			return fmt.Errorf("task %s: %w: the slave has it: %s", l, task.ErrLost, t.Progress)
		}
		after, err = endAttempt(ctx, q, now, &t, f)
		return err
	})
	return after, err
}

// endAttempt records the failure of a running task, read under lock.
func endAttempt(ctx context.Context, q Querier, now int64, t *queue.Task, f queue.Failure) (task.State, error) {
	event := task.HandBack
	switch f.Kind {
	case task.KindRetry:
		if t.Retries++; t.Retries > f.MaxRetry {
			t.Retries = max(f.MaxRetry, 0)
			event = task.GivenUp
		}
	case task.KindPermanent:
		event = task.GivenUp
	case task.KindAborted:
	default:
		return "", fmt.Errorf("task %s: a failure cannot be %q", t.ID, f.Kind)
	}
	inHand := t.SettleAt != 0
	t.State, _ = t.State.Next(event)
	t.Verdict, t.Reason, t.Progress = f.Kind, clip(f.Reason, 4000), ""
	set, args := `started_at = NULL, heartbeat_at = NULL, ready_at = ?`, []any{f.ReadyAt}
	if t.State == task.Failed {
		set, args = `finished_at = ?`, []any{now}
		t.FinishedAt, t.SettleAt = now, 0
		if inHand {
			t.State = task.Done
		}
	} else {
		t.StartedAt, t.HeartbeatAt, t.ReadyAt = 0, 0, f.ReadyAt
	}
	args = append(args, t.Retries, string(t.Verdict), t.Reason, t.ID, t.Attempt)
	n, err := affected(q.ExecContext(ctx, `UPDATE tasks SET `+set+`, retry_count = ?, verdict = ?, error_reason = ?,
		progress = NULL WHERE id = ? AND attempt = ? AND started_at IS NOT NULL AND finished_at IS NULL`, args...))
	if err == nil && n == 0 {
		return "", fmt.Errorf("task %s: %w: changed meanwhile", t.Lease(), task.ErrLost)
	}
	return t.State, err
}

// lostError says why a lease is refused.
func lostError(l task.Lease, t queue.Task) error {
	switch {
	case t.Attempt != l.Attempt:
		return fmt.Errorf("task %s: %w: attempt %d is the latest, by %q", l, task.ErrLost, t.Attempt, t.Slave)
	case t.State == task.Failed:
		return fmt.Errorf("task %s: %w: it failed (%s): %s", l, task.ErrLost, t.Verdict, t.Reason)
	}
	return fmt.Errorf("task %s: %w: it is %s", l, task.ErrLost, t.State)
}

// affected returns the number of rows a statement matched.
func affected(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// clip cuts s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
