// Package doctor looks at everything that a window depends on, now and from
// outside the running daemon, and says of each thing whether it is fine, and
// what to do where it is not.
//
// A check takes what it looks at as values and returns lines; it changes
// nothing. What the daemon itself knows are its standing conditions, which
// become lines as they are. Nothing here can hang: stores are looked at through
// the guard of the sector room, and a mount is judged by the kernel's table, not
// by touching it.
package doctor

import (
	"fmt"
	"io"
	"strings"

	"wdpost/internal/condition"
)

// Mark is the judgement of one line.
type Mark string

// The marks.
const (
	Fine  Mark = "ok"
	Doubt Mark = "warn" // costs nothing yet, or may be meant
	Bad   Mark = "bad"  // costs windows or sectors
)

// Line is one thing that was looked at.
type Line struct {
	Mark  Mark   `json:"mark"`
	About string `json:"about"`        // "node", "store storage1", …
	Text  string `json:"text"`         // what was seen
	Do    string `json:"do,omitempty"` // what to do
}

func fine(about, format string, args ...any) Line {
	return Line{Mark: Fine, About: about, Text: fmt.Sprintf(format, args...)}
}

func doubt(about, text, do string) Line {
	return Line{Mark: Doubt, About: about, Text: oneLine(text), Do: do}
}

func bad(about, text, do string) Line {
	return Line{Mark: Bad, About: about, Text: oneLine(text), Do: do}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

// Failed is the line of a check that could not be made.
func Failed(about string, err error, do string) Line { return bad(about, err.Error(), do) }

// Standing are conditions as lines: what costs windows or sectors is bad. whose
// begins what each is about.
func Standing(whose string, list []condition.Condition) []Line {
	var lines []Line
	for _, c := range list {
		about := strings.Join(strings.Fields(whose+" "+string(c.Kind)+" "+c.Subject), " ")
		l := doubt(about, c.Detail, c.Remedy)
		if c.Cost == condition.Window || c.Cost == condition.Sectors {
			l.Mark = Bad
		}
		lines = append(lines, l)
	}
	return lines
}

// Count is how many lines have the mark.
func Count(lines []Line, m Mark) int {
	n := 0
	for _, l := range lines {
		if l.Mark == m {
			n++
		}
	}
	return n
}

// Escapes of the marks' colours.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// Print writes a line each, and what to do below it.
func Print(w io.Writer, lines []Line, colour bool) error {
	var b strings.Builder
	for _, l := range lines {
		mark := fmt.Sprintf("%-4s", l.Mark)
		if colour {
			mark = map[Mark]string{Fine: green, Doubt: yellow, Bad: red}[l.Mark] + mark + plain
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", mark, l.About, l.Text)
		if l.Do != "" {
			fmt.Fprintf(&b, "      do: %s\n", l.Do)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
