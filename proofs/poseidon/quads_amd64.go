//go:build !purego

package poseidon

import (
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

//go:generate go run gen/main.go

// Limbs of the form of quads.
const (
	quadLimbs = 6
	quadRadix = 44
	quadLanes = 4
)

// quads is two times four field elements, limb by limb: limb i of element l is
// [l/4][i][l%4]. A limb is a whole number of about −2^43…2^43, a few times that
// in sums. Values are in Montgomery form for 2^44 and not unique.
type quads [2][quadLimbs][quadLanes]float64

// mulAddQuads sets z = x·y·2^−44 + k. All may be the same.
//
//go:noescape
func mulAddQuads(z, x, y, k *quads)

// squareQuads sets z = x²·2^−44. Both may be the same.
//
//go:noescape
func squareQuads(z, x *quads)

// formQuads sets z to 2^−44·Σ w_i·a_i over consecutive elements a. weights has
// the limbs of each w_i, and counts[j] of the a have weights of j+1 limbs, those
// with fewer limbs first. z must not be among the a.
//
//go:noescape
func formQuads(z, a *quads, weights *float64, counts *[quadLimbs]int)

// quadForm is a linear form for formQuads.
type quadForm struct {
	weights []float64
	counts  [quadLimbs]int
}

// quadFormat is that of quads.
func quadFormat() format[quadForm] {
	return format[quadForm]{
		lanes: 2 * quadLanes, bits: quadRadix, mixBits: quadRadix, newForm: newQuadForm,
		newMix: func(weights []uint64) quadForm {
			ints := make([]*big.Int, len(weights))
			for i, w := range weights {
				ints[i] = new(big.Int).SetUint64(w)
			}
			return newQuadForm(ints)
		},
	}
}

// newQuadForm cuts weights into limbs. A weight gets at least as many limbs as
// those before it.
func newQuadForm(weights []*big.Int) quadForm {
	var f quadForm
	size := 1
	for _, w := range weights {
		words := fr.Element{}
		for i, b := range w.Bits() {
			words[i] = uint64(b)
		}
		limb := quadLimbsOf(&words)
		for k := size; k < quadLimbs; k++ {
			if limb[k] != 0 {
				size = k + 1
			}
		}
		f.counts[size-1]++
		f.weights = append(f.weights, limb[:size]...)
	}
	return f
}

// quadLimbsOf cuts four words into limbs of −2^43…2^43.
func quadLimbsOf(w *fr.Element) (out [quadLimbs]float64) {
	carry := int64(0)
	for i := range out {
		at, shift := quadRadix*i/64, quadRadix*i%64
		v := w[at] >> shift
		if shift > 64-quadRadix && at+1 < len(w) {
			v |= w[at+1] << (64 - shift)
		}
		l := int64(v&(1<<quadRadix-1)) + carry
		carry = 0
		if l > 1<<(quadRadix-1) {
			l, carry = l-1<<quadRadix, 1
		}
		out[i] = float64(l) // the last one has 36 bits and takes no carry on
	}
	return out
}

func (v *quads) mulAdd(x, y, k *quads) { mulAddQuads(v, x, y, k) }

func (v *quads) square(x *quads) { squareQuads(v, x) }

// eval sets v to the value of the form at a.
func (v *quads) eval(f *quadForm, a []quads) { formQuads(v, &a[0], &f.weights[0], &f.counts) }

// set puts an element, as it is in memory, into lane l.
func (v *quads) set(l int, e *fr.Element) {
	for i, x := range quadLimbsOf(e) {
		v[l/quadLanes][i][l%quadLanes] = x
	}
}

// get takes an element out of lane l and brings it below the modulus. It is
// between −2^264 and 2^264, which is 2^9.2·r.
func (v *quads) get(l int) fr.Element {
	var w [5]uint64 // two's complement
	add := func(at int, low, high, sign uint64) {
		var c uint64
		w[at], c = bits.Add64(w[at], low, 0)
		if at+1 < len(w) {
			w[at+1], c = bits.Add64(w[at+1], high, c)
		}
		for k := at + 2; k < len(w); k++ {
			w[k], c = bits.Add64(w[k], sign, c)
		}
	}
	for i := range quadLimbs {
		x := int64(v[l/quadLanes][i][l%quadLanes])
		at, shift := quadRadix*i/64, quadRadix*i%64
		add(at, uint64(x)<<shift, uint64(x>>(63-shift)>>1), uint64(x>>63))
	}
	// Add 2^10·r, so that the value is positive, and take away most multiples of r.
	var c, high, borrow uint64
	var last uint64
	for i, word := range [5]uint64{q0, q1, q2, q3, 0} {
		w[i], c = bits.Add64(w[i], word<<10|last>>54, c)
		last = word
	}
	q := (w[4]<<8 | w[3]>>56) / (q3>>56 + 1)
	for i, word := range [5]uint64{q0, q1, q2, q3, 0} {
		h, low := bits.Mul64(word, q)
		low, c = bits.Add64(low, high, 0)
		high = h + c
		w[i], borrow = bits.Sub64(w[i], low, borrow)
	}
	for {
		e := fr.Element(w[:4])
		var less fr.Element
		var b uint64
		for i, m := range [4]uint64{q0, q1, q2, q3} {
			less[i], b = bits.Sub64(e[i], m, b)
		}
		if w[4] < b {
			return e
		}
		w[4] -= b
		copy(w[:4], less[:])
	}
}
