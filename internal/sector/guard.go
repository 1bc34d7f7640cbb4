package sector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Reasons for which a guarded access ends without a result of its own.
var (
	// ErrTimeout: the access did not end in time. It may still hang.
	ErrTimeout = errors.New("timed out")
	// ErrSetAside: the store hung or failed too often and is left alone for now.
	ErrSetAside = errors.New("store is set aside")
)

// GuardConfig bounds the access to stores. Zero values mean the defaults.
type GuardConfig struct {
	// Timeout is how long one access (all reads of one sector) may take.
	// Default 60 s.
	Timeout time.Duration
	// Parallel is how many accesses may be in flight in one store, hung ones
	// included. Default 32.
	Parallel int
	// MaxStuck is how many may hang before the store is set aside; never more
	// than Parallel. Default 16.
	MaxStuck int
	// MaxFailures is how many accesses may fail in a row by time-out or input
	// error before the store is set aside. Default 16.
	MaxFailures int
	// Cooldown is how long a failing store is left alone before one access
	// tries it again. A store is also left alone while MaxStuck accesses hang.
	// Default 30 s.
	Cooldown time.Duration
}

// Guard runs accesses to stores so that a dead store costs only itself. It is
// safe for concurrent use.
type Guard struct {
	cfg    GuardConfig
	mu     sync.Mutex
	stores map[string]*storeGuard
}

// storeGuard is the state of one store, guarded by Guard.mu except slots.
type storeGuard struct {
	slots    chan struct{}
	changed  chan struct{} // closed and replaced when the store is set aside
	inFlight int
	stuck    int // accesses whose caller has gone
	failures int // in a row
	retryAt  time.Time
	probing  bool
	lastErr  error
}

// NewGuard returns a guard for any number of stores.
func NewGuard(cfg GuardConfig) *Guard {
	cfg.Timeout = cmp.Or(cfg.Timeout, time.Minute)
	cfg.Parallel = max(1, cmp.Or(cfg.Parallel, 32))
	cfg.MaxStuck = min(max(1, cmp.Or(cfg.MaxStuck, 16)), cfg.Parallel)
	cfg.MaxFailures = max(1, cmp.Or(cfg.MaxFailures, 16))
	cfg.Cooldown = cmp.Or(cfg.Cooldown, 30*time.Second)
	return &Guard{cfg: cfg, stores: map[string]*storeGuard{}}
}

// guarded runs access for a store, which is named by its folder. access gets a
// channel that closes when nobody waits for it any more; it must not touch
// anything its caller may use after that. The error wraps ErrSetAside,
// ErrTimeout, the cause of ctx, or is that of access.
func guarded[T any](ctx context.Context, g *Guard, store string, access func(done <-chan struct{}) (T, error)) (T, error) {
	var zero T
	s, err := g.enter(ctx, store)
	if err != nil {
		return zero, err
	}
	type outcome struct {
		value T
		err   error
	}
	ended := make(chan outcome, 1)
	visit := &visit{done: make(chan struct{})}
	go func() {
		value, err := access(visit.done)
		ended <- outcome{value, err}
		g.leave(s, visit)
	}()
	timeout := time.NewTimer(g.cfg.Timeout)
	defer timeout.Stop()
	select {
	case o := <-ended:
		g.report(s, o.err)
		return o.value, o.err
	case <-timeout.C:
		err := fmt.Errorf("%w: no answer from %s within %s", ErrTimeout, store, g.cfg.Timeout)
		g.abandon(s, visit)
		g.report(s, err)
		return zero, err
	case <-ctx.Done():
		g.abandon(s, visit)
		return zero, context.Cause(ctx)
	}
}

// enter waits for a free slot of the store, unless it is or gets set aside.
func (g *Guard) enter(ctx context.Context, store string) (*storeGuard, error) {
	g.mu.Lock()
	s := g.stores[store]
	if s == nil {
		s = &storeGuard{slots: make(chan struct{}, g.cfg.Parallel), changed: make(chan struct{})}
		g.stores[store] = s
	}
	for {
		if err := g.admit(s, store); err != nil {
			g.mu.Unlock()
			return nil, err
		}
		changed := s.changed
		g.mu.Unlock()
		select {
		case s.slots <- struct{}{}:
			g.mu.Lock()
			if err := g.admit(s, store); err != nil { // set aside meanwhile
				<-s.slots
				g.mu.Unlock()
				return nil, err
			}
			s.inFlight++
			if s.failures >= g.cfg.MaxFailures {
				s.probing = true
			}
			g.mu.Unlock()
			return s, nil
		case <-changed:
			g.mu.Lock()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// admit refuses access to a store that is set aside. mu is held.
func (g *Guard) admit(s *storeGuard, store string) error {
	switch {
	case s.stuck >= g.cfg.MaxStuck:
		return fmt.Errorf("%w: %s has %d hanging reads; check the mount", ErrSetAside, store, s.stuck)
	case s.failures >= g.cfg.MaxFailures && (s.probing || time.Now().Before(s.retryAt)):
		return fmt.Errorf("%w: %s failed %d times in a row, last: %w", ErrSetAside, store, s.failures, s.lastErr)
	}
	return nil
}

// visit is one access under way. Its flags are guarded by Guard.mu.
type visit struct {
	done            chan struct{} // closed when nobody waits any more
	ended, deserted bool
}

// abandon marks an access as hanging until it ends.
func (g *Guard) abandon(s *storeGuard, v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(v.done)
	s.probing = false
	if v.ended { // at the very same moment
		return
	}
	v.deserted = true
	s.stuck++
	if s.stuck == g.cfg.MaxStuck {
		g.wake(s)
	}
}

// leave frees the slot of an access that has ended.
func (g *Guard) leave(s *storeGuard, v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v.ended = true
	s.inFlight--
	<-s.slots
	if v.deserted {
		s.stuck--
	}
}

// report counts the outcome of an access for the breaker.
func (g *Guard) report(s *storeGuard, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.probing = false
	if !isStoreFailure(err) {
		s.failures = 0
		return
	}
	s.failures++
	s.lastErr = err
	if s.failures >= g.cfg.MaxFailures {
		s.retryAt = time.Now().Add(g.cfg.Cooldown)
		g.wake(s)
	}
}

// wake makes those who wait for a slot look again. mu is held.
func (g *Guard) wake(s *storeGuard) {
	close(s.changed)
	s.changed = make(chan struct{})
}

// isStoreFailure tells trouble of the store (time-outs, input errors) from
// trouble of one sector (missing, short or wrong files).
func isStoreFailure(err error) bool {
	if errors.Is(err, ErrTimeout) {
		return true
	}
	var pathErr *fs.PathError
	return errors.As(err, &pathErr) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission)
}

// StoreHealth is the state of one store at one moment.
type StoreHealth struct {
	Store    string `json:"store"` // its folder
	InFlight int    `json:"inFlight"`
	Stuck    int    `json:"stuck"`
	Failures int    `json:"failures"` // in a row
	SetAside bool   `json:"setAside"`
}

// Health lists the stores that were accessed so far, in no order.
func (g *Guard) Health() []StoreHealth {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []StoreHealth
	for name, s := range g.stores {
		out = append(out, StoreHealth{
			Store: name, InFlight: s.inFlight, Stuck: s.stuck, Failures: s.failures,
			SetAside: g.admit(s, name) != nil,
		})
	}
	return out
}
