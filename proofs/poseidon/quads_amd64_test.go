//go:build !purego

package poseidon

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// value returns the number in lane l.
func (v *quads) value(l int) *big.Int {
	out := new(big.Int)
	for i := quadLimbs - 1; i >= 0; i-- {
		out.Lsh(out, quadRadix)
		out.Add(out, big.NewInt(int64(v[l/quadLanes][i][l%quadLanes])))
	}
	return out
}

// extremeQuads are vectors of edges: 0, 1, r−1 and limbs of both signs, as large
// as a result has them, rotated over the lanes.
func extremeQuads(rotate int, rnd *rand.Rand) (v quads) {
	largest := float64(1<<(quadRadix-1) + 64)
	for l := range 2 * quadLanes {
		lane := func(i int) *float64 { return &v[l/quadLanes][i][l%quadLanes] }
		switch (l + rotate) % 8 {
		case 0: // stays zero
		case 1:
			*lane(0) = 1
		case 2:
			minusOne := fr.Element{q0 - 1, q1, q2, q3}
			v.set(l, &minusOne)
		case 3, 4, 5:
			for i := range quadLimbs {
				*lane(i) = largest
				if (l+rotate)%8 == 4 || (l+rotate)%8 == 5 && i%2 == 1 {
					*lane(i) = -largest
				}
			}
		default:
			for i := range quadLimbs {
				*lane(i) = float64(rnd.Int64N(1<<quadRadix) - 1<<(quadRadix-1))
			}
		}
	}
	return v
}

func checkQuads(t *testing.T, what string, got *quads, l int, want *big.Int, add *big.Int) {
	t.Helper()
	inverse := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), quadRadix), fr.Modulus())
	want = new(big.Int).Mul(want, inverse)
	want.Mod(want.Add(want, add), fr.Modulus())
	if diff := new(big.Int).Sub(got.value(l), want); diff.Mod(diff, fr.Modulus()).Sign() != 0 {
		t.Fatalf("%s: lane %d is wrong", what, l)
	}
	var e fr.Element
	e.SetBigInt(want)
	if regular := fr.Element(e.Bits()); got.get(l) != regular {
		t.Fatalf("%s: lane %d is taken out as %v, want %v", what, l, got.get(l), regular)
	}
	for i := range quadLimbs {
		most := float64(2<<(quadRadix-1) + 256) // twice for the addend
		if i == quadLimbs-1 {
			most += 1 << 38 // what is folded into it
		}
		if x := got[l/quadLanes][i][l%quadLanes]; x > most || x < -most {
			t.Fatalf("%s: lane %d limb %d is %v", what, l, i, x)
		}
	}
}

// TestQuadArithmetic holds products, squares and sums to big integers at the
// edges of the form.
func TestQuadArithmetic(t *testing.T) {
	if !kernel.AVX2.Supported() {
		t.Skip("the processor has no AVX2 or no FMA")
	}
	rnd := rand.New(rand.NewPCG(5, 5))
	for rotate := range 8 {
		for other := range 8 {
			x, y, k := extremeQuads(rotate, rnd), extremeQuads(other, rnd), extremeQuads(3, rnd)
			var product, square quads
			product.mulAdd(&x, &y, &k)
			square.square(&x)
			for l := range 2 * quadLanes {
				checkQuads(t, "product", &product, l, new(big.Int).Mul(x.value(l), y.value(l)), k.value(l))
				checkQuads(t, "square", &square, l, new(big.Int).Mul(x.value(l), x.value(l)), new(big.Int))
			}
		}
		var a []quads
		var weights []*big.Int
		for i := range 2*maxArity + 1 {
			a = append(a, extremeQuads(i+rotate, rnd))
			w := new(big.Int).Lsh(big.NewInt(1), uint(min(255, 12*(i+1))))
			weights = append(weights, w.Sub(w, big.NewInt(int64(1+rotate))))
		}
		f := newQuadForm(weights)
		var z quads
		z.eval(&f, a)
		for l := range 2 * quadLanes {
			sum := new(big.Int)
			for i := range a {
				sum.Add(sum, new(big.Int).Mul(weights[i], a[i].value(l)))
			}
			checkQuads(t, "form", &z, l, sum, new(big.Int))
		}
	}
}
