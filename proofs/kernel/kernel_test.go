package kernel

import (
	"errors"
	"testing"
)

func TestNames(t *testing.T) {
	for _, k := range append(All(), Auto) {
		got, err := Parse(k.String())
		if err != nil || got != k {
			t.Errorf("Parse(%q) = %v, %v", k, got, err)
		}
		if r := k.Resolve(); r == Auto || !r.Supported() || k != Auto && r != k {
			t.Errorf("%v runs as %v", k, r)
		}
	}
	if k, err := Parse(""); k != Auto || err != nil {
		t.Errorf("no name: %v, %v", k, err)
	}
	if _, err := Parse("sse"); !errors.Is(err, ErrKernel) {
		t.Errorf("unknown name: %v, want ErrKernel", err)
	}
	if k := Kernel(9).Resolve(); k != Scalar {
		t.Errorf("unknown kernel runs as %v, want scalar", k)
	}
	if got := Kernel(9).String(); got != "kernel 9" {
		t.Errorf("unknown kernel is called %q", got)
	}
	if All()[0] != Scalar {
		t.Errorf("kernels %v do not begin with scalar", All())
	}
}
