package sector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"wdpost/internal/sector/store"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
)

// Wanted is a sector that is to be proven, as the chain knows it.
type Wanted struct {
	Number     uint64
	SectorSize uint64   // bytes
	CommR      [32]byte // field element, little-endian
	Updated    bool     // by a snap deal: its files are under update and update-cache
}

// Checked is the outcome for one sector: where its files lie, or why it cannot
// be proven.
type Checked struct {
	Wanted
	Location
	Err error
	// Others are further copies, in the order in which they are worth a try.
	// They were not looked at.
	Others []Location
}

// ErrNotFound means that no configured store is known to hold the sector.
var ErrNotFound = errors.New("not in any attached store; attach the store that has it")

// Checker tells whether sectors could be proven now.
type Checker struct {
	locator *Locator
	guard   *Guard
	reader  *Reader
}

// NewChecker shares the bounds of guard with whoever else uses it.
func NewChecker(locator *Locator, guard *Guard) *Checker {
	return &Checker{locator: locator, guard: guard, reader: NewReader(guard)}
}

// Check looks at every sector and returns the outcomes in the same order. It
// returns before or when ctx ends, whatever hangs; what was not looked at by
// then has the cause of ctx as its error.
//
// A sector passes when replica, p_aux and tree files are there. Strict also
// compares their sizes, reads one leaf, and holds comm_r against the chain's.
// Where a sector has several copies, the first one that passes counts.
func (c *Checker) Check(ctx context.Context, miner uint64, wanted []Wanted, strict bool) []Checked {
	out := make([]Checked, len(wanted))
	var wg sync.WaitGroup
	for i, w := range wanted {
		// One goroutine for each: the guard bounds what they do in each store,
		// so that those of a dead store keep no others waiting.
		wg.Go(func() { out[i] = c.checkCopies(ctx, ID{miner, w.Number}, w, strict) })
	}
	wg.Wait()
	return out
}

func (c *Checker) checkCopies(ctx context.Context, id ID, w Wanted, strict bool) Checked {
	copies := c.locator.Find(id, w.Updated)
	if len(copies) == 0 {
		return Checked{Wanted: w, Location: Location{ID: id, Updated: w.Updated}, Err: ErrNotFound}
	}
	var reasons []error
	for i, at := range copies {
		err := c.checkOne(ctx, at, w, strict)
		if err == nil {
			return Checked{Wanted: w, Location: at, Others: slices.Concat(copies[i+1:], copies[:i])}
		}
		reasons = append(reasons, err)
	}
	return Checked{Wanted: w, Location: copies[0], Err: errors.Join(reasons...)}
}

func (c *Checker) checkOne(ctx context.Context, at Location, w Wanted, strict bool) error {
	if strict {
		leaf := rand.Uint64N(max(1, w.SectorSize/merkle.NodeSize))
		_, err := c.reader.ReadVanilla(ctx, w.SectorSize, task.Replica{
			SectorID: w.Number, CommR: w.CommR, CacheDir: at.CacheDir, SealedFile: at.SealedFile,
		}, []uint64{leaf})
		return err
	}
	shape, err := merkle.ShapeOf(w.SectorSize)
	if err != nil {
		return err
	}
	return c.guard.exist(ctx, at, shape)
}

// exist requires the files that proving opens. Replica and cache are asked of
// their own store each.
func (g *Guard) exist(ctx context.Context, at Location, shape merkle.Shape) error {
	cache := make([]string, 0, 11)
	for _, name := range cacheFiles(shape) {
		cache = append(cache, join(at.CacheDir, name))
	}
	stores := []string{storeOf(at.SealedFile), storeOf(at.CacheDir)}
	return g.visit(ctx, visitKind{roots: stores, weight: 1}, func(v *visit) error {
		if stores[0] == stores[1] {
			_, err := v.sizes(stores[0], append([]string{at.SealedFile}, cache...))
			return err
		}
		if _, err := v.sizes(stores[0], []string{at.SealedFile}); err != nil {
			return err
		}
		_, err := v.sizes(stores[1], cache)
		return err
	})
}

// sizes returns the sizes of plain files of one store, in one operation. The
// first that is none is the error.
func (v *visit) sizes(root string, paths []string) ([]int64, error) {
	var infos []store.Info
	err := v.op(root, paths[0], func() error {
		got := v.files().Stat(paths, false)
		infos = got
		for i, info := range got {
			switch {
			case info.Err != nil:
				return info.Err
			case !info.Regular:
				return fmt.Errorf("%s is not a file", paths[i])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]int64, len(infos))
	for i, info := range infos {
		out[i] = info.Size
	}
	return out, nil
}
