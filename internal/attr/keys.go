package attr

import "log/slog"

// Circuit is a constraint system, as operators write it: "WindowPoSt 32GiB".
func Circuit(name string) slog.Attr { return slog.String("circuit", name) }

// Used is the file that takes the place of another.
func Used(path string) slog.Attr { return slog.String("used", path) }

// Memory is an amount of memory in words: "8.5 GiB".
func Memory(text string) slog.Attr { return slog.String("memory", text) }

// Made is how much of a file is made: "41%".
func Made(percent string) slog.Attr { return slog.String("made", percent) }

// Constraints is a circuit's size.
func Constraints(n uint64) slog.Attr { return slog.Uint64("constraints", n) }

// Kernel is the vector code that proofs are made with.
func Kernel(name string) slog.Attr { return slog.String("kernel", name) }

// Cores is how many processors are used.
func Cores(n int) slog.Attr { return slog.Int("cores", n) }

// Faults is a number of sectors that could not be read.
func Faults(n int) slog.Attr { return slog.Int("faults", n) }
