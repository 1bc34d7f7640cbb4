// Package sqlstore holds the statements that the databases of package queue
// share, over the tables of package schema. What differs between them is a
// [Dialect]; how a transaction is run, retried and made durable is a [Runner].
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
//
// No statement is built from values: they are constants, joined from the names
// of columns and as many placeholders as there are arguments. A test of this
// package reads its source for that.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
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
	// Locks reports whether claims pass over rows that others hold; it is asked
	// after Write has been called once.
	Locks() bool
}

// Dialect is what differs between the databases.
type Dialect struct {
	// ClaimTable is the FROM item of a claim: the state of tasks, named t, with
	// the hint that makes the claim walk its index in order.
	ClaimTable string
	// ClaimLock ends a claim's SELECT: it passes over rows that another claim
	// holds. Empty where writers are alone.
	ClaimLock string
	// RowLock ends a SELECT whose rows are changed next.
	RowLock string
	// Ignore is INSERT that leaves out rows whose key is there.
	Ignore string
	// Upsert ends an INSERT that changes the row where the key is there, and
	// takes New of each column.
	Upsert string
	// New is the inserted value of the column %s in an upsert.
	New string
	// UTC is the database's clock as text "2006-01-02 15:04:05.999999", in UTC,
	// which no local hour repeats; empty where it is this machine's clock.
	UTC string
	// Duplicate tells a primary-key conflict from other errors.
	Duplicate func(error) bool
}

// Store implements the statements of queue.Store; Close is added by the
// database's own package.
type Store struct {
	Run     Runner
	Dialect Dialect
}

// Put implements queue.Store. The usual case, a new task, is two looks and two
// INSERTs, the question first: a question without a task is swept up later.
func (s *Store) Put(ctx context.Context, now int64, n queue.NewTask) (queue.Task, error) {
	var stored queue.Task
	err := s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		var err error
		stored, err = find(ctx, q, n.ID)
		if !errors.Is(err, queue.ErrNotFound) {
			return err
		}
		if err := s.putBody(ctx, q, now, n); err != nil {
			return err
		}
		_, err = q.ExecContext(ctx, `INSERT INTO `+schema.Tasks+` (id, in_body, created_at, not_after, sector_size) VALUES (?, '', ?, ?, ?)`,
			n.ID, now, n.NotAfter, int64(n.SectorSize))
		if err != nil && s.Dialect.Duplicate(err) { // another master was first
			stored, err = find(ctx, q, n.ID)
			return err
		}
		stored = queue.Task{
			ID: n.ID, State: task.Ready, CreatedAt: now, NotAfter: n.NotAfter, SectorSize: n.SectorSize, About: n.About, In: n.In,
		}
		return err
	})
	if err != nil || s.updateFor(stored, n) == nil {
		return stored, err
	}
	err = s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		var err error
		if stored, err = s.findState(ctx, q, n.ID); err != nil {
			return err
		}
		update := s.updateFor(stored, n) // now under lock
		if update == nil {
			return nil
		}
		if err := s.putBody(ctx, q, now, n); err != nil { // it may have been lost
			return err
		}
		if err := update(ctx, q); err != nil {
			return err
		}
		stored, err = find(ctx, q, n.ID)
		return err
	})
	return stored, err
}

// putBody stores a question, unless it is there.
func (s *Store) putBody(ctx context.Context, q Querier, now int64, n queue.NewTask) error {
	var partitions []string
	for _, p := range n.About.Partitions {
		partitions = append(partitions, strconv.FormatUint(p, 10))
	}
	var deadline any
	if n.About.Deadline != nil {
		deadline = int64(*n.About.Deadline)
	}
	_, err := q.ExecContext(ctx, s.Dialect.Ignore+` INTO `+schema.Bodies+
		` (id, put_at, size, in_body, miner, deadline, partitions, sectors, stores) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		n.ID, now, len(n.In), n.In, int64(n.About.Miner), deadline, clip(strings.Join(partitions, ","), 200), n.About.Sectors,
		clip(strings.Join(n.About.Stores, "\n"), 20_000))
	return err
}

// updateFor returns what must change in a known task when its question is
// asked again; nil means nothing.
func (s *Store) updateFor(stored queue.Task, n queue.NewTask) func(context.Context, Querier) error {
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
			_, err := q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET not_after = ? WHERE id = ?`, n.NotAfter, n.ID)
			return err
		}
	}
	return nil
}

// reopen makes a task that is over ready, for a fresh round of attempts.
// Attempt numbers go on, so that nothing of an earlier round is accepted; so do
// its troubles, which say how it went before.
func reopen(ctx context.Context, q Querier, id string, notAfter int64) error {
	_, err := q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET started_at = NULL, finished_at = NULL, heartbeat_at = NULL,
		retry_count = 0, error_reason = NULL, out_body = NULL, slave = NULL, verdict = NULL, progress = NULL, advanced_at = NULL,
		holder = NULL, tried = NULL, ready_at = 0, settle_at = NULL, attempt = attempt + 1, not_after = ? WHERE id = ?`, notAfter, id)
	return err
}

// unarchive moves one task back to the living.
func unarchive(ctx context.Context, q Querier, id string) error {
	for _, statement := range []string{
		`INSERT INTO ` + schema.Bodies + ` (id, put_at, size, in_body, ` + schema.AboutNames("") + `)
			SELECT t.id, t.created_at, LENGTH(t.in_body), t.in_body, ` + schema.AboutNames("t.") + old + ` WHERE t.id = ?
			AND NOT EXISTS (SELECT 1 FROM ` + schema.Bodies + ` b WHERE b.id = t.id)`,
		`INSERT INTO ` + schema.Tasks + ` (in_body, ` + schema.StateNames("") + `) SELECT '', ` + schema.StateNames("t.") + old + ` WHERE t.id = ?`,
		`DELETE FROM ` + schema.Archive + ` WHERE id = ?`,
	} {
		if _, err := q.ExecContext(ctx, statement, id); err != nil {
			return err
		}
	}
	return nil
}

// Finish implements queue.Store.
func (s *Store) Finish(ctx context.Context, now int64, l task.Lease, out []byte) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		n, err := affected(q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET finished_at = ?, started_at = COALESCE(started_at, ?),
			out_body = ?, error_reason = NULL, verdict = NULL, progress = NULL
			WHERE id = ? AND attempt = ? AND finished_at IS NULL`, now, now, out, l.ID, l.Attempt))
		if err != nil || n > 0 {
			return err
		}
		t, err := find(ctx, q, l.ID)
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
		t, err := s.findState(ctx, q, l.ID)
		switch {
		case errors.Is(err, queue.ErrNotFound):
			return fmt.Errorf("task %s: %w: no such task", l, task.ErrLost)
		case err != nil:
			return err
		case t.Attempt == l.Attempt && t.State == task.Ready && slices.Equal(t.Out, o.Out):
			return nil // offered before, the reply was lost
		case t.Attempt != l.Attempt || t.State != task.Running && t.State != task.Ready:
			return lostError(l, t)
		}
		_, err = q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET out_body = ?, settle_at = ?, error_reason = ?, verdict = ?,
			started_at = NULL, heartbeat_at = NULL, progress = NULL, advanced_at = NULL, ready_at = ?, tried = ?,
			troubles = troubles + 1 WHERE id = ?`,
			o.Out, o.SettleAt, clip(o.Reason, maxReason), string(task.KindRetry), now, strings.Join(withTried(t.Tried, t.Slave), "\n"), l.ID)
		return err
	})
}

// maxReason bounds the stored reason of a failure in bytes: it is written again
// with every change of the row.
const maxReason = 2000

// Fail implements queue.Store.
func (s *Store) Fail(ctx context.Context, now int64, l task.Lease, f queue.Failure) (task.State, error) {
	var after task.State
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		t, err := s.findState(ctx, q, l.ID)
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
	event, troubles := task.HandBack, 0
	tried, settle := t.Tried, t.SettleAt
	inHand := t.Out != nil
	switch f.Kind {
	case task.KindRetry:
		tried = withTried(tried, t.Slave)
		if !f.Silent {
			troubles = 1
		}
		t.Retries++
		spent := t.Retries > f.MaxRetry
		t.Retries = min(t.Retries, max(f.MaxRetry, 0))
		if spent || settle != 0 { // only who has not tried it yet may
			event = task.GivenUp
			if until := reserve(now, *t, tried, f.Others); until > 0 {
				event, settle = task.HandBack, until
			}
		}
	case task.KindPermanent:
		event = task.GivenUp
	case task.KindAborted:
	default:
		return "", fmt.Errorf("task %s: a failure cannot be %q", t.ID, f.Kind)
	}
	t.State, _ = t.State.Next(event)
	t.Verdict, t.Reason, t.Progress, t.Tried = f.Kind, clip(f.Reason, maxReason), "", tried
	set, args := `started_at = NULL, heartbeat_at = NULL, advanced_at = NULL, ready_at = ?, settle_at = ?`, []any{f.ReadyAt, nullable(settle)}
	if t.State == task.Failed {
		set, args = `finished_at = ?`, []any{now}
		t.FinishedAt, t.SettleAt = now, 0
		if inHand {
			t.State = task.Done
		}
	} else {
		t.StartedAt, t.HeartbeatAt, t.AdvancedAt, t.ReadyAt, t.SettleAt = 0, 0, 0, f.ReadyAt, settle
	}
	t.Troubles += troubles
	args = append(args, t.Retries, string(t.Verdict), t.Reason, strings.Join(tried, "\n"), troubles, t.ID, t.Attempt)
	n, err := affected(q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET `+set+`, retry_count = ?, verdict = ?, error_reason = ?,
		progress = NULL, tried = ?, troubles = troubles + ? WHERE id = ? AND attempt = ? AND started_at IS NOT NULL AND finished_at IS NULL`, args...))
	if err == nil && n == 0 {
		return "", fmt.Errorf("task %s: %w: changed meanwhile", t.Lease(), task.ErrLost)
	}
	return t.State, err
}

// reserve is until when a task whose retries are used up waits for a slave that
// has not tried it, 0 where there is none: however fast sick slaves fail, a
// healthy one that is still busy gets its chance. Half of the time that is left
// stays for what the asker may do about it.
func reserve(now int64, t queue.Task, tried, others []string) int64 {
	if !slices.ContainsFunc(others, func(s string) bool { return !slices.Contains(tried, s) }) {
		return 0
	}
	if t.SettleAt != 0 {
		return t.SettleAt // of the reserve, or the answer in hand, that it has
	}
	if t.NotAfter == queue.NoEnd {
		return now + 600
	}
	return now + max((t.NotAfter-now)/2, 1)
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

// nullable is v, or NULL for 0.
func nullable(v int64) any {
	if v == 0 {
		return nil
	}
	return v
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

// inList returns "(?, ?, …)" and its arguments.
func inList(ids []string) (string, []any) {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return "(?" + strings.Repeat(", ?", len(ids)-1) + ")", args
}

// working is the progress of a task whose slave says nothing.
func working(progress string) string { return clip(cmp.Or(progress, "working"), 100) }
