package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Unit is what a line of the table counts.
type Unit int

// The units.
const (
	Seconds Unit = iota
	Bytes
)

// Line is one measured quantity of one work.
type Line struct {
	Work string
	Unit Unit
	Ours float64
	// Reference is the reference's; 0 when it was not measured.
	Reference float64
	// AtMost is the target of ours ÷ reference; 0 is none.
	AtMost float64
	// Limit is the target of ours itself; 0 is none.
	Limit float64
}

// Verdict says whether a line's targets are met.
type Verdict string

// The verdicts. Open means that there is a target of the ratio and no reference
// to compare with.
const (
	Met    Verdict = "met"
	NotMet Verdict = "NOT MET"
	Open   Verdict = "?"
	NoGoal Verdict = "–"
)

// Ratio is ours ÷ reference; NaN without a reference.
func (l Line) Ratio() float64 {
	if l.Reference == 0 {
		return math.NaN()
	}
	return l.Ours / l.Reference
}

// Verdict compares the line with its targets.
func (l Line) Verdict() Verdict {
	switch {
	case l.AtMost == 0 && l.Limit == 0:
		return NoGoal
	case l.Limit > 0 && l.Ours > l.Limit:
		return NotMet
	case l.AtMost > 0 && l.Reference == 0:
		return Open
	case l.AtMost > 0 && l.Ratio() > l.AtMost:
		return NotMet
	}
	return Met
}

func (l Line) target() string {
	var parts []string
	if l.AtMost > 0 {
		parts = append(parts, fmt.Sprintf("≤ %.2f ×", l.AtMost))
	}
	if l.Limit > 0 {
		parts = append(parts, "≤ "+l.Unit.text(l.Limit))
	}
	return strings.Join(parts, ", ")
}

// text writes a value of the unit for people, three digits.
func (u Unit) text(v float64) string {
	if u == Bytes {
		return bytesText(uint64(v))
	}
	switch {
	case v < 1e-3:
		return fmt.Sprintf("%.3g µs", v*1e6)
	case v < 1:
		return fmt.Sprintf("%.3g ms", v*1e3)
	}
	return fmt.Sprintf("%.3g s", v)
}

// bytesText writes a number of bytes for people.
func bytesText(n uint64) string {
	switch {
	case n < 1<<20:
		return fmt.Sprintf("%d B", n)
	case n < 1<<30:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

// WriteTable writes lines as a Markdown table whose columns stand in line.
func WriteTable(w io.Writer, lines []Line) error {
	rows := [][]string{{"work", "ours", "reference", "ratio", "target", ""}}
	for _, l := range lines {
		row := []string{l.Work, l.Unit.text(l.Ours), "", "", l.target(), string(l.Verdict())}
		if l.Reference > 0 {
			row[2], row[3] = l.Unit.text(l.Reference), fmt.Sprintf("%.3f", l.Ratio())
		}
		rows = append(rows, row)
	}
	return writeRows(w, rows)
}

// writeRows writes a Markdown table, the first row being its head.
func writeRows(w io.Writer, rows [][]string) error {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	write := func(row []string, pad string) {
		for i, cell := range row {
			b.WriteString("| " + cell + strings.Repeat(pad, width[i]-utf8.RuneCountInString(cell)) + " ")
		}
		b.WriteString("|\n")
	}
	write(rows[0], " ")
	write(make([]string, len(width)), "-")
	for _, row := range rows[1:] {
		write(row, " ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
