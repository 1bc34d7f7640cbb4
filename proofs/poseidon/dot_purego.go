//go:build purego || !amd64

package poseidon

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// dot sets s to Σ a[i]·w[i] over n ≥ 1 consecutive elements and words.
func dot(s *sum, a *fr.Element, w *uint64, n int) { dotGeneric(s, a, w, n) }
