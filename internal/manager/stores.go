package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/patience"
	"wdpost/internal/poster"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
	"wdpost/internal/task"
	"wdpost/internal/winning"
	"wdpost/proofs/post"
)

// stores are the configured stores, those of them that are whole, and the check
// of sectors in them. It follows reloads.
type stores struct {
	m       *Manager
	files   *reach.All
	guard   *sector.Guard
	current atomic.Pointer[storeSet]

	mu     sync.Mutex // one change at a time
	common config.Common
	found  []sector.FoundStore // by ScanPersistStores
	again  chan struct{}       // holds a value when the stores are to be looked at now
	scan   patience.Outage
}

// storeSet is one state of the stores; it never changes.
type storeSet struct {
	locator *sector.Locator
	checker Checker
	watch   *sector.Watch
	broken  map[string]error // by name: why a store cannot be used
	// configured are all of them, the broken ones too.
	configured []sector.Store
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
func (s *stores) load(ctx context.Context, common config.Common) {
	found := s.find(ctx, common.ScanPersistStores)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.common, s.found = common, found
	s.open()
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// find looks for the stores of ScanPersistStores.
func (s *stores) find(ctx context.Context, patterns []string) []sector.FoundStore {
	found, err := sector.FindStores(ctx, s.guard, patterns)
	if err != nil {
		s.scan.Failed(s.m.log, "stores of ScanPersistStores cannot be looked for", err.Error(), attr.Err(err))
	} else {
		s.scan.Over(s.m.log, "stores of ScanPersistStores can be looked for again")
	}
	return found
}

// configured lists the stores of the config file and those that were found.
func (s *stores) configured() []sector.Store {
	var out []sector.Store
	for _, w := range s.common.PersistStores {
		out = append(out, storeOf(w, false))
	}
	for _, f := range s.found {
		if slices.ContainsFunc(out, func(o sector.Store) bool { return o.Name == f.Name || o.Path == f.Path }) {
			s.m.log.Debug("a store that was found is configured already", attr.Store(f.Name), attr.Path(f.Path))
			continue
		}
		out = append(out, storeOf(config.PersistStore{
			Name: f.Name, Path: f.Path, Strict: f.Strict, ReadOnly: f.ReadOnly, Weight: f.Weight,
			AllowMiners: f.AllowMiners, DenyMiners: f.DenyMiners, Meta: f.Meta,
		}, true))
	}
	return out
}

// storeOf is a configured store in the words of the sector room.
func storeOf(w config.PersistStore, scan bool) sector.Store {
	return sector.Store{
		Name: w.Name, Path: w.Root(), LeavesOut: w.LeavesOut, Weight: w.Weight, ReadOnly: w.ReadOnly, Strict: w.Strict, Scan: scan,
	}
}

// locate makes a locator of the stores whose records are whole, and says by name
// why the others are left out.
func locate(home string, guard *sector.Guard, configured []sector.Store, log *slog.Logger) (*sector.Locator, map[string]error) {
	index, broken := sector.OpenIndex(home), map[string]error{}
	var whole []sector.Store
	for _, store := range configured {
		guard.Name(store.Path, store.Name)
		if _, err := sector.NewLocator(index, []sector.Store{store}, log); err != nil {
			broken[store.Name] = err
			continue
		}
		whole = append(whole, store)
	}
	locator, err := sector.NewLocator(index, whole, log)
	if err != nil { // each of them was whole just now
		for _, w := range whole {
			broken[w.Name] = err
		}
		locator, _ = sector.NewLocator(index, nil, log) // of no store: nothing to refuse
	}
	return locator, broken
}

// open builds the set anew. mu is held.
func (s *stores) open() {
	set := &storeSet{configured: s.configured()}
	set.locator, set.broken = locate(s.m.cfg.Home, s.guard, set.configured, s.m.log)
	set.checker = s.m.cfg.Parts.Checker(set.locator, s.guard)
	set.watch = sector.NewWatch(sector.WatchConfig{
		Stores: set.locator.Stores(), Index: sector.OpenIndex(s.m.cfg.Home), Guard: s.guard,
		RescanInterval: s.common.RescanInterval.D(), Board: s.m.board, Log: s.m.log,
	})
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

// How often the stores are looked at, and how often those that could not be used
// are tried again and scans that are due begin.
const (
	storeLook = 10 * time.Second
	storeTend = time.Minute
)

// run looks at the stores until ctx ends.
func (s *stores) run(ctx context.Context) error {
	var tended time.Time
	for {
		tend := time.Since(tended) >= storeTend
		set := s.renew(ctx, tend)
		if tend {
			tended = time.Now()
			set.watch.Tend(ctx)
		} else {
			_ = set.watch.Look(ctx) // it tells what it sees
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
			tended = time.Time{}
		case <-time.After(storeLook):
		}
	}
}

// renew is the set of stores; when it is time to tend them, those that could not
// be used are tried again, and those that appeared are taken up.
func (s *stores) renew(ctx context.Context, tend bool) *storeSet {
	if !tend {
		return s.current.Load()
	}
	s.mu.Lock()
	patterns := s.common.ScanPersistStores
	s.mu.Unlock()
	found := s.find(ctx, patterns)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.current.Load().broken) > 0 || !reflect.DeepEqual(found, s.found) {
		s.found = found
		s.open()
	}
	return s.current.Load()
}

// Doubt implements poster.SectorChecker.
func (s *stores) Doubt(miner abi.ActorID, number uint64, sealedFile string, why error) {
	s.current.Load().checker.Doubt(uint64(miner), number, sealedFile, nil, why)
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

// doubt notes the copies whose data a prover has found wrong: they are read at
// every check, with the leaves that were needed, until that succeeds. What a
// prover only cannot see or reach is not the copy's trouble.
func (s *stores) doubt(q task.Question, a task.Answer) {
	typ, err := post.ParseProofType(q.ProofType)
	if err != nil {
		return // it could not have been answered
	}
	checker := s.current.Load().checker
	for _, reason := range a.Reasons {
		if reason.Kind != task.FaultData {
			continue
		}
		for _, r := range q.Replicas {
			if !slices.Contains(reason.Sectors, r.SectorID) {
				continue
			}
			statement := post.Statement{Type: typ, Setup: typ.Setup(), Randomness: q.Seed, Sectors: []post.Sector{{Number: r.SectorID, CommR: r.CommR}}}
			checker.Doubt(q.MinerID, r.SectorID, r.SealedFile, statement.Challenges(0), errors.New(reason.Err))
		}
	}
}

// allowed reports whether any usable store may hold sectors of the miner; the
// error names the stores whose lists leave it out.
func (s *stores) allowed(miner uint64) error {
	var errs []error
	for _, store := range s.current.Load().locator.Stores() {
		key := store.LeavesOut(miner)
		if key == "" {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s of the store %q leaves it out", key, store.Name))
	}
	if len(errs) == 0 {
		return errors.New("no store can be used")
	}
	return errors.Join(errs...)
}
