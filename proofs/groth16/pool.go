package groth16

import (
	"wdpost/proofs/kernel"
	"wdpost/proofs/work"
)

// pool runs independent pieces of work on a number of goroutines and stops
// between pieces once done is closed. It also says with which instructions the
// pieces are worked on.
type pool struct {
	workers int
	kernel  kernel.Kernel // resolved
	done    <-chan struct{}
	watch   *watch // nil if nobody looks
}

// Observer is told of every piece of work of a proof, to measure how it spreads
// over workers. A proof is a sequence of runs; the pieces of a run depend on
// nothing but the runs before, and are begun in ascending order.
type Observer interface {
	// BeginRun and EndRun are called by the goroutine that called Prove.
	BeginRun(run, pieces int)
	EndRun(run int)
	// BeginPiece and EndPiece are called by the goroutine that does the piece.
	BeginPiece(run, piece int)
	EndPiece(run, piece int)
}

// watch is an Observer with the number of runs so far.
type watch struct {
	Observer
	runs int
}

// observed makes f tell of its pieces. ended is called after the last one.
func (p pool) observed(n int, f func(worker, i int) error) (told func(worker, i int) error, ended func()) {
	if p.watch == nil || n == 0 {
		return f, func() {}
	}
	run := p.watch.runs
	p.watch.runs++
	p.watch.BeginRun(run, n)
	return func(worker, i int) error {
		p.watch.BeginPiece(run, i)
		defer p.watch.EndPiece(run, i)
		return f(worker, i)
	}, func() { p.watch.EndRun(run) }
}

// newPool treats fewer than one worker as one.
func newPool(workers int, done <-chan struct{}, k kernel.Kernel) pool {
	return pool{workers: max(workers, 1), kernel: k.Resolve(), done: done}
}

// canceled reports whether done is closed.
func (p pool) canceled() bool { return work.Canceled(p.done) }

// pieces are n independent pieces of work; f is called as by pool.run.
type pieces struct {
	n int
	f func(worker, i int) error
}

// part is piece i of n nearly equal parts of w.
func (w pieces) part(i, n int) pieces {
	from, to := i*w.n/n, (i+1)*w.n/n
	return pieces{to - from, func(worker, k int) error { return w.f(worker, from+k) }}
}

// together runs pieces of several kinds, those of the first kind first: no
// worker waits at the end of one kind while there is work of the next.
func (p pool) together(kinds ...pieces) error {
	n := 0
	for _, k := range kinds {
		n += k.n
	}
	return p.run(n, func(worker, i int) error {
		for _, k := range kinds {
			if i < k.n {
				return k.f(worker, i)
			}
			i -= k.n
		}
		return nil
	})
}

// run calls f(worker, i) for i = 0…n−1; worker < p.workers names the goroutine,
// so that each can have scratch memory of its own. It returns when no call is
// running any more: with the first error, or ErrCanceled.
func (p pool) run(n int, f func(worker, i int) error) error {
	f, ended := p.observed(n, f)
	defer ended()
	return work.Run(n, p.workers, p.done, f)
}

// spans cuts n elements into pieces of at most size and runs f on each.
func (p pool) spans(n, size int, f func(from, to int) error) error {
	return p.run((n+size-1)/size, func(_, i int) error {
		return f(i*size, min((i+1)*size, n))
	})
}
