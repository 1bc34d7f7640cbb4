package groth16

import (
	"sync"
	"sync/atomic"

	"wdpost/proofs/kernel"
)

// pool runs independent pieces of work on a number of goroutines and stops
// between pieces once done is closed. It also says with which instructions the
// pieces are worked on.
type pool struct {
	workers int
	kernel  kernel.Kernel // resolved
	done    <-chan struct{}
}

// newPool treats fewer than one worker as one.
func newPool(workers int, done <-chan struct{}, k kernel.Kernel) pool {
	return pool{workers: max(workers, 1), kernel: k.Resolve(), done: done}
}

// canceled reports whether done is closed.
func (p pool) canceled() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// run calls f(worker, i) for i = 0…n−1; worker < p.workers names the goroutine,
// so that each can have scratch memory of its own. It returns when no call is
// running any more: with the first error, or ErrCanceled.
func (p pool) run(n int, f func(worker, i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
	)
	for w := range min(p.workers, n) {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := error(ErrCanceled)
				if !p.canceled() {
					err = f(w, i)
				}
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// spans cuts n elements into pieces of at most size and runs f on each.
func (p pool) spans(n, size int, f func(from, to int) error) error {
	return p.run((n+size-1)/size, func(_, i int) error {
		return f(i*size, min((i+1)*size, n))
	})
}
