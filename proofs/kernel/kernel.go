// Package kernel names the sets of instructions that the field arithmetic below
// proofs is written for. A Kernel is a value that is passed on: whoever makes a
// proofs.System or a configuration of groth16 says once which one to use, and
// the zero value means the fastest of this machine. Every kernel gives the same
// digests, keys and proofs byte for byte.
//
//	scalar  64-bit integers, on every machine (on amd64 with MULX, ADCX, ADOX)
//	avx2    AVX2 and FMA: four elements side by side, limbs in float64
//	ifma    AVX-512 IFMA: eight elements side by side
package kernel

import (
	"errors"
	"fmt"
	"strings"
)

// Kernel is a set of instructions.
type Kernel uint8

// The kernels, from slow to fast. Auto is the fastest that is Supported.
const (
	Auto Kernel = iota
	Scalar
	AVX2
	IFMA
)

// ErrKernel is wrapped by the refusal of a kernel that is unknown or that this
// machine cannot run.
var ErrKernel = errors.New("kernel not available")

var names = [...]string{Auto: "auto", Scalar: "scalar", AVX2: "avx2", IFMA: "ifma"}

// String returns the name that Parse reads.
func (k Kernel) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kernel %d", uint8(k))
}

// Parse reads a name; the empty one is Auto. It refuses kernels that are not
// Supported with an error that wraps ErrKernel.
func Parse(name string) (Kernel, error) {
	if name == "" {
		return Auto, nil
	}
	for k, n := range names {
		if n != name {
			continue
		}
		if !Kernel(k).Supported() {
			return Auto, fmt.Errorf("%w: this machine cannot run %q, the fastest it can is %q", ErrKernel, name, Auto.Resolve())
		}
		return Kernel(k), nil
	}
	return Auto, fmt.Errorf("%w: %q is none of %s", ErrKernel, name, strings.Join(names[:], ", "))
}

// Supported reports whether this machine and this build have the kernel.
func (k Kernel) Supported() bool {
	switch k {
	case Auto, Scalar:
		return true
	case AVX2:
		return hasAVX2()
	case IFMA:
		return hasIFMA()
	}
	return false
}

// Resolve returns the kernel that runs: the fastest one for Auto. A kernel that
// is not Supported becomes Scalar, so that no value can crash the process.
func (k Kernel) Resolve() Kernel {
	if k == Auto {
		for _, best := range []Kernel{IFMA, AVX2} {
			if best.Supported() {
				return best
			}
		}
		return Scalar
	}
	if !k.Supported() {
		return Scalar
	}
	return k
}

// All lists the kernels of this machine, Scalar first.
func All() []Kernel {
	var out []Kernel
	for k := Scalar; k <= IFMA; k++ {
		if k.Supported() {
			out = append(out, k)
		}
	}
	return out
}
