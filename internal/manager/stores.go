package manager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
	"wdpost/internal/winning"
)

// stores are the configured stores, those of them that are whole, and the check
// of sectors in them. It follows reloads.
type stores struct {
	m       *Manager
	files   *reach.All
	guard   *sector.Guard
	current atomic.Pointer[storeSet]

	mu     sync.Mutex // one change at a time
	wanted []config.PersistStore
	again  chan struct{} // holds a value when the stores are to be looked at now
}

// storeSet is one state of the stores; it never changes.
type storeSet struct {
	locator *sector.Locator
	checker Checker
	watch   *sector.Watch
	broken  map[string]error // by name: why a store cannot be used
}

func newStores(m *Manager, p config.Proving) *stores {
	s := &stores{m: m, again: make(chan struct{}, 1)}
	s.files = reach.New(m.log)
	s.guard = m.cfg.Parts.Guard(sector.GuardConfig{
		Timeout: p.SingleCheckTimeout.D(), Parallel: p.ParallelCheckLimit, MaxStuck: p.MaxStuck,
		Backend: s.files, Board: m.board, Log: m.log,
	})
	return s
}

// load takes up the stores of a configuration. One that is not attached is left
// out and looked at again.
func (s *stores) load(wanted []config.PersistStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = wanted
	s.open()
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// open builds the set anew. mu is held.
func (s *stores) open() {
	index := sector.OpenIndex(s.m.cfg.Home)
	set := &storeSet{broken: map[string]error{}}
	var whole []sector.Store
	for _, w := range s.wanted {
		store := sector.Store{Name: w.Name, Path: w.Path, Allows: w.Allows, ReadOnly: w.ReadOnly, Strict: w.Strict}
		s.guard.Name(w.Path, w.Name)
		if _, err := sector.NewLocator(index, []sector.Store{store}, s.m.log); err != nil {
			set.broken[w.Name] = err
			continue
		}
		whole = append(whole, store)
	}
	locator, err := sector.NewLocator(index, whole, s.m.log)
	if err != nil { // each of them was whole just now
		for _, w := range whole {
			set.broken[w.Name] = err
		}
		locator, _ = sector.NewLocator(index, nil, s.m.log) // of no store: nothing to refuse
		whole = nil
	}
	set.locator, set.checker = locator, s.m.cfg.Parts.Checker(locator, s.guard)
	set.watch = sector.NewWatch(sector.WatchConfig{Stores: whole, Index: index, Guard: s.guard, Board: s.m.board, Log: s.m.log})
	old := s.current.Swap(set)
	for name, err := range set.broken {
		s.m.board.Set(condition.Condition{Kind: condition.StoreNotIndexed, Subject: name, Detail: err.Error()})
	}
	if old != nil {
		for name := range old.broken {
			if set.broken[name] == nil {
				s.m.board.Clear(condition.StoreNotIndexed, name)
			}
		}
	}
}

// usable refuses stores of which none could ever be read.
func (s *stores) usable(ctx context.Context) error {
	set := s.current.Load()
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(set.broken)) {
		wrong = append(wrong, set.broken[name])
	}
	if err := set.watch.Look(ctx); err != nil {
		wrong = append(wrong, err)
	}
	for _, store := range set.locator.Stores() {
		if !errors.Is(set.watch.Away()[store.Name], sector.ErrNoDirectory) {
			return nil
		}
	}
	return errors.Join(wrong...)
}

// run looks at the stores once a minute: those that are missing, and those that
// could not be used.
func (s *stores) run(ctx context.Context) error {
	for {
		s.mu.Lock()
		if len(s.current.Load().broken) > 0 {
			s.open()
		}
		set := s.current.Load()
		s.mu.Unlock()
		set.watch.Tend(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
		case <-time.After(time.Minute):
		}
	}
}

// CheckSectors implements poster.SectorChecker with the settings in force.
func (s *stores) CheckSectors(ctx context.Context, miner abi.ActorID, sectors []poster.Sector, thorough bool) (poster.CheckResult, error) {
	now := s.m.settings.Load().manager
	limit := now.Common.Proving.PartitionCheckTimeout.D()
	strict := true
	for _, m := range now.Miners {
		if m.Actor == uint64(miner) {
			strict = m.PoSt.StrictCheck
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not looked at within PartitionCheckTimeout %s", limit))
	defer cancel()
	return checkSectors(ctx, s.current.Load().checker, miner, sectors, thorough || strict), nil
}

// Locate implements winning.Locator.
func (s *stores) Locate(_ context.Context, miner, number uint64, updated bool) ([]winning.Files, error) {
	found, err := s.current.Load().checker.Candidates(miner, number, updated)
	if err != nil {
		return nil, err
	}
	var out []winning.Files
	for _, f := range found {
		out = append(out, winning.Files{CacheDir: f.CacheDir, SealedFile: f.SealedFile})
	}
	return out, nil
}

// allowed reports whether any usable store may hold sectors of the miner; the
// error names the stores whose lists leave it out.
func (s *stores) allowed(miner uint64) error {
	var errs []error
	for _, store := range s.current.Load().locator.Stores() {
		if store.Allows == nil || store.Allows(miner) {
			return nil
		}
		errs = append(errs, fmt.Errorf("AllowMiners or DenyMiners of the store %q leaves it out", store.Name))
	}
	if len(errs) == 0 {
		return errors.New("no store can be used")
	}
	return errors.Join(errs...)
}
