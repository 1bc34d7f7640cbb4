package groth16

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// multiplier makes multiples of a generator.
type multiplier[A any] interface {
	// multiples writes scalars[i]·G to out[i].
	multiples(p pool, out []A, scalars []fr.Element) error
}

// fixedBase is a multiplier over a table of the multiples j·2^start·G, j =
// 1…2^(width−1), of every window of a scalar. A scalar then costs one affine
// addition a window, and the additions of a batch of scalars share one
// inversion.
type fixedBase[R, A any, P affine[A]] struct {
	windows  []window
	rows     [][]R // rows[k][j−1] for window k; the last record is the adder's filler
	newAdder func(n int) batchAdder[R, A]
}

// fixedWindows chooses the windows for n multiples: wide tables pay off only
// for many points.
func fixedWindows(n uint64) []window {
	width := min(max(bits.Len64(n)-4, 4), 16)
	return cutWindows((scalarBits + width - 1) / width)
}

// newFixedBase makes the table for about n multiples of base.
func newFixedBase[R, A any, P affine[A]](p pool, base A, n uint64, newAdder func(n int) batchAdder[R, A]) (*fixedBase[R, A, P], error) {
	f := &fixedBase[R, A, P]{windows: fixedWindows(n), newAdder: newAdder}
	bases := make([]A, len(f.windows))
	for k, w := range f.windows {
		bases[k] = base
		for range w.width {
			P(&base).Double(&base)
		}
	}
	f.rows = make([][]R, len(f.windows))
	return f, p.run(len(f.rows), func(_, k int) error {
		f.rows[k] = f.newRow(bases[k], f.windows[k].buckets())
		return nil
	})
}

// newRow returns the first n multiples of base, n a power of two: when the
// first k are known, the next are k·base more.
func (f *fixedBase[R, A, P]) newRow(base A, n int) []R {
	a := newAdditions[R, A, P](f.newAdder)
	row, there := make([]R, n+1), make([]bool, n)
	step := make([]R, 2) // k·base and the filler
	a.adder.Import(row[:1], []A{base})
	for k := 1; k < n; k *= 2 {
		step[0], step[1] = row[k-1], a.adder.Filler()
		copy(row[k:2*k], row[:k])
		for i := k; i < 2*k; i++ {
			a.ops.Push(uint32(i), 0, 0)
			if a.ops.Len() == maxBatch {
				a.perform(row, there, step)
			}
		}
		a.perform(row, there, step)
	}
	row[n] = a.adder.Filler()
	return row
}

// multiples writes scalars[i]·G to out[i].
func (f *fixedBase[R, A, P]) multiples(p pool, out []A, scalars []fr.Element) error {
	workers := make([]*fixedWorker[R, A, P], p.workers)
	return p.run((len(out)+maxBatch-1)/maxBatch, func(worker, i int) error {
		if workers[worker] == nil {
			workers[worker] = f.newWorker()
		}
		from, to := i*maxBatch, min((i+1)*maxBatch, len(out))
		workers[worker].batch(out[from:to], scalars[from:to])
		return nil
	})
}

// fixedWorker is the memory of one goroutine.
type fixedWorker[R, A any, P affine[A]] struct {
	additions[R, A, P]
	table  *fixedBase[R, A, P]
	digits []int32 // of one scalar after the other
	sums   []R
	there  []bool
}

func (f *fixedBase[R, A, P]) newWorker() *fixedWorker[R, A, P] {
	return &fixedWorker[R, A, P]{
		additions: newAdditions[R, A, P](f.newAdder),
		table:     f,
		digits:    make([]int32, maxBatch*len(f.windows)),
		sums:      make([]R, maxBatch+1),
		there:     make([]bool, maxBatch),
	}
}

// batch is multiples for at most maxBatch scalars.
func (w *fixedWorker[R, A, P]) batch(out []A, scalars []fr.Element) {
	n := len(w.table.windows)
	for i := range scalars {
		recode(&scalars[i], w.table.windows, w.digits[i*n:(i+1)*n])
		w.there[i] = false
	}
	for k, row := range w.table.rows {
		for i := range out {
			d := w.digits[i*n+k]
			if d == 0 {
				continue
			}
			var negate uint8
			if d < 0 {
				d, negate = -d, 1
			}
			if !w.there[i] {
				w.there[i] = true
				w.set(&w.sums[i], &row[d-1], negate)
				continue
			}
			w.ops.Push(uint32(i), uint32(d-1), negate)
		}
		w.perform(w.sums, w.there, row)
	}
	for i := range out {
		var zero A
		out[i] = zero
		if w.there[i] {
			out[i] = w.adder.Export(&w.sums[i])
		}
	}
}
