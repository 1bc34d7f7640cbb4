package sector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/sector/store"
)

// ErrNoDirectory says that a store's path is something else than a folder.
var ErrNoDirectory = errors.New("is not a directory: give the folder above cache and sealed")

// checkFolder requires an existing directory.
func checkFolder(ctx context.Context, g *Guard, path string) error {
	isDir := false
	err := g.visit(ctx, visitKind{roots: []string{path}, weight: 1, urgent: true}, func(v *visit) error {
		var info store.Info
		err := v.op(path, path, func() error {
			info = v.files().Stat([]string{path}, false)[0]
			return info.Err
		})
		if err == nil {
			isDir = info.Dir
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store path %s does not exist (%w): mount it, or give the folder above cache and sealed", path, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("store path %s: %w", path, err)
	case !isDir:
		return fmt.Errorf("store path %s %w", path, ErrNoDirectory)
	}
	return nil
}

// Seen is what a look at a store's folder shows.
type Seen struct {
	Space store.Space
	Err   error // why it cannot be seen, nil if it can
}

// LookAt looks at the folder of one store.
func LookAt(ctx context.Context, g *Guard, path string) Seen {
	seen := Seen{Err: checkFolder(ctx, g, cleanRoot(path))}
	if seen.Err == nil {
		seen.Space, seen.Err = g.space(ctx, cleanRoot(path))
	}
	return seen
}

// space tells the room of a store.
func (g *Guard) space(ctx context.Context, path string) (space store.Space, err error) {
	err = g.visit(ctx, visitKind{roots: []string{path}, weight: 1, urgent: true}, func(v *visit) error {
		var got store.Space
		err := v.op(path, path, func() (err error) { got, err = v.files().Space(path); return err })
		if err == nil {
			space = got
		}
		return err
	})
	return space, err
}

// WatchConfig is what a Watch works with.
type WatchConfig struct {
	Stores []Store
	Index  *Index
	Guard  *Guard
	// RescanInterval is how often each store is scanned for new sectors; 0:
	// never. A store whose record is damaged is scanned in any case.
	RescanInterval time.Duration
	// SectorSize is as in AttachConfig.
	SectorSize func(ctx context.Context, miner uint64) (uint64, error)
	Board      *condition.Board
	Log        *slog.Logger
}

// Watch keeps an eye on the folders of stores and on their records: mounts come
// and go, sectors are added, records are damaged.
type Watch struct {
	cfg WatchConfig

	mu       sync.Mutex
	gone     map[string]error // by store name
	scanned  map[string]time.Time
	scanning map[string]bool
	scans    sync.WaitGroup
}

// RescanInterval is that of the configuration.
func (w *Watch) RescanInterval() time.Duration { return w.cfg.RescanInterval }

// lookPatience is how long a folder may take to answer.
const lookPatience = 10 * time.Second

// NewWatch looks at nothing yet.
func NewWatch(cfg WatchConfig) *Watch {
	return &Watch{cfg: cfg, gone: map[string]error{}, scanned: map[string]time.Time{}, scanning: map[string]bool{}}
}

// Look asks each folder once, for at most ten seconds, and tells log and board
// what has changed. It returns an error for those that are something else than a
// folder: the configuration is wrong. Missing ones may come back. Where the
// caller's context ends first, nothing has changed.
func (w *Watch) Look(caller context.Context) error {
	ctx, cancel := context.WithTimeoutCause(caller, lookPatience, fmt.Errorf("%w: no answer within %s", ErrTimeout, lookPatience))
	defer cancel()
	found := make([]Seen, len(w.cfg.Stores))
	var wg sync.WaitGroup
	for i, s := range w.cfg.Stores {
		wg.Go(func() { found[i] = LookAt(ctx, w.cfg.Guard, s.Path) })
	}
	wg.Wait()
	if err := caller.Err(); err != nil {
		return err // a stop is no trouble of the stores
	}
	var wrong []error
	for i, s := range w.cfg.Stores {
		if errors.Is(found[i].Err, ErrNoDirectory) {
			wrong = append(wrong, fmt.Errorf("store %q: %w", s.Name, found[i].Err))
		}
		w.note(s, found[i].Err)
		w.cfg.Board.When(found[i].Space.ReadOnly && !s.ReadOnly, condition.Condition{
			Kind: condition.StoreReadOnly, Subject: s.Name, Detail: fmt.Sprintf("%s is mounted read-only", s.Path),
		})
	}
	return errors.Join(wrong...)
}

// note keeps the state of a store and tells its change.
func (w *Watch) note(s Store, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, wasGone := w.gone[s.Name]
	switch {
	case err == nil && wasGone:
		delete(w.gone, s.Name)
		w.cfg.Log.Info("store is back", attr.Store(s.Name), attr.Path(s.Path))
		w.cfg.Board.Clear(condition.StoreMissing, s.Name)
	case err != nil:
		w.gone[s.Name] = err
		if !wasGone {
			w.cfg.Log.Error("store cannot be read; its sectors are skipped until it is back", attr.Store(s.Name), attr.Err(err))
		}
		if !errors.Is(err, ErrSetAside) { // which is told already
			w.cfg.Board.Set(condition.Condition{Kind: condition.StoreMissing, Subject: s.Name, Detail: err.Error()})
		}
	}
}

// Away says why each store that was not there at the last look was not.
func (w *Watch) Away() map[string]error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.gone)
}

// Tend looks once, and begins the scans that are due in the background: one that
// hangs keeps no other waiting. It may be called again while they run; they end
// with ctx.
func (w *Watch) Tend(ctx context.Context) {
	_ = w.Look(ctx) // note has told it
	w.scanDue(ctx)
}

// scanDue begins the scans that are due.
func (w *Watch) scanDue(ctx context.Context) {
	for _, s := range w.cfg.Stores {
		record, err := w.cfg.Index.Get(s.Name)
		missing := errors.Is(err, fs.ErrNotExist)
		w.mu.Lock()
		due := err != nil && !missing || missing && s.Scan
		if err == nil && w.cfg.RescanInterval > 0 {
			last := w.scanned[s.Name]
			if record.ScannedAt.After(last) {
				last = record.ScannedAt
			}
			due = time.Since(last) >= w.cfg.RescanInterval
		}
		if due && w.gone[s.Name] == nil && !w.scanning[s.Name] {
			w.scanning[s.Name] = true
			w.scanned[s.Name] = time.Now()
			w.scans.Go(func() { w.scan(ctx, s, record, err) })
		}
		w.mu.Unlock()
	}
}

// scan makes or renews the record of one store.
func (w *Watch) scan(ctx context.Context, s Store, record *Record, why error) {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.scanning[s.Name] = false
	}()
	cfg := AttachConfig{
		Name: s.Name, Path: s.Path, Strict: s.Strict, AllowSplitted: s.AllowSplitted,
		SectorSize: w.cfg.SectorSize, Index: w.cfg.Index, Guard: w.cfg.Guard, Log: w.cfg.Log,
	}
	if record != nil {
		cfg.Strict, cfg.AllowSplitted, cfg.FixedSize = record.Strict, record.AllowSplitted, record.SectorSize
	} else {
		w.cfg.Log.Warn("the sectors of the store are not known; it is scanned", attr.Store(s.Name), attr.Err(why))
		w.cfg.Board.Set(condition.Condition{Kind: condition.StoreNotIndexed, Subject: s.Name, Detail: why.Error()})
	}
	report, err := Attach(ctx, cfg)
	if ctx.Err() != nil {
		return
	}
	w.cfg.Board.When(errors.Is(err, ErrFarFewer), condition.Condition{
		Kind: condition.StoreShrunk, Subject: s.Name, Detail: fmt.Sprintf("was %d sectors, now %d: %s", report.Was, report.Now, s.Path),
	})
	if _, known := w.cfg.Index.Get(s.Name); known == nil {
		w.cfg.Board.Clear(condition.StoreNotIndexed, s.Name)
	}
	switch {
	case err != nil:
		w.cfg.Log.Warn("store scanned", attr.Store(s.Name), attr.Was(report.Was), attr.SectorCount(report.Now), attr.Err(err))
	case report.Was != report.Now || cmp.Or(report.Unseen, report.Skipped) > 0:
		w.cfg.Log.Info("store scanned", attr.Store(s.Name), attr.Was(report.Was), attr.SectorCount(report.Now), attr.Unseen(report.Unseen))
	}
}
