//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"
)

// guide is the operator's guide, cut into its fenced blocks. The test runs
// these very texts; only addresses, paths, names and the miner number are
// replaced, and each replacement must match something, so that the guide and
// the test cannot drift apart.
type guide struct {
	t      *testing.T
	blocks []string
}

func readGuide(t *testing.T) *guide {
	t.Helper()
	b, err := os.ReadFile("testdata/operator-guide.zh.md")
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{t: t}
	fence := ""
	var cur []string
	for _, line := range strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n") {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3:
			fence = ticks
			cur = nil
		case fence != "" && line == fence:
			g.blocks = append(g.blocks, strings.Join(cur, "\n")+"\n")
			fence = ""
		case fence != "":
			cur = append(cur, line)
		}
	}
	if fence != "" {
		t.Fatal("the guide has an unclosed fence")
	}
	return g
}

// block returns the one fenced block that contains all marks.
func (g *guide) block(marks ...string) string {
	g.t.Helper()
	found := ""
	for _, b := range g.blocks {
		all := true
		for _, m := range marks {
			all = all && strings.Contains(b, m)
		}
		if all {
			if found != "" {
				g.t.Fatalf("two blocks of the guide contain %q", marks)
			}
			found = b
		}
	}
	if found == "" {
		g.t.Fatalf("no block of the guide contains %q", marks)
	}
	return found
}

// replaced applies pairs of old and new to text; each old must occur.
func (g *guide) replaced(text string, pairs ...string) string {
	g.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			g.t.Fatalf("the guide's text no longer contains %q", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// commandLine returns the words of the guide's command that starts with
// prefix, environment assignments first, as a shell would split them (the
// guide's commands need no quoting).
func (g *guide) commandLine(prefix string, pairs ...string) []string {
	g.t.Helper()
	for _, b := range g.blocks {
		for _, line := range strings.Split(b, "\n") {
			if strings.HasPrefix(line, prefix) {
				return strings.Fields(g.replaced(line, pairs...))
			}
		}
	}
	g.t.Fatalf("the guide has no command %q", prefix)
	return nil
}
