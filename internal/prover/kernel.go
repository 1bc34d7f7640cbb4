package prover

import (
	"fmt"
	"os"

	"wdpost/proofs"
	"wdpost/proofs/kernel"
)

// KernelEnv is the environment variable that forces a kernel: scalar, avx2,
// ifma, or auto, which is the default.
const KernelEnv = "WDPOST_KERNEL"

// Kernel is what KernelEnv asks for. The error says what this machine can run.
func Kernel() (kernel.Kernel, error) {
	k, err := kernel.Parse(os.Getenv(KernelEnv))
	if err != nil {
		return kernel.Auto, fmt.Errorf("environment variable %s: %w", KernelEnv, err)
	}
	return k, nil
}

// NewSystem is a proofs.System over the kernel that KernelEnv asks for, or over
// the fastest where it asks for none that there is. New refuses such a value.
func NewSystem() *proofs.System {
	k, _ := Kernel() // Auto with an error
	return proofs.NewOn(k)
}
