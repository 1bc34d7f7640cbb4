package extprover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"wdpost/internal/attr"
)

// maxStderrLine is the longest line of a child's log that is passed on.
const maxStderrLine = 64 << 10

// passStderr passes each line of a child's stderr to the log, at the level that
// the line itself tells, and keeps the latest error for the child's status.
func (c *child) passStderr(log *slog.Logger, stderr io.Reader) {
	lines := newLineReader(stderr, maxStderrLine)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, errLongLine):
			log.Warn("a line of the child's stderr is left out: too long", attr.Limit(maxStderrLine))
		case err != nil:
			return
		case len(line) > 0:
			level, msg, attrs := readLogLine(string(line), filepath.Base(c.proc.Bin))
			log.Log(context.Background(), level, msg, attrs...)
			if level >= slog.LevelError {
				c.noteError(msg, attrs)
			}
		}
	}
}

// noteError keeps an error of a child that is not ready.
func (c *child) noteError(msg string, attrs []any) {
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i] == "err" || attrs[i] == "error" {
			msg = fmt.Sprintf("%s: %v", msg, attrs[i+1])
		}
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if !c.status.Ready {
		c.status.LastError = msg
	}
}

// logfmtField is one key=value of the text form of log/slog.
var logfmtField = regexp.MustCompile(`^([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)\s*`)

var (
	ansiColour = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	levelWord  = regexp.MustCompile(`\b(TRACE|DEBUG|INFO|WARN|WARNING|ERROR)\b`)
	// lastWords begin what programs write without a level when they give up: Go's
	// and Rust's panics, and plain errors.
	lastWords = regexp.MustCompile(`^(panic:|fatal error:|thread '.*' panicked|[Ee]rror:|[Ff]atal:)`)
)

// readLogLine takes a log line apart: fully, if it has the text form of
// log/slog that our own programs write, else only its level. A line without a
// level that begins with the program's name, or as programs begin when they give
// up, is an error.
func readLogLine(line, program string) (level slog.Level, msg string, attrs []any) {
	line = ansiColour.ReplaceAllString(line, "")
	if !strings.HasPrefix(line, "time=") {
		return levelOf(line, program), line, nil
	}
	rest := line
	for rest != "" {
		field := logfmtField.FindStringSubmatch(rest)
		if field == nil { // some other form after all
			return levelOf(line, program), line, nil
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

// levelOf is the level of a line in no known form: that of the first word that
// names one near its start.
func levelOf(line, program string) slog.Level {
	word := levelWord.FindString(line[:min(len(line), 80)])
	if word == "" && (lastWords.MatchString(line) || strings.HasPrefix(line, program+": ")) {
		return slog.LevelError
	}
	return levelNamed(word)
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
