package run

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether f is a terminal that can be drawn on.
func IsTerminal(f *os.File) bool {
	return TerminalWidth(f) > 0 && os.Getenv("TERM") != "dumb"
}

// TerminalWidth returns the number of columns of the terminal f, 0 if it is none.
func TerminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
