package groth16

import (
	"math/big"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// cofactorPoint returns a point of E(Fp) of the given order, a prime factor of
// the cofactor (x−1)²/3 with x = −0xd201000000010000.
func cofactorPoint(t *testing.T, order int64) bls.G1Affine {
	t.Helper()
	x, ok := new(big.Int).SetString("-d201000000010000", 16)
	if !ok {
		t.Fatal("seed")
	}
	// The exponent of the group, (x−1)·r, without the order's prime.
	rest := new(big.Int).Sub(x, big.NewInt(1))
	rest.Abs(rest).Mul(rest, fr.Modulus())
	for new(big.Int).Mod(rest, big.NewInt(order)).Sign() == 0 {
		rest.Div(rest, big.NewInt(order))
	}
	var four fp.Element
	four.SetUint64(4)
	for n := uint64(1); n < 1000; n++ {
		var p bls.G1Affine
		p.X.SetUint64(n)
		p.Y.Square(&p.X).Mul(&p.Y, &p.X).Add(&p.Y, &four)
		if p.Y.Sqrt(&p.Y) == nil {
			continue
		}
		p = multiple(p, rest)
		for !p.IsInfinity() { // its order is a power of order
			next := multiple(p, big.NewInt(order))
			if next.IsInfinity() {
				return p
			}
			p = next
		}
	}
	t.Fatalf("no point of order %d", order)
	return bls.G1Affine{}
}

// multiple is k·p by doubling and adding, which needs no subgroup.
func multiple(p bls.G1Affine, k *big.Int) bls.G1Affine {
	var out bls.G1Affine
	for i := k.BitLen() - 1; i >= 0; i-- {
		out.Add(&out, &out)
		if k.Bit(i) == 1 {
			out.Add(&out, &p)
		}
	}
	return out
}

// TestInSubgroup: one point outside among many is found, and so are several
// whose sum is inside.
func TestInSubgroup(t *testing.T) {
	for _, n := range []int{1, 100, scatterPoints, 3*importPoints + 17} {
		good := subgroupPoints(n)
		if !inSubgroup(good) {
			t.Fatalf("%d points of the subgroup are refused", n)
		}
		for _, order := range []int64{3, 11, 10177} {
			torsion := cofactorPoint(t, order)
			var opposite bls.G1Affine
			opposite.Neg(&torsion)
			for _, outside := range [][]bls.G1Affine{{torsion}, {torsion, opposite}, {torsion, torsion, torsion}} {
				if len(outside) > n {
					continue
				}
				bad := append([]bls.G1Affine(nil), good...)
				for i := range outside {
					at := (n - 1) / (i + 1)
					bad[at].Add(&bad[at], &outside[i])
				}
				if inSubgroup(bad) {
					t.Errorf("%d points with %d of them outside by order %d pass", n, len(outside), order)
				}
			}
		}
	}
}

// TestScatter: the adders of all kernels put every point into one bucket of every round.
func TestScatter(t *testing.T) {
	points := subgroupPoints(5000)
	torsion := cofactorPoint(t, 3)
	points[4321].Add(&points[4321], &torsion)
	for _, name := range kernel.All() {
		sums := scatterG1(points, name)
		outside := 0
		for i := range sums {
			if !sums[i].IsInSubGroup() {
				outside++
			}
		}
		if outside != scatterRounds {
			t.Errorf("%s: one point outside spoils %d buckets, want one in each of %d rounds", name, outside, scatterRounds)
		}
	}
}

// subgroupPoints are distinct multiples of the generator.
func subgroupPoints(n int) []bls.G1Affine {
	_, _, g, _ := bls.Generators()
	sums := make([]bls.G1Jac, n)
	var p bls.G1Jac
	p.FromAffine(&g)
	for i := range sums {
		sums[i] = p
		p.AddMixed(&g)
	}
	return bls.BatchJacobianToAffineG1(sums)
}
