// Package sqlite keeps the ledger in one embedded file: no server, no cgo.
//
// The file is written through a write-ahead log with synchronous=FULL, so what
// was acknowledged survives a power failure. It is tied to one network; opening
// it for another is refused.
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
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/ledger"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config says which file to open.
type Config struct {
	Path        string        // created if missing, its directory too
	Network     string        // name of the network, as StateNetworkName gives it
	BusyTimeout time.Duration // how long to wait for another process's lock; 0 means 5 s
	Board       *condition.Board
	Log         *slog.Logger // nil discards
}

// Ledger is a ledger.Ledger in an SQLite file.
type Ledger struct {
	db   *sql.DB
	path string
	file fs.FileInfo // the file as it was opened
}

var _ ledger.Ledger = (*Ledger)(nil)

// Open opens the file, creates or migrates its tables and ties it to the
// network. It fails with ledger.ErrForeign if the file is another network's.
//
// A damaged file is moved aside and a new one is begun, with an error in the log
// and a condition: what it remembered is less than the windows that would be
// missed without a ledger, and the chain's own record counts.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	l, err := open(ctx, cfg)
	if err == nil || !damaged(err) {
		return l, err
	}
	aside, moveErr := moveAside(cfg.Path)
	if moveErr != nil {
		return nil, errors.Join(err, moveErr)
	}
	if cfg.Log != nil {
		cfg.Log.Error("the ledger was damaged; it was moved aside and a new one is begun", attr.Path(aside), attr.Err(err))
	}
	cfg.Board.Set(condition.Condition{Kind: condition.LedgerDamaged, Subject: cfg.Path, Detail: fmt.Sprintf("it is now %s: %v", aside, err)})
	return open(ctx, cfg)
}

// damaged reports an error that means that the file is not what SQLite wrote.
func damaged(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// moveAside renames the file and what SQLite keeps beside it.
func moveAside(path string) (aside string, err error) {
	aside = fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405"))
	for _, end := range []string{"", "-wal", "-shm"} {
		if renameErr := os.Rename(path+end, aside+end); renameErr != nil && !errors.Is(renameErr, fs.ErrNotExist) {
			err = errors.Join(err, renameErr)
		}
	}
	return aside, err
}

func open(ctx context.Context, cfg Config) (*Ledger, error) {
	if cfg.Path == "" {
		return nil, errors.New("open the ledger: no file is named")
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o755); err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", cfg.Path, err)
	}
	busy := cfg.BusyTimeout
	if busy == 0 {
		busy = 5 * time.Second
	}
	db, err := sql.Open("sqlite", dsn(cfg.Path, busy))
	if err != nil {
		return nil, fmt.Errorf("open the ledger %s: %w", cfg.Path, err)
	}
	db.SetMaxOpenConns(4)
	l := &Ledger{db: db, path: cfg.Path}
	if err := l.prepare(ctx, cfg.Network); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func dsn(path string, busy time.Duration) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
		"journal_mode(WAL)",
		"synchronous(FULL)",
	}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// prepare migrates the tables, notes the opened file and checks the network.
func (l *Ledger) prepare(ctx context.Context, network string) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, l.db, dir)
	if err != nil {
		return l.explain("read its tables", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return l.explain("bring its tables up to date", err)
	}
	if l.file, err = os.Stat(l.path); err != nil {
		return l.explain("look at its file", err)
	}
	if _, err := l.db.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('network', ?) ON CONFLICT DO NOTHING`, network); err != nil {
		return l.explain("tie it to the network", err)
	}
	var stored string
	if err := l.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'network'`).Scan(&stored); err != nil {
		return l.explain("read its network", err)
	}
	if stored != network {
		return fmt.Errorf("open the ledger %s: %w: it was made on %q, the node is on %q; connect the right node or use another file",
			l.path, ledger.ErrForeign, stored, network)
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// Check writes and reads a row.
func (l *Ledger) Check(ctx context.Context) error {
	return l.write(ctx, "check it", `INSERT INTO meta (name, value) VALUES ('checked', '') ON CONFLICT DO UPDATE SET value = ''`)
}

// explain says what failed on which file and, where it is known, what to do.
func (l *Ledger) explain(what string, err error) error {
	hint := ""
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			hint = " (another process holds it: is a second manager running?)"
		case sqlite3.SQLITE_FULL:
			hint = " (make room on its disk)"
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
			hint = " (check the permissions of the file and its directory)"
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			hint = " (the file is damaged: restore it, or move it away to begin a new one)"
		}
	}
	return fmt.Errorf("ledger %s: %s: %w%s", l.path, what, err, hint)
}

// present refuses to write to a file that is no longer the one under its name:
// SQLite would go on writing into the deleted file without an error.
func (l *Ledger) present() error {
	now, err := os.Stat(l.path)
	if err != nil {
		return fmt.Errorf("ledger %s is gone: restore it or restart the manager: %w", l.path, err)
	}
	if !os.SameFile(l.file, now) {
		return fmt.Errorf("ledger %s was replaced by another file: restart the manager", l.path)
	}
	return nil
}

// write runs one statement that changes rows.
func (l *Ledger) write(ctx context.Context, what, query string, args ...any) error {
	_, err := l.writeCount(ctx, what, query, args...)
	return err
}

func (l *Ledger) writeCount(ctx context.Context, what, query string, args ...any) (int64, error) {
	if err := l.present(); err != nil {
		return 0, err
	}
	res, err := l.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, l.explain(what, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, l.explain(what, err)
	}
	return n, nil
}

// read runs a query and gives every row to scan.
func (l *Ledger) read(ctx context.Context, what string, scan func(*sql.Rows) error, query string, args ...any) error {
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return l.explain(what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return l.explain(what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return l.explain(what, err)
	}
	return nil
}
