package poseidon

import (
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Limits of linear forms: weights have at most four 64-bit words.
const (
	formWords = 4
	formBits  = 64 * formWords
	wideShift = 64 * (formWords + 1) // bits that wide.reduce divides away
)

// The modulus r, and −r⁻¹ mod 2^64.
const (
	q0     uint64 = 0xffffffff00000001
	q1     uint64 = 0x53bda402fffe5bfe
	q2     uint64 = 0x3339d80809a1d805
	q3     uint64 = 0x73eda753299d7d48
	negInv uint64 = 0xfffffffeffffffff
)

// form is a linear form Σ w_i·a_i with integer weights below 2^256, cut into
// words: words[k] holds word k of the last len(words[k]) weights (all of them
// for k = 0), so that weights whose high words are zero come first and cost
// nothing there.
type form struct {
	words [formWords][]uint64
}

// newForm returns the form with the given weights.
func newForm(weights []*big.Int) form {
	var f form
	mask := new(big.Int).SetUint64(^uint64(0))
	for k := range f.words {
		word := make([]uint64, len(weights))
		first := len(weights)
		for i, w := range weights {
			word[i] = new(big.Int).And(new(big.Int).Rsh(w, uint(64*k)), mask).Uint64()
			if first == len(weights) && (k == 0 || word[i] != 0) {
				first = i
			}
		}
		f.words[k] = word[first:]
	}
	return f
}

// newFieldForm returns the form with weights in the field. They are multiplied
// by 2^320, so that wide.reduce gives the value itself.
func newFieldForm(weights []fr.Element) form {
	ints := make([]*big.Int, len(weights))
	var shift fr.Element
	shift.SetBigInt(new(big.Int).Lsh(big.NewInt(1), wideShift))
	for i := range weights {
		var w fr.Element
		w.Mul(&weights[i], &shift)
		ints[i] = w.BigInt(new(big.Int))
	}
	return newForm(ints)
}

// sum is Σ w_i·a_i for 64-bit w_i: at most 2^(64+255+5).
type sum [6]uint64

// wide is the value of a form before reduction.
type wide [10]uint64

// eval returns Σ w_i·a_i, not reduced.
func (f *form) eval(a []fr.Element) (w wide) {
	for k := range f.words {
		if n := len(f.words[k]); n > 0 {
			var s sum
			addDot(&s, a[len(a)-n:], f.words[k])
			w.add(&s, k)
		}
	}
	return w
}

// addKnown adds to s the products of word k of the weights with known, the
// values for all terms but the last; only the last nonzero of them are not 0.
func (f *form) addKnown(s *sum, k int, known []fr.Element, nonzero int) {
	word := f.words[k]
	n := min(len(word)-1, nonzero)
	if n > 0 {
		addDot(s, known[len(known)-n:], word[len(word)-1-n:][:n])
	}
}

// addLast adds the last term, with the only element of last, to the sums that addKnown began and returns the
// value of the form.
func (f *form) addLast(parts *[formWords]sum, last []fr.Element) (w wide) {
	for k, word := range f.words {
		if len(word) > 0 {
			addDot(&parts[k], last, word[len(word)-1:])
			w.add(&parts[k], k)
		}
	}
	return w
}

// add adds 2^(64k)·s. The higher words of w must be zero.
func (w *wide) add(s *sum, k int) {
	var c uint64
	w[k], c = bits.Add64(w[k], s[0], 0)
	w[k+1], c = bits.Add64(w[k+1], s[1], c)
	w[k+2], c = bits.Add64(w[k+2], s[2], c)
	w[k+3], c = bits.Add64(w[k+3], s[3], c)
	w[k+4], c = bits.Add64(w[k+4], s[4], c)
	w[k+5] = s[5] + c
}

// reduce sets z to w·2^−320 mod r. It needs w < 2^320·2^254.
func (w *wide) reduce(z *fr.Element) {
	t0, t1, t2, t3, t4 := w[0], w[1], w[2], w[3], w[4]
	var over uint64
	for _, next := range w[formWords+1:] {
		m := t0 * negInv
		h0, l0 := bits.Mul64(m, q0)
		h1, l1 := bits.Mul64(m, q1)
		h2, l2 := bits.Mul64(m, q2)
		h3, l3 := bits.Mul64(m, q3)
		var c uint64
		l1, c = bits.Add64(l1, h0, 0)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c
		_, c = bits.Add64(t0, l0, 0)
		t0, c = bits.Add64(t1, l1, c)
		t1, c = bits.Add64(t2, l2, c)
		t2, c = bits.Add64(t3, l3, c)
		t3, c = bits.Add64(t4, h3, c)
		t4, over = bits.Add64(next, over, c)
	}
	*z = fr.Element{t0, t1, t2, t3}
	subtractModulus(z)
}

// reduce sets z to s·2^−64 mod r. It needs s < 2^64·2^254.
func (s *sum) reduce(z *fr.Element) {
	m := s[0] * negInv
	h0, l0 := bits.Mul64(m, q0)
	h1, l1 := bits.Mul64(m, q1)
	h2, l2 := bits.Mul64(m, q2)
	h3, l3 := bits.Mul64(m, q3)
	var c uint64
	l1, c = bits.Add64(l1, h0, 0)
	l2, c = bits.Add64(l2, h1, c)
	l3, c = bits.Add64(l3, h2, c)
	h3 += c
	_, c = bits.Add64(s[0], l0, 0)
	z[0], c = bits.Add64(s[1], l1, c)
	z[1], c = bits.Add64(s[2], l2, c)
	z[2], c = bits.Add64(s[3], l3, c)
	z[3], _ = bits.Add64(s[4], h3, c)
	subtractModulus(z)
}

// subtractModulus brings z < 2r below r.
func subtractModulus(z *fr.Element) {
	var b uint64
	var t fr.Element
	t[0], b = bits.Sub64(z[0], q0, 0)
	t[1], b = bits.Sub64(z[1], q1, b)
	t[2], b = bits.Sub64(z[2], q2, b)
	t[3], b = bits.Sub64(z[3], q3, b)
	if b == 0 {
		*z = t
	}
}
