package sector

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFindStores: folders with a store file are stores, others are not; what
// cannot be read costs only itself.
func TestFindStores(t *testing.T) {
	base := t.TempDir()
	for folder, text := range map[string]string{
		"1": `{"ID": "123", "Name": "", "Strict": false, "AllowMiners": [1], "DenyMiners": [2], "PluginName": "", "Meta": {}, "CanSeal": true}`,
		"2": `{"Name": "扇区", "ReadOnly": true, "Weight": 7, "Meta": {"a": "b"}}`,
		"3": ``,
		"4": `{"Name": `,
		"5": `{}`,
		"6": `{"PluginName": "ceph"}`,
	} {
		if err := os.MkdirAll(filepath.Join(base, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(base, folder, StoreFile), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	g := NewGuard(GuardConfig{})
	found, err := FindStores(t.Context(), g, []string{base + "/*", base + "/2/", "/nowhere/*", base + "/*/x", base + "/["})
	if len(found) != 4 {
		t.Fatalf("%+v, %v", found, err)
	}
	for i, want := range []string{"123 1", "扇区 2", base + "/5 5", "扇区 2"} {
		if got := found[i].Name + " " + filepath.Base(found[i].Path); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if s := found[1]; !s.ReadOnly || s.Weight != 7 || s.Meta["a"] != "b" || found[0].AllowMiners[0] != 1 || found[0].DenyMiners[0] != 2 {
		t.Errorf("%+v", found)
	}
	for _, want := range []string{"4/" + StoreFile, "6/" + StoreFile, "uses the plugin ceph", "/nowhere/*", "only the last part", "syntax error in pattern"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	closed := NewGuard(GuardConfig{Backend: &flawedStore{errs: map[string]error{"/2/": syscall.EACCES}}})
	if found, err := FindStores(t.Context(), closed, []string{base + "/*"}); len(found) != 2 || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%+v, %v", found, err)
	}
}
