package sqlstore

import (
	"context"
	"fmt"

	"wdpost/internal/queue"
)

// SeeSlave implements queue.Store.
func (s *Store) SeeSlave(ctx context.Context, now int64, v queue.Slave) (bool, error) {
	var drain bool
	err := s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		name, version, address := clip(v.Name, 100), clip(v.Version, 100), clip(v.Address, 100)
		n, err := affected(q.ExecContext(ctx, `UPDATE slaves SET version = ?, address = ?, concurrent = ?, last_seen = ? WHERE name = ?`,
			version, address, v.Concurrent, now, name))
		if err != nil {
			return err
		}
		if n == 0 {
			_, err := q.ExecContext(ctx, `INSERT INTO slaves (name, version, address, concurrent, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?)`,
				name, version, address, v.Concurrent, now, now)
			if err != nil && !s.Dialect.Duplicate(err) {
				return err
			}
		}
		return q.QueryRowContext(ctx, `SELECT draining FROM slaves WHERE name = ?`, name).Scan(&drain)
	})
	return drain, err
}

// Slaves implements queue.Store.
func (s *Store) Slaves(ctx context.Context, seenSince int64) ([]queue.Slave, error) {
	var out []queue.Slave
	err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		out = nil
		rows, err := q.QueryContext(ctx, `SELECT name, version, address, concurrent, first_seen, last_seen, draining,
			(SELECT COUNT(*) FROM tasks WHERE finished_at IS NULL AND started_at IS NOT NULL AND slave = name)
			FROM slaves WHERE last_seen >= ? ORDER BY name`, seenSince)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v queue.Slave
			if err := rows.Scan(&v.Name, &v.Version, &v.Address, &v.Concurrent, &v.FirstSeen, &v.LastSeen, &v.Draining, &v.Running); err != nil {
				return err
			}
			out = append(out, v)
		}
		return rows.Err()
	})
	return out, err
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
