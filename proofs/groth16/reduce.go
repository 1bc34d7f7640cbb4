package groth16

// sum returns what was added and empties the buckets.
func (b *buckets[R, A, J, P, Q]) sum() (J, error) {
	var total J
	if err := b.pool.together(b.through()); err != nil {
		return total, err
	}
	b.ready.n = 0
	ofSpans := make([][]J, len(b.areas))
	err := b.pool.run(len(b.areas), func(_, i int) error {
		a := b.areas[i]
		runs := a.segments()
		for k := range a.spans {
			ofSpans[i] = append(ofSpans[i], spanSum[A, J, P, Q](runs, k, a.spans[k].from))
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	sums := make([]J, len(b.windows)) // of each window
	for i, a := range b.areas {
		for k, s := range a.spans {
			Q(&sums[s.window]).AddAssign(&ofSpans[i][k])
		}
		clear(a.occupied)
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
	return total, nil
}

// segment is a part of a span in the reduction. Bucket k of the span stands for
// the digit k+1 of a span that begins with its window.
type segment[A any] struct {
	span         int // of the area
	from, length int // buckets of the span
	running      A   // Σ bucket[k]
	total        A   // Σ (k − from + 1)·bucket[k]
}

// cutSegments cuts the spans of an area into segments for about reduceRuns
// running sums side by side. All of a span but the last have the same length, a
// power of two; longest is the greatest length.
func cutSegments[A any](spans []span) (runs []segment[A], longest int) {
	perSpan := max(1, reduceRuns/len(spans))
	for k, s := range spans {
		length := 1
		for length*perSpan < int(s.size) {
			length *= 2
		}
		for from := 0; from < int(s.size); from += length {
			runs = append(runs, segment[A]{span: k, from: from, length: min(length, int(s.size)-from)})
		}
		longest = max(longest, length)
	}
	return runs, longest
}

// segments sums up the buckets of the area, many running sums side by side:
// from the last bucket to the first, running += bucket, total += running.
func (a *area[R, A, P]) segments() []segment[A] {
	runs, longest := cutSegments[A](a.spans)
	n := len(runs)
	running, isRunning := make([]R, n+1), make([]bool, n)
	total, isTotal := make([]R, n+1), make([]bool, n)
	a.records[len(a.records)-1] = a.adder.Filler()
	for step := range longest {
		for i, r := range runs {
			if step >= r.length {
				continue
			}
			bucket := int(a.spans[r.span].base) + r.from + r.length - 1 - step
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

// spanSum joins the segments of one span whose first bucket is the one with
// index first of its window: Σ total + (first + from)·running. The multiples by
// from, of the segments' common length, are sums of sums.
func spanSum[A, J any, P affine[A], Q jacobian[J, A]](runs []segment[A], span int, first uint32) J {
	var suffix, weighted, total J
	length := 1
	for i := len(runs) - 1; i >= 0; i-- {
		r := &runs[i]
		if r.span != span {
			continue
		}
		length = max(length, r.length) // the last one may be shorter
		if !P(&r.total).IsInfinity() {
			Q(&total).AddMixed(&r.total)
		}
		if !P(&r.running).IsInfinity() {
			Q(&suffix).AddMixed(&r.running)
		}
		if r.from > 0 {
			Q(&weighted).AddAssign(&suffix)
		}
	}
	for ; length > 1; length /= 2 {
		Q(&weighted).DoubleAssign()
	}
	Q(&total).AddAssign(&weighted)
	for ; first > 0; first /= 2 { // suffix is the sum of all buckets of the span
		if first%2 == 1 {
			Q(&total).AddAssign(&suffix)
		}
		Q(&suffix).DoubleAssign()
	}
	return total
}
