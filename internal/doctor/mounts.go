package doctor

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Mount is a row of /proc/self/mountinfo.
type Mount struct {
	Point   string
	Type    string   // "nfs4", "ext4", …
	Source  string   // "server:/export", "/dev/sda1"
	Options []string // of the mount and of its file system
}

// ParseMounts reads the text of /proc/self/mountinfo; rows that it does not
// understand are left out.
func ParseMounts(text string) []Mount {
	var out []Mount
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		front, back := strings.Fields(left), strings.Fields(right)
		if !ok || len(front) < 6 || len(back) < 3 {
			continue
		}
		out = append(out, Mount{
			Point: unescape(front[4]), Type: back[0], Source: unescape(back[1]),
			Options: append(strings.Split(front[5], ","), strings.Split(back[2], ",")...),
		})
	}
	return out
}

// unescape turns the kernel's octal escapes, as \040 for a blank, into bytes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// MountOf is the mount that an absolute path lies in: the longest, and of two
// on one point the later, which covers the former.
func MountOf(mounts []Mount, path string) (Mount, bool) {
	path = filepath.Clean(path)
	best, found := Mount{}, false
	for _, m := range mounts {
		inside := m.Point == "/" || path == m.Point || strings.HasPrefix(path, m.Point+"/")
		if inside && len(m.Point) >= len(best.Point) {
			best, found = m, true
		}
	}
	return best, found
}

// Has reports an option that stands by its name, or with a value.
func (m Mount) Has(name string) bool {
	for _, o := range m.Options {
		if o == name || strings.HasPrefix(o, name+"=") {
			return true
		}
	}
	return false
}

// value is that of an option "name=value"; empty where it is not there.
func (m Mount) value(name string) string {
	for _, o := range m.Options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// Remote reports a file system whose server is another machine and that can
// hang for that.
func (m Mount) Remote() bool {
	return strings.HasPrefix(m.Type, "nfs") || m.Type == "cifs" || m.Type == "smb3" || m.Type == "ceph"
}

// nfsRemedy is what the manual says about mounts of stores.
const nfsRemedy = "mount it with ro,soft,timeo=100,retrans=2 so that a read from a server that is away ends with an error"

// ofNFS says how the reads of an NFS mount end. Where neither soft nor softerr
// is given the kernel mounts hard, and timeo then is only the pause before the
// same read is asked again.
func ofNFS(about string, m Mount) Line {
	wait := "without timeo"
	if t := m.value("timeo"); t != "" {
		wait = "timeo=" + t
	}
	if m.Has("soft") || m.Has("softerr") {
		if tenths, err := strconv.Atoi(m.value("timeo")); err == nil && tenths > mostTimeo {
			return doubt(about, fmt.Sprintf("%s: %s is mounted soft with %s: a hanging read holds its place for minutes", m.Type, m.Source, wait), nfsRemedy)
		}
		return fine(about, "%s: %s, soft, %s", m.Type, m.Source, wait)
	}
	return doubt(about, fmt.Sprintf("%s: %s is mounted hard, %s: a read from a server that is away never ends", m.Type, m.Source, wait), nfsRemedy)
}

// mostTimeo is the longest time-out of a soft mount that is not told, in tenths
// of a second.
const mostTimeo = 300
