package store

import (
	"os"
	"strconv"
	"strings"
)

// MountOf names the mount that a path lies on, so that what was mounted anew has
// another name. It asks the kernel's table alone and never the file system, which
// may hang; therefore it does not follow links. Empty where the table cannot be
// read or knows no mount of the path.
func MountOf(path string) string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return mountIn(string(table), path)
}

// mountIn finds the mount of a path in a table in the form of proc(5): its number,
// device and source. Of several on one folder the last hides the others.
func mountIn(table, path string) string {
	best, longest := "", 0
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if len(point) >= longest && below(path, point) {
			best, longest = fields[0]+" "+fields[2]+" "+fields[3], len(point)
		}
	}
	return best
}

// below reports whether a path is a folder or lies in it.
func below(path, folder string) bool {
	return folder == "/" && strings.HasPrefix(path, "/") || path == folder || strings.HasPrefix(path, folder+"/")
}

// unescape turns \040 and the like into the byte.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(b))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
