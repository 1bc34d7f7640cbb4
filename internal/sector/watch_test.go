package sector

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/condition"
)

// kinds lists what stands, as kind/subject.
func kinds(b *condition.Board) string {
	var out []string
	for _, c := range b.List() {
		out = append(out, string(c.Kind)+"/"+c.Subject)
	}
	return strings.Join(out, " ")
}

func TestWatchLooks(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	touch(t, file, 1)
	away := filepath.Join(dir, "away")
	var log bytes.Buffer
	board := condition.NewBoard()
	backend := &flawedStore{}
	w := NewWatch(WatchConfig{
		Stores: []Store{{Name: "here", Path: dir}, {Name: "away", Path: away}}, Index: OpenIndex(t.TempDir()),
		Guard: NewGuard(GuardConfig{Backend: backend}), Board: board, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 2 {
		if err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if missing := w.Away(); len(missing) != 1 || missing["away"] == nil {
		t.Errorf("missing: %v", missing)
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 1 || kinds(board) != "store_missing/away" {
		t.Errorf("%d complaints in the log, want 1; conditions %s\n%s", n, kinds(board), log.String())
	}
	if err := os.Mkdir(away, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.Look(t.Context()); err != nil || len(w.Away()) != 0 || kinds(board) != "" {
		t.Errorf("look %v, missing %v, conditions %s", err, w.Away(), kinds(board))
	}
	if !strings.Contains(log.String(), "store is back") {
		t.Errorf("log %s", log.String())
	}
	backend.ro = true
	if err := w.Look(t.Context()); err != nil || kinds(board) != "store_read_only/here store_read_only/away" && kinds(board) != "store_read_only/away store_read_only/here" {
		t.Errorf("%v, conditions %s", err, kinds(board))
	}
	one := NewWatch(WatchConfig{Stores: []Store{{Name: "f", Path: file}}, Index: OpenIndex(t.TempDir()), Guard: NewGuard(GuardConfig{}), Log: discard()})
	if err := one.Look(t.Context()); !errors.Is(err, ErrNoDirectory) {
		t.Errorf("got %v", err)
	}
}

// TestLookBesideBusyStore: a store whose places are all taken is no missing one.
func TestLookBesideBusyStore(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		g := NewGuard(GuardConfig{})
		release := make(chan struct{})
		for i := range 200 {
			go access(t.Context(), g, dir, file(dir, i), hang(release))
		}
		synctest.Wait()
		w := NewWatch(WatchConfig{Stores: []Store{{Name: "busy", Path: dir}}, Index: OpenIndex(dir), Guard: g, Log: discard()})
		if err := w.Look(t.Context()); err != nil || len(w.Away()) != 0 {
			t.Error(err, w.Away())
		}
		close(release)
		synctest.Wait()
	})
}

// TestRescan: new sectors are found without attaching, and a store that has
// become empty is told, not forgotten.
func TestRescan(t *testing.T) {
	index, root := OpenIndex(t.TempDir()), t.TempDir()
	copySector(t, root, 1)
	attach(t, index, io.Discard, AttachConfig{Name: "a", Path: root})
	board := condition.NewBoard()
	w := NewWatch(WatchConfig{
		Stores: []Store{{Name: "a", Path: root}}, Index: index, Guard: NewGuard(GuardConfig{}), RescanInterval: time.Hour, Board: board, Log: discard(),
	})
	has := func(number uint64) bool {
		record, err := index.Get("a")
		return err == nil && record.Replicas.Has(ID{miner, number})
	}
	age := func() { // an hour passes
		record, err := index.Get("a")
		if err != nil {
			t.Fatal(err)
		}
		record.ScannedAt = record.ScannedAt.Add(-time.Hour)
		if err := index.Put(record); err != nil {
			t.Fatal(err)
		}
		clear(w.scanned)
	}
	scan := func() { w.scanDue(t.Context()); w.scans.Wait() }
	copySector(t, root, 2)
	if scan(); has(2) {
		t.Error("scanned before it was due")
	}
	age()
	if scan(); !has(1) || !has(2) {
		t.Error("the new sector was not found")
	}
	age()
	rename(t, filepath.Join(root, sealedDir), filepath.Join(root, "gone"))
	if scan(); !has(1) || kinds(board) != "store_shrunk/a" {
		t.Errorf("known %v, conditions %s", has(1), kinds(board))
	}
	age()
	rename(t, filepath.Join(root, "gone"), filepath.Join(root, sealedDir))
	if scan(); kinds(board) != "" {
		t.Errorf("conditions %s", kinds(board))
	}
}

// TestScanOfUnknownStore: a store that was never attached is scanned where that
// is asked for.
func TestScanOfUnknownStore(t *testing.T) {
	index, root := OpenIndex(t.TempDir()), t.TempDir()
	copySector(t, root, 1)
	for _, asked := range []bool{false, true} {
		w := NewWatch(WatchConfig{
			Stores: []Store{{Name: "a", Path: root, Scan: asked}}, Index: index, Guard: NewGuard(GuardConfig{}), Log: discard(),
		})
		w.scanDue(t.Context())
		w.scans.Wait()
		if record, err := index.Get("a"); asked != (err == nil && record.Replicas.Len() == 1) {
			t.Errorf("asked %v: %+v, %v", asked, record, err)
		}
	}
}
