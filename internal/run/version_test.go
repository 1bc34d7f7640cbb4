package run

import (
	"bytes"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionAsked(t *testing.T) {
	for _, args := range [][]string{{"/usr/bin/p", "version"}, {"p", "--version"}} {
		var b bytes.Buffer
		if !VersionAsked(args, &b) || !strings.HasPrefix(b.String(), "p ") || !strings.Contains(b.String(), "kernel ") {
			t.Errorf("%v: %q", args, b.String())
		}
	}
	for _, args := range [][]string{nil, {"p"}, {"p", "run"}, {"p", "version", "x"}} {
		if VersionAsked(args, new(bytes.Buffer)) {
			t.Errorf("%v is taken for a question about the version", args)
		}
	}
}

func TestVersionText(t *testing.T) {
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	got := versionText(info, true)
	for _, want := range []string{"v1.2.3 (commit 0123456789ab with changes, 2026-01-02T03:04:05Z, go1.", "scalar"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if got := versionText(nil, false); !strings.HasPrefix(got, "unknown (go") {
		t.Errorf("without build information: %q", got)
	}
}
