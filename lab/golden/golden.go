// Package golden finds the data that the reference implementation made: proofs,
// parameter files, sectors and answers of a real node, in its testdata folder.
// How each was made stands in testdata/README.md.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the directory of the golden data. The tests fail where it is
// absent, so that no run passes without having been held against the reference.
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
	dir := filepath.Join(root, "lab", "golden", "testdata")
	if !exists(filepath.Join(dir, "README.md")) {
		t.Fatalf("the golden data is not at %s: the source tree is incomplete", dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
