package extprover

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestReadLogLine(t *testing.T) {
	for _, tt := range []struct {
		line  string
		level slog.Level
		want  string // message and attributes
	}{
		{`time=2026-11-23T15:49:03.935Z level=WARN msg="task \"x\" queued" task=2c67 err="a = b" empty=`, slog.LevelWarn, `task "x" queued [task 2c67 err a = b empty ]`},
		{`time=1 level=DEBUG msg=stopped`, slog.LevelDebug, `stopped []`},
		{`time=1 level=TRACE msg=got`, slog.LevelDebug, `got []`},
		{"\x1b[2m2023-03-01T01:02:03Z\x1b[0m \x1b[31mERROR\x1b[0m processor: no GPU", slog.LevelError, "2023-03-01T01:02:03Z ERROR processor: no GPU []"},
		{`[2023-03-01T01:02:03Z WARN  bellperson] slow`, slog.LevelWarn, `[2023-03-01T01:02:03Z WARN  bellperson] slow []`},
		{`plain text`, slog.LevelInfo, `plain text []`},
		{`prog: database wdpost: Access denied; check user and password`, slog.LevelError, `prog: database wdpost: Access denied; check user and password []`},
		{`progress: 50%`, slog.LevelInfo, `progress: 50% []`},
		{`panic: runtime error`, slog.LevelError, `panic: runtime error []`},
		{`thread 'main' panicked at src/main.rs:1`, slog.LevelError, `thread 'main' panicked at src/main.rs:1 []`},
		{`INFORMATION is not a level`, slog.LevelInfo, `INFORMATION is not a level []`},
		{`time=5 o'clock`, slog.LevelInfo, `time=5 o'clock []`},
		{`time="`, slog.LevelInfo, `time=" []`},
	} {
		level, msg, attrs := readLogLine(tt.line, "prog")
		if got := fmt.Sprintf("%s %v", msg, attrs); level != tt.level || got != tt.want {
			t.Errorf("%q: %s %q, want %s %q", tt.line, level, got, tt.level, tt.want)
		}
	}
}

// TestReadLogLineInverts: what slog writes is read back.
func TestReadLogLineInverts(t *testing.T) {
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Error("it \"failed\"\n", "err", errors.New("a\tb"), "n", 7, "empty", "")
	level, msg, attrs := readLogLine(strings.TrimSpace(b.String()), "prog")
	if want := "[err a\tb n 7 empty ]"; level != slog.LevelError || msg != "it \"failed\"\n" || fmt.Sprint(attrs) != want {
		t.Errorf("%s %q %q", level, msg, attrs)
	}
}

func FuzzReadLogLine(f *testing.F) {
	f.Add(`time=1 level=INFO msg="x" a=b`)
	f.Add("\x1b[31mERROR\x1b[0m")
	f.Fuzz(func(t *testing.T, line string) {
		if _, _, attrs := readLogLine(line, "prog"); len(attrs)%2 != 0 {
			t.Fatal("odd attributes")
		}
	})
}
