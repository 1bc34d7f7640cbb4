package prover_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"wdpost/internal/prover"
	"wdpost/proofs/params"
)

// TestNoWrongProofLeaves: a proof that does not verify here is an error, not an
// answer. In the raw cache of the key two points have changed places, as no look
// at its head or at single points can see.
func TestNoWrongProofLeaves(t *testing.T) {
	whole, err := devKeys()
	if err != nil {
		t.Fatal(err)
	}
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: whole, RawDirs: []string{whole}})
	key, err := keys.Proving(t.Context(), oneSector)
	if err != nil {
		t.Fatal(err)
	}
	dir, name := t.TempDir(), params.CacheID(oneSector)
	raw, err := os.ReadFile(filepath.Join(whole, name+params.RawExt))
	if err != nil {
		t.Fatal(err)
	}
	const size = int(unsafe.Sizeof(key.H[0]))
	at := bytes.Index(raw, unsafe.Slice((*byte)(unsafe.Pointer(&key.H[0])), 2*size)) // as it is in memory
	if at < 0 {
		t.Fatal("the points of H are not in the raw cache")
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
	first := bytes.Clone(raw[at : at+size])
	copy(raw[at:], raw[at+size:at+2*size])
	copy(raw[at+size:], first)
	if err := os.WriteFile(filepath.Join(dir, name+params.RawExt), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, 1, func(c *prover.Config) {
		c.Keys = prover.KeyConfig{ParamsDir: dir, RawDirs: []string{dir}}
	})
	answer, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
	if !errors.Is(err, prover.ErrSelfCheck) {
		t.Errorf("got %d proofs and error %v, want ErrSelfCheck", len(answer.Proofs), err)
	}
	if len(answer.Proofs) != 0 {
		t.Error("a wrong proof leaves the engine")
	}
}
