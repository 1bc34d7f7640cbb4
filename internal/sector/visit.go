package sector

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/sector/store"
	"wdpost/proofs/merkle"
)

// visit is one access under way: the operations of one caller on the files of
// one sector or folder.
type visit struct {
	guard  *Guard
	stores []*storeState
	weight int
	done   chan struct{} // closed when nobody waits any more

	// Guarded by Guard.mu:
	cause    error // why done is closed
	left     bool
	running  map[*operation]bool
	answered map[*storeState]bool
	trouble  map[*storeState]error
}

// operation is one call of the backend under way.
type operation struct {
	visit *visit
	store *storeState
	path  string
	began time.Time
	timer *time.Timer
	ended bool
	stuck bool
	probe bool
}

func (g *Guard) newVisit(w *waiter) *visit {
	v := &visit{
		guard: g, stores: w.stores, weight: w.weight, done: make(chan struct{}),
		running: map[*operation]bool{}, answered: map[*storeState]bool{}, trouble: map[*storeState]error{},
	}
	g.mu.Lock()
	defer g.unlock()
	for _, s := range v.stores {
		s.active[v] = true
		if s.aside != nil { // since it was admitted
			v.failLocked(s.aside.refusal(s))
		}
	}
	return v
}

// files is the backend of the guard.
func (v *visit) files() store.Backend { return v.guard.cfg.Backend }

// op runs one call of the backend on the file at path, which lies in the store of
// the folder root. It returns when the call does, or when nobody waits any more;
// then the call may go on and must not touch what its caller uses.
func (v *visit) op(root, path string, call func() error) error {
	o, err := v.begin(root, path)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		err := guardedCall(path, call)
		v.guard.end(o, err)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			return &StoreError{Store: root, Err: err}
		}
		return nil
	case <-v.done:
		return merkle.ErrCanceled // leave puts the cause in its place
	}
}

// background runs a call for which nobody waits and which must be made even
// after the access has ended: files are closed so.
func (v *visit) background(root, path string, call func()) {
	g := v.guard
	g.mu.Lock()
	o := g.start(&operation{visit: v, store: g.stateOf(root), path: path})
	if v.left {
		g.threads++ // end takes it back
	}
	g.unlock()
	go func() {
		err := guardedCall(path, func() error { call(); return nil })
		g.end(o, err)
	}()
}

// guardedCall is call, whose panic costs only its file.
func guardedCall(path string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading %s: panic: %v\n%s", path, p, debug.Stack())
		}
	}()
	return call()
}

func (v *visit) begin(root, path string) (*operation, error) {
	g := v.guard
	g.mu.Lock()
	defer g.unlock()
	if v.cause != nil {
		return nil, v.cause
	}
	s := g.stateOf(root)
	if since, hangs := s.hanging[path]; hangs {
		return nil, &StoreError{root, fmt.Errorf("%w: %s hangs since %s", ErrTimeout, path, since.Format(time.TimeOnly))}
	}
	return g.start(&operation{visit: v, store: s, path: path}), nil
}

// start notes the begin of an operation. mu is held.
func (g *Guard) start(o *operation) *operation {
	o.began = time.Now()
	o.timer = time.AfterFunc(g.cfg.Timeout, func() { g.hang(o) })
	o.store.ops++
	o.visit.running[o] = true
	return o
}

// end notes the end of an operation and what it says of its store.
func (g *Guard) end(o *operation, err error) {
	g.mu.Lock()
	defer g.unlock()
	s, v, now := o.store, o.visit, time.Now()
	o.timer.Stop()
	o.ended = true
	s.ops--
	delete(v.running, o)
	if o.stuck {
		g.stuck--
		if s.hanging[o.path].Equal(o.began) {
			delete(s.hanging, o.path)
		}
	}
	if v.left {
		g.threads--
	}
	s.stats.observe(now.Sub(o.began), err)
	switch {
	case err == nil || store.TroubleOf(err) == store.OfFile:
		s.answered = now
		v.answered[s] = true
		if err == nil {
			s.goodPath = o.path
		}
		if s.aside != nil && (o.probe || o.stuck && s.aside.hang) {
			g.trust(s)
		}
		g.serve(s)
	case store.TroubleOf(err) == store.OfStore:
		s.badPath = o.path
		v.trouble[s] = err
	}
	if short := err != nil && store.TroubleOf(err) == store.OfHere; short != g.short {
		g.short = short
		g.later = append(g.later, func() {
			g.cfg.Board.When(short, condition.Condition{Kind: condition.ReaderProcess, Detail: fmt.Sprint(err)})
		})
	}
	g.serveAll()
}

// hang notes that an operation has had its time. Where nothing else was answered
// meanwhile, the store hangs; otherwise this one file does.
func (g *Guard) hang(o *operation) {
	g.mu.Lock()
	defer g.unlock()
	g.hangLocked(o)
}

// hangLocked is hang with mu held.
func (g *Guard) hangLocked(o *operation) {
	if o.ended || o.stuck {
		return
	}
	s := o.store
	o.stuck = true
	g.stuck++
	s.hanging[o.path] = o.began
	s.badPath = o.path
	s.stats.hung++
	err := g.noAnswer(s, o.path)
	s.lastErr = err
	switch {
	case s.aside != nil:
	case s.answered.Before(o.began):
		g.setAside(s, err, true)
		for v := range s.active { // they wait for the same
			v.failLocked(s.aside.refusal(s))
		}
	case len(s.hanging) >= g.cfg.MaxStuck:
		g.setAside(s, fmt.Errorf("%d of its files hang, last: %w", len(s.hanging), err), true)
	}
	o.visit.failLocked(err)
	g.serveAll()
}

// expire ends an access that has had its time. The store of its oldest operation
// is to blame.
func (v *visit) expire() {
	g := v.guard
	g.mu.Lock()
	defer g.unlock()
	running := slices.SortedFunc(maps.Keys(v.running), func(a, b *operation) int { return a.began.Compare(b.began) })
	if len(running) == 0 {
		v.failLocked(fmt.Errorf("%w: not done within %s", ErrTimeout, g.cfg.Timeout))
		return
	}
	oldest := running[0]
	for _, o := range running { // begun with the access: its own timer is due as well
		if time.Since(o.began) > g.cfg.Timeout*99/100 {
			g.hangLocked(o)
		}
	}
	err := g.noAnswer(oldest.store, oldest.path)
	v.trouble[oldest.store] = err
	v.failLocked(err)
}

// fail ends the access for its caller. What is under way goes on.
func (v *visit) fail(cause error) {
	v.guard.mu.Lock()
	defer v.guard.unlock()
	v.failLocked(cause)
}

// failLocked is fail with mu held; the first cause counts.
func (v *visit) failLocked(cause error) {
	if v.cause == nil && !v.left {
		v.cause = cause
		close(v.done)
	}
}

// leave ends the access: its stores are judged by it, and others let in. It
// returns the error of the whole.
func (v *visit) leave(err error) error {
	g := v.guard
	g.mu.Lock()
	defer g.unlock()
	v.left = true
	for _, s := range v.stores {
		delete(s.active, v)
		switch trouble := v.trouble[s]; {
		case trouble != nil:
			s.failures++
			s.lastErr = trouble
			if s.aside == nil && s.failures >= g.cfg.MaxFailures {
				g.setAside(s, fmt.Errorf("%d accesses in a row failed, last: %w", s.failures, trouble), errors.Is(trouble, ErrTimeout))
			}
		case v.answered[s]:
			s.failures = 0
		}
	}
	g.release(v.stores, v.weight-len(v.running))
	if v.cause != nil && err != nil {
		return v.cause
	}
	return err
}
