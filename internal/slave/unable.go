package slave

import (
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// unableFor is how long a size that could not be proven here is not asked for:
// an operator may have brought its parameters meanwhile.
const unableFor = 5 * time.Minute

// unable remembers the sector sizes whose proofs cannot be made here.
type unable struct {
	mu    sync.Mutex
	until map[uint64]time.Time
	why   error // of the last
}

// note begins a size's time.
func (u *unable) note(size uint64, why error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil {
		u.until = make(map[uint64]time.Time)
	}
	u.until[size], u.why = time.Now().Add(unableFor), why
}

// without returns the sizes but those that cannot be proven now; of none, none.
func (u *unable) without(sizes []uint64) []uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(sizes), func(s uint64) bool { return time.Now().Before(u.until[s]) })
}

// all is for how long none of the sizes can be proven; 0 if one can.
func (u *unable) all(sizes []uint64) time.Duration {
	if len(sizes) == 0 {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	least := unableFor
	for _, s := range sizes {
		least = min(least, time.Until(u.until[s]))
	}
	return max(least, 0)
}

// reason is why a size cannot be proven now; nil if all can.
func (u *unable) reason() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, until := range u.until {
		if time.Now().Before(until) {
			return u.why
		}
	}
	return nil
}

// sizes are the sector sizes that this slave is for; none means all.
func (w *Worker) sizes() []uint64 {
	if len(w.cfg.SectorSizes) > 0 {
		return w.cfg.SectorSizes
	}
	if w.unable.reason() != nil {
		return w.cfg.AllSizes
	}
	return nil
}

// cannot notes that questions of this kind cannot be proven here.
func (w *Worker) cannot(q task.Question, why error) {
	size, err := task.SectorSize(q.ProofType)
	if err != nil {
		return
	}
	w.unable.note(size, why)
	w.log.Error("no more tasks of this sector size are taken for a while", attr.ProofType(q.ProofType), attr.In(unableFor), attr.Err(why))
}

// Report is how the slave is, for its master.
func (w *Worker) Report() task.Report {
	r := task.Report{State: task.SlaveReady, Roles: w.cfg.Roles, SectorSizes: w.unable.without(w.sizes()), Unseen: w.stores.unseen()}
	if why := w.unable.reason(); why != nil {
		r.LastError = why.Error()
		if w.unable.all(w.sizes()) > 0 {
			r.State, r.Why = task.SlaveWaiting, why.Error()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.LastError == "" && w.lastErr != nil {
		r.LastError = w.lastErr.Error()
	}
	if isClosed(w.stopping) {
		r.State, r.Why = task.SlaveLeaving, "stopping"
	}
	return r
}
