//go:build purego || !amd64

package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// addDot adds to s Σ a[i]·w[i] over n ≥ 1 consecutive elements and words.
func addDot(s *sum, a *fr.Element, w *uint64, n int) { addDotGeneric(s, a, w, n) }
