package groth16

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// window is a run of bits of a scalar, recoded to a signed digit of
// −2^(width−1)…2^(width−1).
type window struct {
	start, width int
}

// buckets is the number of absolute values that a digit can have, 0 left out.
func (w window) buckets() int { return 1 << (w.width - 1) }

// countBuckets is the number of buckets of all windows.
func countBuckets(windows []window) (n int) {
	for _, w := range windows {
		n += w.buckets()
	}
	return n
}

// scalarBits: scalars are taken as ±s with s < r/2 < 2^254, and the recoding
// may carry into one bit more.
const scalarBits = 255

// cutWindows cuts a scalar into n windows of nearly equal width, so that none
// has so few values that many points meet in one bucket.
func cutWindows(n int) []window {
	out := make([]window, n)
	start := 0
	for i := range out {
		width := (scalarBits - start + n - i - 1) / (n - i)
		out[i] = window{start, width}
		start += width
	}
	return out
}

// chooseWindows returns the number of windows that makes the fewest additions
// for n points: one for each window and point, two for each bucket in the end.
// maxBuckets bounds their number in all windows.
func chooseWindows(n uint64, maxBuckets int) []window {
	var best []window
	var least uint64
	for count := 11; count <= 64; count++ {
		w := cutWindows(count)
		buckets := countBuckets(w)
		if buckets > maxBuckets && count < 64 {
			continue
		}
		if cost := n*uint64(count) + 2*uint64(buckets); best == nil || cost < least {
			best, least = w, cost
		}
	}
	return best
}

// recode writes the digits of s; digits[k] belongs to windows[k].
func recode(s *fr.Element, windows []window, digits []int32) {
	words := s.Bits()
	negative := halfModulusLess(&words)
	if negative {
		var borrow uint64
		for i, m := range modulusWords() {
			words[i], borrow = bits.Sub64(m, words[i], borrow)
		}
	}
	carry := int32(0)
	for k, w := range windows {
		word, shift := w.start/64, w.start%64
		v := words[word] >> shift
		if shift+w.width > 64 && word+1 < len(words) {
			v |= words[word+1] << (64 - shift)
		}
		d := int32(v&(1<<w.width-1)) + carry
		carry = 0
		if d > int32(w.buckets()) {
			d, carry = d-1<<w.width, 1
		}
		if negative {
			d = -d
		}
		digits[k] = d
	}
}

// modulusWords is r, least significant word first.
func modulusWords() [4]uint64 {
	return [4]uint64{0xffffffff00000001, 0x53bda402fffe5bfe, 0x3339d80809a1d805, 0x73eda753299d7d48}
}

// halfModulusLess reports whether words is greater than r/2.
func halfModulusLess(words *[4]uint64) bool {
	half := [4]uint64{0x7fffffff80000000, 0xa9ded2017fff2dff, 0x199cec0404d0ec02, 0x39f6d3a994cebea4}
	var borrow uint64
	for i := range half {
		_, borrow = bits.Sub64(half[i], words[i], borrow)
	}
	return borrow == 1
}
