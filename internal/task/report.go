package task

import "slices"

// SlaveState is what a slave process is doing about tasks, by its own word.
type SlaveState string

// The states that a slave reports.
const (
	SlaveReady   SlaveState = "ready"   // takes tasks
	SlaveWaiting SlaveState = "waiting" // takes none until something is mended; Report.Why says what
	SlaveLeaving SlaveState = "leaving" // takes none any more and ends
)

// Report is what a slave process tells of itself: what it can prove, on what
// machine, and what is wrong with it.
type Report struct {
	State       SlaveState `json:"state,omitempty"`
	Why         string     `json:"why,omitempty"`          // of a state other than ready, one sentence
	SectorSizes []uint64   `json:"sector_sizes,omitempty"` // bytes; none means all
	Roles       []Role     `json:"roles,omitempty"`        // none means all
	Cores       int        `json:"cores,omitempty"`        // that proofs may use
	Memory      uint64     `json:"memory,omitempty"`       // bytes that proofs may use
	Unseen      []string   `json:"unseen,omitempty"`       // stores it cannot read, as Want.Unseen
	LastError   string     `json:"last_error,omitempty"`   // of the last attempt that failed here
}

// Bounds of a report: they come from other machines.
const (
	MaxSectorSizes = 16
	MaxUnseen      = 64
	maxStoreName   = 300
)

// Bounded returns the report within its bounds, its texts without control
// characters.
func (r Report) Bounded() Report {
	r.Why, r.LastError = clipText(r.Why, maxReasonErr), clipText(r.LastError, maxReasonErr)
	r.SectorSizes = slices.Clone(r.SectorSizes[:min(len(r.SectorSizes), MaxSectorSizes)])
	r.Roles = slices.Clone(r.Roles[:min(len(r.Roles), 8)])
	r.Roles = slices.DeleteFunc(r.Roles, func(v Role) bool { return v != RoleRead && v != RoleProve })
	r.Unseen = BoundedStores(r.Unseen)
	switch r.State {
	case SlaveReady, SlaveWaiting, SlaveLeaving:
	default:
		r.State = ""
	}
	return r
}

// BoundedStores returns at most MaxUnseen names of stores, each cut to a bound,
// without control characters.
func BoundedStores(names []string) []string {
	var out []string
	for _, s := range names[:min(len(names), MaxUnseen)] {
		out = append(out, clipText(s, maxStoreName))
	}
	return out
}
