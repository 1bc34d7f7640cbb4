package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"wdpost/internal/queue"
	"wdpost/internal/queue/queuetest"
	"wdpost/internal/queue/sqlite"
	"wdpost/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestConformance(t *testing.T) {
	queuetest.Exercise(t, func(t *testing.T) (queue.Store, func() queue.Store) {
		path := filepath.Join(t.TempDir(), "a dir?", "queue #1.db")
		return open(t, path), func() queue.Store { return open(t, path) }
	})
}

// The rows of an older version survive up, down and up again.
func TestMigrationsKeepRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	db := open(t, path)
	ctx := t.Context()
	if _, err := db.Put(ctx, 100, queue.NewTask{ID: "1", In: []byte("q"), NotAfter: 900}); err != nil {
		t.Fatal(err)
	}
	if v, err := db.MigrateDown(ctx, 1); err != nil || v != 1 {
		t.Fatalf("down: version %d, %v", v, err)
	}
	plain, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Exec(`INSERT INTO tasks (id, in_body, created_at) VALUES ('2', 'old', 50)`); err != nil {
		t.Fatal(err)
	}
	if v, err := db.MigrateDown(ctx, 0); err != nil || v != 0 {
		t.Fatalf("down: version %d, %v", v, err)
	}
	v, err := db.Migrate(ctx)
	have, need, err2 := db.Version(ctx)
	if err != nil || err2 != nil || v != need || have != need {
		t.Fatalf("up: version %d of %d, %v, %v", have, need, err, err2)
	}
	ts, err := db.List(ctx, queue.Filter{})
	if err != nil || len(ts) != 2 || ts[1].NotAfter != queue.NoEnd {
		t.Fatalf("rows afterwards: %+v, %v", ts, err)
	}
	var seen string
	if err := plain.QueryRow(`SELECT created_at FROM tasks_view WHERE id = '2'`).Scan(&seen); err != nil || len(seen) != len("2026-01-01 00:00:00") {
		t.Fatalf("tasks_view: %q, %v", seen, err)
	}
}

// A task that the guide's SQL puts in by hand is a task.
func TestRowsByHand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	db := open(t, path)
	plain, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Exec(`INSERT INTO tasks (id, in_body, created_at, retry_count) VALUES ('1', 'q', 50, 1)`); err != nil {
		t.Fatal(err)
	}
	ts, err := db.Claim(t.Context(), 100, []queue.Claimer{{Slave: "a", SectorSizes: []uint64{2048}, Avoid: 10}})
	if err != nil || ts[0].ID != "1" {
		t.Fatalf("claimed %+v, %v", ts, err)
	}
	if _, err := plain.Exec(`UPDATE tasks SET started_at = NULL WHERE id = '1'`); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Show(t.Context(), "1"); err != nil || got.State != task.Ready {
		t.Fatalf("set back by hand: %+v, %v", got, err)
	}
}

func TestFileIsNotADatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(path, []byte("this is a text file and not a database at all, really"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path, quiet); err == nil {
		t.Fatal("opened")
	}
}

func TestMistypedPath(t *testing.T) {
	for _, path := range []string{"/no/such/place/queue.db", "/proc/queue.db"} {
		if db, err := sqlite.Open(t.Context(), path, quiet); err == nil {
			_ = db.Close()
			t.Errorf("%s: opened", path)
		}
	}
}

func TestClosed(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "queue.db"), quiet)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = db.Put(context.Background(), 100, queue.NewTask{ID: "1", In: []byte("q")})
	if !errors.Is(err, queue.ErrUnavailable) {
		t.Fatalf("put after close: %v", err)
	}
}
