package wdpost

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheWaysNameRealFunctions holds the three ways of docs/ARCHITECTURE.md and
// its glossary to the code.
func TestTheWaysNameRealFunctions(t *testing.T) {
	b, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "## Three ways through the house")
	if !found {
		t.Fatal("the chapter is gone")
	}
	text, _, _ = strings.Cut(text, "## What is durable")
	names := regexp.MustCompile("`([a-z0-9]+)\\.((?:[A-Za-z]+\\.)?[A-Za-z]+)`").FindAllStringSubmatch(text, -1)
	if len(names) < 40 {
		t.Fatalf("only %d names are readable", len(names))
	}
	for _, m := range names {
		room, name := m[1], m[2]
		if room == "dline" || room == "room" { // the chain's own type; the form of the names
			continue
		}
		if !declared(t, room, name) {
			t.Errorf("%s.%s is not in the code", room, name)
		}
	}
}

// declared reports whether a package named room declares a function, type,
// constant, method or field of the name.
func declared(t *testing.T, room, name string) bool {
	t.Helper()
	owner, member, two := strings.Cut(name, ".")
	patterns := []string{`(?m)^func ` + name + `[\[(]`, `(?m)^type ` + name + `\b`, `(?m)^\s+` + name + `\b`}
	if two {
		patterns = []string{
			`(?m)^func \(\w* ?\*?` + owner + `\) ` + member + `\(`,
			`(?ms)^type ` + owner + ` (?:struct|interface) \{.*?^\s+(?:\w+, )*` + member + `\b.*?^\}`,
		}
	}
	for _, root := range []string{"internal/*/", "internal/message/", "proofs/", "proofs/*/"} {
		dirs, err := filepath.Glob(root + room)
		if err != nil {
			t.Fatal(err)
		}
		if root == "proofs/" && room == "proofs" {
			dirs = []string{"proofs"}
		}
		if more, _ := filepath.Glob("internal/" + room); root == "internal/*/" {
			dirs = append(dirs, more...)
		}
		for _, dir := range dirs {
			files, err := filepath.Glob(filepath.Join(dir, "*.go"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range patterns {
					if regexp.MustCompile(p).Match(b) {
						return true
					}
				}
			}
		}
	}
	return false
}
