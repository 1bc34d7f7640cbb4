//go:build amd64 && !purego

package ifma

import (
	"math/big"
	"math/rand/v2"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"wdpost/proofs/groth16/internal/ops"
)

// requireIFMA skips where the instructions are missing: there nothing uses them.
func requireIFMA(t testing.TB) {
	if !Supported() {
		t.Skip("this processor has no AVX-512 IFMA")
	}
}

// g1Multiples returns k·G for k = from, from+1, …
func g1Multiples(from, n int) []bls.G1Affine {
	_, _, g, _ := bls.Generators()
	out := make([]bls.G1Affine, n)
	out[0].ScalarMultiplication(&g, big.NewInt(int64(from)))
	for i := 1; i < n; i++ {
		out[i].Add(&out[i-1], &g)
	}
	return out
}

func g2Multiples(from, n int) []bls.G2Affine {
	_, _, _, g := bls.Generators()
	out := make([]bls.G2Affine, n)
	out[0].ScalarMultiplication(&g, big.NewInt(int64(from)))
	for i := 1; i < n; i++ {
		out[i].Add(&out[i-1], &g)
	}
	return out
}

// TestConversion: points survive both ways, one by one and in bulk.
func TestConversion(t *testing.T) {
	requireIFMA(t)
	for _, n := range []int{1, 7, 8, 29} {
		a1, a2 := NewG1Adder(8), NewG2Adder(8)
		p1, p2 := g1Multiples(3, n), g2Multiples(3, n)
		d1, d2 := make([]G1, n), make([]G2, n)
		a1.Import(d1, p1)
		a2.Import(d2, p2)
		for i := range n {
			if got := a1.Export(&d1[i]); got != p1[i] {
				t.Errorf("G1 %d of %d: %v, want %v", i, n, got, p1[i])
			}
			if got := a2.Export(&d2[i]); got != p2[i] {
				t.Errorf("G2 %d of %d differs", i, n)
			}
			a1.Negate(&d1[i])
			a2.Negate(&d2[i])
			p1[i].Neg(&p1[i])
			p2[i].Neg(&p2[i])
			if a1.Export(&d1[i]) != p1[i] || a2.Export(&d2[i]) != p2[i] {
				t.Errorf("minus %d of %d differs", i, n)
			}
		}
	}
}

// TestAddG1 adds chains of batches of all sizes and compares every sum.
func TestAddG1(t *testing.T) {
	requireIFMA(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 7, 8, 9, 64, 100, 257} {
		adder, waiting := NewG1Adder(n), ops.New(n)
		want := g1Multiples(1000, n)
		sources := g1Multiples(1, 64)
		targets, fast := make([]G1, n+1), make([]G1, len(sources)+1)
		adder.Import(targets[:n], want)
		adder.Import(fast[:len(sources)], sources)
		fast[len(sources)] = adder.Filler()
		for range 20 {
			for _, i := range rnd.Perm(n) {
				s, negate := rnd.IntN(len(sources)), uint8(rnd.IntN(2))
				p := sources[s]
				if negate == 1 {
					p.Neg(&p)
				}
				want[i].Add(&want[i], &p)
				waiting.Push(uint32(i), uint32(s), negate)
			}
			if !adder.Add(targets, fast, waiting) {
				t.Fatal("Add refuses points with different x")
			}
		}
		for i := range want {
			if got := adder.Export(&targets[i]); got != want[i] {
				t.Fatalf("batches of %d: sum %d differs", n, i)
			}
		}
	}
}

// TestAddG2 is TestAddG1 over G2.
func TestAddG2(t *testing.T) {
	requireIFMA(t)
	rnd := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{1, 8, 9, 100} {
		adder, waiting := NewG2Adder(n), ops.New(n)
		want := g2Multiples(1000, n)
		sources := g2Multiples(1, 64)
		targets, fast := make([]G2, n+1), make([]G2, len(sources)+1)
		adder.Import(targets[:n], want)
		adder.Import(fast[:len(sources)], sources)
		fast[len(sources)] = adder.Filler()
		for range 20 {
			for _, i := range rnd.Perm(n) {
				s, negate := rnd.IntN(len(sources)), uint8(rnd.IntN(2))
				p := sources[s]
				if negate == 1 {
					p.Neg(&p)
				}
				want[i].Add(&want[i], &p)
				waiting.Push(uint32(i), uint32(s), negate)
			}
			if !adder.Add(targets, fast, waiting) {
				t.Fatal("Add refuses points with different x")
			}
		}
		for i := range want {
			if got := adder.Export(&targets[i]); got != want[i] {
				t.Fatalf("batches of %d: sum %d differs", n, i)
			}
		}
	}
}

// TestAddRefuses: equal and opposite points leave everything as it was.
func TestAddRefuses(t *testing.T) {
	requireIFMA(t)
	for _, negate := range []uint8{0, 1} {
		points := g1Multiples(5, 9)
		adder, waiting := NewG1Adder(16), ops.New(16)
		targets, sources := make([]G1, 10), make([]G1, 10)
		adder.Import(targets[:9], points)
		adder.Import(sources[:9], points)
		sources[9] = adder.Filler()
		for i := range 9 {
			waiting.Push(uint32(i), uint32(8-i), negate) // 4 meets itself
		}
		if adder.Add(targets, sources, waiting) {
			t.Error("Add accepts points with equal x")
		}
		if waiting.Len() != 9 {
			t.Errorf("%d operations wait, want 9", waiting.Len())
		}
		for i := range points {
			if adder.Export(&targets[i]) != points[i] {
				t.Errorf("target %d has changed", i)
			}
		}
	}
}

// TestEdges multiplies and adds elements at the edges of the representation.
func TestEdges(t *testing.T) {
	c := newConstants()
	var minusOne, zero fp.Element
	minusOne.SetOne().Neg(&minusOne)
	for _, x := range []fp.Element{zero, fp.One(), minusOne} {
		e := c.implant(&x)
		if got := c.export(&e); got != x {
			t.Errorf("%v comes back as %v", x, got)
		}
	}
	p := c.p
	if got := c.export(&p); !got.IsZero() {
		t.Errorf("p comes back as %v", got)
	}
}

func BenchmarkAddG1(b *testing.B) {
	requireIFMA(b)
	const n = 1024
	adder, waiting := NewG1Adder(n), ops.New(n)
	targets, sources := make([]G1, n+1), make([]G1, n+1)
	adder.Import(targets[:n], g1Multiples(5000, n))
	adder.Import(sources[:n], g1Multiples(1, n))
	sources[n] = adder.Filler()
	for b.Loop() {
		for i := range uint32(n) {
			waiting.Push(i, i, uint8(i&1))
		}
		adder.Add(targets, sources, waiting)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/addition")
}

func BenchmarkAddG2(b *testing.B) {
	requireIFMA(b)
	const n = 1024
	adder, waiting := NewG2Adder(n), ops.New(n)
	targets, sources := make([]G2, n+1), make([]G2, n+1)
	adder.Import(targets[:n], g2Multiples(5000, n))
	adder.Import(sources[:n], g2Multiples(1, n))
	sources[n] = adder.Filler()
	for b.Loop() {
		for i := range uint32(n) {
			waiting.Push(i, i, uint8(i&1))
		}
		adder.Add(targets, sources, waiting)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/addition")
}
