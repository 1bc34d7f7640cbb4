package wdpost

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCasesNameTheirTests holds docs/CASES.md to the code: every case names a
// test that exists, or says with a dash why it has none.
func TestCasesNameTheirTests(t *testing.T) {
	f, err := os.Open("docs/CASES.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := regexp.MustCompile("`([a-z0-9_/-]+)\\.(Test[A-Za-z0-9_]+)(?:/[^`]*)?`")
	known := map[string]map[string]bool{}
	line := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		line++
		cells := strings.Split(sc.Text(), "|")
		if len(cells) < 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "case" {
			continue
		}
		tests := strings.Join(cells[3:len(cells)-1], "|")
		found := name.FindAllStringSubmatch(tests, -1)
		if len(found) == 0 && len(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(tests), "–"))) < 10 {
			t.Errorf("docs/CASES.md:%d names no test and no reason: %s", line, tests)
		}
		for _, m := range found {
			if known[m[1]] == nil {
				known[m[1]] = testsOf(t, m[1])
			}
			if !known[m[1]][m[2]] {
				t.Errorf("docs/CASES.md:%d names %s.%s, which does not exist", line, m[1], m[2])
			}
		}
	}
}

// testsOf lists the test functions of a package's folder.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	decl := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	tests := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range decl.FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
	}
	return tests
}
