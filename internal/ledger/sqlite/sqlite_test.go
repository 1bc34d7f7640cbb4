package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/ledger"
	"wdpost/internal/ledger/ledgertest"
	"wdpost/internal/ledger/sqlite"
)

func TestContract(t *testing.T) {
	ledgertest.Exercise(t, func(t *testing.T) ledgertest.Opener {
		path := filepath.Join(t.TempDir(), "with space", "ledger#1?.db")
		return func(t *testing.T, network string) (ledger.Ledger, error) {
			l, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Network: network})
			if err != nil {
				return nil, err
			}
			return l, nil
		}
	})
}

// openAt opens path for the test network.
func openAt(t *testing.T, path string) (*sqlite.Ledger, error) {
	return sqlite.Open(t.Context(), sqlite.Config{Path: path, Network: "testnet", BusyTimeout: 50 * time.Millisecond})
}

func TestDurabilityPragmas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := openAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
		if got, err := sqlite.Pragma(t.Context(), l, pragma); err != nil || got != want {
			t.Errorf("%s = %q, %v", pragma, got, err)
		}
	}
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := openAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	err = l.Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "second manager") {
		t.Errorf("locked: %v", err)
	}
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err != nil {
		t.Errorf("free again: %v", err)
	}
}

func TestFileGoesAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := openAt(t, path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(path, path+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "is gone") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("deleted: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("replaced: %v", err)
	}
}

func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database\n", 400)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openAt(t, path); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
}

func TestPathIsADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := openAt(t, dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("directory: %v", err)
	}
}
