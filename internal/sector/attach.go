package sector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"wdpost/internal/attr"
)

// AttachConfig says what to attach and how.
type AttachConfig struct {
	Name string // of the store; default: Path
	Path string // the folder above cache and sealed
	// Strict leaves out files that are links out of the store.
	Strict bool
	// AllowSplitted also takes replicas without cache and caches without
	// replica: the other half is expected in another store.
	AllowSplitted bool
	// Pattern selects the sectors by file name, e.g. s-t01000-1[0-9]; the others
	// stay as they are. Default: all.
	Pattern string
	// Force forgets the sectors that were known and are not there any more.
	Force bool
	// DryRun leaves the index as it is.
	DryRun bool
	// Verbose logs each file.
	Verbose bool
	// SectorSize returns the size of a miner's sectors in bytes, as the chain
	// knows it; nil: names and sizes of the files are believed.
	SectorSize func(ctx context.Context, miner uint64) (uint64, error)
	// FixedSize is the size of all sectors in bytes, asked of nobody; 0: unknown.
	FixedSize uint64

	Index *Index
	Guard *Guard
	Log   *slog.Logger
}

// AttachReport says what a scan found, in sectors; those of a snap update count
// on their own.
type AttachReport struct {
	Sectors, Updated int // with all their files (or the half, with AllowSplitted)
	Skipped          int // files named like sectors that were left out
	Was              int // known before, of those that the pattern selects
	Now              int // seen by this scan
	Unseen           int // known before and not seen; they stay in the index
	Forgotten        int // known before, not seen, and dropped by Force
	Halves           int // replicas or caches whose other half is in no attached store
}

// Errors of Attach after which the index holds all that it held before, and what
// was found besides.
var (
	// ErrFarFewer: of the sectors that are known to lie in the store, less than
	// nine tenths were seen.
	ErrFarFewer = errors.New("far fewer sectors than before")
	// ErrNothing: no sector was found, and none is known.
	ErrNothing = errors.New("no sector was found")
)

// Attach scans a store and takes what it finds into the store's record. What is
// known of the store is never dropped without Force: it may be that the mount is
// away. Sectors whose files are missing or of the wrong size are left out, each
// with its reason in the log. When ctx ends, what was found by then is kept.
func Attach(ctx context.Context, cfg AttachConfig) (AttachReport, error) {
	scan, err := newScanner(cfg)
	if err != nil {
		return AttachReport{}, err
	}
	if _, err := cfg.Index.file(scan.Name); err != nil {
		return AttachReport{}, err
	}
	if err := checkFolder(ctx, cfg.Guard, scan.root); err != nil {
		return AttachReport{}, err
	}
	if scan.Strict {
		infos, err := cfg.Guard.stat(ctx, scan.root, []string{scan.root}, true)
		if err != nil {
			return AttachReport{}, err
		}
		scan.real = infos[0].Real
	}
	a := &attacher{scanner: scan}
	for k := range a.seen {
		a.seen[k], a.unsure[k] = map[ID]bool{}, map[ID]bool{}
	}
	a.startRecord()
	var scanErr error
	for _, updated := range []bool{false, true} {
		if scanErr = a.scanKind(ctx, updated); scanErr != nil {
			break
		}
	}
	return a.finish(scanErr)
}

type attacher struct {
	*scanner
	record *Record // what is known

	mu     sync.Mutex // guards what follows during the scan
	report AttachReport
	// What this scan has seen, and what it could not look at, by the place of the
	// list in Record.lists.
	seen, unsure [4]map[ID]bool
}

// startRecord takes up what is known of the store.
func (a *attacher) startRecord() {
	old, err := a.Index.Get(a.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn("the record of the store is made anew", attr.Store(a.Name), attr.Err(err))
	}
	if old != nil && old.Path != a.root {
		a.Log.Warn("the store was attached with another path before; its sectors are looked for at the new one", attr.Store(a.Name), attr.Path(old.Path))
		old.Path = a.root
	}
	others, err := a.Index.All()
	if err != nil {
		a.Log.Warn("damaged records of the index are left as they are, except that of this store", attr.Err(err))
	}
	for _, r := range others {
		if r.Path == a.root && r.Name != a.Name {
			a.Log.Warn(fmt.Sprintf("this path is also attached under the name %q; the config file must use only one of them", r.Name), attr.Store(a.Name))
		}
	}
	if a.record = old; old == nil {
		a.record = newRecord(a.Name, a.root)
	}
}

// selected reports whether the pattern takes a sector.
func (a *attacher) selected(id ID) bool {
	ok, _ := filepath.Match(a.Pattern, id.String())
	return ok
}

// scanKind looks at the sectors of one kind.
func (a *attacher) scanKind(ctx context.Context, updated bool) error {
	before := a.report.Sectors + a.report.Updated
	files, err := a.scan(ctx, updated, a.take)
	if updated && files == 0 && err == nil {
		return nil // most stores have none
	}
	replicaDir, _ := dirs(updated)
	a.mu.Lock()
	found := a.report.Sectors + a.report.Updated - before
	a.mu.Unlock()
	a.Log.Info(fmt.Sprintf("%d sectors out of %d files have been found", found, files), attr.Store(a.Name), attr.Path(replicaDir))
	return err
}

// take judges one sector.
func (a *attacher) take(s sighting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	replicas, caches := listsOf(s.updated)
	if errors.Is(s.replica, errUnseen) {
		a.unsure[replicas][s.ID] = true
	}
	if errors.Is(s.cache, errUnseen) {
		a.unsure[caches][s.ID] = true
	}
	whole := s.replica == nil && s.cache == nil
	if !whole && !(a.AllowSplitted && (s.replica == nil || s.cache == nil)) {
		a.report.Skipped++
		reason := errors.Join(s.replica, s.cache)
		if !s.listed && errors.Is(s.replica, fs.ErrNotExist) && s.cache == nil {
			reason = errors.New("a cache without its replica: where that lies in another store, attach both with --allow-splitted")
		}
		a.Log.Warn("sector left out", attr.File(s.ID.String()), attr.Reason(strings.ReplaceAll(reason.Error(), "\n", "; ")))
		return
	}
	if s.replica == nil {
		a.seen[replicas][s.ID] = true
	}
	if s.cache == nil {
		a.seen[caches][s.ID] = true
	}
	if s.updated {
		a.report.Updated++
	} else {
		a.report.Sectors++
	}
	if a.Verbose {
		a.Log.Info(fmt.Sprintf("sector %s scanned", s.ID), attr.Updated(s.updated), attr.Replica(s.replica == nil), attr.Cache(s.cache == nil))
	}
}

// finish joins what was seen with what was known and keeps it.
func (a *attacher) finish(scanErr error) (AttachReport, error) {
	r := &a.report
	a.merge(scanErr == nil)
	if r.Was+r.Now == 0 {
		if scanErr == nil {
			scanErr = fmt.Errorf("%w in %s: the path must be that of the folder above cache and sealed", ErrNothing, a.root)
			if r.Skipped > 0 {
				scanErr = fmt.Errorf("%w in %s that is whole: %d were left out, each for the reason above", ErrNothing, a.root, r.Skipped)
			}
		}
		return *r, scanErr
	}
	a.record.Strict, a.record.AllowSplitted, a.record.SectorSize = a.Strict, a.AllowSplitted, a.FixedSize
	a.record.AttachedAt = time.Now().UTC()
	if scanErr == nil && a.Pattern == "*" {
		a.record.ScannedAt = a.record.AttachedAt
	}
	if !a.DryRun {
		if err := a.Index.Put(a.record); err != nil {
			return *r, errors.Join(scanErr, err)
		}
	}
	if scanErr != nil {
		return *r, fmt.Errorf("scan of %s ended early; the %d sectors seen by then are kept: %w", a.root, r.Now, scanErr)
	}
	a.tellHalves()
	if r.Unseen > 0 {
		a.Log.Warn("sectors that are known were not seen at this scan; they stay in the index (--force forgets them)", attr.Store(a.Name), attr.SectorCount(r.Unseen))
	}
	if !a.Force && 10*(r.Was-r.Unseen) < 9*r.Was {
		return *r, fmt.Errorf("%w in store %q: was %d, now %d; the %d not seen stay in the index. Check the mount %s; where they are gone for good, attach with --force",
			ErrFarFewer, a.Name, r.Was, r.Now, r.Unseen, a.root)
	}
	return *r, nil
}

// merge takes what was seen into the record. What is known and was not seen stays
// and is marked, or is dropped by Force where the scan is sure that it is gone.
func (a *attacher) merge(complete bool) {
	unseen, gone := numbersOf(nil), numbersOf(nil)
	a.report.Was = a.record.count(a.selected)
	seenAll := numbersOf(nil)
	for k, known := range a.record.lists() {
		seen := numbersOf(a.seen[k])
		seenAll = seenAll.union(seen)
		missed := known.filter(func(id ID) bool {
			return !seen.Has(id) && (complete && a.selected(id) || a.record.Unseen.Has(id))
		})
		if a.Force && complete {
			drop := missed.filter(func(id ID) bool { return a.selected(id) && !a.unsure[k][id] })
			gone, missed = gone.union(drop), missed.filter(func(id ID) bool { return !drop.Has(id) })
			*known = known.filter(func(id ID) bool { return !drop.Has(id) })
		}
		*known = known.union(seen)
		unseen = unseen.union(missed)
	}
	a.record.Unseen = unseen
	a.report.Now = seenAll.Len()
	a.report.Unseen = unseen.filter(a.selected).Len()
	a.report.Forgotten = gone.Len()
}

// tellHalves says which replicas and caches of a splitted store have their other
// half in no attached store.
func (a *attacher) tellHalves() {
	if !a.AllowSplitted {
		return
	}
	records, _ := a.Index.All() // damaged ones were told at the begin
	has := func(id ID, updated, cache bool) bool {
		for _, r := range records {
			replicas, caches := r.of(updated)
			if cache && caches.Has(id) || !cache && replicas.Has(id) {
				return true
			}
		}
		return false
	}
	const most = 20
	for _, updated := range []bool{false, true} {
		replicas, caches := listsOf(updated)
		for _, half := range []struct {
			list  map[ID]bool
			cache bool
			text  string
		}{{a.seen[replicas], true, "its replica is here, its cache in no attached store yet"}, {a.seen[caches], false, "its cache is here, its replica in no attached store yet"}} {
			for id := range half.list {
				if has(id, updated, half.cache) {
					continue
				}
				if a.report.Halves++; a.report.Halves <= most {
					a.Log.Warn("half a sector", attr.File(id.String()), attr.Reason(half.text))
				}
			}
		}
	}
	if a.report.Halves > most {
		a.Log.Warn("further sectors have only one half in the attached stores", attr.SectorCount(a.report.Halves-most))
	}
}
