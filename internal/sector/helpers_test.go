package sector

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// Helpers. testdata holds six golden sectors of 2 KiB.

func golden(name string) string { return filepath.Join("testdata", "2KiB", name) }

func commR(t testing.TB, number uint64) (out [32]byte) {
	t.Helper()
	var list struct {
		Sectors []struct {
			CommR  string `json:"comm_r"`
			Number uint64 `json:"number"`
		} `json:"sectors"`
	}
	text, err := os.ReadFile(golden("sectors-1008-1.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Sectors {
		if s.Number == number {
			if _, err := hex.Decode(out[:], []byte(s.CommR)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func copySector(t testing.TB, store string, number uint64) {
	t.Helper()
	name := ID{miner, number}.String()
	copyFile(t, golden("sealed/"+name), filepath.Join(store, sealedDir, name))
	for _, f := range []string{"p_aux", "t_aux", "sc-02-data-tree-r-last.dat"} {
		copyFile(t, golden("cache/"+name+"/"+f), filepath.Join(store, cacheDir, name, f))
	}
}

// updated gives a sector the files of a snap update.
func updated(t *testing.T, store string, number uint64) {
	t.Helper()
	name := ID{miner, number}.String()
	copyFile(t, golden("sealed/"+name), filepath.Join(store, updateDir, name))
	for _, f := range []string{"p_aux", "sc-02-data-tree-r-last.dat"} {
		copyFile(t, golden("cache/"+name+"/"+f), filepath.Join(store, updateCacheDir, name, f))
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func tryAttach(t *testing.T, index *Index, log io.Writer, cfg AttachConfig) (AttachReport, error) {
	t.Helper()
	cfg.Index, cfg.Guard, cfg.Log = index, NewGuard(GuardConfig{}), slog.New(slog.NewTextHandler(log, nil))
	return Attach(t.Context(), cfg)
}

func attach(t *testing.T, index *Index, log io.Writer, cfg AttachConfig) AttachReport {
	t.Helper()
	report, err := tryAttach(t, index, log, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
