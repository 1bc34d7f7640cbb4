package run

import (
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"wdpost/proofs/kernel"
)

// VersionAsked prints the build, if the program was called with `version` or
// --version alone, and reports whether it was.
func VersionAsked(args []string, out io.Writer) bool {
	if len(args) != 2 || args[1] != "version" && args[1] != "--version" {
		return false
	}
	fmt.Fprintf(out, "%s %s\n", filepath.Base(args[0]), versionText(debug.ReadBuildInfo()))
	return true
}

// versionText is the module's version, the commit, the Go version, and the
// vector kernels of this processor, the one in use first.
func versionText(info *debug.BuildInfo, ok bool) string {
	version, facts := "unknown", []string{}
	if ok {
		version = info.Main.Version
		set := map[string]string{}
		for _, s := range info.Settings {
			set[s.Key] = s.Value
		}
		if commit := set["vcs.revision"]; commit != "" {
			text := "commit " + commit[:min(12, len(commit))]
			if set["vcs.modified"] == "true" {
				text += " with changes"
			}
			facts = append(facts, text, set["vcs.time"])
		}
	}
	facts = append(facts, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	var kernels []string
	for _, k := range kernel.All() {
		if k.Supported() {
			kernels = append(kernels, k.String())
		}
	}
	facts = append(facts, "kernel "+kernel.Auto.Resolve().String()+" of "+strings.Join(kernels, ", "))
	return version + " (" + strings.Join(facts, ", ") + ")"
}
