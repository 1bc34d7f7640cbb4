package sector

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPresence(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	touch(t, file, 1)
	away := filepath.Join(dir, "away")
	var log bytes.Buffer
	p := NewPresence([]Store{{Name: "here", Path: dir}, {Name: "away", Path: away}}, slog.New(slog.NewTextHandler(&log, nil)))
	for range 2 {
		if err := p.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Missing(); err == nil || !strings.Contains(err.Error(), `store "away"`) || strings.Contains(err.Error(), "here") {
		t.Errorf("missing: %v", err)
	}
	if n := strings.Count(log.String(), "cannot be read"); n != 1 {
		t.Errorf("%d complaints in the log, want 1:\n%s", n, log.String())
	}
	if err := os.Mkdir(away, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := p.Look(t.Context()); err != nil || p.Missing() != nil {
		t.Errorf("look %v, missing %v", err, p.Missing())
	}
	if !strings.Contains(log.String(), "store is back") {
		t.Errorf("log %s", log.String())
	}
	if err := NewPresence([]Store{{Name: "f", Path: file}}, discard()).Look(t.Context()); !errors.Is(err, ErrNoDirectory) {
		t.Errorf("got %v", err)
	}
}
