package params_test

import (
	"bytes"
	"io"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// tiny is the smallest circuit there is: 723,864 bytes of .params.
var tiny = post.Setup{SectorSize: 2 * kib, Challenges: 1, Sectors: 1}

// fakeKey has the right lengths and valid points, all different, but proves
// nothing: these tests are about bytes.
func fakeKey(s post.Setup) *groth16.ProvingKey {
	_, _, g1, g2 := bls.Generators()
	p1, p2 := g1, g2
	next1 := func() bls.G1Affine { p1.Add(&p1, &g1); return p1 }
	next2 := func() bls.G2Affine { p2.Add(&p2, &g2); return p2 }
	fill1 := func(n uint64) []bls.G1Affine {
		points := make([]bls.G1Affine, n)
		for i := range points {
			points[i] = next1()
		}
		return points
	}
	c := params.CountsOf(s)
	key := &groth16.ProvingKey{
		VK: groth16.VerifyingKey{
			Alpha1: next1(), Beta1: next1(), Delta1: next1(),
			Beta2: next2(), Gamma2: next2(), Delta2: next2(),
			IC: fill1(c.IC),
		},
		H: fill1(c.H), L: fill1(c.L), A: fill1(c.A), B1: fill1(c.B),
		B2: make([]bls.G2Affine, c.B),
	}
	for i := range key.B2 {
		key.B2[i] = next2()
	}
	return key
}

// paramsFile is the .params file of a key.
func paramsFile(t testing.TB, key *groth16.ProvingKey) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := params.Push(params.NewWriter(&b), key); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readParams(b []byte, s post.Setup) (*groth16.ProvingKey, error) {
	var m params.Memory
	if err := params.Copy(&m, bytes.NewReader(b), params.CopyConfig{Setup: s, Workers: 2}); err != nil {
		return nil, err
	}
	return m.Key(), nil
}

// memFile is a params.RawFile in memory.
type memFile struct{ b []byte }

func (f *memFile) Write(b []byte) (int, error) {
	f.b = append(f.b, b...)
	return len(b), nil
}

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	if int(at)+len(b) > len(f.b) {
		return 0, io.ErrShortWrite
	}
	return copy(f.b[at:], b), nil
}

func rawFile(t testing.TB, key *groth16.ProvingKey, s post.Setup) []byte {
	t.Helper()
	f := new(memFile)
	w := params.NewRawWriter(f, s)
	if err := params.Push(w, key); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(params.Digest{1, 2, 3}, params.ParamsBytes(s)); err != nil {
		t.Fatal(err)
	}
	return f.b
}
