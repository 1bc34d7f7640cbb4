package groth16

import (
	"errors"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16/internal/ops"
	"wdpost/proofs/kernel"
)

// trip closes done when the count reaches a limit and goes on counting. Nobody
// passes between counting and closing.
type trip struct {
	limit int64
	done  chan struct{}

	mu    sync.Mutex
	count int64
}

func newTrip(limit int64) *trip { return &trip{limit: limit, done: make(chan struct{})} }

func (c *trip) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.count
	c.count += int64(n)
	if before < c.limit && c.count >= c.limit {
		close(c.done)
	}
}

// after is what was counted after the limit.
func (c *trip) after() int64 { return c.count - c.limit }

// countingAdder counts additions.
type countingAdder struct {
	batchAdder[bls.G1Affine, bls.G1Affine]
	trip *trip
}

func (a countingAdder) Add(targets, sources []bls.G1Affine, ops *ops.List) bool {
	a.trip.add(ops.Len())
	return a.batchAdder.Add(targets, sources, ops)
}

// A worker may make so many additions of affine points after a cancellation:
// those of a piece of a chunk in every window, or those that sum up the buckets
// of an area, whichever is more. That is a few hundredths of a second.
const additionsAfter = 1 << 17

// TestCancelSum cancels a sum at many places: the work that is still done is
// bounded, whatever the size of the sum.
func TestCancelSum(t *testing.T) {
	points := subgroupPoints(30_000)
	scalars := make([]fr.Element, len(points))
	for i := range scalars {
		scalars[i].MustSetRandom()
	}
	const workers = 3
	for limit := int64(1); ; limit = limit*4 + 1000 {
		c := newTrip(limit)
		newAdder := func(n int) batchAdder[bls.G1Affine, bls.G1Affine] { return countingAdder{newScalarG1(n), c} }
		sum := newBuckets[bls.G1Affine, bls.G1Affine, bls.G1Jac](newPool(workers, c.done, kernel.Auto), 1<<24, 1<<17, newAdder)
		err := sum.add(points, scalars, pieces{})
		if err == nil {
			_, err = sum.sum()
		}
		if c.after() < 0 {
			if err != nil {
				t.Errorf("nobody canceled: %v", err)
			}
			return
		}
		if err != nil && !errors.Is(err, ErrCanceled) {
			t.Errorf("canceled at %d additions: %v", limit, err)
		}
		if after := c.after(); after > workers*additionsAfter {
			t.Errorf("canceled at %d additions, %d more were made", limit, after)
		}
	}
}

// TestCancelPieces: of work in pieces, those that run are finished and no other
// is begun.
func TestCancelPieces(t *testing.T) {
	const workers, pieces = 5, 1000
	for _, limit := range []int64{1, 2, 500, pieces - 1} {
		c := newTrip(limit)
		err := newPool(workers, c.done, kernel.Auto).run(pieces, func(_, _ int) error {
			c.add(1)
			return nil
		})
		if c.after() > 0 && c.after() > workers {
			t.Errorf("canceled at piece %d, %d more were begun", limit, c.after())
		}
		if c.count < pieces && !errors.Is(err, ErrCanceled) {
			t.Errorf("canceled at piece %d: %v, want ErrCanceled", limit, err)
		}
	}
}
