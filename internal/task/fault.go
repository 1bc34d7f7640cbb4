package task

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// FaultKind says whose trouble an unreadable sector is. The empty kind is that
// of a prover that gave no reason.
type FaultKind string

const (
	// FaultData: the sector was read and is wrong: short, damaged, of another
	// commitment. It is the sector's, wherever these files are read.
	FaultData FaultKind = "data"
	// FaultUnseen: the files are not there on this machine, or closed to it.
	// Another machine may see them.
	FaultUnseen FaultKind = "unseen"
	// FaultStore: the store does not answer this machine, or fails: time-outs,
	// input errors, a store that is set aside. Another machine may reach it.
	FaultStore FaultKind = "store"
)

// Elsewhere reports whether another machine may read what this one could not.
func (k FaultKind) Elsewhere() bool { return k != FaultData }

// FaultError is the error of one sector that could not be read, with whose
// trouble that is.
type FaultError struct {
	Kind  FaultKind
	Store string // the folder of the store that is blamed; empty where none is
	Err   error
}

// Error returns the cause's text.
func (e *FaultError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FaultError) Unwrap() error { return e.Err }

// FaultOf returns the kind and the store in err's chain; nothing where it has
// none.
func FaultOf(err error) (kind FaultKind, store string) {
	var f *FaultError
	if errors.As(err, &f) {
		return f.Kind, f.Store
	}
	return "", ""
}

// Reason says why some of the faults of an answer could not be read: all those
// of one kind in one store together, so that a dead store of a thousand
// sectors is one sentence.
type Reason struct {
	Kind    FaultKind `json:"kind"`
	Store   string    `json:"store,omitempty"` // folder, as the asker names it
	Sectors []uint64  `json:"sectors"`         // ascending
	Err     string    `json:"err,omitempty"`   // of the first of them
}

// String writes the reason for people: "12 sectors of /mnt/a (unseen), first 7: …".
func (r Reason) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sectors", len(r.Sectors))
	if r.Store != "" {
		fmt.Fprintf(&b, " of %s", r.Store)
	}
	if r.Kind != "" {
		fmt.Fprintf(&b, " (%s)", r.Kind)
	}
	if len(r.Sectors) > 0 {
		fmt.Fprintf(&b, ", first %d", r.Sectors[0])
	}
	if r.Err != "" {
		fmt.Fprintf(&b, ": %s", r.Err)
	}
	return b.String()
}

// Bounds of the reasons in one answer.
const (
	maxReasons   = 256
	maxReasonErr = 500 // bytes
)

// Reasons groups the errors of unreadable sectors by kind and store, the
// largest group first. Beyond 256 groups the rest has no reason.
func Reasons(faults map[uint64]error) []Reason {
	type key struct {
		kind  FaultKind
		store string
	}
	groups := make(map[key]*Reason)
	for n, err := range faults {
		kind, store := FaultOf(err)
		k := key{kind, store}
		g := groups[k]
		if g == nil {
			g = &Reason{Kind: kind, Store: store}
			groups[k] = g
		}
		g.Sectors = append(g.Sectors, n)
	}
	out := make([]Reason, 0, len(groups))
	for _, g := range groups {
		slices.Sort(g.Sectors)
		g.Err = clipText(faults[g.Sectors[0]].Error(), maxReasonErr)
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Reason) int {
		return cmp.Or(-cmp.Compare(len(a.Sectors), len(b.Sectors)), cmp.Compare(a.Store, b.Store), cmp.Compare(a.Kind, b.Kind))
	})
	return out[:min(len(out), maxReasons)]
}

// clipText cuts s to n bytes of valid UTF-8 without control characters.
func clipText(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// Elsewhere returns the faults that another machine may read: all but those
// whose data was read and is wrong. Ascending.
func (a Answer) Elsewhere() []uint64 {
	wrong := make(map[uint64]bool)
	for _, r := range a.Reasons {
		if r.Kind.Elsewhere() {
			continue
		}
		for _, n := range r.Sectors {
			wrong[n] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(a.Faults), func(n uint64) bool { return wrong[n] })
}

// normalReasons keeps of the reasons what belongs to the faults, within bounds:
// they come from other machines.
func normalReasons(reasons []Reason, faults []uint64) []Reason {
	var out []Reason
	for _, r := range reasons[:min(len(reasons), maxReasons)] {
		r.Sectors = slices.DeleteFunc(slices.Clone(r.Sectors), func(n uint64) bool {
			_, ok := slices.BinarySearch(faults, n)
			return !ok
		})
		slices.Sort(r.Sectors)
		if r.Sectors = slices.Compact(r.Sectors); len(r.Sectors) == 0 {
			continue
		}
		switch r.Kind {
		case FaultData, FaultUnseen, FaultStore:
		default:
			r.Kind = ""
		}
		r.Store, r.Err = clipText(r.Store, maxReasonErr), clipText(r.Err, maxReasonErr)
		out = append(out, r)
	}
	return out
}
