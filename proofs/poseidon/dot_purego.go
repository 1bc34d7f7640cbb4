//go:build purego || !amd64

package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// addDot adds to s Σ a[i]·w[i]. a and w are of one length.
func addDot(s *sum, a []fr.Element, w []uint64) { addDotGeneric(s, a, w) }
