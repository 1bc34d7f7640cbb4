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
	chunkPoints = 1 << 15 // points that pass through the buckets together, at least
	areaBuckets = 1 << 15 // buckets that a worker visits at a time: what the caches hold
	leastArea   = 1 << 10 // fewer buckets than that are not worth a visit
	areasEach   = 2       // areas of a worker, at least: how evenly they end
	reduceRuns  = 256     // running sums side by side in the reduction
)

// buckets is Pippenger's multi-scalar multiplication (FOCS 1976; ePrint 2012/549,
// section 4) over a batchAdder. Points
// and scalars come in chunks of any size; the buckets stay from chunk to chunk
// and are summed up once. One chunk is prepared while the one before goes
// through the buckets.
//
// The windows, laid end to end, are cut into areas. An area belongs to one
// worker at a time and mixes the additions of the windows it has a part in:
// neighbouring additions then rarely want the same bucket. More workers have
// more and smaller areas, so that the buckets take the same memory for any
// number of them.
type buckets[R, A, J any, P affine[A], Q jacobian[J, A]] struct {
	pool    pool
	windows []window
	areas   []*area[R, A, P]

	ready     *chunk[R] // goes through the buckets next; may be empty
	coming    *chunk[R] // is prepared
	importers []*importer[R, A, J, P, Q]
}

// chunk is a number of points in the adder's form with the digits of their
// scalars.
type chunk[R any] struct {
	n      int
	points []R       // the last one in use is the adder's filler
	digits [][]int32 // digits[k][i]: of point i in window k
}

func newChunk[R any](room, windows int) *chunk[R] {
	c := &chunk[R]{points: make([]R, room+1), digits: make([][]int32, windows)}
	for k := range c.digits {
		c.digits[k] = make([]int32, room)
	}
	return c
}

// area is a part of the buckets.
type area[R, A any, P affine[A]] struct {
	additions[R, A, P]
	spans    []span
	rows     [][]int32  // of digits, one for each span
	records  []R        // the buckets, span after span; the last record is scratch of the adder
	occupied []bool     // buckets that hold a point
	pending  []bool     // buckets that a waiting addition changes
	batch    int        // additions that are made together
	queue    []addition // that met their bucket in use
}

// span is a run of the buckets of one window. Bucket from+j of the window, of
// the digits ±(from+j+1), is record base+j of the area.
type span struct {
	window     int
	from, size uint32
	base       uint32
}

// cutAreas cuts windows laid end to end into n areas of equal shares: every
// window has about the same number of additions.
func cutAreas(windows []window, n int) [][]span {
	areas := make([][]span, n)
	for i := range areas {
		base := uint32(0)
		for k, w := range windows {
			// Shares are counted in n-ths of a window.
			from, to := max(i*len(windows)-k*n, 0), min((i+1)*len(windows)-k*n, n)
			if from >= to {
				continue
			}
			from, to = from*w.buckets()/n, to*w.buckets()/n
			if from < to {
				areas[i] = append(areas[i], span{k, uint32(from), uint32(to - from), base})
				base += uint32(to - from)
			}
		}
	}
	return areas
}

// countAreas is the number of areas for so many buckets: the caches hold each,
// and every worker has the same number, of which there are more if they are
// few, to even out what windows with many zeros do not take.
func countAreas(buckets, workers int) int {
	n := max((buckets+areaBuckets-1)/areaBuckets, areasEach*workers)
	n = (n + workers - 1) / workers * workers
	return max(1, min(n, buckets/leastArea))
}

// chunk is how many points pass through the buckets together: enough for every
// worker to import some.
func (p pool) chunk() int { return max(chunkPoints, importPoints*p.workers) }

// newBuckets makes room for sums over about n points.
func newBuckets[R, A, J any, P affine[A], Q jacobian[J, A]](p pool, n uint64, maxBuckets int, newAdder func(n int) batchAdder[R, A]) *buckets[R, A, J, P, Q] {
	b := &buckets[R, A, J, P, Q]{pool: p, windows: chooseWindows(n, maxBuckets)}
	cut := cutAreas(b.windows, countAreas(countBuckets(b.windows), p.workers))
	b.areas = make([]*area[R, A, P], len(cut))
	room := int(min(n, uint64(p.chunk())))
	var chunks [2]*chunk[R]
	// In parallel: the first touch of so much memory takes time. Without a
	// channel to cancel it nothing can fail.
	_ = pool{workers: p.workers, watch: p.watch}.together(pieces{len(chunks), func(_, i int) error {
		chunks[i] = newChunk[R](room, len(b.windows))
		return nil
	}}, pieces{len(cut), func(_, i int) error {
		b.areas[i] = newArea[R, A, P](cut[i], newAdder)
		return nil
	}})
	b.ready, b.coming = chunks[0], chunks[1]
	for range p.workers {
		b.importers = append(b.importers, newImporter[R, A, J, P, Q](newAdder, len(b.windows)))
	}
	return b
}

func newArea[R, A any, P affine[A]](spans []span, newAdder func(n int) batchAdder[R, A]) *area[R, A, P] {
	a := &area[R, A, P]{additions: newAdditions[R, A, P](newAdder), spans: spans, rows: make([][]int32, len(spans))}
	size := 0
	for _, s := range spans {
		size += int(s.size)
	}
	a.records = make([]R, size+1)
	a.occupied, a.pending = make([]bool, size), make([]bool, size)
	a.batch = min(max(size/16, 64), maxBatch)
	return a
}

// add takes Σ scalars[i]·points[i] and does other work beside.
func (b *buckets[R, A, J, P, Q]) add(points []A, scalars []fr.Element, beside pieces) error {
	room := len(b.ready.points) - 1
	parts := (len(points) + room - 1) / room
	for i := range parts {
		n := min(len(points), room)
		if err := b.addChunk(points[:n], scalars[:n], beside.part(i, parts)); err != nil {
			return err
		}
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

// addChunk takes at most as many points as there is room for. They wait until
// the next call, or sum, while those of the call before go through the buckets.
func (b *buckets[R, A, J, P, Q]) addChunk(points []A, scalars []fr.Element, beside pieces) error {
	c := b.coming
	c.n = len(points)
	c.points[c.n] = b.importers[0].adder.Filler()
	err := b.pool.together(beside, b.through(), pieces{(c.n + importPoints - 1) / importPoints, func(worker, i int) error {
		from, to := i*importPoints, min((i+1)*importPoints, c.n)
		b.importers[worker].run(c, b.windows, points, scalars, from, to)
		return nil
	}})
	b.ready, b.coming = c, b.ready
	return err
}

// through is the work of putting the chunk that is ready through the buckets.
func (b *buckets[R, A, J, P, Q]) through() pieces {
	c := b.ready
	if c.n == 0 {
		return pieces{}
	}
	return pieces{len(b.areas), func(_, i int) error {
		return b.areas[i].addChunk(b.pool, c.points[:c.n+1], c.digits)
	}}
}

// addChunk adds to the buckets of the area. The last of points is the adder's
// filler. It looks at cancellation now and then; the area is worthless after
// one.
func (a *area[R, A, P]) addChunk(p pool, points []R, digits [][]int32) error {
	n := len(points) - 1
	for k := range a.spans {
		a.rows[k] = digits[a.spans[k].window][:n]
	}
	for i := range n {
		if i%importPoints == 0 && p.canceled() {
			return ErrCanceled
		}
		for k := range a.spans {
			d, negate := a.rows[k][i], uint8(0)
			if d < 0 {
				d, negate = -d, 1
			}
			// Of no span: digits below the first of the span, 0 among them, wrap around.
			if s := &a.spans[k]; uint32(d)-1-s.from < s.size {
				a.put(points, addition{s.base + uint32(d) - 1 - s.from, uint32(i), negate})
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
