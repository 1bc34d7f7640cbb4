package groth16

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// testScalars mixes random scalars with those that a witness is full of.
func testScalars(n int) []fr.Element {
	out := make([]fr.Element, n)
	for i := range out {
		switch i % 16 {
		case 0:
		case 1:
			out[i].SetOne()
		case 2:
			out[i].SetOne().Neg(&out[i])
		case 3:
			out[i].SetUint64(2)
		case 4, 5, 6:
			out[i] = out[i-1]
		case 7:
			out[i].SetUint64(1 << 40)
		default:
			out[i].MustSetRandom()
		}
	}
	return out
}

// testPoints are multiples of the generator; equal and opposite ones and the
// identity among them.
func testPoints(n int) []bls.G1Affine {
	_, _, g, _ := bls.Generators()
	out := make([]bls.G1Affine, n)
	p := g
	for i := range out {
		switch {
		case i%50 == 10:
			out[i] = out[i-1]
		case i%50 == 20:
			out[i].Neg(&out[i-1])
		case i%50 == 30:
		default:
			p.Add(&p, &g)
			out[i] = p
		}
	}
	return out
}

// TestSumsG1 compares all ways to sum with gnark-crypto, in pieces and again
// after a sum.
func TestSumsG1(t *testing.T) {
	for _, on := range kernel.All() {
		t.Run(on.String(), func(t *testing.T) { testSumsG1(t, on) })
	}
}

func testSumsG1(t *testing.T, on kernel.Kernel) {
	for _, workers := range []int{1, 2, 7, 40} {
		for _, n := range []int{100, 512, 3000, 70000} {
			if n > 3000 && workers != 2 {
				continue
			}
			points, scalars := testPoints(n), testScalars(n)
			var want bls.G1Jac
			if _, err := want.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: 2}); err != nil {
				t.Fatal(err)
			}
			sum := newSumG1(newPool(workers, nil, on), uint64(n), 1<<17)
			for range 2 {
				for from := 0; from < n; from += 1111 {
					to := min(from+1111, n)
					if err := sum.add(points[from:to], scalars[from:to], pieces{}); err != nil {
						t.Fatal(err)
					}
				}
				got, err := sum.sum()
				if err != nil {
					t.Fatal(err)
				}
				if !got.Equal(&want) {
					t.Errorf("%d points, %d workers: the sum differs", n, workers)
				}
			}
		}
	}
}

// TestSumsSameScalar: all points meet in one bucket.
func TestSumsSameScalar(t *testing.T) {
	points := testPoints(2000)
	scalars := make([]fr.Element, len(points))
	for i := range scalars {
		scalars[i].SetUint64(77)
	}
	var want bls.G1Jac
	if _, err := want.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: 2}); err != nil {
		t.Fatal(err)
	}
	for _, on := range kernel.All() {
		sum := newSumG1(newPool(2, nil, on), uint64(len(points)), 1<<17)
		if err := sum.add(points, scalars, pieces{}); err != nil {
			t.Fatal(err)
		}
		if got, err := sum.sum(); err != nil || !got.Equal(&want) {
			t.Errorf("%v: the sum differs (%v)", on, err)
		}
	}
}

// TestSumsG2 is TestSumsG1 over G2.
func TestSumsG2(t *testing.T) {
	const n = 2000
	_, _, _, g := bls.Generators()
	points, scalars := make([]bls.G2Affine, n), testScalars(n)
	p := g
	for i := range points {
		if i%50 != 10 {
			p.Add(&p, &g)
		}
		points[i] = p
	}
	var want bls.G2Jac
	if _, err := want.MultiExp(points, scalars, ecc.MultiExpConfig{NbTasks: 2}); err != nil {
		t.Fatal(err)
	}
	for _, on := range kernel.All() {
		sum := newSumG2(newPool(2, nil, on), n, 1<<17)
		if err := sum.add(points, scalars, pieces{}); err != nil {
			t.Fatal(err)
		}
		if got, err := sum.sum(); err != nil || !got.Equal(&want) {
			t.Errorf("%v: the sum differs (%v)", on, err)
		}
	}
}

// TestRecode: the digits of a scalar add up to it, in every choice of windows.
func TestRecode(t *testing.T) {
	scalars := testScalars(64)
	var half fr.Element
	half.SetBigInt(new(big.Int).Rsh(fr.Modulus(), 1))
	scalars = append(scalars, half, *new(fr.Element).Neg(&half))
	for count := 11; count <= 64; count++ {
		windows := cutWindows(count)
		digits := make([]int32, count)
		for _, s := range scalars {
			recode(&s, windows, digits)
			sum := new(big.Int)
			for k := count - 1; k >= 0; k-- {
				sum.Lsh(sum, uint(windows[k].width))
				sum.Add(sum, big.NewInt(int64(digits[k])))
				if d := digits[k]; d > int32(windows[k].buckets()) || -d > int32(windows[k].buckets()) {
					t.Fatalf("%d windows: digit %d of width %d", count, d, windows[k].width)
				}
			}
			var got fr.Element
			if got.SetBigInt(sum); got != s {
				t.Fatalf("%d windows: digits of %v add up to %v", count, s, got)
			}
		}
	}
}

func BenchmarkSumG1(b *testing.B) {
	const n = 1 << 17
	points := testPoints(n)
	scalars := make([]fr.Element, n)
	for i := range scalars {
		scalars[i].MustSetRandom()
	}
	for b.Loop() {
		sum := newSumG1(newPool(2, nil, kernel.Auto), n, 1<<20)
		if err := sum.add(points, scalars, pieces{}); err != nil {
			b.Fatal(err)
		}
		if _, err := sum.sum(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "core-ns/point")
}
