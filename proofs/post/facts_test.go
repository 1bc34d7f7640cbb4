package post_test

import (
	"testing"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// TestFacts: what is said here for those who may not know groth16 is so, and a
// circuit tells its kind.
func TestFacts(t *testing.T) {
	if post.ProofSize != groth16.ProofSize {
		t.Errorf("a proof has %d bytes, ProofSize says %d", groth16.ProofSize, post.ProofSize)
	}
	for _, size := range post.SectorSizes() {
		for _, kind := range []post.Kind{post.Window, post.Winning} {
			typ, err := post.TypeOf(kind, size, post.V1_1_0)
			if err != nil {
				t.Fatal(err)
			}
			if got := typ.Setup().Kind(); got != kind {
				t.Errorf("%v: the circuit is for %v", typ, got)
			}
		}
	}
}
