//go:build !purego

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sys/cpu"
)

// dot sets s to Σ a[i]·w[i] over n ≥ 1 consecutive elements and words.
func dot(s *sum, a *fr.Element, w *uint64, n int) {
	if cpu.X86.HasADX && cpu.X86.HasBMI2 {
		dotADX(s, a, w, n)
		return
	}
	dotGeneric(s, a, w, n)
}

// dotADX is dot with two independent carry chains (MULX, ADCX, ADOX).
//
//go:noescape
func dotADX(s *sum, a *fr.Element, w *uint64, n int)
