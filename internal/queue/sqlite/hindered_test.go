package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"wdpost/internal/queue"
)

// A file on a full disk is named with the remedy, without a second error of the
// transaction that SQLite has undone by itself, and goes on when there is room.
func TestFullDiskIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	db := open(t, path)
	ctx := context.Background()
	if err := db.Limit(ctx, 40); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		_, err := db.Put(ctx, 100, queue.NewTask{ID: "1", In: make([]byte, 1<<20), NotAfter: 900})
		return err
	}
	err := put()
	var r queue.Remedy
	if !errors.Is(err, queue.ErrUnavailable) || errors.Is(err, queue.ErrAway) || !errors.As(err, &r) || !strings.Contains(r.Remedy(), "make room") || strings.Contains(err.Error(), "rollback") {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := db.Limit(ctx, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatalf("with room: %v", err)
	}
}
