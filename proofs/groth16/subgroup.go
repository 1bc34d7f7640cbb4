package groth16

import (
	"crypto/rand"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/kernel"
)

// The batched check throws the points into random buckets with random signs,
// some times over, and checks the sums of the buckets. If a point is outside
// the subgroup then, whatever the other points are, at most one of the 2·32
// places of a round hides that: the cofactor of G1 is odd, so a point and its
// negative cannot both. So it passes with probability 2⁻¹³².
const (
	scatterRounds = 22
	scatterWidth  = 6
	// scatterPoints is the number of points from which on this beats checking
	// each of them.
	scatterPoints = 1 << 12
)

// inSubgroup reports whether all points, which must be on the curve and not the
// identity, are in the subgroup of order r.
func inSubgroup(points []bls.G1Affine) bool {
	if len(points) >= scatterPoints {
		points = scatterG1(points, kernel.Auto)
	}
	for i := range points {
		if !points[i].IsInSubGroup() {
			return false
		}
	}
	return true
}

// scatter returns the sums of the buckets of all rounds.
func scatter[R any](points []bls.G1Affine, newAdder func(n int) batchAdder[R, bls.G1Affine]) []bls.G1Affine {
	windows := make([]window, scatterRounds)
	for i := range windows {
		windows[i].width = scatterWidth
	}
	a := newArea[R, bls.G1Affine](cutAreas(windows, 1)[0], newAdder)
	a.batch = len(a.occupied) / 4
	chunk := make([]R, importPoints+1)
	digits := make([][]int32, scatterRounds)
	for i := range digits {
		digits[i] = make([]int32, importPoints)
	}
	random := make([]byte, importPoints)
	for len(points) > 0 {
		n := min(len(points), importPoints)
		a.adder.Import(chunk[:n], points[:n])
		chunk[n] = a.adder.Filler()
		for _, round := range digits {
			_, _ = rand.Read(random) // never fails
			for i, b := range random {
				round[i] = int32(b>>1&(1<<(scatterWidth-1)-1)) + 1
				if b&1 == 1 {
					round[i] = -round[i]
				}
			}
		}
		_ = a.addChunk(pool{}, chunk[:n+1], digits) // cannot be cancelled
		points = points[n:]
	}
	var sums []bls.G1Affine
	for i, occupied := range a.occupied {
		if occupied {
			sums = append(sums, a.adder.Export(&a.records[i]))
		}
	}
	return sums
}
