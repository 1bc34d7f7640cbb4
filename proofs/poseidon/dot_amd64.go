//go:build !purego

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sys/cpu"
)

// addDot adds to s Σ a[i]·w[i]. a and w are of one length, which is not 0.
func addDot(s *sum, a []fr.Element, w []uint64) {
	if cpu.X86.HasADX && cpu.X86.HasBMI2 {
		addDotADX(s, a, w)
		return
	}
	addDotGeneric(s, a, w)
}

// addDotADX is addDot with two independent carry chains (MULX, ADCX, ADOX).
//
//go:noescape
func addDotADX(s *sum, a []fr.Element, w []uint64)
