package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/task"
)

// slaveColumns are the columns of a slave that a sign of life writes.
var slaveColumns = []string{"name", "id", "version", "address", "concurrent", "first_seen", "last_seen", "failures", "report"}

// slavesAtOnce bounds the slaves in one statement.
const slavesAtOnce = 200

// SeeSlaves implements queue.Store: one statement for many, and one that reads
// which of all are to drain.
func (s *Store) SeeSlaves(ctx context.Context, now int64, slaves []queue.Slave) (draining []string, err error) {
	err = s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		for part := range slices.Chunk(slaves, slavesAtOnce) {
			query, args, err := s.seeSlaves(now, part)
			if err != nil {
				return err
			}
			if _, err := q.ExecContext(ctx, query, args...); err != nil {
				return err
			}
		}
		rows, err := q.QueryContext(ctx, `SELECT name FROM slaves WHERE draining`)
		if err != nil {
			return err
		}
		draining, err = scanStrings(rows)
		return err
	})
	return draining, err
}

// seeSlaves is the statement for some slaves.
func (s *Store) seeSlaves(now int64, slaves []queue.Slave) (string, []any, error) {
	var args []any
	for _, v := range slaves {
		var report any
		if v.Report != nil {
			text, err := json.Marshal(v.Report)
			if err != nil {
				return "", nil, fmt.Errorf("report of slave %q: %w", v.Name, err)
			}
			report = string(text)
		}
		args = append(args, clip(v.Name, 100), clip(v.ID, 32), clip(v.Version, 100), clip(v.Address, 100), v.Concurrent, now, now, v.Failures, report)
	}
	var set []string
	for _, c := range slaveColumns {
		switch c {
		case "name", "first_seen":
		case "report": // who tells nothing now has told before
			set = append(set, c+` = COALESCE(`+strings.ReplaceAll(s.Dialect.New, "%s", c)+`, slaves.report)`)
		default:
			set = append(set, c+` = `+strings.ReplaceAll(s.Dialect.New, "%s", c))
		}
	}
	one := `(?` + strings.Repeat(`, ?`, len(slaveColumns)-1) + `)`
	return `INSERT INTO slaves (` + strings.Join(slaveColumns, ", ") + `) VALUES ` + one + strings.Repeat(`, `+one, len(slaves)-1) +
		s.Dialect.Upsert + strings.Join(set, ", "), args, nil
}

// Slaves implements queue.Store.
func (s *Store) Slaves(ctx context.Context, seenSince int64) ([]queue.Slave, error) {
	var out []queue.Slave
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		out = nil
		running, err := s.running(ctx, q)
		if err != nil {
			return err
		}
		rows, err := q.QueryContext(ctx, `SELECT name, id, version, address, concurrent, first_seen, last_seen, draining, failures, report
			FROM slaves WHERE last_seen >= ? ORDER BY name`, seenSince)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v queue.Slave
			var id, report sql.NullString
			if err := rows.Scan(&v.Name, &id, &v.Version, &v.Address, &v.Concurrent, &v.FirstSeen, &v.LastSeen, &v.Draining, &v.Failures, &report); err != nil {
				return err
			}
			v.ID, v.Running = id.String, running[v.Name]
			var told task.Report
			if report.Valid && json.Unmarshal([]byte(report.String), &told) == nil {
				v.Report = &told
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	return out, err
}

// running counts the running tasks of each slave.
func (s *Store) running(ctx context.Context, q Querier) (map[string]int, error) {
	rows, err := q.QueryContext(ctx, `SELECT slave, COUNT(*) FROM `+schema.Tasks+
		` WHERE finished_at IS NULL AND started_at IS NOT NULL AND slave IS NOT NULL GROUP BY slave`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string]int)
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		out[name] = n
	}
	return out, rows.Err()
}

// DrainSlave implements queue.Store.
func (s *Store) DrainSlave(ctx context.Context, name string, drain bool) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		n, err := affected(q.ExecContext(ctx, `UPDATE slaves SET draining = ? WHERE name = ?`, drain, name))
		if err == nil && n == 0 {
			return fmt.Errorf("slave %q: %w", name, queue.ErrNotFound)
		}
		return err
	})
}

// ForgetSlaves implements queue.Store.
func (s *Store) ForgetSlaves(ctx context.Context, seenBefore int64) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		_, err := q.ExecContext(ctx, `DELETE FROM slaves WHERE last_seen < ?`, seenBefore)
		return err
	})
}

// Now implements queue.Store.
func (s *Store) Now(ctx context.Context) (queue.Reading, error) {
	var out queue.Reading
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		clock := s.Dialect.UTC
		if clock == "" {
			clock = `''`
		}
		var text string
		var shift sql.NullInt64
		err := q.QueryRowContext(ctx, `SELECT `+clock+`, (SELECT shift_us FROM wdpost_clock WHERE id = 1)`).Scan(&text, &shift)
		if err != nil {
			return err
		}
		at := time.Now().UTC().Round(0)
		if s.Dialect.UTC != "" {
			if at, err = time.Parse("2006-01-02 15:04:05.999999999", text); err != nil {
				return fmt.Errorf("clock of the database: %w", err)
			}
		}
		out.Shift = time.Duration(shift.Int64) * time.Microsecond
		out.Time = at.Add(out.Shift)
		return nil
	})
	return out, err
}

// ShiftClock implements queue.Store.
func (s *Store) ShiftClock(ctx context.Context, from, to time.Duration) error {
	return s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		if _, err := q.ExecContext(ctx, s.Dialect.Ignore+` INTO wdpost_clock (id, shift_us) VALUES (1, 0)`); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, `UPDATE wdpost_clock SET shift_us = ? WHERE id = 1 AND shift_us = ?`, to.Microseconds(), from.Microseconds())
		return err
	})
}
