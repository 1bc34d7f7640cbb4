package poseidon

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// addDotGeneric adds to s Σ a[i]·w[i]. a and w are of one length.
func addDotGeneric(s *sum, a []fr.Element, w []uint64) {
	w = w[:len(a)]
	s0, s1, s2, s3, s4, s5 := s[0], s[1], s[2], s[3], s[4], s[5]
	for i := range a {
		x, m := &a[i], w[i]
		h0, l0 := bits.Mul64(x[0], m)
		h1, l1 := bits.Mul64(x[1], m)
		h2, l2 := bits.Mul64(x[2], m)
		h3, l3 := bits.Mul64(x[3], m)
		var c uint64
		l1, c = bits.Add64(l1, h0, 0)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c
		s0, c = bits.Add64(s0, l0, 0)
		s1, c = bits.Add64(s1, l1, c)
		s2, c = bits.Add64(s2, l2, c)
		s3, c = bits.Add64(s3, l3, c)
		s4, c = bits.Add64(s4, h3, c)
		s5 += c
	}
	*s = sum{s0, s1, s2, s3, s4, s5}
}
