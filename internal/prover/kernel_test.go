package prover_test

import (
	"errors"
	"testing"

	"wdpost/internal/prover"
	"wdpost/proofs/kernel"
)

func TestKernelByEnvironment(t *testing.T) {
	for _, k := range kernel.All() {
		t.Setenv(prover.KernelEnv, k.String())
		engine, err := prover.New(prover.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if got := engine.Kernel(); got != k {
			t.Errorf("%s=%v: the engine computes with %v", prover.KernelEnv, k, got)
		}
		if got := prover.NewSystem().Kernel(); got != k {
			t.Errorf("%s=%v: a system computes with %v", prover.KernelEnv, k, got)
		}
	}
	t.Setenv(prover.KernelEnv, "mmx")
	if _, err := prover.New(prover.Config{}); !errors.Is(err, kernel.ErrKernel) {
		t.Errorf("an unknown kernel: %v, want ErrKernel", err)
	}
}
