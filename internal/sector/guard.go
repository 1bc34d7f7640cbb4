package sector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/sector/store"
)

// Reasons for which a guarded access ends without a result of its own.
var (
	// ErrTimeout: the access did not end in time. It may still hang.
	ErrTimeout = errors.New("timed out")
	// ErrSetAside: the store hung or failed too often and is left alone for now.
	ErrSetAside = errors.New("store is set aside")
)

// StoreError is an error together with the store of the file it is about.
type StoreError struct {
	Store string // its folder
	Err   error
}

// Error is the text of the error alone, which names the file.
func (e *StoreError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *StoreError) Unwrap() error { return e.Err }

// GuardConfig bounds the access to stores. Zero values mean the defaults.
type GuardConfig struct {
	// Timeout is how long one access (all reads of one sector) may take, and
	// each operation in it. Default 60 s.
	Timeout time.Duration
	// Parallel is how many accesses may be in flight in one store. Default 32.
	Parallel int
	// MaxStuck is how many files may hang before the store is set aside although
	// it answers for others. Default 16.
	MaxStuck int
	// MaxFailures is how many accesses may fail in a row by errors of the store
	// before it is set aside. Default 16.
	MaxFailures int
	// Cooldown is how long a store is left alone before it is tried again;
	// twice as long after each try that fails, at most twenty times as long.
	// Default 30 s.
	Cooldown time.Duration
	// Backend reaches the files. Default: the file system, in this process.
	Backend store.Backend
	// Board is told of stores that are set aside.
	Board *condition.Board
	// Log is told the same.
	Log *slog.Logger
}

// Bounds over all stores.
const (
	// maxThreads bounds the operations under way, those that hang included: each
	// is a thread of the process that reads. Two thirds of what is left of it may
	// be in use at any time, so that stores that die one after another never take
	// everything; when next to nothing is left, one access at a time goes on.
	maxThreads = 640
	// freshFor is how long an answer proves that a store serves. Where the last
	// one is older, one access goes ahead, and the others wait until it has an
	// answer: a store that has died takes a few threads with it, not hundreds.
	freshFor = 5 * time.Second
	// longestCooldown is the factor of GuardConfig.Cooldown.
	longestCooldown = 20
)

// Guard runs accesses to stores so that a dead store costs only itself: each
// operation on a file knows its store, and what hangs is that store's. It is safe
// for concurrent use.
//
// A store is trusted, or set aside; then every access to it is refused at once,
// until a try in the background, or one of the operations that hung, is answered.
type Guard struct {
	cfg     GuardConfig
	mountOf func(root string) string // what a store lies on

	mu      sync.Mutex
	stores  map[string]*storeState
	threads int       // reserved by visits, and operations that outlived theirs
	stuck   int       // operations that hang, over all stores; part of threads
	queue   []*waiter // those who wait for threads
	later   []func()  // to be done when mu is free
	short   bool      // of something on this machine, at the last operation
}

// storeState is the state of one store, guarded by Guard.mu.
type storeState struct {
	root     string // its folder
	name     string
	visits   int // accesses under way
	active   map[*visit]bool
	queue    []*waiter
	answered time.Time // of the last answer
	ops      int       // operations under way, those that hang included
	hanging  map[string]time.Time
	failures int // in a row
	lastErr  error
	aside    *aside // nil: trusted
	goodPath string // a file that was read last
	badPath  string // a file that hung or failed last
	stats    storeStats
}

// waiter is an access that is not admitted yet.
type waiter struct {
	stores []*storeState
	weight int
	urgent bool
	ready  chan error // gets one value
	gone   bool       // nobody waits any more
}

// NewGuard returns a guard for any number of stores.
func NewGuard(cfg GuardConfig) *Guard {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	cfg.Parallel = max(1, cmp.Or(cfg.Parallel, 32))
	cfg.MaxStuck = max(1, cmp.Or(cfg.MaxStuck, 16))
	cfg.MaxFailures = max(1, cmp.Or(cfg.MaxFailures, 16))
	cfg.Cooldown = cmp.Or(cfg.Cooldown, 30*time.Second)
	if cfg.Backend == nil {
		cfg.Backend = store.Local{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Guard{cfg: cfg, mountOf: store.MountOf, stores: map[string]*storeState{}}
}

// Name gives a store, known by its folder, its name in the log, in conditions and
// metrics. Without one it is named by its folder.
func (g *Guard) Name(root, name string) {
	g.mu.Lock()
	defer g.unlock()
	g.stateOf(cleanRoot(root)).name = name
}

// unlock frees mu and does what had to wait for that.
func (g *Guard) unlock() {
	later := g.later
	g.later = nil
	g.mu.Unlock()
	for _, f := range later {
		f()
	}
}

// visitKind is what an access needs.
type visitKind struct {
	roots  []string // folders of its stores
	weight int      // operations at once
	// urgent goes ahead of those who wait: looking whether a store is there at
	// all must not wait for those who read it.
	urgent bool
}

// visit runs work, which does all its operations on files by visit.op. It
// returns when work does, which is soon after the time-out or the end of ctx,
// whatever hangs. The error wraps ErrSetAside, ErrTimeout, the cause of ctx, or
// is that of work.
func (g *Guard) visit(ctx context.Context, kind visitKind, work func(*visit) error) (err error) {
	v, err := g.enter(ctx, kind)
	if err != nil {
		return err
	}
	timer := time.AfterFunc(g.cfg.Timeout, v.expire)
	stop := context.AfterFunc(ctx, func() { v.fail(context.Cause(ctx)) })
	defer func() {
		timer.Stop()
		stop()
		err = v.leave(err)
	}()
	return work(v)
}

// enter waits until all stores of the access admit it, or one is or gets set
// aside.
func (g *Guard) enter(ctx context.Context, kind visitKind) (*visit, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	w := &waiter{weight: kind.weight, urgent: kind.urgent, ready: make(chan error, 1)}
	g.mu.Lock()
	for _, root := range kind.roots {
		if s := g.stateOf(root); !slices.Contains(w.stores, s) {
			w.stores = append(w.stores, s)
		}
	}
	g.try(w)
	g.unlock()
	select {
	case err := <-w.ready:
		if err != nil {
			return nil, err
		}
		return g.newVisit(w), nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.unlock()
	select {
	case err := <-w.ready: // admitted at the very same moment
		if err == nil {
			g.release(w.stores, w.weight)
		}
	default:
		w.gone = true
	}
	return nil, context.Cause(ctx)
}

// stateOf returns the state of a store. mu is held.
func (g *Guard) stateOf(root string) *storeState {
	s := g.stores[root]
	if s == nil {
		s = &storeState{root: root, name: root, active: map[*visit]bool{}, hanging: map[string]time.Time{}}
		g.stores[root] = s
	}
	return s
}

// try admits or refuses an access, or puts it into the queue of what it lacks.
// All its stores are taken at once or none, so that those who wait for one keep
// nobody from another. mu is held.
func (g *Guard) try(w *waiter) {
	for _, s := range w.stores {
		if s.aside != nil {
			w.ready <- s.aside.refusal(s)
			return
		}
	}
	for _, s := range w.stores {
		if !w.urgent && s.visits >= g.limit(s) {
			s.queue = append(s.queue, w)
			return
		}
	}
	if !w.urgent && !g.room(w.weight) {
		g.queue = append(g.queue, w)
		return
	}
	for _, s := range w.stores {
		s.visits++
	}
	g.threads += w.weight
	w.ready <- nil
}

// room reports whether an access that needs weight threads may begin. Where
// nothing is under way but what hangs, one may, whatever the bound says. mu is
// held.
func (g *Guard) room(weight int) bool {
	busy := g.threads - g.stuck
	return busy <= 0 || busy+weight <= 2*(maxThreads-g.stuck)/3
}

// limit is how many accesses a store admits now. mu is held.
func (g *Guard) limit(s *storeState) int {
	if time.Since(s.answered) > freshFor {
		return 1
	}
	return g.cfg.Parallel
}

// release gives back what try took and lets others in. mu is held.
func (g *Guard) release(stores []*storeState, threads int) {
	g.threads -= threads
	for _, s := range stores {
		s.visits--
	}
	g.serveAll()
	for _, s := range stores {
		g.serve(s)
	}
}

// serve lets those in who wait for a store, as far as it admits them. mu is held.
func (g *Guard) serve(s *storeState) {
	for len(s.queue) > 0 && (s.aside != nil || s.visits < g.limit(s)) {
		w := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if !w.gone {
			g.try(w)
		}
	}
}

// serveAll does the same for those who wait for threads. mu is held.
func (g *Guard) serveAll() {
	for range len(g.queue) {
		w := g.queue[0]
		if !w.gone && !g.room(w.weight) {
			return
		}
		g.queue[0] = nil
		g.queue = g.queue[1:]
		if !w.gone {
			g.try(w)
		}
	}
}

// noAnswer is the error of an operation or access that was not answered.
func (g *Guard) noAnswer(s *storeState, path string) error {
	return &StoreError{s.root, fmt.Errorf("%w: no answer from %s within %s (%s)", ErrTimeout, s.root, g.cfg.Timeout, path)}
}
