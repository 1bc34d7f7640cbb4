package run

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether f is a terminal that can be drawn on.
func IsTerminal(f *os.File) bool {
	columns, _ := TerminalSize(f)
	return columns > 0 && os.Getenv("TERM") != "dumb"
}

// TerminalSize returns the columns and rows of the terminal f, 0 and 0 if it is
// none.
func TerminalSize(f *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}
