package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/task"
)

// What the statements select: the state of a task, whether it has an answer,
// and what it is about, read by scan in this order. The question is read only
// where it is needed.
var (
	liveColumns = schema.StateNames("t.") + ", " + schema.AboutNames("b.")
	oldColumns  = schema.StateNames("t.") + ", " + schema.AboutNames("t.")
)

// Tables that are selected from; the state is t, the question b.
const (
	live = ` FROM ` + schema.Tasks + ` t LEFT JOIN ` + schema.Bodies + ` b ON b.id = t.id`
	old  = ` FROM ` + schema.Archive + ` t`
)

// scanner is *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// row is where a row is scanned to.
type row struct {
	t                                    queue.Task
	started, finished, beat, settle      sql.NullInt64
	advanced, miner, deadline, sectors   sql.NullInt64
	slave, verdict, why, doing           sql.NullString
	holder, tried, partitions, itsStores sql.NullString
	answer                               []byte
}

// dest is where each column goes. A column of schema that is missing here is a
// fault of the program, which the first test finds.
func (r *row) dest() []any {
	by := map[string]any{
		"id": &r.t.ID, "created_at": &r.t.CreatedAt, "started_at": &r.started, "finished_at": &r.finished,
		"retry_count": &r.t.Retries, "error_reason": &r.why, "out_body": &r.answer, "slave": &r.slave, "heartbeat_at": &r.beat,
		"attempt": &r.t.Attempt, "not_after": &r.t.NotAfter, "ready_at": &r.t.ReadyAt, "settle_at": &r.settle,
		"sector_size": &r.t.SectorSize, "verdict": &r.verdict, "progress": &r.doing, "advanced_at": &r.advanced,
		"holder": &r.holder, "tried": &r.tried, "troubles": &r.t.Troubles,
		"miner": &r.miner, "deadline": &r.deadline, "partitions": &r.partitions, "sectors": &r.sectors, "stores": &r.itsStores,
	}
	out := make([]any, 0, len(by)+1)
	for _, list := range [][]schema.Column{schema.State, schema.About} {
		for _, c := range list {
			out = append(out, by[c.Name])
		}
	}
	return out
}

// task is the row as the queue sees it.
func (r *row) task() queue.Task {
	t := r.t
	t.StartedAt, t.FinishedAt, t.HeartbeatAt, t.AdvancedAt = r.started.Int64, r.finished.Int64, r.beat.Int64, r.advanced.Int64
	t.Slave, t.Verdict, t.Reason, t.Progress = r.slave.String, task.VerdictKind(r.verdict.String), r.why.String, r.doing.String
	t.Holder, t.Tried = r.holder.String, lines(r.tried.String)
	t.Out = r.answer
	if !r.finished.Valid {
		t.SettleAt = r.settle.Int64
	}
	switch {
	case r.finished.Valid && r.answer != nil:
		t.State = task.Done
	case r.finished.Valid:
		t.State = task.Failed
	case r.started.Valid:
		t.State = task.Running
	default:
		t.State = task.Ready
	}
	t.About = queue.About{Miner: uint64(r.miner.Int64), Known: r.miner.Valid, Sectors: int(r.sectors.Int64), Stores: lines(r.itsStores.String)}
	if r.deadline.Valid {
		d := uint64(r.deadline.Int64)
		t.About.Deadline = &d
	}
	for _, p := range strings.FieldsFunc(r.partitions.String, func(c rune) bool { return c == ',' }) {
		if n, err := strconv.ParseUint(p, 10, 64); err == nil {
			t.About.Partitions = append(t.About.Partitions, n)
		}
	}
	return t
}

// scan reads one row, followed by the question if withIn.
func scan(from scanner, withIn bool) (queue.Task, error) {
	var r row
	dest := r.dest()
	if withIn {
		dest = append(dest, &r.t.In)
	}
	if err := from.Scan(dest...); err != nil {
		return queue.Task{}, err
	}
	return r.task(), nil
}

// scanAll reads all rows, without the question, and closes them.
func scanAll(rows *sql.Rows) ([]queue.Task, error) {
	defer rows.Close()
	var out []queue.Task
	for rows.Next() {
		t, err := scan(rows, false)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// find reads one task with question and answer from the living or, failing
// that, from the archive.
func find(ctx context.Context, q Querier, id string) (queue.Task, error) {
	t, err := scan(q.QueryRowContext(ctx, `SELECT `+liveColumns+`, `+schema.Question+live+` WHERE t.id = ?`, id), true)
	if !errors.Is(err, sql.ErrNoRows) {
		return t, err
	}
	t, err = scan(q.QueryRowContext(ctx, `SELECT `+oldColumns+`, t.in_body`+old+` WHERE t.id = ?`, id), true)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Task{}, notFound(id)
	}
	t.Archived = true
	return t, err
}

// findState is find without the question, its row locked for a change.
func (s *Store) findState(ctx context.Context, q Querier, id string) (queue.Task, error) {
	t, err := scan(q.QueryRowContext(ctx, `SELECT `+stateOnly+` FROM `+schema.Tasks+` t WHERE t.id = ?`+s.Dialect.RowLock, id), false)
	if !errors.Is(err, sql.ErrNoRows) {
		return t, err
	}
	t, err = scan(q.QueryRowContext(ctx, `SELECT `+oldColumns+old+` WHERE t.id = ?`, id), false)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Task{}, notFound(id)
	}
	t.Archived = true
	return t, err
}

// stateOnly selects the state, and nothing for what it is about.
var stateOnly = schema.StateNames("t.") + strings.Repeat(", NULL", len(schema.About))

func notFound(id string) error { return fmt.Errorf("task %s: %w", id, queue.ErrNotFound) }

// lines splits a text of lines; none for an empty one.
func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// maxTried bounds the text of the slaves that tried.
const maxTried = 1000

// withTried adds a slave to those that tried, the oldest forgotten beyond the
// bound.
func withTried(tried []string, slave string) []string {
	if slave == "" {
		return tried
	}
	for _, s := range tried {
		if s == slave {
			return tried
		}
	}
	tried = append(tried[:len(tried):len(tried)], strings.ReplaceAll(slave, "\n", " "))
	for len(strings.Join(tried, "\n")) > maxTried {
		tried = tried[1:]
	}
	return tried
}
