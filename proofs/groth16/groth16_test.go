package groth16_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
)

// TestProveVerify proves systems of several sizes, with and without blinding.
func TestProveVerify(t *testing.T) {
	for _, blocks := range []int{1, 2, 3, 7, 40} {
		pk := toyKeys(t, blocks)
		v := verifier(t, &pk.VK)
		var w toyWitness
		for k := range blocks {
			w.secrets = append(w.secrets, uint64(3*k), uint64(5*k+1)) // 0 and 1 among them
		}
		plain, err := groth16.Prove(pk, toy{blocks}, w, groth16.ProveConfig{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(plain, w.inputs()); err != nil {
			t.Errorf("%d blocks: %v", blocks, err)
		}
		again, err := groth16.Prove(pk, toy{blocks}, w, groth16.ProveConfig{Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		if plain.Bytes() != again.Bytes() {
			t.Errorf("%d blocks: the proof without blinding depends on more than key and witness", blocks)
		}
		var blinding groth16.Blinding
		blinding.R.SetUint64(7)
		blinding.S.SetUint64(9)
		blinded, err := groth16.Prove(pk, toy{blocks}, w, groth16.ProveConfig{Workers: 2, Blinding: blinding})
		if err != nil {
			t.Fatal(err)
		}
		if blinded.Bytes() == plain.Bytes() {
			t.Errorf("%d blocks: blinding without effect", blocks)
		}
		if err := v.Verify(blinded, w.inputs()); err != nil {
			t.Errorf("%d blocks, blinded: %v", blocks, err)
		}
	}
}

// TestUnsatisfied: a wrong witness is an error, never a wrong proof.
func TestUnsatisfied(t *testing.T) {
	pk := toyKeys(t, 2)
	w := toyWitness{secrets: []uint64{1, 2, 3, 4}, broken: true}
	if _, err := groth16.Prove(pk, toy{2}, w, groth16.ProveConfig{}); !errors.Is(err, groth16.ErrUnsatisfied) {
		t.Errorf("Prove = %v, want ErrUnsatisfied", err)
	}
}

// TestForeignKey: a key of another circuit is refused before any work.
func TestForeignKey(t *testing.T) {
	pk := toyKeys(t, 2)
	w := toyWitness{secrets: []uint64{1, 2, 3, 4, 5, 6}}
	if _, err := groth16.Prove(pk, toy{3}, w, groth16.ProveConfig{}); !errors.Is(err, groth16.ErrMalformedKey) {
		t.Errorf("Prove = %v, want ErrMalformedKey", err)
	}
}

func TestCanceled(t *testing.T) {
	pk := toyKeys(t, 2)
	done := make(chan struct{})
	close(done)
	w := toyWitness{secrets: []uint64{1, 2, 3, 4}}
	if _, err := groth16.Prove(pk, toy{2}, w, groth16.ProveConfig{Done: done}); !errors.Is(err, groth16.ErrCanceled) {
		t.Errorf("Prove = %v, want ErrCanceled", err)
	}
	trapdoor, err := groth16.NewTrapdoor(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := groth16.SetupInMemory(toy{2}, trapdoor, groth16.SetupConfig{Done: done}); !errors.Is(err, groth16.ErrCanceled) {
		t.Errorf("Setup = %v, want ErrCanceled", err)
	}
}

// TestCanceledMidway: a proof that is under way ends when it is told to.
func TestCanceledMidway(t *testing.T) {
	const blocks = 400
	pk := toyKeys(t, blocks)
	w := toyWitness{secrets: make([]uint64, 2*blocks)}
	for _, calls := range []int{1, 2, 3} {
		done := make(chan struct{})
		n := 0
		_, err := groth16.Prove(pk, toy{blocks}, w, groth16.ProveConfig{Workers: 2, Done: done, Progress: func(d, total uint64) {
			if n++; n == calls {
				close(done)
			}
			if n > calls {
				t.Errorf("progress %d of %d after the cancellation", d, total)
			}
		}})
		if !errors.Is(err, groth16.ErrCanceled) {
			t.Errorf("canceled at call %d: %v, want ErrCanceled", calls, err)
		}
	}
}

// cancelingWitness closes done at a call and counts those that follow.
type cancelingWitness struct {
	toyWitness
	at   int
	done chan struct{}

	mu    *sync.Mutex // no call passes between counting and closing
	calls *int
}

func (w cancelingWitness) count() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *w.calls++; *w.calls == w.at {
		close(w.done)
	}
}

func (w cancelingWitness) Rows(block int, a, b, c []fr.Element) error {
	w.count()
	return w.toyWitness.Rows(block, a, b, c)
}

func (w cancelingWitness) Witness(block int, inputs, aux []fr.Element) error {
	w.count()
	return w.toyWitness.Witness(block, inputs, aux)
}

// TestCanceledWitness: wherever a proof is canceled, each worker finishes the
// block it has and takes no other.
func TestCanceledWitness(t *testing.T) {
	const blocks, workers = 50, 3
	pk := toyKeys(t, blocks)
	for at := 1; ; at += 17 {
		w := cancelingWitness{toyWitness{secrets: make([]uint64, 2*blocks)}, at, make(chan struct{}), new(sync.Mutex), new(int)}
		_, err := groth16.Prove(pk, toy{blocks}, w, groth16.ProveConfig{Workers: workers, Done: w.done})
		if *w.calls < at {
			if err != nil || at < 4*blocks {
				t.Errorf("%d calls of the witness, %v", *w.calls, err)
			}
			return
		}
		if !errors.Is(err, groth16.ErrCanceled) {
			t.Errorf("canceled at call %d: %v, want ErrCanceled", at, err)
		}
		// A worker finishes its block, which asks for rows and then for inputs.
		if more := *w.calls - at; more > 2*workers {
			t.Errorf("canceled at call %d, %d more followed", at, more)
		}
	}
}

// TestVerifyRefuses changes every input and every point of a proof.
func TestVerifyRefuses(t *testing.T) {
	pk := toyKeys(t, 2)
	v := verifier(t, &pk.VK)
	w := toyWitness{secrets: []uint64{1, 2, 3, 4}}
	proof, err := groth16.Prove(pk, toy{2}, w, groth16.ProveConfig{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range w.inputs() {
		in := w.inputs()
		in[i].SetUint64(99)
		if err := v.Verify(proof, in); !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("input %d changed: %v, want ErrInvalidProof", i, err)
		}
	}
	for _, in := range [][]fr.Element{nil, w.inputs()[1:], append(w.inputs(), fr.One())} {
		if err := v.Verify(proof, in); !errors.Is(err, groth16.ErrInputCount) {
			t.Errorf("%d inputs: %v, want ErrInputCount", len(in), err)
		}
	}
	for name, change := range map[string]func(*groth16.Proof){
		"A": func(p *groth16.Proof) { p.A.Add(&p.A, &p.C) },
		"B": func(p *groth16.Proof) { p.B.Double(&p.B) },
		"C": func(p *groth16.Proof) { p.C.Neg(&p.C) },
	} {
		p := *proof
		change(&p)
		if err := v.Verify(&p, w.inputs()); !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("%s changed: %v, want ErrInvalidProof", name, err)
		}
	}
}

// TestVerifyBatch: batches stand and fall as a whole.
func TestVerifyBatch(t *testing.T) {
	pk := toyKeys(t, 2)
	v := verifier(t, &pk.VK)
	var proofs []*groth16.Proof
	var inputs [][]fr.Element
	for k := range uint64(3) {
		w := toyWitness{secrets: []uint64{k, 2, k + 3, 4}}
		p, err := groth16.Prove(pk, toy{2}, w, groth16.ProveConfig{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		proofs, inputs = append(proofs, p), append(inputs, w.inputs())
	}
	if err := v.VerifyBatch(proofs, inputs, nil); err != nil {
		t.Error(err)
	}
	swapped := [][]fr.Element{inputs[1], inputs[0], inputs[2]}
	if err := v.VerifyBatch(proofs, swapped, nil); !errors.Is(err, groth16.ErrInvalidProof) {
		t.Errorf("swapped inputs: %v, want ErrInvalidProof", err)
	}
	if err := v.VerifyBatch(proofs, inputs[:2], nil); !errors.Is(err, groth16.ErrInputCount) {
		t.Errorf("missing inputs: %v, want ErrInputCount", err)
	}
	if err := v.VerifyBatch(nil, nil, nil); !errors.Is(err, groth16.ErrInputCount) {
		t.Errorf("no proof: %v, want ErrInputCount", err)
	}
	if err := v.VerifyBatch(proofs, inputs, bytes.NewReader(nil)); err == nil || errors.Is(err, groth16.ErrInvalidProof) {
		t.Errorf("no randomness: %v, want an error that is not about the proof", err)
	}
}

// malformed are changes to proof bytes that must not decode.
func malformed(valid []byte) map[string][]byte {
	change := func(f func([]byte)) []byte {
		b := bytes.Clone(valid)
		f(b)
		return b
	}
	outside := bls.GeneratePointNotInG1(bls.G1Affine{}.X)
	var g1 bls.G1Affine
	g1.FromJacobian(&outside)
	g2Outside := bls.GeneratePointNotInG2(bls.E2{})
	var g2 bls.G2Affine
	g2.FromJacobian(&g2Outside)
	g1Bytes, g2Bytes := g1.Bytes(), g2.Bytes()
	infinity := func(at, n int) []byte {
		return change(func(b []byte) { clear(b[at : at+n]); b[at] = 0xc0 })
	}
	big := func(at int) []byte { // x ≥ p
		return change(func(b []byte) {
			b[at] |= 0x1f
			for i := at + 1; i < at+48; i++ {
				b[i] = 0xff
			}
		})
	}
	return map[string][]byte{
		"empty":            nil,
		"short":            valid[:groth16.ProofSize-1],
		"long":             append(bytes.Clone(valid), 0),
		"A identity":       infinity(0, 48),
		"B identity":       infinity(48, 96),
		"C identity":       infinity(144, 48),
		"A not canonical":  big(0),
		"B not canonical":  big(48),
		"B c0 too big":     change(func(b []byte) { copy(b[96:144], bytes.Repeat([]byte{0xff}, 48)) }),
		"C not canonical":  big(144),
		"A outside group":  change(func(b []byte) { copy(b, g1Bytes[:]) }),
		"B outside group":  change(func(b []byte) { copy(b[48:], g2Bytes[:]) }),
		"C outside group":  change(func(b []byte) { copy(b[144:], g1Bytes[:]) }),
		"A not compressed": change(func(b []byte) { b[0] &= 0x1f }),
		"A flags":          change(func(b []byte) { b[0] |= 0xe0 }),
	}
}

// TestParseProof reads what Bytes writes and nothing else.
func TestParseProof(t *testing.T) {
	pk := toyKeys(t, 1)
	proof, err := groth16.Prove(pk, toy{1}, toyWitness{secrets: []uint64{5, 6}}, groth16.ProveConfig{})
	if err != nil {
		t.Fatal(err)
	}
	valid := proof.Bytes()
	back, err := groth16.ParseProof(valid[:])
	if err != nil || back.Bytes() != valid {
		t.Fatalf("ParseProof(Bytes()) = %v, %v", back, err)
	}
	for name, b := range malformed(valid[:]) {
		if _, err := groth16.ParseProof(b); !errors.Is(err, groth16.ErrMalformedProof) {
			t.Errorf("%s: %v, want ErrMalformedProof", name, err)
		}
		if _, err := groth16.ParseProofs(append(valid[:len(valid):len(valid)], b...)); len(b) > 0 && !errors.Is(err, groth16.ErrMalformedProof) {
			t.Errorf("%s as second proof: %v, want ErrMalformedProof", name, err)
		}
	}
}

// TestVerifyingKeyBytes reads what MarshalBinary writes and refuses damage.
func TestVerifyingKeyBytes(t *testing.T) {
	vk := &toyKeys(t, 1).VK
	valid, err := vk.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := groth16.ReadVerifyingKey(bytes.NewReader(valid))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := back.MarshalBinary(); !bytes.Equal(again, valid) || vk.Size() != len(valid) {
		t.Error("a verifying key does not survive its bytes")
	}
	count := 3*96 + 3*192
	for name, change := range map[string]func([]byte) []byte{
		"short":        func(b []byte) []byte { return b[:len(b)-1] },
		"head only":    func(b []byte) []byte { return b[:100] },
		"count":        func(b []byte) []byte { b[count] = 0xff; return b },
		"no ic":        func(b []byte) []byte { clear(b[count : count+4]); return b[:count+4] },
		"identity":     func(b []byte) []byte { clear(b[:96]); b[0] = 0x40; return b },
		"off curve":    func(b []byte) []byte { b[95] ^= 1; return b },
		"ic off curve": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		b := change(bytes.Clone(valid))
		if _, err := groth16.ReadVerifyingKey(bytes.NewReader(b)); !errors.Is(err, groth16.ErrMalformedKey) {
			t.Errorf("%s: %v, want ErrMalformedKey", name, err)
		}
	}
}

// TestTrapdoor: secrets that make no key are refused.
func TestTrapdoor(t *testing.T) {
	good, err := groth16.NewTrapdoor(nil)
	if err != nil {
		t.Fatal(err)
	}
	zero := *good
	zero.Delta.SetZero()
	inside := *good
	inside.Tau.SetOne()
	for name, trapdoor := range map[string]*groth16.Trapdoor{"zero": &zero, "tau in the domain": &inside} {
		if _, err := groth16.SetupInMemory(toy{1}, trapdoor, groth16.SetupConfig{}); !errors.Is(err, groth16.ErrTrapdoor) {
			t.Errorf("%s: %v, want ErrTrapdoor", name, err)
		}
	}
}
