package doctor

import (
	"fmt"
	"strings"
	"time"

	"wdpost/internal/condition"
)

// Daemon is what the control socket of the home tells.
type Daemon struct {
	Running bool
	Absent  bool  // no daemon runs with this home
	Err     error // why it was not asked

	Build, Ours   string // of the daemon, of this program
	Ready         string // "ready", or why nothing could be proven
	Started       time.Time
	ConfigRead    time.Time
	ConfigWritten time.Time // of the file; the zero time where not known
	Conditions    []condition.Condition
}

// Lines are the daemon's own words.
func (d Daemon) Lines() []Line {
	const about = "daemon"
	switch {
	case d.Absent:
		return []Line{doubt(about, d.Err.Error(), "start it: `venus-sector-manager daemon run --poster`; its socket can be opened by its user alone")}
	case d.Err != nil:
		return []Line{bad(about, d.Err.Error(), "look at its log; it runs but does not answer")}
	}
	lines := []Line{fine(about, "build %s, since %s", d.Build, d.Started.Local().Format(time.DateTime))}
	if d.Ready != "ready" {
		lines = append(lines, bad(about, "it could prove nothing now: "+d.Ready, "see to the lines below"))
	}
	if d.Build != d.Ours {
		lines = append(lines, doubt(about, fmt.Sprintf("this program is %s, the daemon runs %s", d.Ours, d.Build), "restart it when no window is about to close"))
	}
	if d.ConfigWritten.After(d.ConfigRead) {
		lines = append(lines, doubt(about, "the configuration was changed at "+d.ConfigWritten.Local().Format(time.DateTime)+" and not read since", "util config reload"))
	}
	return append(lines, Standing("daemon:", d.Conditions)...)
}

// Configuration is the line of a file that was read.
func Configuration(path string, warnings []string) Line {
	if len(warnings) > 0 {
		return doubt("configuration", strings.Join(warnings, "; "), "correct what the text names where it is not meant")
	}
	return fine("configuration", "%s is whole", path)
}
