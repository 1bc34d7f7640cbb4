package groth16_test

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
)

// stopAt cancels a proof of toys in one of its phases.
type stopAt struct {
	rows    int64  // call of Rows to cancel in; 0 for none
	advance uint64 // cancel when so much of the progress is reported; 0 for none
}

// TestCanceledReleases: a proof that is canceled in any of its phases leaves no
// memory and no goroutine behind. "Nothing" is less than margin, where the
// proof held many times as much.
func TestCanceledReleases(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a large key")
	}
	const (
		blocks  = 22_000
		margin  = 1 << 20
		atLeast = 8 << 20
	)
	pk := toyKeys(t, blocks)
	w := toyWitness{secrets: make([]uint64, 2*blocks)}
	for i := range w.secrets {
		w.secrets[i] = uint64(i)
	}
	domain := uint64(len(pk.H) + 1)
	lh := uint64(len(pk.H) + len(pk.L))
	a := uint64(len(pk.A))
	prove := func(at stopAt) (held uint64, err error) {
		done := make(chan struct{})
		stop := func() {
			held = heap(false)
			close(done)
		}
		var last uint64
		witness := cancelingRows{w, at.rows, new(atomic.Int64), stop}
		_, err = groth16.Prove(pk, toy{blocks}, witness, groth16.ProveConfig{Workers: 2, Done: done, Progress: func(now, _ uint64) {
			if at.advance > 0 && last < at.advance && now >= at.advance {
				stop()
			}
			last = now
		}})
		return held, err
	}
	// What is made once and kept, if there is any, is made here.
	if _, err := prove(stopAt{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		phase string
		at    stopAt
	}{
		{"rows", stopAt{rows: blocks / 2}},
		{"first transform", stopAt{advance: domain / 3}},
		{"last transform", stopAt{advance: domain}},
		{"sum over h", stopAt{advance: domain + 1}},
		{"sum over l", stopAt{advance: domain + lh - 10}},
		{"sum over a", stopAt{advance: domain + lh + a/2}},
		{"sum over b in G2", stopAt{advance: domain + lh + a + 10}},
	} {
		before, goroutines := heap(true), runtime.NumGoroutine()
		held, err := prove(c.at)
		if !errors.Is(err, groth16.ErrCanceled) {
			t.Errorf("%s: %v, want ErrCanceled", c.phase, err)
		}
		if held < before+atLeast {
			t.Errorf("%s: the proof held %d bytes, too few to tell anything", c.phase, held-before)
		}
		if after := heap(true); after > before+margin {
			t.Errorf("%s: %d bytes of heap in use before, %d during, %d after", c.phase, before, held, after)
		}
		if n := runtime.NumGoroutine(); n != goroutines {
			t.Errorf("%s: %d goroutines before, %d after", c.phase, goroutines, n)
		}
	}
	runtime.KeepAlive(pk)
}

// heap is the number of bytes of heap in use, after a collection if asked for.
func heap(collect bool) uint64 {
	if collect {
		runtime.GC()
		runtime.GC() // what finalizers and pools let go
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// cancelingRows calls stop in a call of Rows.
type cancelingRows struct {
	toyWitness
	at    int64
	calls *atomic.Int64
	stop  func()
}

func (w cancelingRows) Rows(block int, a, b, c []fr.Element) error {
	if w.calls.Add(1) == w.at {
		w.stop()
	}
	return w.toyWitness.Rows(block, a, b, c)
}
