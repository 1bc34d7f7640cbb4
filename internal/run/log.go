package run

import (
	"io"
	"log/slog"
	"strings"
)

// LevelTrace is the level of RUST_LOG=trace, below slog's debug.
const LevelTrace = slog.LevelDebug - 4

// NewLogger returns a text logger on w. rustLog is the value of RUST_LOG as
// operators set it: a level (off, error, warn, info, debug, trace) or a
// comma-separated list of directives like "info,wdpost=debug". Directives for
// single modules have no counterpart here, so the most talkative one decides.
// An empty or unknown value means info.
func NewLogger(w io.Writer, rustLog string) *slog.Logger {
	log, _ := NewLeveledLogger(w, rustLog)
	return log
}

// NewLeveledLogger is NewLogger with the level in hand, to be changed at run
// time.
func NewLeveledLogger(w io.Writer, rustLog string) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(ParseLevel(rustLog))
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.LevelKey && a.Value.Any() == LevelTrace {
				return slog.String(slog.LevelKey, "TRACE")
			}
			return a
		},
	})), level
}

// levelOff is above every level that is ever logged.
const levelOff = slog.LevelError + 100

// ParseLevel reads a RUST_LOG value as NewLogger does.
func ParseLevel(rustLog string) slog.Level {
	names := map[string]slog.Level{
		"off": levelOff, "error": slog.LevelError, "warn": slog.LevelWarn,
		"info": slog.LevelInfo, "debug": slog.LevelDebug, "trace": LevelTrace,
	}
	level, found := slog.Level(0), false
	for _, directive := range strings.Split(rustLog, ",") {
		name := directive[strings.LastIndex(directive, "=")+1:]
		l, ok := names[strings.ToLower(strings.TrimSpace(name))]
		if ok && (!found || l < level) {
			level, found = l, true
		}
	}
	if !found {
		return slog.LevelInfo
	}
	return level
}
