package task

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Assignment is a task in the hands of a slave.
type Assignment struct {
	Lease
	Question Question
	// Stored is the question as the queue keeps it, JSON, where whoever hands the
	// assignment on has no use for it otherwise; Question is empty then.
	Stored []byte
	// Remaining is the time until the window closes, as of the moment of
	// receipt; 0 means unknown. It is a duration because the clocks of master
	// and slave may differ.
	Remaining time.Duration
	// HeartbeatTimeout is the silence after which the master gives the task to
	// another slave.
	HeartbeatTimeout time.Duration
	// Part, unless nil, is what is given instead: a part of another slave's task.
	// The lease then has the part's id and attempt 0, and the question no vanilla
	// proofs yet.
	Part *Part
}

// Want is what a slave asks for when it asks for a task.
type Want struct {
	SectorSizes []uint64 // in bytes, of what the slave can prove; none means all
	Holding     *Holding // nil: the slave does not tell
	// Unseen are the stores, by the asker's paths, in which the slave could read
	// nothing when it last tried: tasks with sectors there go to others first.
	Unseen []string
	// Roles are what the slave does; none means all. One without RoleRead is
	// never given a whole task.
	Roles []Role
}

// Role is a part of the work on a task.
type Role string

const (
	// RoleRead: the slave sees the stores, and makes the vanilla proofs of a
	// whole task.
	RoleRead Role = "read"
	// RoleProve: the slave makes the SNARK proofs of partitions, of its own
	// tasks or of those that others have read.
	RoleProve Role = "prove"
)

// Does reports whether a slave with these roles does r.
func (w Want) Does(r Role) bool { return len(w.Roles) == 0 || slices.Contains(w.Roles, r) }

// Holding is what a slave knows of its own leases when it asks for another.
type Holding struct {
	// Leases are all that it has, those whose answer it is delivering included.
	Leases []Lease
	// Unsure says that an earlier claim of the slave may have been answered
	// without its hearing of it.
	Unsure bool
}

// Pulse is the master's answer to a heartbeat.
type Pulse struct {
	Lost      []Lease                 // no longer the slave's: stop working on them
	Remaining map[Lease]time.Duration // until the window closes, of the others where it is known
}

// ErrNoTask means that there was nothing to claim while the claimer waited.
var ErrNoTask = errors.New("no task")

// ErrLost refuses a heartbeat, answer or failure: the lease is not the task's
// latest attempt, or the task is over.
var ErrLost = errors.New("lease lost")

// ErrBadAnswer is wrapped by every refusal of Answer.Check and by verifiers
// that find a proof wrong.
var ErrBadAnswer = errors.New("bad answer")

// Check refuses an answer that cannot belong to the question, whatever its
// proof says: faults that were not asked about, out of order or twice; not
// exactly one proof where one is due; a proof besides faults where the asker
// did not allow skipping; or nothing proven at all.
func (a Answer) Check(q Question) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBadAnswer, fmt.Sprintf(format, args...))
	}
	asked := make(map[uint64]bool, len(q.Replicas))
	for _, r := range q.Replicas {
		asked[r.SectorID] = true
	}
	for i, n := range a.Faults {
		if !asked[n] {
			return bad("sector %d among the faults was not asked about", n)
		}
		if i > 0 && a.Faults[i-1] >= n {
			return bad("the faults are not in ascending order")
		}
	}
	switch {
	case len(a.Proofs) > 1:
		return bad("%d proofs, expected one", len(a.Proofs))
	case len(a.Proofs) == 0 && len(a.Faults) == 0:
		return bad("neither a proof nor faults")
	case len(a.Proofs) == 1 && len(a.Faults) > 0 && !q.AllowSkip:
		return bad("a proof besides faults, but skipping was not allowed")
	case len(a.Proofs) == 1 && len(a.Faults) == len(q.Replicas):
		return bad("a proof over no sector")
	case len(a.Proofs) == 1 && len(a.Proofs[0]) == 0:
		return bad("an empty proof")
	}
	return nil
}

// Proven returns the question as the answer's proof answers it: without the
// faulty sectors.
func (a Answer) Proven(q Question) Question {
	if len(a.Faults) == 0 {
		return q
	}
	return q.Without(a.Faults)
}

// Normal returns the answer with the faults in ascending order, each once, and
// of the reasons those that belong to them.
func (a Answer) Normal() Answer {
	a.Faults = slices.Clone(a.Faults)
	slices.Sort(a.Faults)
	a.Faults = slices.Compact(a.Faults)
	a.Reasons = normalReasons(a.Reasons, a.Faults)
	return a
}
