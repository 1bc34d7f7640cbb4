package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

// TestManualsAreTrue: key, type and default of every row are those of the
// structs, no key is absent, and each is described.
func TestManualsAreTrue(t *testing.T) {
	comments, err := fieldComments(filepath.Join(root, "internal", "config"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manuals {
		b, err := os.ReadFile(filepath.Join(root, m.path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.generate(string(b), comments)
		if err != nil {
			t.Fatalf("%s: %v", m.path, err)
		}
		if got != string(b) {
			t.Errorf("%s differs from the structs at %q: run `make generate`", m.path, firstDifference(string(b), got))
		}
		for n, line := range strings.Split(got, "\n") {
			if m.todo != "" && strings.Contains(line, m.todo) {
				t.Errorf("%s:%d: nobody has described the key: %s", m.path, n+1, line)
			}
		}
	}
}

func firstDifference(a, b string) string {
	al, bl := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(al), len(bl)) {
		if al[i] != bl[i] {
			return bl[i]
		}
	}
	return "its end"
}

// TestEverySectionHasATable: a section of a file that no manual shows is a
// setting that no operator finds.
func TestEverySectionHasATable(t *testing.T) {
	for _, m := range manuals {
		b, err := os.ReadFile(filepath.Join(root, m.path))
		if err != nil {
			t.Fatal(err)
		}
		for file, sections := range sectionsOf() {
			for _, s := range sections {
				if !strings.Contains(string(b), "["+s+"]") {
					t.Errorf("%s does not show section [%s] of %s", m.path, s, file)
				}
			}
		}
	}
}

func TestGenerateKeepsMeaningsAndMendsTheRest(t *testing.T) {
	m := manual{head: "key"}
	got, err := m.generate("## slave.toml\n\n### `[read]`\n\n| key | type | default | meaning |\n|---|---|---|---|\n"+
		"| `gone` | text | | was |\n| `timeout` | number | 7 | a `x|y` by hand |\n\ntext\n",
		map[string]string{"Read.Parallel": "How many."})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| `timeout` | duration | `'1m'` | a `x|y` by hand |\n", "| How many. |\n", "\n\ntext\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "gone") {
		t.Error("a key that the structs lack stays")
	}
}

// TestConditionsAreTrue: the lists are those of the catalogue, and every kind is
// told in Chinese.
func TestConditionsAreTrue(t *testing.T) {
	for path, text := range conditionPages {
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != text() {
			t.Errorf("%s differs from the catalogue at %q: run `make generate`", path, firstDifference(string(b), text()))
		}
		if strings.Contains(text(), "（待写）") {
			t.Errorf("%s: a condition is not told in Chinese: add it to internal/condition/chinese.go", path)
		}
	}
}
