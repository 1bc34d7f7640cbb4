package winning

import (
	"crypto/sha256"
	"sync"
	"time"
)

// flights joins equal requests: several gateways ask the same thing for one
// block, and it is proven once. A proof stays until the request's time is up.
type flights struct {
	mu    sync.Mutex
	byKey map[[32]byte]*flight
}

type flight struct {
	limit   time.Time
	waiting []func(outcome)
	proven  *outcome // nil while it is under way
}

// flightKey names a request: the miner and the bytes that the gateway passed on.
func flightKey(m Miner, payload []byte) [32]byte {
	h := sha256.New()
	h.Write(m.Address.Bytes())
	h.Write(payload)
	return [32]byte(h.Sum(nil))
}

// join reports whether the request is the first of its kind, which its caller
// must land. finish is called with its outcome, at once if there is one.
func (f *flights) join(key [32]byte, limit time.Time, finish func(outcome)) (first bool) {
	f.mu.Lock()
	if f.byKey == nil {
		f.byKey = map[[32]byte]*flight{}
	}
	for k, old := range f.byKey {
		if old.proven != nil && time.Until(old.limit) <= 0 {
			delete(f.byKey, k)
		}
	}
	known := f.byKey[key]
	switch {
	case known == nil:
		f.byKey[key] = &flight{limit: limit, waiting: []func(outcome){finish}}
		f.mu.Unlock()
		return true
	case known.proven == nil:
		known.waiting = append(known.waiting, finish)
		f.mu.Unlock()
		return false
	}
	o := *known.proven
	f.mu.Unlock()
	finish(o)
	return false
}

// land tells an outcome to all who wait for it. A failure is not kept: the next
// request is tried again.
func (f *flights) land(key [32]byte, o outcome) {
	f.mu.Lock()
	known := f.byKey[key]
	waiting := known.waiting
	known.waiting = nil
	if o.err == nil {
		known.proven = &o
	} else {
		delete(f.byKey, key)
	}
	f.mu.Unlock()
	for _, finish := range waiting {
		finish(o)
	}
}
