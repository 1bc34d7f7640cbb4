package sector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// Presence keeps an eye on the folders of stores: mounts come and go. It has a
// guard of its own, so that stores that are merely busy do not seem to be gone.
type Presence struct {
	stores []Store
	guard  *Guard
	log    *slog.Logger

	mu   sync.Mutex
	gone map[string]error // by store name
}

// presencePatience is how long a folder may take to answer.
const presencePatience = 10 * time.Second

// NewPresence looks at nothing yet.
func NewPresence(stores []Store, log *slog.Logger) *Presence {
	return &Presence{
		stores: stores, log: log, gone: map[string]error{},
		guard: NewGuard(GuardConfig{Timeout: presencePatience}),
	}
}

// Look asks each folder once, for at most ten seconds, and logs what has
// changed. It returns an error for those that are something else than a folder:
// the configuration is wrong. Missing ones may come back.
func (p *Presence) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, presencePatience, fmt.Errorf("%w: no answer within %s", ErrTimeout, presencePatience))
	defer cancel()
	found := make([]error, len(p.stores))
	var wg sync.WaitGroup
	for i, s := range p.stores {
		wg.Go(func() { found[i] = checkFolder(ctx, p.guard, s.Path) })
	}
	wg.Wait()
	var wrong []error
	for i, s := range p.stores {
		if errors.Is(found[i], ErrNoDirectory) {
			wrong = append(wrong, fmt.Errorf("store %q: %w", s.Name, found[i]))
		}
		p.note(s, found[i])
	}
	return errors.Join(wrong...)
}

// note keeps the state of a store and logs its change.
func (p *Presence) note(s Store, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, wasGone := p.gone[s.Name]
	switch {
	case err == nil && wasGone:
		delete(p.gone, s.Name)
		p.log.Info("store is back", "store", s.Name, "path", s.Path)
	case err != nil:
		p.gone[s.Name] = err
		if !wasGone {
			p.log.Error("store cannot be read; its sectors are skipped until it is back", "store", s.Name, "err", err)
		}
	}
}

// Run looks again and again until ctx ends.
func (p *Presence) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = p.Look(ctx) // note has logged it
		}
	}
}

// Missing says which stores were not there at the last look; nil if all were.
func (p *Presence) Missing() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name := range p.gone {
		names = append(names, name)
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		errs = append(errs, fmt.Errorf("store %q: %w", name, p.gone[name]))
	}
	return errors.Join(errs...)
}

// Away says why each store that was not there at the last look was not.
func (p *Presence) Away() map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.gone)
}
