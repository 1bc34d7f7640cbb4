package wdpost

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAssemblyIsGenerated runs the generators of proofs/ and compares: whoever
// changes one, or the assembly by hand, must run go generate.
func TestAssemblyIsGenerated(t *testing.T) {
	generate := regexp.MustCompile(`(?m)^//go:generate go run (.+)$`)
	generators := 0
	err := filepath.WalkDir("proofs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range generate.FindAllSubmatch(source, -1) {
			generators++
			checkGenerated(t, filepath.Dir(path), strings.Fields(string(m[1])))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if generators < 3 {
		t.Errorf("only %d generators found", generators)
	}
}

// checkGenerated runs a generator in an empty directory and compares what it
// writes with the files of dir.
func checkGenerated(t *testing.T, dir string, sources []string) {
	t.Helper()
	out := t.TempDir()
	args := []string{"run"}
	for _, s := range sources {
		path, err := filepath.Abs(filepath.Join(dir, s))
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = out
	if message, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("generator of %s: %v\n%s", dir, err, message)
	}
	files, err := os.ReadDir(out)
	if err != nil || len(files) == 0 {
		t.Fatalf("the generator of %s writes %d files (%v)", dir, len(files), err)
	}
	for _, f := range files {
		want, err := os.ReadFile(filepath.Join(out, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its generator writes: run go generate ./proofs/...", filepath.Join(dir, f.Name()))
		}
	}
}
