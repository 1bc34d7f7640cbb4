package groth16

import (
	"encoding/binary"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// FuzzKernels: whatever points meet whatever scalars, equal, opposite and
// identity points and scalars of all sizes among them, every kernel has the sum
// of the scalar one, in G1 and G2.
func FuzzKernels(f *testing.F) {
	f.Add([]byte("some points and scalars, each from three bytes"), uint64(1))
	f.Add([]byte{0, 0, 0, 1, 1, 1, 0x81, 1, 1, 0, 2, 2, 1, 0, 0, 0x81, 0xff, 0xff}, uint64(1<<63))
	const n = 600 // enough for buckets
	g1, g2 := fewMultiples()
	f.Fuzz(func(t *testing.T, b []byte, stretch uint64) {
		p1, p2, scalars := make([]bls.G1Affine, n), make([]bls.G2Affine, n), make([]fr.Element, n)
		for i := range scalars {
			at := [3]byte{byte(i), byte(i >> 3), byte(i)}
			if len(b) >= 3 {
				at = [3]byte(b[3*i%(len(b)-2):])
			}
			p1[i], p2[i] = g1[at[0]&0x7f], g2[at[0]&0x7f]
			if at[0]&0x80 != 0 {
				p1[i].Neg(&p1[i])
				p2[i].Neg(&p2[i])
			}
			scalars[i].SetUint64(uint64(binary.LittleEndian.Uint16(at[1:])) * stretch)
			if at[1]&1 == 1 {
				scalars[i].Neg(&scalars[i])
			}
		}
		var want1 bls.G1Affine
		var want2 bls.G2Affine
		for k, on := range kernel.All() {
			p := newPool(1, nil, on)
			sum1, sum2 := newSumG1(p, n, 1<<12), newSumG2(p, n, 1<<12)
			if err := sum1.add(p1, scalars, pieces{}); err != nil {
				t.Fatal(err)
			}
			if err := sum2.add(p2, scalars, pieces{}); err != nil {
				t.Fatal(err)
			}
			j1, err1 := sum1.sum()
			j2, err2 := sum2.sum()
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			var got1 bls.G1Affine
			var got2 bls.G2Affine
			got1.FromJacobian(&j1)
			got2.FromJacobian(&j2)
			if k == 0 {
				want1, want2 = got1, got2
			}
			if got1 != want1 || got2 != want2 {
				t.Errorf("%v: %v and %v, the scalar kernel has %v and %v", on, got1, got2, want1, want2)
			}
		}
	})
}

// fewMultiples are the first multiples of the generators, the identity among
// them.
func fewMultiples() (p1 [128]bls.G1Affine, p2 [128]bls.G2Affine) {
	_, _, g1, g2 := bls.Generators()
	for i := range len(p1) - 1 {
		p1[i+1].Add(&p1[i], &g1)
		p2[i+1].Add(&p2[i], &g2)
	}
	return p1, p2
}
