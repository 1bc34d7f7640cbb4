// Package work spreads independent pieces of work over goroutines: the one
// worker pool of everything below proofs.
package work

import (
	"errors"
	"sync"
	"sync/atomic"
)

// ErrCanceled is returned by work that was told to stop through its done
// channel.
var ErrCanceled = errors.New("canceled")

// Canceled reports whether done is closed; a nil channel never is.
func Canceled(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Run calls f(worker, i) for i = 0…n−1, begun in this order, on at most workers
// goroutines; fewer than one count as one. worker, from 0 on, names the
// goroutine, so that each can have scratch memory of its own. Run returns when no
// call is running any more: with the first error, or ErrCanceled if done was
// closed before a call began.
func Run(n, workers int, done <-chan struct{}, f func(worker, i int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
	)
	for w := range min(max(workers, 1), n) {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ErrCanceled
				if !Canceled(done) {
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
