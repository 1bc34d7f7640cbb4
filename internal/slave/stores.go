package slave

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// unseenFor is how long a store counts as unseen after nothing in it could be
// read: then it is tried again.
const unseenFor = 5 * time.Minute

// maxUnseen bounds the stores that a claim names.
const maxUnseen = 64

// stores remembers in which stores nothing could be read here, by the asker's
// paths.
type stores struct {
	mu   sync.Mutex
	dark map[string]time.Time // since when
}

// storeOf is the folder of the store in which a replica or cache lies, by its path:
// the parent of sealed, cache, update or update-cache.
func storeOf(path string) string { return filepath.Dir(filepath.Dir(path)) }

// note learns from an answer: a store whose sectors could all not be read, none
// of them because its data is wrong, is unseen; one with a sector that was read
// is not.
func (s *stores) note(q task.Question, a task.Answer) (went, came []string) {
	type tally struct{ read, elsewhere, wrong int }
	elsewhere := make(map[uint64]bool)
	for _, n := range a.Elsewhere() {
		elsewhere[n] = true
	}
	tallies := make(map[string]tally)
	for _, r := range q.Replicas {
		t := tallies[storeOf(r.SealedFile)]
		_, faulty := slices.BinarySearch(a.Faults, r.SectorID)
		switch {
		case !faulty:
			t.read++
		case elsewhere[r.SectorID]:
			t.elsewhere++
		default:
			t.wrong++
		}
		tallies[storeOf(r.SealedFile)] = t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for store, t := range tallies {
		_, dark := s.dark[store]
		switch {
		case t.read+t.wrong > 0 && dark:
			delete(s.dark, store)
			came = append(came, store)
		case t.read+t.wrong == 0 && t.elsewhere > 0:
			if s.dark == nil {
				s.dark = make(map[string]time.Time)
			}
			s.dark[store] = time.Now()
			if !dark {
				went = append(went, store)
			}
		}
	}
	slices.Sort(went)
	slices.Sort(came)
	return went, came
}

// unseen lists the stores that are unseen now, ascending.
func (s *stores) unseen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for store, since := range s.dark {
		if time.Since(since) < unseenFor {
			out = append(out, store)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxUnseen)]
}

// noteStores learns from an answer which stores this machine sees, and says what
// changed.
func (w *Worker) noteStores(q task.Question, a task.Answer) {
	went, came := w.stores.note(q, a)
	for _, store := range went {
		w.log.Error("no sector in this store can be read on this machine: is it mounted here, and open to this user?", attr.Store(store), reasons(a))
	}
	for _, store := range came {
		w.log.Info("sectors in this store can be read again", attr.Store(store))
	}
}
