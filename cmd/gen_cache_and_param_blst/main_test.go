package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gen_cache_and_param_blst": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata"})
}

// The spelling of the operator's guide, on a machine without the files.
func TestGuide(t *testing.T) {
	var out, errOut strings.Builder
	dir := t.TempDir()
	env := func(key string) string {
		if key == "FIL_PROOFS_PARAMETER_CACHE" {
			return dir
		}
		return ""
	}
	err := newCommand(&out, &errOut, env).Run(context.Background(),
		[]string{"./gen_cache_and_param_blst", "wdpost-param", "--size", "32GiB", "--out", t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "lotus fetch-params 32GiB") {
		t.Errorf("%v", err)
	}
	if out.Len()+errOut.Len() > 0 {
		t.Errorf("said more than the error: %s%s", out.String(), errOut.String())
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "32GiB": 32 << 30, "32gib": 32 << 30, "34359738368": 32 << 30, "2KiB": 2 << 10} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"33GiB", "GiB", "-1", "0", "1e3"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q read as %d", text, got)
		}
	}
}

func TestProgressLines(t *testing.T) {
	got := line("convert window 32GiB", 0, 250_000_000, 1_000_000_000, 2*time.Second)
	if got != "convert window 32GiB: 25.0%, 125.0 MB/s, 6s left" {
		t.Error(got)
	}
	if got := line("continued", 500_000_000, 600_000_000, 1_000_000_000, time.Second); got != "continued: 60.0%, 100.0 MB/s, 4s left" {
		t.Error(got)
	}
	if got := line("x", 0, 0, 0, 0); !strings.Contains(got, "? left") {
		t.Error(got)
	}
	p := newProgress(os.NewFile(0, "")) // not a terminal in tests, and no crash if it is
	p.report("a", 1, 2)
	p.report("b", 2, 2)
	p.end()
	p.end()
}
