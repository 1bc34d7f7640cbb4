package sector

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"wdpost/proofs/merkle"
)

// openLeaves makes the inclusion proofs of the challenges. All reads of the
// sector are known beforehand: they are done in the order in which they lie on
// disk, ReadsAtOnce at once, and each proof is hashed as soon as its reads are
// there, while others are still under way.
func openLeaves(tree *merkle.Tree, files merkle.Files, challenges []uint64, inclusion []merkle.Proof, done <-chan struct{}) error {
	layout := tree.Layout()
	type leaf struct {
		plan    []merkle.Read
		data    [][]byte
		missing atomic.Int64
	}
	leaves := make([]leaf, len(challenges))
	order := make([]int, len(challenges))
	for i, challenge := range challenges {
		if challenge >= layout.Leaves() {
			return fmt.Errorf("challenge %d in a sector of %d leaves", challenge, layout.Leaves())
		}
		order[i] = i
		leaves[i].plan = layout.Plan(challenge)
		leaves[i].data = make([][]byte, len(leaves[i].plan))
		leaves[i].missing.Store(int64(len(leaves[i].plan)))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(challenges[a], challenges[b]) })
	type step struct{ leaf, read int }
	var steps []step
	for _, i := range order {
		for k := range leaves[i].plan {
			steps = append(steps, step{i, k})
		}
	}
	var hashing sync.WaitGroup
	failed := make([]error, len(leaves))
	err := each(len(steps), done, func(at int) (err error) {
		i, k := steps[at].leaf, steps[at].read
		l := &leaves[i]
		if l.data[k], err = files.Read(layout.Shape, l.plan[k]); err != nil {
			return err
		}
		if l.missing.Add(-1) == 0 {
			hashing.Go(func() {
				runtime.Gosched() // readers that are due go first: the store must not wait for hashing
				inclusion[i], failed[i] = tree.Assemble(challenges[i], l.data)
			})
		}
		return nil
	})
	hashing.Wait()
	if err != nil {
		return err
	}
	for _, i := range order {
		if failed[i] != nil {
			return failed[i]
		}
	}
	return nil
}

// each runs f for 0…n−1, begun in this order, ReadsAtOnce at once. After an
// error, which it returns, or when done closes, it begins no more.
func each(n int, done <-chan struct{}, f func(i int) error) error {
	var (
		wg    sync.WaitGroup
		next  atomic.Int64
		first atomic.Pointer[error]
	)
	run := func() error {
		for first.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			select {
			case <-done:
				return merkle.ErrCanceled
			default:
			}
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	for range min(ReadsAtOnce, n) {
		wg.Go(func() {
			if err := run(); err != nil {
				first.CompareAndSwap(nil, &err)
			}
		})
	}
	wg.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}
