package prover_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"wdpost/internal/prover"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

var errTaken = errors.New("task taken away")

// TestCanceledAnswer cancels the answer to a question while sectors are read,
// while it waits for memory and at several places of the proof. Nothing stays:
// no heap, no goroutine, no part of the memory budget, and after Close no
// mapped key.
func TestCanceledAnswer(t *testing.T) {
	const margin = 2 << 20
	// The budget is that of a single proof: what is not given back is missed by
	// the next one.
	budget := prover.ProofMemory(oneSector)
	b := newBench(t, 1, func(c *prover.Config) { c.Memory, c.Proofs = budget, 1 })
	if err := b.engine.WarmUp(t.Context(), post.Window2KiBV1_1); err != nil {
		t.Fatal(err)
	}
	prove := func() {
		t.Helper()
		if _, err := b.engine.ProveWindowPoSt(t.Context(), b.question); err != nil {
			t.Fatal(err)
		}
	}
	prove() // what is made once and kept is made here

	check := func(t *testing.T, cancelIn func(ctx context.Context, cancel func())) {
		before, goroutines := heapInUse(), runtime.NumGoroutine()
		ctx, cancel := context.WithCancelCause(t.Context())
		var watch sync.WaitGroup
		watch.Go(func() { cancelIn(ctx, func() { cancel(errTaken) }) })
		_, err := b.engine.ProveWindowPoSt(ctx, b.question)
		cancel(nil)
		watch.Wait()
		b.reader.before = nil
		if err != nil && !errors.Is(err, errTaken) {
			t.Errorf("%v, want the cause of the cancellation", err)
		}
		if after := heapInUse(); after > before+margin {
			t.Errorf("%d bytes of heap in use before, %d after", before, after)
		}
		if _, running := b.engine.Progress(b.question.ID()); running {
			t.Error("still listed as running")
		}
		for range 1000 { // a goroutine that has nothing left to do may need a moment to end
			if runtime.NumGoroutine() <= goroutines {
				break
			}
			runtime.Gosched()
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines before, %d after", goroutines, n)
		}
		prove()
	}
	t.Run("reading", func(t *testing.T) {
		begun := make(chan struct{})
		b.reader.before = func(ctx context.Context, _ uint64) {
			close(begun)
			<-ctx.Done()
		}
		check(t, func(_ context.Context, cancel func()) { <-begun; cancel() })
	})
	for _, done := range []float64{0, 0.1, 0.3, 0.5, 0.7, 0.9} {
		t.Run("proving", func(t *testing.T) {
			check(t, func(ctx context.Context, cancel func()) {
				for ctx.Err() == nil {
					if p, ok := b.engine.Progress(b.question.ID()); ok && p.Stage == prover.StageProving && p.Done >= done {
						cancel()
					}
					runtime.Gosched()
				}
			})
		})
	}
	if err := b.engine.Close(); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(maps, []byte(params.CacheID(oneSector)+params.RawExt)) {
		t.Error("the key is still mapped after Close")
	}
}

// heapInUse is the number of bytes of heap in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
