package poseidon

import (
	"fmt"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// TestBatchEqualsHash compares all kernels, arities and batch sizes around the
// number of lanes, with extreme and random preimages.
func TestBatchEqualsHash(t *testing.T) {
	for _, on := range kernel.All() {
		t.Run(on.String(), func(t *testing.T) { testBatch(t, on) })
	}
}

func testBatch(t *testing.T, on kernel.Kernel) {
	for _, arity := range []int{2, 4, 8, 11} {
		p := NewOn(arity, on)
		b := p.NewBatch()
		for _, count := range []int{0, 1, 2, 3, 7, 8, 9, 16, 19} {
			nodes := pseudoRandom(uint64(count), count*arity)
			for i := range nodes {
				switch i % 29 {
				case 0:
					nodes[i].SetZero()
				case 1:
					nodes[i].SetInt64(-1)
				case 2:
					nodes[i] = fr.Element{q0 - 1, q1, q2, q3}
				}
			}
			want := make([]fr.Element, count)
			for i := range want {
				want[i] = p.Hash(nodes[arity*i : arity*(i+1)])
			}
			got := make([]fr.Element, count)
			b.Hash(got, nodes)
			if !slices.Equal(got, want) {
				t.Errorf("arity %d: batch of %d differs", arity, count)
			}
			b.Hash(nodes[:count], nodes)
			if !slices.Equal(nodes[:count], want) {
				t.Errorf("arity %d: batch of %d in place differs", arity, count)
			}
		}
	}
}

func TestBatchMisusePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	New(2).NewBatch().Hash(make([]fr.Element, 2), make([]fr.Element, 3))
}

func TestBatchNoAllocation(t *testing.T) {
	b := New(8).NewBatch()
	nodes, digests := pseudoRandom(1, 64), make([]fr.Element, 8)
	if n := testing.AllocsPerRun(10, func() { b.Hash(digests, nodes) }); n != 0 {
		t.Errorf("Hash allocates %v times", n)
	}
}

// BenchmarkBatch reports the time of one hash in a large batch.
func BenchmarkBatch(b *testing.B) {
	for _, on := range kernel.All() {
		for _, arity := range []int{2, 8} {
			batch := NewOn(arity, on).NewBatch()
			nodes, digests := pseudoRandom(1, 64*arity), make([]fr.Element, 64)
			b.Run(fmt.Sprintf("%v/arity=%d", on, arity), func(b *testing.B) {
				for i := 0; i < b.N; i += len(digests) {
					batch.Hash(digests, nodes)
				}
			})
		}
	}
}
