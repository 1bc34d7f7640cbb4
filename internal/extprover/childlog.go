package extprover

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
)

// maxStderrLine is the longest line of a child's log that is passed on.
const maxStderrLine = 64 << 10

// passStderr passes each line of a child's stderr to the log, at the level that
// the line itself tells.
func passStderr(log *slog.Logger, stderr io.Reader) {
	lines := newLineReader(stderr, maxStderrLine)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errLongLine):
			log.Warn("a line of the child's stderr is left out: too long", "limit", maxStderrLine)
		case err != nil:
			return
		case len(line) > 0:
			level, msg, attrs := readLogLine(string(line))
			log.Log(context.Background(), level, msg, attrs...)
		}
	}
}

// logfmtField is one key=value of the text form of log/slog.
var logfmtField = regexp.MustCompile(`^([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)\s*`)

var (
	ansiColour = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	levelWord  = regexp.MustCompile(`\b(TRACE|DEBUG|INFO|WARN|WARNING|ERROR)\b`)
)

// readLogLine takes a log line apart: fully, if it has the text form of
// log/slog that our own programs write, else only its level, from the first
// word that names one near its start.
func readLogLine(line string) (level slog.Level, msg string, attrs []any) {
	line = ansiColour.ReplaceAllString(line, "")
	if !strings.HasPrefix(line, "time=") {
		return levelNamed(levelWord.FindString(line[:min(len(line), 80)])), line, nil
	}
	rest := line
	for rest != "" {
		field := logfmtField.FindStringSubmatch(rest)
		if field == nil { // some other form after all
			return levelNamed(levelWord.FindString(line[:min(len(line), 80)])), line, nil
		}
		rest = rest[len(field[0]):]
		key, value := field[1], field[2]
		if plain, err := strconv.Unquote(value); err == nil && strings.HasPrefix(value, `"`) {
			value = plain
		}
		switch key {
		case slog.TimeKey:
		case slog.LevelKey:
			level = levelNamed(value)
		case slog.MessageKey:
			msg = value
		default:
			attrs = append(attrs, key, value)
		}
	}
	if msg == "" {
		return level, line, nil
	}
	return level, msg, attrs
}

// levelNamed is info for names that are no level.
func levelNamed(name string) slog.Level {
	switch name {
	case "TRACE", "DEBUG":
		return slog.LevelDebug
	case "WARN", "WARNING":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	}
	return slog.LevelInfo
}
