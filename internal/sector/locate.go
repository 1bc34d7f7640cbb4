package sector

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Store is one configured store.
type Store struct {
	Name string
	Path string
	// Allows reports whether sectors of a miner are looked for here; nil: all are.
	Allows func(miner uint64) bool
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
	record *Record
	stamp  fileStamp
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
// wrong and what to do.
func NewLocator(index *Index, stores []Store, log *slog.Logger) (*Locator, error) {
	l := &Locator{index: index, log: log}
	attached, err := index.All()
	if err != nil {
		log.Warn("parts of the sector index cannot be used", "err", err)
	}
	var bad []error
	names := map[string]bool{}
	for _, s := range stores {
		s.Path = filepath.Clean(s.Path)
		switch record, err := identify(s, attached); {
		case names[s.Name]:
			bad = append(bad, fmt.Errorf("two stores have the name %q: give each a name of its own", s.Name))
		case err != nil:
			bad = append(bad, err)
		default:
			l.stores = append(l.stores, &locatedStore{Store: s, record: record})
		}
		names[s.Name] = true
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	return l, nil
}

// identify finds the record of a configured store.
func identify(s Store, attached []*Record) (*Record, error) {
	again := fmt.Sprintf("run `venus-sector-manager util storage attach --verbose --name=%s %s`", s.Name, s.Path)
	for _, r := range attached {
		switch {
		case r.Name == s.Name && r.Path == s.Path:
			return r, nil
		case r.Name == s.Name:
			return nil, fmt.Errorf("store %q is configured with the path %s but was attached with %s: correct Path, or %s", s.Name, s.Path, r.Path, again)
		}
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

// Find returns the copies of a sector, those with replica and cache in one
// store first, then in the order of the configuration. Updated asks for the
// files of a snap update.
func (l *Locator) Find(id ID, updated bool) []Location {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refresh()
	replicaDir, cachesDir := dirs(updated)
	var whole, split []Location
	for _, a := range l.stores {
		replicas, _ := a.record.of(updated)
		if !a.allows(id.Miner) || !replicas.Has(id) {
			continue
		}
		for _, b := range l.stores {
			_, caches := b.record.of(updated)
			if !b.allows(id.Miner) || !caches.Has(id) {
				continue
			}
			at := Location{
				ID: id, Updated: updated, ReplicaStore: a.Name, CacheStore: b.Name,
				SealedFile: filepath.Join(a.Path, replicaDir, id.String()),
				CacheDir:   filepath.Join(b.Path, cachesDir, id.String()),
			}
			if a == b {
				whole = append(whole, at)
			} else {
				split = append(split, at)
			}
		}
	}
	return append(whole, split...)
}

func (s *locatedStore) allows(miner uint64) bool { return s.Allows == nil || s.Allows(miner) }

// refresh reads the records whose files have changed. A record that cannot be
// read keeps its last good state. mu is held.
func (l *Locator) refresh() {
	if time.Since(l.looked) < lookEvery {
		return
	}
	l.looked = time.Now()
	for _, s := range l.stores {
		if err := l.refreshOne(s); err != nil {
			l.log.Error("sector index not refreshed; the last known state of the store is used", "store", s.Name, "err", err)
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
	if !s.stamp.modified.IsZero() {
		l.log.Info("sector index refreshed", "store", s.Name, "sectors", record.Replicas.Len()+record.UpdateReplicas.Len())
	}
	s.record, s.stamp = record, stamp
	return nil
}
