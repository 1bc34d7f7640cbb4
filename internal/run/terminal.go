package run

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal reports whether f is a terminal that can be drawn on.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil && os.Getenv("TERM") != "dumb"
}
