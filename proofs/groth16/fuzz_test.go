package groth16_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"wdpost/proofs/groth16"
)

// knownProof is K1 of spec 7.8.
const knownProof = "a6df2cf1a289586f584a3497bcee5ddbc845fb83776d6b590e52a7f2ef2df44931858855d3d3e7eb3001c0451266f51981718212ba12457d3a53b59a19fb53d7b953957e7dc43f7f48a039e32fe18c7aaf6a35cfcf16b097f14353d9ab128230144e524e306edeba0a94f1c5245cdafc87dc1dcad3168d9536f8b1577e47a8c24f63a075c353613064b1b58a37d0de00850e794483f1234120eec43793f8139f84b1b03d7e97193a606ccb898cd76f386b4135affe245bcd9231561b3d8ae2c0"

// FuzzParseProof: whatever decodes encodes to the same bytes.
func FuzzParseProof(f *testing.F) {
	valid, err := hex.DecodeString(knownProof)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	for _, b := range malformed(valid) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		proofs, err := groth16.ParseProofs(b)
		if err != nil {
			return
		}
		var back []byte
		for _, p := range proofs {
			one := p.Bytes()
			back = append(back, one[:]...)
		}
		if !bytes.Equal(back, b) {
			t.Errorf("%x decodes and encodes to %x", b, back)
		}
	})
}

// FuzzVerifyingKey: whatever decodes encodes to the same bytes.
func FuzzVerifyingKey(f *testing.F) {
	valid, err := toyKeys(f, 1).VK.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add(valid[:len(valid)-96])
	f.Fuzz(func(t *testing.T, b []byte) {
		var vk groth16.VerifyingKey
		if vk.UnmarshalBinary(b) != nil {
			return
		}
		if back, _ := vk.MarshalBinary(); !bytes.Equal(back, b) {
			t.Errorf("%x decodes and encodes to %x", b, back)
		}
	})
}
