// Package mysql keeps the queue in MySQL 8, MariaDB 10.6 or later, or a
// cluster that speaks their protocol (Galera, TiDB), so that several masters
// can share it.
//
// Nothing depends on gap locks (transactions are READ COMMITTED), on the order
// of generated numbers, or on a lock being seen by another node: each change
// names the state it expects, and a transaction that loses a conflict is run
// again. A Galera node is asked to apply first what the others have committed.
package mysql

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"wdpost/internal/patience"
	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/migrate"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/queue/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config is a database and the size of its connection pool.
type Config struct {
	User, Password string
	Address        string // host:port, or the path of a socket
	Database       string
	TLS            TLSMode       // default TLSPreferred
	MinConnections int           // opened by Migrate and kept idle; default 3
	MaxConnections int           // default 20
	IdleTimeout    time.Duration // an idle connection older than this is closed; default 10 min
}

// attempts bounds how often one transaction is run when it loses conflicts.
const attempts = 8

// DB is a queue.Store in a MySQL-compatible database.
type DB struct {
	sqlstore.Store
	pool *sql.DB
	name string // user@address/database, for messages
	plan migrate.Plan
	made schema.Tables
	min  int // connections that Migrate opens
	// skipLocked says whether the server passes over locked rows; it is tried on
	// the first connection, since the server may be away when we start.
	skipLocked atomic.Pointer[bool]
}

var _ queue.Store = (*DB)(nil)

// Open connects and brings the database to the current version.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*DB, error) {
	db, err := OpenUnmigrated(cfg, log)
	if err != nil {
		return nil, err
	}
	if _, err := db.Migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// warmUp opens the least number of connections and leaves them idle in the pool.
func (db *DB) warmUp(ctx context.Context) error {
	var open []*sql.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close() // back to the pool
		}
	}()
	for range min(db.min, db.pool.Stats().MaxOpenConnections) {
		c, err := db.pool.Conn(ctx)
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	return nil
}

// OpenUnmigrated prepares the pool without connecting.
func OpenUnmigrated(cfg Config, log *slog.Logger) (*DB, error) {
	dsn, err := driverConfig(cfg)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", cfg.Address, err)
	}
	pool := sql.OpenDB(sessions{connector})
	pool.SetMaxOpenConns(defaultTo(cfg.MaxConnections, 20))
	pool.SetMaxIdleConns(defaultTo(cfg.MaxConnections, 20))
	pool.SetConnMaxIdleTime(defaultTo(cfg.IdleTimeout, 10*time.Minute))
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	db := &DB{
		pool: pool, min: defaultTo(cfg.MinConnections, 3), name: fmt.Sprintf("%s@%s/%s", dsn.User, dsn.Addr, dsn.DBName),
		plan: migrate.Plan{Dialect: goose.DialectMySQL, DB: pool, Files: files, Log: log},
		made: schema.Tables{DB: pool, Dialect: tables, Log: log},
	}
	db.Store = sqlstore.Store{Run: db, Dialect: sqlstore.Dialect{
		ClaimTable: schema.Tasks + " t FORCE INDEX (" + schema.ClaimIndex + ")",
		ClaimLock:  skipLocked,
		RowLock:    " FOR UPDATE",
		Ignore:     "INSERT IGNORE",
		Upsert:     " ON DUPLICATE KEY UPDATE ",
		New:        "VALUES(%s)",
		UTC:        "CAST(UTC_TIMESTAMP(6) AS CHAR)",
		Duplicate:  func(err error) bool { return code(err) == errDuplicateKey },
	}}
	return db, nil
}

// defaultTo returns v, or d when v is zero or less.
func defaultTo[T int | time.Duration](v, d T) T {
	if v > 0 {
		return v
	}
	return d
}

// Migrate brings the database to the version this program needs and opens the
// least number of connections. Masters that start together do so in turn.
func (db *DB) Migrate(ctx context.Context) (version int64, err error) {
	version, done, err := db.migrated(ctx)
	if err == nil && !done {
		err = db.inTurn(ctx, func() (err error) {
			if version, err = db.plan.Up(ctx); err != nil {
				return err
			}
			return db.made.Mend(ctx)
		})
	}
	if err == nil {
		err = db.warmUp(ctx)
	}
	return version, db.explain(err)
}

// migrated reports whether the database has the version this program needs. It
// changes nothing; where it cannot tell, it has not.
func (db *DB) migrated(ctx context.Context) (version int64, done bool, err error) {
	for _, name := range []string{migrate.VersionTable, turnTable} {
		if there, err := db.hasTable(ctx, name); err != nil || !there {
			return 0, false, err
		}
	}
	version, need, err := db.plan.Version(ctx)
	if err != nil || version < need {
		return version, false, nil
	}
	missing, err := db.made.Missing(ctx)
	return version, err == nil && len(missing) == 0, nil
}

// hasTable reports whether the database has a table.
func (db *DB) hasTable(ctx context.Context, name string) (bool, error) {
	var n int
	err := db.pool.QueryRowContext(ctx,
		`SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`, name).Scan(&n)
	return n > 0, err
}

// MigrateDown undoes migrations above the version. Tasks are kept.
func (db *DB) MigrateDown(ctx context.Context, version int64) (int64, error) {
	err := db.inTurn(ctx, func() (err error) {
		if version < schema.Version {
			if err := db.made.Undo(ctx); err != nil {
				return err
			}
		}
		version, err = db.plan.DownTo(ctx, version)
		return err
	})
	return version, db.explain(err)
}

// Version returns the database's version and the one this program needs.
func (db *DB) Version(ctx context.Context) (have, need int64, err error) {
	have, need, err = db.plan.Version(ctx)
	return have, need, db.explain(err)
}

// MaxPacket is the largest statement that the server takes, in bytes.
func (db *DB) MaxPacket(ctx context.Context) (limit int64, err error) {
	err = db.pool.QueryRowContext(ctx, `SELECT @@max_allowed_packet`).Scan(&limit)
	return limit, db.explain(err)
}

// Close closes all connections.
func (db *DB) Close() error { return db.pool.Close() }

// Read implements sqlstore.Runner. A statement that met a broken connection is
// tried once more by database/sql; other failures are the caller's to retry.
func (db *DB) Read(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	return db.explain(fn(ctx, db.pool))
}

// Once implements sqlstore.Runner.
func (db *DB) Once(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	return db.retry(ctx, func() error { return fn(ctx, db.pool) })
}

// Write implements sqlstore.Runner.
func (db *DB) Write(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	if err := db.learnServer(ctx); err != nil {
		return db.explain(err)
	}
	return db.retry(ctx, func() error { return db.transact(ctx, fn) })
}

// retry repeats do while it loses conflicts.
func (db *DB) retry(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || !conflict(err) || try == attempts {
			return db.explain(err)
		}
		if err := patience.Sleep(ctx, time.Duration(rand.Int64N(int64(5*time.Millisecond<<min(try, 5))))); err != nil {
			return db.explain(err)
		}
	}
}

// transact runs fn once in a transaction.
func (db *DB) transact(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	tx, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	var q sqlstore.Querier = tx
	if !*db.skipLocked.Load() {
		q = withoutSkipLocked{tx}
	}
	if err := fn(ctx, q); err != nil {
		_ = tx.Rollback() // a broken connection rolls back by itself
		return err
	}
	return tx.Commit()
}

// skipLocked ends a SELECT that passes over rows that others hold.
const skipLocked = " FOR UPDATE SKIP LOCKED"

// Locks implements sqlstore.Runner.
func (db *DB) Locks() bool {
	known := db.skipLocked.Load()
	return known == nil || *known
}

// learnServer tries once whether the server passes over locked rows: one takes
// the words and does nothing about it (TiDB). One that cannot still claims
// correctly, by the guarded UPDATE, with more conflicts.
func (db *DB) learnServer(ctx context.Context) error {
	if db.skipLocked.Load() != nil {
		return nil
	}
	holder, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = holder.Rollback() }() // nothing was changed
	const row = `SELECT id FROM ` + turnTable + ` WHERE id = 1`
	var id int
	err = holder.QueryRowContext(ctx, row+skipLocked).Scan(&id)
	switch {
	case code(err) == errSyntax, code(err) == errNotSupported:
		db.skipLocked.Store(new(bool))
		return nil
	case errors.Is(err, sql.ErrNoRows): // another master holds it, or the table is young: it passes
		known := true
		db.skipLocked.Store(&known)
		return nil
	case err != nil:
		return err
	}
	if db.pool.Stats().MaxOpenConnections == 1 {
		known := true // it cannot be tried with one connection, and no other is held up by this master
		db.skipLocked.Store(&known)
		return nil
	}
	other, err := db.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = other.Rollback() }() // nothing was changed
	err = other.QueryRowContext(ctx, row+skipLocked).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	passed := err != nil // no row: the held one was passed over
	db.skipLocked.Store(&passed)
	return nil
}

// withoutSkipLocked strips the clause for servers that do not heed it.
type withoutSkipLocked struct{ *sql.Tx }

func (q withoutSkipLocked) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return q.Tx.QueryRowContext(ctx, strings.TrimSuffix(query, skipLocked), args...)
}

func (q withoutSkipLocked) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return q.Tx.QueryContext(ctx, strings.TrimSuffix(query, skipLocked), args...)
}
