// Package golden finds the data that the reference implementation made: large
// files that lie beside the repository, in ../shared/golden. What is small is
// in the testdata of the room that needs it.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the directory of the golden data. Where it is absent the test is
// skipped; in continuous integration (CI set) it fails instead, so that no run
// passes without having been held against the reference.
func Dir(t testing.TB) string {
	t.Helper()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(root, "go.mod")) {
		parent := filepath.Dir(root)
		if parent == root {
			t.Fatal("the tests run outside the source tree")
		}
		root = parent
	}
	dir := filepath.Join(filepath.Dir(root), "shared", "golden")
	if !exists(filepath.Join(dir, "README.md")) {
		if os.Getenv("CI") != "" {
			t.Fatalf("the golden data is not at %s", dir)
		}
		t.Skipf("the golden data is not at %s", dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
