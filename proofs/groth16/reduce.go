package groth16

// sum returns what was added and empties the buckets.
func (b *buckets[R, A, J, P, Q]) sum() (J, error) {
	var total J
	perCopy := len(b.areas) / b.copies
	sums := make([]J, len(b.windows)) // of each window
	err := b.pool.run(perCopy, func(_, i int) error {
		first := b.areas[i]
		for c := 1; c < b.copies; c++ {
			first.merge(b.areas[c*perCopy+i])
		}
		runs := first.segments()
		for k := range first.windows {
			sums[first.first+k] = windowSum[A, J, P, Q](runs, k)
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	for k := len(sums) - 1; k >= 0; k-- {
		for range b.windows[k].width {
			Q(&total).DoubleAssign()
		}
		Q(&total).AddAssign(&sums[k])
	}
	for _, m := range b.importers {
		var none J
		Q(&total).AddAssign(&m.ones)
		m.ones = none
	}
	for _, a := range b.areas {
		clear(a.occupied)
	}
	return total, nil
}

// merge adds the buckets of another copy of the area.
func (a *area[R, A, P]) merge(other *area[R, A, P]) {
	other.records[len(other.records)-1] = a.adder.Filler()
	for k, occupied := range other.occupied {
		switch {
		case !occupied:
		case !a.occupied[k]:
			a.occupied[k] = true
			a.records[k] = other.records[k]
		default:
			a.ops.Push(uint32(k), uint32(k), 0)
			if a.ops.Len() == maxBatch {
				a.perform(a.records, a.occupied, other.records)
			}
		}
	}
	a.perform(a.records, a.occupied, other.records)
}

// segment is a part of a window's buckets in the reduction. Bucket k stands for
// the digit k+1.
type segment[A any] struct {
	window       int // in the area
	from, length int // buckets of the window
	running      A   // Σ bucket[k]
	total        A   // Σ (k − from + 1)·bucket[k]
}

// segments sums up the buckets of the area, many running sums side by side:
// from the last bucket to the first, running += bucket, total += running.
func (a *area[R, A, P]) segments() []segment[A] {
	perWindow := 1
	for 2*perWindow*len(a.windows) <= reduceRuns {
		perWindow *= 2
	}
	var runs []segment[A]
	longest := 0
	for k, w := range a.windows {
		n := min(perWindow, w.buckets())
		length := w.buckets() / n
		for i := range n {
			runs = append(runs, segment[A]{window: k, from: i * length, length: length})
		}
		longest = max(longest, length)
	}
	n := len(runs)
	running, isRunning := make([]R, n+1), make([]bool, n)
	total, isTotal := make([]R, n+1), make([]bool, n)
	a.records[len(a.records)-1] = a.adder.Filler()
	for step := range longest {
		for i, r := range runs {
			if step >= r.length {
				continue
			}
			bucket := a.base[r.window] + r.from + r.length - 1 - step
			switch {
			case !a.occupied[bucket]:
			case !isRunning[i]:
				running[i], isRunning[i] = a.records[bucket], true
			default:
				a.ops.Push(uint32(i), uint32(bucket), 0)
			}
		}
		a.perform(running, isRunning, a.records)
		running[n] = a.adder.Filler()
		for i, r := range runs {
			switch {
			case step >= r.length || !isRunning[i]:
			case !isTotal[i]:
				total[i], isTotal[i] = running[i], true
			default:
				a.ops.Push(uint32(i), uint32(i), 0)
			}
		}
		a.perform(total, isTotal, running)
	}
	for i := range runs {
		if isRunning[i] {
			runs[i].running = a.adder.Export(&running[i])
		}
		if isTotal[i] {
			runs[i].total = a.adder.Export(&total[i])
		}
	}
	return runs
}

// windowSum joins the segments of one window: Σ total + from·running, where
// from is a multiple of the segments' length, a power of two.
func windowSum[A, J any, P affine[A], Q jacobian[J, A]](runs []segment[A], window int) J {
	var suffix, weighted, total J
	length := 1
	for i := len(runs) - 1; i >= 0; i-- {
		r := &runs[i]
		if r.window != window {
			continue
		}
		length = r.length
		if !P(&r.total).IsInfinity() {
			Q(&total).AddMixed(&r.total)
		}
		if r.from > 0 {
			if !P(&r.running).IsInfinity() {
				Q(&suffix).AddMixed(&r.running)
			}
			Q(&weighted).AddAssign(&suffix)
		}
	}
	for ; length > 1; length /= 2 {
		Q(&weighted).DoubleAssign()
	}
	Q(&total).AddAssign(&weighted)
	return total
}
