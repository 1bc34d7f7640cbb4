// Package sqlite keeps the queue in one SQLite file: no server, one machine.
// Every commit is on the disk when a call returns (WAL, synchronous=FULL).
//
// There is one writer in a process. Calls that come while a transaction is
// being written to the disk share the next one, each in its own savepoint, so
// the rate of durable calls is not bound to the rate of disk flushes. Other
// processes may use the same file; they wait for one another.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/migrate"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/queue/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers bounds the connections that read beside the writer.
const readers = 4

// busyTimeout is how long a statement waits for another process.
const busyTimeout = 10 * time.Second

// DB is a queue.Store in one file.
type DB struct {
	sqlstore.Store
	path  string
	write *writer
	read  *sql.DB
	plan  migrate.Plan
	table schema.Tables
}

var _ queue.Store = (*DB)(nil)

// Open opens the file, creating it and its directory (but not that one's
// parents) if they are missing, and brings it to the current version.
func Open(ctx context.Context, path string, log *slog.Logger) (*DB, error) {
	db, err := OpenUnmigrated(path, log)
	if err != nil {
		return nil, err
	}
	if _, err := db.Migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// OpenUnmigrated is Open without the migrations.
func OpenUnmigrated(path string, log *slog.Logger) (*DB, error) {
	// One directory is made, not a whole mistyped path.
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("directory of the SQLite file: %w; create it or correct [db] url", err)
	}
	pragmas := url.Values{"_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
	}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	open := func(conns int) (*sql.DB, error) {
		pool, err := sql.Open("sqlite", dsn)
		if err != nil {
			return nil, fmt.Errorf("SQLite file %s: %w", path, err)
		}
		pool.SetMaxOpenConns(conns)
		return pool, nil
	}
	w, err := open(1)
	if err != nil {
		return nil, err
	}
	r, err := open(readers)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, errors.Join(err, w.Close(), r.Close())
	}
	db := &DB{
		path: path, write: newWriter(w, path), read: r,
		plan:  migrate.Plan{Dialect: goose.DialectSQLite3, DB: w, Files: files, Log: log},
		table: schema.Tables{DB: w, Dialect: tables, Log: log},
	}
	db.Store = sqlstore.Store{
		Run: db,
		Dialect: sqlstore.Dialect{
			ClaimTable: schema.Tasks + " t INDEXED BY " + schema.ClaimIndex,
			Ignore:     "INSERT OR IGNORE",
			Upsert:     " ON CONFLICT(name) DO UPDATE SET ",
			New:        "excluded.%s",
			Duplicate: func(err error) bool {
				var se *sqlite.Error
				return errors.As(err, &se) && se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
			},
		},
	}
	return db, nil
}

// Migrate brings the file to the version this program needs. A file that another
// process is writing to is queue.ErrUnavailable; one that cannot be opened or is
// none of ours is not.
func (db *DB) Migrate(ctx context.Context) (version int64, err error) {
	version, err = db.plan.Up(ctx)
	if err == nil {
		err = db.table.Mend(ctx)
	}
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code()&0xff != sqlite3.SQLITE_BUSY && se.Code()&0xff != sqlite3.SQLITE_LOCKED {
		return version, fmt.Errorf("SQLite file %s: %w", db.path, err)
	}
	return version, unavailable(err, db.path)
}

// MigrateDown undoes migrations above the version. Tasks are kept.
func (db *DB) MigrateDown(ctx context.Context, version int64) (int64, error) {
	if version < schema.Version {
		if err := db.table.Undo(ctx); err != nil {
			return 0, unavailable(err, db.path)
		}
	}
	version, err := db.plan.DownTo(ctx, version)
	return version, unavailable(err, db.path)
}

// Version returns the file's version and the one this program needs.
func (db *DB) Version(ctx context.Context) (have, need int64, err error) {
	have, need, err = db.plan.Version(ctx)
	return have, need, unavailable(err, db.path)
}

// Close ends the writer and closes the file.
func (db *DB) Close() error {
	return errors.Join(db.write.close(), db.read.Close())
}

// Read implements sqlstore.Runner.
func (db *DB) Read(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	return unavailable(fn(ctx, db.read), db.path)
}

// Locks implements sqlstore.Runner: there is one writer.
func (db *DB) Locks() bool { return true }

// Once implements sqlstore.Runner: with one writer a transaction costs nothing.
func (db *DB) Once(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	return db.write.do(ctx, fn)
}

// Write implements sqlstore.Runner.
func (db *DB) Write(ctx context.Context, fn func(context.Context, sqlstore.Querier) error) error {
	return db.write.do(ctx, fn)
}

// remedies are what to do about errors of SQLite, by their primary code.
var remedies = map[int]string{
	sqlite3.SQLITE_FULL:     "the disk of the task database is full: make room there",
	sqlite3.SQLITE_READONLY: "the task database, or its folder, is read-only: let this account write there",
	sqlite3.SQLITE_CANTOPEN: "the task database cannot be opened: look at its folder and the rights there",
	sqlite3.SQLITE_IOERR:    "the disk of the task database reports an error: look at the log of the system",
	sqlite3.SQLITE_CORRUPT:  "the task database is damaged: move the file away, tasks are put anew",
	sqlite3.SQLITE_NOTADB:   "the file is no database: correct [db] url",
	sqlite3.SQLITE_BUSY:     "another program holds the task database; it goes on when that ends",
	sqlite3.SQLITE_LOCKED:   "another program holds the task database; it goes on when that ends",
}

// remedied is an error with what to do about it.
type remedied struct {
	error
	remedy string
}

// Remedy implements queue.Remedy.
func (r remedied) Remedy() string { return r.remedy }

// Unwrap returns the error.
func (r remedied) Unwrap() error { return r.error }

// unavailable marks what SQLite itself reports, and ended contexts, as
// queue.ErrUnavailable with the remedy where it is known, except tables or
// columns that a migration would make; other errors pass.
func unavailable(err error, path string) error {
	if err == nil || errors.Is(err, queue.ErrUnavailable) {
		return err
	}
	var se *sqlite.Error
	if !errors.As(err, &se) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sql.ErrConnDone) {
			return fmt.Errorf("%w: SQLite file %s: %w", queue.ErrUnavailable, path, err)
		}
		return err
	}
	if se.Code() == sqlite3.SQLITE_ERROR && strings.Contains(se.Error(), "no such ") {
		return fmt.Errorf("SQLite file %s: %w; run wdpost-master-daemon migrate", path, err)
	}
	err = fmt.Errorf("%w: SQLite file %s: %w", queue.ErrUnavailable, path, err)
	if remedy := remedies[se.Code()&0xff]; remedy != "" {
		return remedied{fmt.Errorf("%w; %s", err, remedy), remedy}
	}
	return err
}
