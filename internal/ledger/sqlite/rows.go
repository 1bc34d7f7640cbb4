package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"wdpost/internal/ledger"
)

// OpenRun implements ledger.Ledger.
func (l *Ledger) OpenRun(ctx context.Context, r ledger.Run) error {
	return l.write(ctx, "open run "+r.RunKey.String(), `
		INSERT INTO runs (miner, period_start, deadline, open, close, closes_at, partitions, started_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET open = excluded.open, close = excluded.close, closes_at = excluded.closes_at, partitions = excluded.partitions,
			ended_at = NULL, verdict = '', reason = '', proven = 0, skipped = 0`,
		r.Miner, r.PeriodStart, r.Deadline, r.Open, r.Close, millis(r.ClosesAt), r.Partitions.String(), millis(r.StartedAt))
}

// EndRun implements ledger.Ledger.
func (l *Ledger) EndRun(ctx context.Context, key ledger.RunKey, end ledger.RunEnd) error {
	n, err := l.writeCount(ctx, "end run "+key.String(), `
		UPDATE runs SET ended_at = ?, verdict = ?, reason = ?, proven = ?, skipped = ?
		WHERE miner = ? AND period_start = ? AND deadline = ?`,
		millis(end.At), end.Verdict, end.Reason, end.Proven, end.Skipped, key.Miner, key.PeriodStart, key.Deadline)
	if err == nil && n == 0 {
		err = fmt.Errorf("ledger %s: end run %s: %w", l.path, key, ledger.ErrNotFound)
	}
	return err
}

// Runs implements ledger.Ledger.
func (l *Ledger) Runs(ctx context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = -1
	}
	var out []ledger.Run
	err := l.read(ctx, "list runs", func(rows *sql.Rows) error {
		var (
			r                   ledger.Run
			end                 ledger.RunEnd
			closesAt, startedAt int64
			endedAt             sql.NullInt64
			partitions          string
		)
		if err := rows.Scan(&r.Miner, &r.PeriodStart, &r.Deadline, &r.Open, &r.Close, &closesAt, &partitions, &startedAt,
			&endedAt, &end.Verdict, &end.Reason, &end.Proven, &end.Skipped); err != nil {
			return err
		}
		var err error
		if r.Partitions, err = ledger.ParsePartitions(partitions); err != nil {
			return err
		}
		r.ClosesAt, r.StartedAt = moment(closesAt), moment(startedAt)
		if endedAt.Valid {
			end.At = moment(endedAt.Int64)
			r.Ended = &end
		}
		out = append(out, r)
		return nil
	}, `SELECT miner, period_start, deadline, open, close, closes_at, partitions, started_at, ended_at, verdict, reason, proven, skipped
		FROM runs WHERE (?1 IS NULL OR miner = ?1) AND (NOT ?2 OR ended_at IS NULL)
		ORDER BY open DESC, miner LIMIT ?3`, q.Miner, q.Unfinished, limit)
	return out, err
}

// PutProof implements ledger.Ledger.
func (l *Ledger) PutProof(ctx context.Context, p ledger.Proof) error {
	return l.write(ctx, fmt.Sprintf("keep the proof of %s partitions %s", p.RunKey, p.Partitions), `
		INSERT INTO proofs (miner, period_start, deadline, partitions, proof_type, randomness, sectors, skipped, proof, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET proof_type = excluded.proof_type, randomness = excluded.randomness, sectors = excluded.sectors,
			skipped = excluded.skipped, proof = excluded.proof, created_at = excluded.created_at`,
		p.Miner, p.PeriodStart, p.Deadline, p.Partitions.String(), p.ProofType, p.Randomness[:],
		ledger.EncodeNumbers(p.Sectors), ledger.EncodeNumbers(p.Skipped), p.Proof, millis(p.CreatedAt))
}

// Proofs implements ledger.Ledger.
func (l *Ledger) Proofs(ctx context.Context, key ledger.RunKey) ([]ledger.Proof, error) {
	var out []ledger.Proof
	err := l.read(ctx, "list the proofs of "+key.String(), func(rows *sql.Rows) error {
		p := ledger.Proof{RunKey: key}
		var (
			partitions, sectors, skipped string
			randomness                   []byte
			createdAt                    int64
		)
		err := rows.Scan(&partitions, &p.ProofType, &randomness, &sectors, &skipped, &p.Proof, &createdAt)
		if err != nil {
			return err
		}
		if copy(p.Randomness[:], randomness) != 32 || len(randomness) != 32 {
			return fmt.Errorf("the randomness of partitions %s has %d bytes", partitions, len(randomness))
		}
		if p.Partitions, err = ledger.ParsePartitions(partitions); err != nil {
			return err
		}
		if p.Sectors, err = ledger.DecodeNumbers(sectors); err != nil {
			return err
		}
		if p.Skipped, err = ledger.DecodeNumbers(skipped); err != nil {
			return err
		}
		p.CreatedAt = moment(createdAt)
		out = append(out, p)
		return nil
	}, `SELECT partitions, proof_type, randomness, sectors, skipped, proof, created_at FROM proofs
		WHERE miner = ? AND period_start = ? AND deadline = ? ORDER BY partitions`, key.Miner, key.PeriodStart, key.Deadline)
	return out, err
}

// DropProof implements ledger.Ledger.
func (l *Ledger) DropProof(ctx context.Context, key ledger.RunKey, partitions ledger.Partitions) error {
	return l.write(ctx, fmt.Sprintf("drop the proof of %s partitions %s", key, partitions),
		`DELETE FROM proofs WHERE miner = ? AND period_start = ? AND deadline = ? AND partitions = ?`,
		key.Miner, key.PeriodStart, key.Deadline, partitions.String())
}

// PutMessage implements ledger.Ledger.
func (l *Ledger) PutMessage(ctx context.Context, m ledger.Message) error {
	return l.write(ctx, "keep message "+m.ID, `
		INSERT INTO messages (id, miner, period_start, deadline, kind, partitions, sectors, attempt, state, handle, epoch, exit_code, error, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET state = excluded.state, handle = excluded.handle, epoch = excluded.epoch,
			exit_code = excluded.exit_code, error = excluded.error, updated_at = excluded.updated_at`,
		m.ID, m.Miner, m.PeriodStart, m.Deadline, m.Kind, m.Partitions.String(), ledger.EncodeNumbers(m.Sectors), m.Attempt,
		m.State, m.Handle, m.Epoch, m.ExitCode, m.Error, millis(m.CreatedAt), millis(m.UpdatedAt))
}

// Messages implements ledger.Ledger.
func (l *Ledger) Messages(ctx context.Context, key ledger.RunKey) ([]ledger.Message, error) {
	var out []ledger.Message
	err := l.read(ctx, "list the messages of "+key.String(), func(rows *sql.Rows) error {
		m := ledger.Message{RunKey: key}
		var (
			partitions, sectors  string
			createdAt, updatedAt int64
		)
		err := rows.Scan(&m.ID, &m.Kind, &partitions, &sectors, &m.Attempt, &m.State, &m.Handle, &m.Epoch, &m.ExitCode, &m.Error, &createdAt, &updatedAt)
		if err != nil {
			return err
		}
		if m.Partitions, err = ledger.ParsePartitions(partitions); err != nil {
			return err
		}
		if m.Sectors, err = ledger.DecodeNumbers(sectors); err != nil {
			return err
		}
		m.CreatedAt, m.UpdatedAt = moment(createdAt), moment(updatedAt)
		out = append(out, m)
		return nil
	}, `SELECT id, kind, partitions, sectors, attempt, state, handle, epoch, exit_code, error, created_at, updated_at FROM messages
		WHERE miner = ? AND period_start = ? AND deadline = ? ORDER BY created_at, id`, key.Miner, key.PeriodStart, key.Deadline)
	return out, err
}

// Prune implements ledger.Ledger.
func (l *Ledger) Prune(ctx context.Context, before time.Time) (int, error) {
	if err := l.present(); err != nil {
		return 0, err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, l.explain("prune", err)
	}
	defer tx.Rollback() // no effect once committed
	const old = `SELECT miner, period_start, deadline FROM runs WHERE ended_at IS NOT NULL AND closes_at < ?`
	for _, table := range []string{"proofs", "messages"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE (miner, period_start, deadline) IN (`+old+`)`, millis(before)); err != nil {
			return 0, l.explain("prune "+table, err)
		}
	}
	res, err := tx.ExecContext(ctx, `DELETE FROM runs WHERE ended_at IS NOT NULL AND closes_at < ?`, millis(before))
	if err != nil {
		return 0, l.explain("prune runs", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, l.explain("prune runs", err)
	}
	if err := tx.Commit(); err != nil {
		return 0, l.explain("prune", err)
	}
	return int(n), nil
}

func millis(t time.Time) int64  { return t.UnixMilli() }
func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
