package rpc

import (
	"fmt"
	"runtime/debug"
)

// BuildVersion names this program's build for the other side: the module's
// version, or the commit it was built from. It decides nothing.
func BuildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return clip(v, 100)
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return fmt.Sprintf("devel %.12s", s.Value)
		}
	}
	return "devel"
}
