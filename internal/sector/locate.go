package sector

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
)

// Store is one configured store.
type Store struct {
	Name string
	Path string
	// LeavesOut names the setting that keeps a miner's sectors from being looked
	// for here, "" where none does; nil: none does.
	LeavesOut func(miner uint64) string
	// Weight orders the copies of a sector, the largest first.
	Weight uint64
	// ReadOnly says that the store is meant to be mounted read-only.
	ReadOnly bool
	// Scan has the store scanned where it was never attached.
	Scan bool
	// Strict and AllowSplitted are how a store is scanned that has no record yet.
	Strict, AllowSplitted bool
}

// Location is where one copy of a sector lies.
type Location struct {
	ID
	Updated      bool
	ReplicaStore string // name of the store with the replica
	CacheStore   string // name of the store with the cache
	SealedFile   string // the replica: sealed/… or update/…
	CacheDir     string // cache/… or update-cache/…
}

// Locator answers from the index where sectors lie in the configured stores.
// It notices when a store is attached again. Safe for concurrent use.
type Locator struct {
	index *Index
	log   *slog.Logger

	mu     sync.Mutex
	stores []*locatedStore
	looked time.Time // when the files of the index were last compared
}

type locatedStore struct {
	Store
	record  *Record
	stamp   fileStamp
	damaged error // why nothing is known of its sectors

	complaint patience.Outage
}

// fileStamp tells one version of a file from another.
type fileStamp struct {
	modified time.Time
	size     int64
}

// lookEvery is how old an answer of the locator may be.
const lookEvery = time.Second

// NewLocator checks that each configured store is attached under its name and
// path, and that no two share a name. The error says for each store what is
// wrong and what to do. A store whose record is damaged is no error: its sectors
// are not found until a scan has made the record anew, see Watch.
func NewLocator(index *Index, stores []Store, log *slog.Logger) (*Locator, error) {
	l := &Locator{index: index, log: log}
	attached, err := index.All()
	if err != nil {
		log.Warn("parts of the sector index cannot be used", attr.Err(err))
	}
	var bad []error
	names := map[string]bool{}
	for _, s := range stores {
		s.Path = cleanRoot(s.Path)
		located, err := l.identify(s, attached)
		switch {
		case names[s.Name]:
			bad = append(bad, fmt.Errorf("two stores have the name %q: give each a name of its own", s.Name))
		case err != nil:
			bad = append(bad, err)
		default:
			l.stores = append(l.stores, located)
		}
		names[s.Name] = true
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(l.stores, func(a, b *locatedStore) int { return cmp.Compare(b.Weight, a.Weight) })
	return l, nil
}

// identify finds the record of a configured store.
func (l *Locator) identify(s Store, attached []*Record) (*locatedStore, error) {
	again := fmt.Sprintf("run `venus-sector-manager util storage attach --verbose --name=%s %s`", s.Name, s.Path)
	for _, r := range attached {
		switch {
		case r.Name == s.Name && r.Path == s.Path:
			return &locatedStore{Store: s, record: r}, nil
		case r.Name == s.Name:
			return nil, fmt.Errorf("store %q is configured with the path %s but was attached with %s: correct Path, or %s", s.Name, s.Path, r.Path, again)
		}
	}
	if _, err := l.index.Get(s.Name); err != nil && (s.Scan || !errors.Is(err, fs.ErrNotExist)) {
		return &locatedStore{Store: s, record: newRecord(s.Name, s.Path), damaged: err}, nil
	}
	for _, r := range attached {
		if r.Path == s.Path {
			return nil, fmt.Errorf("store %q at %s was attached under the name %q: correct Name, or %s", s.Name, s.Path, r.Name, again)
		}
	}
	return nil, fmt.Errorf("store %q at %s has not been attached, so its sectors are not known: %s", s.Name, s.Path, again)
}

// Stores lists the configured stores.
func (l *Locator) Stores() []Store {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Store
	for _, s := range l.stores {
		out = append(out, s.Store)
	}
	return out
}

// mostMixed bounds the copies of a sector that are made up of the replica of one
// store and the cache of another, where there are whole ones.
const mostMixed = 8

// Find returns the copies of a sector: those with replica and cache in one store
// first, then those made up of two stores, by the weight of the stores and in the
// order of the configuration. All of them may be proven from, if their files are good. Updated asks for the files
// of a snap update.
func (l *Locator) Find(id ID, updated bool) []Location {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	var whole, mixed []Location
	for _, a := range l.stores {
		replicas, _ := a.record.of(updated)
		if a.leavesOut(id.Miner) != "" || !replicas.Has(id) {
			continue
		}
		for _, b := range l.stores {
			_, caches := b.record.of(updated)
			switch {
			case b.leavesOut(id.Miner) != "" || !caches.Has(id):
			case a == b:
				whole = append(whole, locate(id, updated, a.Store, b.Store))
			case len(mixed) < mostMixed:
				mixed = append(mixed, locate(id, updated, a.Store, b.Store))
			}
		}
	}
	return append(whole, mixed...)
}

// locate names the files of a sector.
func locate(id ID, updated bool, replica, cache Store) Location {
	sealed, _ := Files(replica.Path, id, updated)
	_, dir := Files(cache.Path, id, updated)
	return Location{
		ID: id, Updated: updated, ReplicaStore: replica.Name, CacheStore: cache.Name, SealedFile: sealed, CacheDir: dir,
	}
}

// Halves says in which stores only the replica or only the cache of a sector is
// known; nil where nothing of it is.
func (l *Locator) Halves(id ID, updated bool) error {
	if err := l.whyNot(id, updated); errors.Is(err, errElsewhere) && err != ErrNotFound {
		return err
	}
	return nil
}

// whyNot says why a sector has no copy: it wraps ErrNotFound.
func (l *Locator) whyNot(id ID, updated bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var half []string
	for _, s := range l.stores {
		replicas, caches := s.record.of(updated)
		replica, cache := replicas.Has(id), caches.Has(id)
		switch {
		case !replica && !cache:
		case s.leavesOut(id.Miner) != "":
			return fmt.Errorf("%w: it is in store %q, whose %s leaves miner %d out: correct it", errElsewhere, s.Name, s.leavesOut(id.Miner), id.Miner)
		case replica:
			half = append(half, fmt.Sprintf("only its replica is known, in store %q: attach the store with its cache", s.Name))
		default:
			half = append(half, fmt.Sprintf("only its cache is known, in store %q: attach the store with its replica", s.Name))
		}
	}
	if len(half) > 0 {
		return fmt.Errorf("%w: %s", errElsewhere, strings.Join(half, "; "))
	}
	for _, s := range l.stores {
		if s.damaged != nil {
			return fmt.Errorf("%w; store %q is not scanned yet: %w", ErrNotFound, s.Name, s.damaged)
		}
	}
	return ErrNotFound
}

// leavesOut is LeavesOut.
func (s *Store) leavesOut(miner uint64) string {
	if s.LeavesOut == nil {
		return ""
	}
	return s.LeavesOut(miner)
}

// refresh reads the records whose files have changed. A record that cannot be
// read keeps its last good state. mu is held.
func (l *Locator) refresh() {
	if time.Since(l.looked) < lookEvery {
		return
	}
	l.looked = time.Now()
	for _, s := range l.stores {
		switch err := l.refreshOne(s); {
		case err == nil:
			s.complaint.Over(l.log, "sector index can be read again", attr.Store(s.Name))
		case s.damaged == nil:
			s.complaint.Failed(l.log, "sector index not refreshed; the last known state of the store is used", err.Error(), attr.Store(s.Name), attr.Err(err))
		}
	}
}

func (l *Locator) refreshOne(s *locatedStore) error {
	file, err := l.index.file(s.Name)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("its record %s is gone: attach the store again", file)
	}
	if err != nil {
		return err
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == s.stamp {
		return nil
	}
	record, err := readRecord(file)
	if err != nil {
		return err
	}
	if record.Path != s.Path {
		return fmt.Errorf("it is now attached with the path %s, configured is %s: correct Path and restart", record.Path, s.Path)
	}
	if sealed, updated := record.Sectors(); !s.stamp.modified.IsZero() || s.damaged != nil {
		wasSealed, wasUpdated := s.record.Sectors()
		l.log.Info("sector index refreshed", attr.Store(s.Name), attr.SectorCount(sealed+updated), attr.Was(wasSealed+wasUpdated))
	}
	s.record, s.stamp, s.damaged = record, stamp, nil
	return nil
}
