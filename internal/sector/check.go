package sector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"wdpost/internal/sector/store"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Wanted is a sector that is to be proven, as the chain knows it.
type Wanted struct {
	Number     uint64
	SectorSize uint64   // bytes
	CommR      [32]byte // field element, little-endian
	Updated    bool     // by a snap deal: its files are under update and update-cache
	// Challenges are the leaves that a check by reading reads; empty: some of
	// each tree, drawn anew.
	Challenges []uint64
}

// Checked is the outcome for one sector: where its files lie, or why it cannot
// be proven.
type Checked struct {
	Wanted
	Location
	// Others are its further copies that were not found bad, the best first.
	// Until a proof is made each of them may be the only good one.
	Others []Location
	Err    error
}

// ErrNotFound means that no configured store is known to hold the sector.
var ErrNotFound = errors.New("not in any attached store; attach the store that has it")

// errElsewhere is ErrNotFound where a part of the sector is known.
var errElsewhere error = elsewhere{}

type elsewhere struct{}

func (elsewhere) Error() string        { return "in no store that can be used" }
func (elsewhere) Is(target error) bool { return target == ErrNotFound }

// Checker tells whether sectors could be proven now.
type Checker struct {
	locator *Locator
	guard   *Guard
	reader  *Reader

	mu     sync.Mutex
	doubts map[Location]doubt
}

// doubt is that the files of a copy could not be read when they were needed.
type doubt struct {
	why        error
	since      time.Time
	challenges []uint64 // what could not be read, nil if that is not known
}

// NewChecker shares the bounds of guard with whoever else uses it.
func NewChecker(locator *Locator, guard *Guard) *Checker {
	return &Checker{locator: locator, guard: guard, reader: NewReader(guard), doubts: map[Location]doubt{}}
}

// Check looks at every sector and returns the outcomes in the same order. It
// returns before or when ctx ends, whatever hangs; what was not looked at by
// then has the cause of ctx as its error.
//
// A sector passes when replica, p_aux and tree files are there with their right
// sizes. Strict also reads, as CheckRead does. A copy that is in doubt is read in
// any case. Where a sector has several copies, the first one that passes counts,
// and the others are told.
func (c *Checker) Check(ctx context.Context, miner uint64, wanted []Wanted, strict bool) []Checked {
	return c.each(wanted, func(w Wanted) Checked { return c.checkCopies(ctx, ID{miner, w.Number}, w, strict) })
}

// CheckRead is Check by reading, whatever the setting: leaves of each tree are
// read and held against each other and against the chain's comm_r. It is for
// sectors that are to be promised to the chain.
func (c *Checker) CheckRead(ctx context.Context, miner uint64, wanted []Wanted) []Checked {
	return c.Check(ctx, miner, wanted, true)
}

func (c *Checker) each(wanted []Wanted, check func(Wanted) Checked) []Checked {
	out := make([]Checked, len(wanted))
	var wg sync.WaitGroup
	for i, w := range wanted {
		// One goroutine for each: the guard bounds what they do in each store,
		// so that those of a dead store keep no others waiting.
		wg.Go(func() { out[i] = check(w) })
	}
	wg.Wait()
	return out
}

// Doubt tells that the files of a sector's copy, named by its replica, could not
// be read where they were needed. Until a check has read them, the copy comes
// after all others and no check believes what it merely sees. challenges are the
// leaves that were needed, nil if they are not known.
func (c *Checker) Doubt(miner, number uint64, sealedFile string, challenges []uint64, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, updated := range []bool{false, true} {
		for _, at := range c.locator.Find(ID{miner, number}, updated) {
			if at.SealedFile == sealedFile {
				c.doubts[at] = doubt{why: why, since: time.Now(), challenges: challenges}
			}
		}
	}
}

// Candidates returns every copy of a sector, those in doubt last. It looks at no
// file. The error wraps ErrNotFound and says what is known.
func (c *Checker) Candidates(miner, number uint64, updated bool) ([]Location, error) {
	id := ID{miner, number}
	copies := c.locator.Find(id, updated)
	if len(copies) == 0 {
		return nil, fmt.Errorf("sector %s: %w", id, c.locator.whyNot(id, updated))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.SortStableFunc(copies, func(a, b Location) int {
		return truth(c.doubts[a].why != nil) - truth(c.doubts[b].why != nil)
	})
	return copies, nil
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *Checker) doubtOf(at Location) (doubt, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, found := c.doubts[at]
	return d, found
}

func (c *Checker) checkCopies(ctx context.Context, id ID, w Wanted, strict bool) Checked {
	copies, err := c.Candidates(id.Miner, id.Number, w.Updated)
	if err != nil {
		return Checked{Wanted: w, Location: Location{ID: id, Updated: w.Updated}, Err: err}
	}
	var reasons []error
	for i, at := range copies {
		err := c.checkOne(ctx, at, w, strict)
		if err == nil {
			return Checked{Wanted: w, Location: at, Others: copies[i+1:]}
		}
		if ctx.Err() != nil {
			return Checked{Wanted: w, Location: at, Err: err}
		}
		reasons = append(reasons, err)
	}
	return Checked{Wanted: w, Location: copies[0], Err: errors.Join(reasons...)}
}

// checkOne checks one copy: by looking, and by reading where that is asked for
// or needed.
func (c *Checker) checkOne(ctx context.Context, at Location, w Wanted, strict bool) error {
	shape, err := merkle.ShapeOf(w.SectorSize)
	if err != nil {
		return err
	}
	d, doubted := c.doubtOf(at)
	if !strict && !doubted {
		return c.guard.present(ctx, at, shape)
	}
	challenges := slices.Concat(w.Challenges, d.challenges)
	if len(challenges) == 0 {
		challenges = someOfEach(shape)
	}
	slices.Sort(challenges)
	_, err = c.reader.ReadVanilla(ctx, w.SectorSize, task.Replica{
		SectorID: w.Number, CommR: w.CommR, CacheDir: at.CacheDir, SealedFile: at.SealedFile,
	}, slices.Compact(challenges))
	if err == nil && doubted {
		c.mu.Lock()
		delete(c.doubts, at)
		c.mu.Unlock()
	}
	return err
}

// leavesOfEach is how many leaves of each tree file a check reads.
const leavesOfEach = 2

// someOfEach draws leaves of every tree file.
func someOfEach(shape merkle.Shape) []uint64 {
	var out []uint64
	for tree := range uint64(shape.BaseTrees()) {
		for range leavesOfEach {
			out = append(out, tree*shape.BaseLeaves()+rand.Uint64N(shape.BaseLeaves()))
		}
	}
	return out
}

// present requires the files that proving opens, with their right sizes. Replica
// and cache are asked of their own store each.
func (g *Guard) present(ctx context.Context, at Location, shape merkle.Shape) error {
	trees := shape.FileNames()
	cache := []string{join(at.CacheDir, post.PAuxName)}
	for _, name := range trees {
		cache = append(cache, join(at.CacheDir, name))
	}
	stores := []string{storeOf(at.SealedFile), storeOf(at.CacheDir)}
	var sizes []int64
	err := g.visit(ctx, visitKind{roots: stores, weight: 1}, func(v *visit) (err error) {
		if stores[0] == stores[1] {
			sizes, err = v.sizes(stores[0], append([]string{at.SealedFile}, cache...))
			return err
		}
		if sizes, err = v.sizes(stores[0], []string{at.SealedFile}); err != nil {
			return err
		}
		ofCache, err := v.sizes(stores[1], cache)
		sizes = append(sizes, ofCache...)
		return err
	})
	if err != nil {
		return err
	}
	if sizes[0] != int64(shape.SectorSize) {
		return fmt.Errorf("%s has %d bytes, a sector has %d", at.SealedFile, sizes[0], shape.SectorSize)
	}
	if sizes[1] != post.PAuxSize {
		return fmt.Errorf("%s has %d bytes, not %d", cache[0], sizes[1], post.PAuxSize)
	}
	for i, name := range trees {
		if _, err := shape.LayoutOf(name, sizes[2+i]); err != nil {
			return fmt.Errorf("%s: %w", at.CacheDir, err)
		}
	}
	return nil
}

// sizes returns the sizes of plain files of one store, in one operation. The
// first that is none is the error.
func (v *visit) sizes(root string, paths []string) ([]int64, error) {
	var infos []store.Info
	err := v.op(root, paths[0], func() error {
		infos = v.files().Stat(paths, false)
		for i, info := range infos {
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
