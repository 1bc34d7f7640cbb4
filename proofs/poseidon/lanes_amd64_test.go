//go:build !purego

package poseidon

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// value returns the integer in lane l.
func (v *lanes) value(l int) *big.Int {
	out := new(big.Int)
	for i := limbs - 1; i >= 0; i-- {
		out.Lsh(out, limbBits)
		out.Or(out, new(big.Int).SetUint64(v[i][l]))
	}
	return out
}

// put sets lane l to an integer below 2^260.
func (v *lanes) put(l int, x *big.Int) {
	for i := range limbs {
		w := new(big.Int).Rsh(x, uint(limbBits*i))
		v[i][l] = w.And(w, big.NewInt(limbMask)).Uint64()
	}
}

// extremes are values of lanes: small, around the modulus, as large as lanes
// may be.
func extremes() []*big.Int {
	r := fr.Modulus()
	limit := new(big.Int).Lsh(big.NewInt(1), 257)
	return []*big.Int{
		new(big.Int), big.NewInt(1), big.NewInt(limbMask), new(big.Int).Sub(r, big.NewInt(1)), r,
		new(big.Int).Sub(new(big.Int).Lsh(r, 1), big.NewInt(1)),
		new(big.Int).Rsh(limit, 1), new(big.Int).Sub(limit, big.NewInt(1)),
	}
}

// filled returns lanes holding the extremes, rotated.
func filled(rotate int) lanes {
	var v lanes
	for l, x := range extremes() {
		v.put((l+rotate)%laneCount, x)
	}
	return v
}

// check compares lane l of got with want·2^−shift modulo r, and with a bound.
func check(t *testing.T, what string, got *lanes, l int, want *big.Int, shift int64, bound *big.Int) {
	t.Helper()
	value := got.value(l)
	diff := new(big.Int).Sub(new(big.Int).Lsh(value, uint(shift)), want)
	if diff.Mod(diff, fr.Modulus()).Sign() != 0 {
		t.Errorf("%s: lane %d is wrong", what, l)
	}
	if value.Cmp(bound) >= 0 {
		t.Errorf("%s: lane %d is %x, bound %x", what, l, value, bound)
	}
	for i := range limbs {
		if got[i][l] > limbMask {
			t.Errorf("%s: lane %d limb %d is %x", what, l, i, got[i][l])
		}
	}
}

func TestLaneArithmetic(t *testing.T) {
	if !kernel.IFMA.Supported() {
		t.Skip("the processor has no AVX-512 IFMA")
	}
	bound := new(big.Int).Lsh(big.NewInt(1), 258)
	for rotate := range laneCount {
		x, y := filled(0), filled(rotate)
		var k lanes
		regular := fr.Element{7}
		for l := range laneCount {
			k.set(l, &regular)
		}
		var z lanes
		mulAddLanes(&z, &x, &y, &k)
		for l := range laneCount {
			want := new(big.Int).Mul(x.value(l), y.value(l))
			want.Add(want, new(big.Int).Lsh(k.value(l), limbs*limbBits))
			check(t, "mulAdd", &z, l, want, limbs*limbBits, bound)
		}
		mulAddLanes(&x, &x, &x, &x)
		y = filled(0)
		for l := range laneCount {
			want := new(big.Int).Mul(y.value(l), y.value(l))
			want.Add(want, new(big.Int).Lsh(y.value(l), limbs*limbBits))
			check(t, "mulAdd in place", &x, l, want, limbs*limbBits, bound)
		}
	}
}

func TestLaneForms(t *testing.T) {
	if !kernel.IFMA.Supported() {
		t.Skip("the processor has no AVX-512 IFMA")
	}
	bound := new(big.Int).Lsh(big.NewInt(1), 258)
	var a []lanes
	var weights []*big.Int
	var words []uint64
	for i := range 2*maxArity + 1 {
		a = append(a, filled(i))
		w := new(big.Int).Lsh(big.NewInt(1), uint(min(255, 12*(i+1))))
		weights = append(weights, w.Sub(w, big.NewInt(1)))
		words = append(words, limbMask-uint64(i))
	}
	f := newLaneForm(weights)
	var z lanes
	z.eval(&f, a)
	var mixed lanes
	mixLanes(&mixed, &a[0], &words[0], maxWidth)
	for l := range laneCount {
		form, mix := new(big.Int), new(big.Int)
		for i := range a {
			form.Add(form, new(big.Int).Mul(weights[i], a[i].value(l)))
			if i < maxWidth {
				mix.Add(mix, new(big.Int).Mul(new(big.Int).SetUint64(words[i]), a[i].value(l)))
			}
		}
		check(t, "form", &z, l, form, limbs*limbBits, bound)
		check(t, "mix", &mixed, l, mix, limbBits, new(big.Int).Lsh(bound, 2))
	}
}

// TestAdvanceStaysBounded drives an observer with the largest inputs for many
// rounds and checks each step.
func TestAdvanceStaysBounded(t *testing.T) {
	if !kernel.IFMA.Supported() {
		t.Skip("the processor has no AVX-512 IFMA")
	}
	twice := new(big.Int).Lsh(fr.Modulus(), 1)
	largest := fr.Element{q0 - 1, q1, q2, q3}
	integer := func(e fr.Element) *big.Int {
		var v lanes
		v.set(0, &e)
		return v.value(0)
	}
	var weights [2]lanes
	for l := range laneCount {
		weights[0].put(l, integer(largest))
		weights[1].put(l, new(big.Int).Sub(fr.Modulus(), big.NewInt(int64(l+1))))
	}
	var u lanes
	for l := range laneCount {
		u.put(l, new(big.Int).Sub(twice, big.NewInt(1)))
	}
	inputs := append(pseudoRandom(5, 30), largest, largest, fr.Element{}, largest)
	for round := range len(inputs) - 1 {
		before := u
		x, y := inputs[round], inputs[round+1]
		advanceLanes(&u, &x, &y, &weights)
		for l := range laneCount {
			want := new(big.Int).Mul(integer(x), weights[0].value(l))
			want.Add(want, new(big.Int).Mul(integer(y), weights[1].value(l)))
			if l+1 < laneCount {
				want.Add(want, new(big.Int).Lsh(before.value(l+1), limbs*limbBits))
			}
			check(t, "advance", &u, l, want, limbs*limbBits, twice)
		}
	}
}
