package sector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
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
	// Pattern selects the sectors by file name, e.g. s-t01000-1[0-9]; only they
	// are added or removed. Default: all.
	Pattern string
	// Verbose logs each file.
	Verbose bool
	// SectorSize returns the size of a miner's sectors in bytes, as the chain
	// knows it; nil: the size of each replica file is believed.
	SectorSize func(ctx context.Context, miner uint64) (uint64, error)

	Index *Index
	Guard *Guard
	Log   *slog.Logger
}

// AttachReport says what an attach found.
type AttachReport struct {
	Sectors, Updated int // with all their files (or the half, with AllowSplitted)
	Skipped          int // files named like sectors that were left out
}

// Attach scans a store and replaces its record in the index. Sectors whose
// files are missing or of the wrong size are left out, each with its reason in
// the log.
func Attach(ctx context.Context, cfg AttachConfig) (AttachReport, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return AttachReport{}, fmt.Errorf("store path %s: %w", cfg.Path, err)
	}
	a := attacher{AttachConfig: cfg, root: path, sizes: map[uint64]sizeAnswer{}}
	a.Name = cmp.Or(cfg.Name, cfg.Path)
	a.Pattern = cmp.Or(cfg.Pattern, "*")
	if _, err := filepath.Match(a.Pattern, ""); err != nil {
		return AttachReport{}, fmt.Errorf("pattern %q is malformed: write it like s-t01000-1[0-9]", a.Pattern)
	}
	if _, err := cfg.Index.file(a.Name); err != nil {
		return AttachReport{}, err
	}
	if err := checkFolder(ctx, cfg.Guard, path); err != nil {
		return AttachReport{}, err
	}
	a.record, err = a.startRecord()
	if err != nil {
		return AttachReport{}, err
	}
	for _, updated := range []bool{false, true} {
		if err := a.scan(ctx, updated); err != nil {
			return AttachReport{}, err
		}
	}
	a.record.AttachedAt = time.Now().UTC()
	if err := cfg.Index.Put(a.record); err != nil {
		return AttachReport{}, err
	}
	if a.report.Sectors+a.report.Updated == 0 {
		a.Log.Warn("no sector was found: the path must be that of the folder above cache and sealed", "store", a.Name, "path", path)
	}
	return a.report, nil
}

type attacher struct {
	AttachConfig
	root   string
	record *Record
	report AttachReport

	mu    sync.Mutex // guards what follows, and record and report during scan
	sizes map[uint64]sizeAnswer
}

type sizeAnswer struct {
	size uint64
	err  error
}

// startRecord is a new record, or with a pattern the present one without the
// sectors that the pattern selects.
func (a *attacher) startRecord() (*Record, error) {
	old, err := a.Index.Get(a.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn("the present record of the store is replaced", "store", a.Name, "err", err)
	}
	if old != nil && old.Path != a.root {
		a.Log.Warn("the store was attached with another path, which is replaced", "store", a.Name, "was", old.Path, "is", a.root)
		old = nil
	}
	others, err := a.Index.All()
	if err != nil {
		a.Log.Warn("damaged records of the index are left as they are, except that of this store", "err", err)
	}
	for _, r := range others {
		if r.Path == a.root && r.Name != a.Name {
			a.Log.Warn("this path is also attached under another name; the config file must use only one of them", "store", a.Name, "other", r.Name)
		}
	}
	if old == nil || a.Pattern == "*" {
		return newRecord(a.Name, a.root), nil
	}
	selected := func(id ID) bool { ok, _ := filepath.Match(a.Pattern, id.String()); return ok }
	for _, n := range []Numbers{old.Replicas, old.Caches, old.UpdateReplicas, old.UpdateCaches} {
		n.removeIf(selected)
	}
	return old, nil
}

// scan takes the sectors of one kind into the record.
func (a *attacher) scan(ctx context.Context, updated bool) error {
	replicaDir, cachesDir := dirs(updated)
	replicas, err := a.list(ctx, replicaDir)
	if err != nil {
		return err
	}
	names := replicas
	if a.AllowSplitted {
		caches, err := a.list(ctx, cachesDir)
		if err != nil {
			return err
		}
		for id := range caches {
			names[id] = true
		}
	}
	before := a.report
	var work errgroup.Group
	work.SetLimit(16)
	for id := range names {
		work.Go(func() error { return a.take(ctx, id, updated) })
	}
	if err := work.Wait(); err != nil {
		return err
	}
	if updated && len(names) == 0 {
		return nil // most stores have none
	}
	found := a.report.Sectors + a.report.Updated - before.Sectors - before.Updated
	a.Log.Info(fmt.Sprintf("%d sectors out of %d files have been found", found, len(names)), "store", a.Name, "folder", replicaDir)
	return nil
}

// list returns the sectors by the names in a folder of the store; a folder that
// is not there has none.
func (a *attacher) list(ctx context.Context, folder string) (map[ID]bool, error) {
	dir := filepath.Join(a.root, folder)
	var names []string
	err := a.Guard.visit(ctx, visitKind{roots: []string{a.root}, weight: 1}, func(v *visit) error {
		return v.op(a.root, dir, func() error {
			got, err := v.files().List(dir)
			names = got
			return err
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return map[ID]bool{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	ids := map[ID]bool{}
	for _, name := range names {
		id, isSector := ParseID(name)
		if match, _ := filepath.Match(a.Pattern, name); isSector && match {
			ids[id] = true
		}
	}
	return ids, nil
}

// take checks the files of one sector and adds what is whole to the record.
func (a *attacher) take(ctx context.Context, id ID, updated bool) error {
	size, err := a.sizeOf(ctx, id.Miner)
	if err != nil {
		a.skip(id, fmt.Errorf("size of the miner's sectors: %w", err))
		return nil
	}
	var found halves
	err = a.Guard.visit(ctx, visitKind{roots: []string{a.root}, weight: 1}, func(v *visit) error {
		return v.op(a.root, id.String(), func() error { found = a.look(id, updated, size); return nil })
	})
	if err != nil {
		return fmt.Errorf("sector %s: %w", id, err)
	}
	whole := found.replica == nil && found.cache == nil
	if !whole && !(a.AllowSplitted && (found.replica == nil || found.cache == nil)) {
		a.skip(id, errors.Join(found.replica, found.cache))
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	replicas, caches := a.record.of(updated)
	if found.replica == nil {
		replicas.add(id)
	}
	if found.cache == nil {
		caches.add(id)
	}
	if updated {
		a.report.Updated++
	} else {
		a.report.Sectors++
	}
	if a.Verbose {
		a.Log.Info(fmt.Sprintf("sector %s scanned", id), "updated", updated, "replica", found.replica == nil, "cache", found.cache == nil)
	}
	return nil
}

func (a *attacher) skip(id ID, reason error) {
	a.mu.Lock()
	a.report.Skipped++
	a.mu.Unlock()
	a.Log.Warn("sector left out", "sector", id.String(), "reason", strings.ReplaceAll(reason.Error(), "\n", "; "))
}

// sizeOf asks the chain once for each miner; 0 when there is no chain.
func (a *attacher) sizeOf(ctx context.Context, miner uint64) (uint64, error) {
	if a.SectorSize == nil {
		return 0, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, known := a.sizes[miner]
	if !known {
		answer.size, answer.err = a.SectorSize(ctx, miner)
		a.sizes[miner] = answer
	}
	return answer.size, answer.err
}

// halves says of replica and cache each what is wrong, nil when nothing.
type halves struct {
	replica, cache error
}

// look checks the files of one sector; size 0 takes that of the replica file.
func (a *attacher) look(id ID, updated bool, size uint64) halves {
	replicaDir, cachesDir := dirs(updated)
	var h halves
	actual, err := a.fileSize(filepath.Join(a.root, replicaDir, id.String()))
	switch {
	case err != nil:
		h.replica = err
	case size == 0:
		size = actual
	case actual != size:
		h.replica = fmt.Errorf("replica has %d bytes, the miner's sectors have %d", actual, size)
	}
	cache := filepath.Join(a.root, cachesDir, id.String())
	if size == 0 {
		h.cache = a.lookAnyCache(cache)
		return h
	}
	shape, err := merkle.ShapeOf(size)
	if err != nil {
		h.replica = fmt.Errorf("replica has %d bytes, which is no size of a sector", size)
		return h
	}
	for _, name := range cacheFiles(shape) {
		if _, err := a.fileSize(filepath.Join(cache, name)); err != nil {
			h.cache = err
			return h
		}
	}
	return h
}

// lookAnyCache checks a cache whose sector size is not known: p_aux and a
// complete set of tree files of some shape.
func (a *attacher) lookAnyCache(cache string) error {
	if _, err := a.fileSize(filepath.Join(cache, post.PAuxName)); err != nil {
		return err
	}
	var reason error
shapes:
	for _, size := range []uint64{64 << 30, 32 << 30, 1 << 30, 512 << 20} {
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			return err
		}
		for _, name := range shape.FileNames() {
			if _, reason = a.fileSize(filepath.Join(cache, name)); reason != nil {
				continue shapes
			}
		}
		return nil
	}
	return reason
}

// fileSize requires a plain file, inside the store where that is asked for.
func (a *attacher) fileSize(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a file", path)
	}
	if a.Strict {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return 0, err
		}
		root, err := filepath.EvalSymlinks(a.root)
		if err != nil {
			return 0, err
		}
		if !strings.HasPrefix(real, root+string(filepath.Separator)) {
			return 0, fmt.Errorf("%s is a link out of the store, to %s", path, real)
		}
	}
	return uint64(info.Size()), nil
}
