package sector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wdpost/internal/attr"
	"wdpost/internal/sector/store"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// scanAtOnce is how many sectors a scan looks at at once, as far as the guard
// admits them.
const scanAtOnce = 64

// progressEvery is how often a long scan says how far it is.
const progressEvery = 5 * time.Second

// halves says of replica and cache each what is wrong, nil when nothing.
type halves struct {
	replica, cache error
}

// errUnseen: the file may be there, but could not be looked at now.
var errUnseen = errors.New("could not be looked at")

// sighting is what a scan saw of one sector.
type sighting struct {
	ID
	updated bool
	listed  bool // its replica's name is in the folder
	halves
}

// scanner looks at the files of a store.
type scanner struct {
	AttachConfig
	root string
	real string // root without symbolic links, where Strict asks for it

	mu    sync.Mutex // guards sizes
	sizes map[uint64]sizeAnswer

	// likely is the size of the last whole sector: most stores hold one size, and
	// fewer names have to be looked at.
	likely atomic.Uint64
}

type sizeAnswer struct {
	size uint64
	err  error
}

func newScanner(cfg AttachConfig) (*scanner, error) {
	s := &scanner{AttachConfig: cfg, sizes: map[uint64]sizeAnswer{}}
	var err error
	if s.root, err = absoluteRoot(cfg.Path); err != nil {
		return nil, fmt.Errorf("store path %s: %w", cfg.Path, err)
	}
	s.Name = cmp.Or(cfg.Name, cfg.Path)
	s.Pattern = cmp.Or(cfg.Pattern, "*")
	if _, err := filepath.Match(s.Pattern, ""); err != nil {
		return nil, fmt.Errorf("pattern %q is malformed: write it like s-t01000-1[0-9]", s.Pattern)
	}
	if s.FixedSize != 0 {
		if _, err := merkle.ShapeOf(s.FixedSize); err != nil {
			return nil, fmt.Errorf("sector size: %w", err)
		}
	}
	return s, nil
}

// scan looks at all selected sectors of one kind and hands each to see, which is
// called from several goroutines. When ctx ends it has seen a part.
func (s *scanner) scan(ctx context.Context, updated bool, see func(sighting)) (files int, err error) {
	replicaDir, cachesDir := dirs(updated)
	names, err := s.list(ctx, replicaDir)
	if err != nil {
		return 0, err
	}
	caches, err := s.list(ctx, cachesDir)
	if err != nil {
		return 0, err
	}
	files = len(names)
	all := maps.Clone(names)
	for id := range caches {
		if !all[id] {
			all[id] = true
			if s.AllowSplitted {
				files++
			}
		}
	}
	var done atomic.Int64
	stop := s.tell(replicaDir, len(all), &done)
	defer stop()
	work, working := errgroup.WithContext(ctx)
	work.SetLimit(scanAtOnce)
	for id := range all {
		if working.Err() != nil {
			break
		}
		work.Go(func() error {
			defer done.Add(1)
			found, err := s.look(working, id, updated)
			if err != nil {
				return err
			}
			see(sighting{id, updated, names[id], found})
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return files, err
	}
	return files, context.Cause(ctx)
}

// tell logs how far a long scan is, until the returned function is called.
func (s *scanner) tell(folder string, of int, done *atomic.Int64) (stop func()) {
	over := make(chan struct{})
	began := time.Now()
	go func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			n := done.Load()
			s.Log.Info(fmt.Sprintf("scanning %s: %d of %d sectors, %.0f a second", folder, n, of, float64(n)/time.Since(began).Seconds()), attr.Store(s.Name))
		}
	}()
	return func() { close(over) }
}

// list returns the sectors by the names in a folder of the store; a folder that
// is not there has none.
func (s *scanner) list(ctx context.Context, folder string) (map[ID]bool, error) {
	dir := join(s.root, folder)
	names, err := s.Guard.list(ctx, s.root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[ID]bool{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	ids := map[ID]bool{}
	for _, name := range names {
		id, isSector := ParseID(name)
		if match, _ := filepath.Match(s.Pattern, name); isSector && match {
			ids[id] = true
		}
	}
	return ids, nil
}

// list returns the names in a folder of the store root.
func (g *Guard) list(ctx context.Context, root, dir string) (names []string, err error) {
	err = g.visit(ctx, visitKind{roots: []string{root}, weight: 1}, func(v *visit) error {
		var got []string
		err := v.op(root, dir, func() (err error) { got, err = v.files().List(dir); return err })
		if err == nil {
			names = got
		}
		return err
	})
	return names, err
}

// stat looks at several paths of the store root in one operation.
func (g *Guard) stat(ctx context.Context, root string, paths []string, resolve bool) (infos []store.Info, err error) {
	err = g.visit(ctx, visitKind{roots: []string{root}, weight: 1}, func(v *visit) error {
		var got []store.Info
		err := v.op(root, paths[0], func() error {
			got = v.files().Stat(paths, resolve)
			for _, info := range got { // trouble of the store ends it, that of one file does not
				if info.Err != nil && store.TroubleOf(info.Err) != store.OfFile {
					return info.Err
				}
			}
			return nil
		})
		if err == nil {
			infos = got
		}
		return err
	})
	return infos, err
}

// sizeOf is the size of a miner's sectors as far as it is told: by the operator,
// or by the chain, which is asked once for each miner. 0: by nobody.
func (s *scanner) sizeOf(ctx context.Context, miner uint64) (uint64, error) {
	if s.FixedSize != 0 || s.SectorSize == nil {
		return s.FixedSize, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, known := s.sizes[miner]
	if !known {
		answer.size, answer.err = s.SectorSize(ctx, miner)
		s.sizes[miner] = answer
	}
	return answer.size, answer.err
}

// treeNames lists every name that a tree file may have.
func treeNames() []string {
	names := map[string]bool{}
	var out []string
	for _, size := range post.SectorSizes() {
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			continue // no proof type without a shape
		}
		for _, name := range shape.FileNames() {
			if !names[name] {
				names[name] = true
				out = append(out, name)
			}
		}
	}
	return out
}

// look checks the files of one sector by their names and sizes. The error is
// that the scan cannot go on: the store hangs or fails, or ctx has ended.
func (s *scanner) look(ctx context.Context, id ID, updated bool) (halves, error) {
	size, err := s.sizeOf(ctx, id.Miner)
	if err != nil {
		err = fmt.Errorf("%w: size of the miner's sectors: %w", errUnseen, err)
		return halves{err, err}, nil
	}
	if likely := s.likely.Load(); size == 0 && likely != 0 {
		if h, err := s.lookAs(ctx, id, updated, likely); err != nil || h.replica == nil && h.cache == nil {
			return h, err
		}
	}
	return s.lookAs(ctx, id, updated, size)
}

// lookAs is look with a sector size, 0 if it is not known.
func (s *scanner) lookAs(ctx context.Context, id ID, updated bool, size uint64) (halves, error) {
	replica, cache := Files(s.root, id, updated)
	trees := treeNames()
	if size != 0 {
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			return halves{}, err
		}
		trees = shape.FileNames()
	}
	paths := []string{replica, join(cache, post.PAuxName)}
	for _, name := range trees {
		paths = append(paths, join(cache, name))
	}
	infos, err := s.Guard.stat(ctx, s.root, paths, s.Strict)
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, ErrTimeout) || errors.Is(err, ErrSetAside):
		return halves{}, err
	default: // of this sector only, or of the store: the breaker finds out
		err = fmt.Errorf("%w: %w", errUnseen, err)
		return halves{err, err}, nil
	}
	for i := range infos {
		infos[i].Err = s.plain(paths[i], infos[i])
	}
	h := halves{replica: infos[0].Err}
	if h.replica == nil {
		size, h.replica = replicaSize(infos[0], size)
	}
	h.cache = judgeCache(infos[1], trees, infos[2:], size)
	if h.replica == nil && h.cache == nil {
		s.likely.Store(size)
	}
	return h, nil
}

// replicaSize holds the size of a replica against that of the miner's sectors, 0
// if that is not known, and returns the sector size.
func replicaSize(info store.Info, size uint64) (uint64, error) {
	switch {
	case info.Size == 0:
		return size, errors.New("replica is empty: it has 0 bytes")
	case size != 0 && uint64(info.Size) != size:
		return size, fmt.Errorf("replica has %d bytes, the miner's sectors have %d", info.Size, size)
	case size != 0:
		return size, nil
	}
	if _, err := merkle.ShapeOf(uint64(info.Size)); err != nil {
		return 0, fmt.Errorf("replica has %d bytes, which is no size of a sector", info.Size)
	}
	return uint64(info.Size), nil
}

// judgeCache checks p_aux and the tree files. Size 0 takes the first sector size
// that names and sizes fit.
func judgeCache(pAux store.Info, names []string, trees []store.Info, size uint64) error {
	if pAux.Err != nil {
		return pAux.Err
	}
	if pAux.Size != post.PAuxSize {
		return fmt.Errorf("%s has %d bytes, not %d", post.PAuxName, pAux.Size, post.PAuxSize)
	}
	byName := map[string]store.Info{}
	for i, name := range names {
		byName[name] = trees[i]
	}
	if size != 0 {
		return judgeTrees(byName, size)
	}
	var reason error
	sizes := post.SectorSizes()
	for i := range sizes { // the large ones are what people have
		if reason = judgeTrees(byName, sizes[len(sizes)-1-i]); reason == nil {
			return nil
		}
	}
	return reason
}

func judgeTrees(byName map[string]store.Info, size uint64) error {
	shape, err := merkle.ShapeOf(size)
	if err != nil {
		return err
	}
	for _, name := range shape.FileNames() {
		info := byName[name]
		if info.Err != nil {
			return info.Err
		}
		if _, err := shape.LayoutOf(name, info.Size); err != nil {
			return err
		}
	}
	return nil
}

// plain requires a plain file, inside the store where that is asked for.
func (s *scanner) plain(path string, info store.Info) error {
	switch {
	case errors.Is(info.Err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", errUnseen, info.Err)
	case info.Err != nil:
		return info.Err
	case !info.Regular:
		return fmt.Errorf("%s is not a file", path)
	case s.Strict && !strings.HasPrefix(info.Real, s.real+string(filepath.Separator)):
		return fmt.Errorf("%s is a link out of the store, to %s", path, info.Real)
	}
	return nil
}
