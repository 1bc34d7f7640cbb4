package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wdpost/internal/condition"
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

// TestDamagedFile: a damaged file is moved aside whole, and a new one is begun.
func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"another file":       func([]byte) []byte { return []byte(strings.Repeat("not a database\n", 400)) },
		"the first 8 KiB":    func(b []byte) []byte { clear(b[:8192]); return b },
		"all but the header": func(b []byte) []byte { clear(b[100:]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			l, err := openAt(t, path)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			board := condition.NewBoard()
			l, err = sqlite.Open(t.Context(), sqlite.Config{Path: path, Network: "testnet", Board: board})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Check(t.Context()), l.Close()); err != nil {
				t.Error(err)
			}
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil || len(aside) == 0 {
				t.Fatalf("moved aside: %v, %v", aside, err)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, b) {
				t.Errorf("what was moved aside is not what was there: %v", err)
			}
			if list := board.List(); len(list) != 1 || list[0].Kind != condition.LedgerDamaged {
				t.Errorf("conditions %+v", list)
			}
		})
	}
}

func TestPathIsADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := openAt(t, dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("directory: %v", err)
	}
}
