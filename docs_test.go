package wdpost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// TestDocumentsAreWrapped: prose stays within 100 columns, a Chinese sign taking
// two. Tables, code, headings and what cannot be broken are left alone.
func TestDocumentsAreWrapped(t *testing.T) {
	for _, file := range documents(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code := false
		for n, line := range strings.Split(string(b), "\n") {
			text := strings.TrimSpace(line)
			if strings.HasPrefix(text, "```") {
				code = !code
			}
			if code || strings.HasPrefix(text, "|") || strings.HasPrefix(text, "#") || !strings.Contains(text, " ") {
				continue
			}
			if columns(line) > 100 && breakable(text) {
				t.Errorf("%s:%d has %d columns", file, n+1, columns(line))
			}
		}
	}
}

// documents lists the Markdown files, those beside test data aside.
func documents(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/zh/*.md", "deploy/*.md", "reference/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	if len(list) < 20 {
		t.Fatalf("only %d documents were found", len(list))
	}
	return list
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if unicode.Is(unicode.Han, r) || r >= 0x3000 && r <= 0x303f || r >= 0xff00 && r <= 0xffef {
			n++
		}
	}
	return n
}

// breakable reports whether a line has no single word that is too long for it.
func breakable(s string) bool {
	apart := func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("，。；：、", r) }
	for _, word := range strings.FieldsFunc(s, apart) {
		if columns(word) > 60 {
			return false
		}
	}
	return true
}
