package groth16

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// jacobian is what buckets need of the sums of points.
type jacobian[J, A any] interface {
	*J
	AddAssign(*J) *J
	AddMixed(*A) *J
	DoubleAssign() *J
}

// Sizes of a bucket run.
const (
	chunkPoints = 1 << 16 // points that pass through the buckets together
	areaBuckets = 1 << 15 // buckets that a worker visits at a time: what the caches hold
	reduceRuns  = 256     // running sums side by side in the reduction
)

// buckets is Pippenger's multi-scalar multiplication over a batchAdder. Points
// and scalars come in chunks of any size; the buckets stay from chunk to chunk
// and are summed up once.
//
// The windows are divided among areas. An area belongs to one worker at a time
// and mixes the additions of its windows in its batches: neighbouring additions
// then rarely want the same bucket. With many workers there are several copies
// of every area, each for its share of the points.
type buckets[R, A, J any, P affine[A], Q jacobian[J, A]] struct {
	pool    pool
	windows []window
	areas   []*area[R, A, P] // copy after copy
	copies  int

	points    []R       // of the chunk
	digits    [][]int32 // digits[k][i]: of point i in window k
	importers []*importer[R, A, J, P, Q]
}

// area is a part of the windows with their buckets.
type area[R, A any, P affine[A]] struct {
	additions[R, A, P]
	first    int // window
	windows  []window
	base     []int      // of each window in records
	records  []R        // the buckets; the last record is scratch of the adder
	occupied []bool     // buckets that hold a point
	pending  []bool     // buckets that a waiting addition changes
	batch    int        // additions that are made together
	queue    []addition // that met their bucket in use
}

// newBuckets makes room for sums over about n points.
func newBuckets[R, A, J any, P affine[A], Q jacobian[J, A]](p pool, n uint64, maxBuckets int, newAdder func(n int) batchAdder[R, A]) *buckets[R, A, J, P, Q] {
	b := &buckets[R, A, J, P, Q]{pool: p, windows: chooseWindows(n, maxBuckets)}
	var cuts [][2]int // first and count of the windows of each area
	share := max(1, (len(b.windows)+p.workers-1)/p.workers)
	for first := 0; first < len(b.windows); {
		count, size := 0, 0
		for first+count < len(b.windows) && count < share && (count == 0 || size+b.windows[first+count].buckets() <= areaBuckets) {
			size += b.windows[first+count].buckets()
			count++
		}
		cuts = append(cuts, [2]int{first, count})
		first += count
	}
	b.copies = max(1, p.workers/len(cuts))
	for range b.copies {
		for _, c := range cuts {
			b.areas = append(b.areas, newArea[R, A, P](b.windows, c[0], c[1], newAdder))
		}
	}
	for range p.workers {
		b.importers = append(b.importers, newImporter[R, A, J, P, Q](newAdder, len(b.windows)))
	}
	room := int(min(n, chunkPoints))
	b.points = make([]R, room+1)
	b.digits = make([][]int32, len(b.windows))
	for k := range b.digits {
		b.digits[k] = make([]int32, room)
	}
	return b
}

func newArea[R, A any, P affine[A]](windows []window, first, count int, newAdder func(n int) batchAdder[R, A]) *area[R, A, P] {
	a := &area[R, A, P]{additions: newAdditions[R, A, P](newAdder), first: first, windows: windows[first : first+count]}
	size := 0
	for _, w := range a.windows {
		a.base = append(a.base, size)
		size += w.buckets()
	}
	a.records = make([]R, size+1)
	a.occupied, a.pending = make([]bool, size), make([]bool, size)
	a.batch = min(max(size/16, 64), maxBatch)
	return a
}

// add takes Σ scalars[i]·points[i].
func (b *buckets[R, A, J, P, Q]) add(points []A, scalars []fr.Element) error {
	for len(points) > 0 {
		n := min(len(points), len(b.points)-1)
		if err := b.addChunk(points[:n], scalars[:n]); err != nil {
			return err
		}
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

// addChunk adds at most chunkPoints points.
func (b *buckets[R, A, J, P, Q]) addChunk(points []A, scalars []fr.Element) error {
	n := len(points)
	b.points[n] = b.importers[0].adder.Filler()
	err := b.pool.run((n+importPoints-1)/importPoints, func(worker, i int) error {
		from, to := i*importPoints, min((i+1)*importPoints, n)
		b.importers[worker].run(b, points, scalars, from, to)
		return nil
	})
	if err != nil {
		return err
	}
	perCopy := len(b.areas) / b.copies
	return b.pool.run(len(b.areas), func(_, i int) error {
		part := i / perCopy
		from, to := n*part/b.copies, n*(part+1)/b.copies
		return b.areas[i].addChunk(b.pool, b.points[:n+1], b.digits, from, to)
	})
}

// addChunk adds points from…to−1 to the buckets of the area. It looks at
// cancellation now and then; the area is worthless after one.
func (a *area[R, A, P]) addChunk(p pool, points []R, digits [][]int32, from, to int) error {
	for i := from; i < to; i++ {
		if i%importPoints == 0 && p.canceled() {
			return ErrCanceled
		}
		for k, base := range a.base {
			d := digits[a.first+k][i]
			switch {
			case d > 0:
				a.put(points, addition{uint32(base) + uint32(d) - 1, uint32(i), 0})
			case d < 0:
				a.put(points, addition{uint32(base) + uint32(-d) - 1, uint32(i), 1})
			}
		}
	}
	for a.ops.Len() > 0 || len(a.queue) > 0 {
		a.flush(points)
	}
	return nil
}

// put schedules one addition.
func (a *area[R, A, P]) put(points []R, q addition) {
	switch {
	case a.pending[q.target]:
		a.queue = append(a.queue, q)
		if len(a.queue) >= maxBatch {
			a.flush(points)
		}
	case !a.occupied[q.target]:
		a.occupied[q.target] = true
		a.set(&a.records[q.target], &points[q.source], q.negate)
	default:
		a.pending[q.target] = true
		a.ops.Push(q.target, q.source, q.negate)
		if a.ops.Len() == a.batch {
			a.flush(points)
		}
	}
}

// flush performs the scheduled additions and schedules those of the queue that
// can go next.
func (a *area[R, A, P]) flush(points []R) {
	for i := range a.ops.Len() {
		target, _, _ := a.ops.At(i)
		a.pending[target] = false
	}
	a.perform(a.records, a.occupied, points)
	waiting := a.queue
	a.queue = a.queue[:0]
	for _, q := range waiting {
		switch {
		case a.pending[q.target] || a.ops.Len() == a.batch:
			a.queue = append(a.queue, q)
		case !a.occupied[q.target]: // the point that was here has been cancelled
			a.put(points, q)
		default:
			a.pending[q.target] = true
			a.ops.Push(q.target, q.source, q.negate)
		}
	}
	if a.ops.Len() == a.batch {
		a.flush(points)
	}
}
