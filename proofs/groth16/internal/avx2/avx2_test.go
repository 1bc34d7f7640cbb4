//go:build amd64 && !purego

package avx2

import (
	"math/big"
	"math/rand/v2"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"wdpost/proofs/groth16/internal/ops"
)

// requireAVX2 skips where the instructions are missing: there nothing uses them.
func requireAVX2(t testing.TB) {
	if !Supported() {
		t.Skip("this processor has no AVX2 or no FMA")
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
	requireAVX2(t)
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
	requireAVX2(t)
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
	requireAVX2(t)
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
	requireAVX2(t)
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

// TestConverterEdges: elements at the edges come back, in every form they have.
func TestConverterEdges(t *testing.T) {
	c := newConverter()
	var minusOne, zero fp.Element
	minusOne.SetOne().Neg(&minusOne)
	for _, x := range []fp.Element{zero, fp.One(), minusOne} {
		e := c.implant(&x)
		if got := c.export(e[:]); got != x {
			t.Errorf("%v comes back as %v", x, got)
		}
	}
}

// limbsOf cuts n, which may be negative, into balanced limbs.
func limbsOf(n *big.Int) (out [limbs]float64) {
	rest := new(big.Int).Set(n)
	for i := range limbs - 1 {
		low := new(big.Int).And(rest, big.NewInt(1<<radix-1)).Int64()
		if low > 1<<(radix-1) {
			low -= 1 << radix
		}
		out[i] = float64(low)
		rest.Rsh(rest.Sub(rest, big.NewInt(low)), radix)
	}
	out[limbs-1] = float64(rest.Int64())
	return out
}

// valueOf is the number that limbs stand for.
func valueOf(l [limbs]float64) *big.Int {
	n := new(big.Int)
	for i := limbs - 1; i >= 0; i-- {
		n.Lsh(n, radix)
		n.Add(n, big.NewInt(int64(l[i])))
	}
	return n
}

// TestMultiplication multiplies random elements and all pairs of edges: 0, ±1,
// p−1, p, 2p−1, ±7p and limbs as large as the bounds allow. The product must be
// right modulo p and within the bounds of a result.
func TestMultiplication(t *testing.T) {
	requireAVX2(t)
	p := fp.Modulus()
	times := func(k, d int64) *big.Int {
		return new(big.Int).Add(new(big.Int).Mul(p, big.NewInt(k)), big.NewInt(d))
	}
	var operands [][limbs]float64
	for _, n := range []*big.Int{
		times(0, 0), times(0, 1), times(0, -1), times(1, -1), times(1, 0), times(2, -1), times(2, 0), times(7, 0), times(-7, 0), times(-1, 1),
	} {
		operands = append(operands, limbsOf(n))
	}
	for _, sign := range []float64{1, -1} {
		var all, mixed [limbs]float64
		for i := range all {
			all[i] = sign * (2<<47 + 64) // twice a result
			mixed[i] = all[i]
			if i%2 == 1 {
				mixed[i] = -all[i]
			}
		}
		all[limbs-1] *= 1.5
		operands = append(operands, all, mixed)
	}
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 60 {
		var e [limbs]float64
		for i := range e {
			e[i] = float64(rnd.Int64N(1<<48) - 1<<47)
		}
		operands = append(operands, e)
	}
	inverse := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), radix), p)
	scratch := make([]vec, scratchVecs)
	for i := range operands {
		for from := 0; from < len(operands); from += lanes {
			var x, y, z vec
			for j := range lanes {
				x.setLane(j, operands[i])
				y.setLane(j, operands[(from+j)%len(operands)])
			}
			mulVec(&z, &x, &y, &scratch[0])
			for j := range lanes {
				a, b, got := x.lane(j), y.lane(j), z.lane(j)
				want := new(big.Int).Mul(valueOf(a), valueOf(b))
				want.Mod(want.Mul(want, inverse), p)
				if diff := new(big.Int).Sub(want, valueOf(got)); diff.Mod(diff, p).Sign() != 0 {
					t.Fatalf("%v times %v is %v: wrong", a, b, got)
				}
				for k, l := range got {
					if most := float64(1<<47 + 32); l > most*1.6 || l < -most*1.6 || k < limbs-1 && (l > most || l < -most) {
						t.Fatalf("%v times %v: limb %d is %v", a, b, k, l)
					}
				}
				w := words(got[:])
				if canonical := new(big.Int).Mod(valueOf(got), p); raw(canonical) != w {
					t.Fatalf("words of %v are %v, want %v", got, w, canonical)
				}
			}
		}
	}
}

func BenchmarkAddG1(b *testing.B) {
	requireAVX2(b)
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
	requireAVX2(b)
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

// BenchmarkMul is one multiplication of four elements.
func BenchmarkMul(b *testing.B) {
	requireAVX2(b)
	scratch := make([]vec, scratchVecs)
	one := newConverter()
	x := fp.One()
	var v vec
	for j := range lanes {
		v.setLane(j, one.implant(&x))
	}
	for b.Loop() {
		mulVec(&v, &v, &v, &scratch[0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lanes, "ns/product")
}

func BenchmarkScalarMul(b *testing.B) {
	x := fp.NewElement(123456789)
	y := x
	for b.Loop() {
		x.Mul(&x, &y)
	}
}
