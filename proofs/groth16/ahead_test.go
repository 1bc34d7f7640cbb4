package groth16

import (
	"testing"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// TestAnnounce: the whole vector is announced, once and in order, and all that
// is in use was announced before.
func TestAnnounce(t *testing.T) {
	const size = int(unsafe.Sizeof(bls.G1Affine{}))
	for _, n := range []int{1, 700, aheadPiece / size, aheadBytes/size + 1, 2*aheadBytes/size + 12345} {
		vector := make([]bls.G1Affine, n)
		first := uintptr(unsafe.Pointer(&vector[0]))
		known := 0
		p := &prover{ahead: func(memory []byte) {
			if at := int(uintptr(unsafe.Pointer(&memory[0])) - first); at != known {
				t.Fatalf("%d points: announced byte %d after %d", n, at, known)
			}
			known += len(memory)
		}}
		for from, step := 0, 1; from < n; from, step = from+step, chunkPoints {
			to := min(from+step, n)
			announce(p, vector, from, to)
			if known < min(to*size+aheadBytes-aheadPiece, n*size) {
				t.Fatalf("%d points: %d…%d are in use, %d bytes are announced", n, from, to-1, known)
			}
		}
		if known != n*size {
			t.Errorf("%d points: %d of %d bytes announced", n, known, n*size)
		}
	}
}

// TestCutAreas: areas hold every bucket of every window once.
func TestCutAreas(t *testing.T) {
	for count := 11; count <= 64; count++ {
		windows := cutWindows(count)
		for _, n := range []int{1, 2, 3, 10, 63, 192} {
			next := make([]uint32, count) // bucket of each window
			for i, spans := range cutAreas(windows, n) {
				base := uint32(0)
				for _, s := range spans {
					if s.base != base || s.from != next[s.window] {
						t.Fatalf("%d windows, area %d of %d: span %+v, want base %d, from %d", count, i, n, s, base, next[s.window])
					}
					base += s.size
					next[s.window] += s.size
				}
			}
			for k, w := range windows {
				if int(next[k]) != w.buckets() {
					t.Errorf("%d windows, %d areas: %d of %d buckets of window %d", count, n, next[k], w.buckets(), k)
				}
			}
		}
	}
}
