package merkle_test

import (
	"testing"

	"wdpost/proofs/merkle"
)

// BenchmarkProve makes inclusion proofs in a 32 GiB sector whose reads cost
// nothing: the time is hashing 73 nodes of the segment and 6 groups above.
func BenchmarkProve(b *testing.B) {
	h := merkle.NewHasher()
	s := mustShape(b, 32<<30)
	files := zeroFiles(h, s)
	tree, err := merkle.Open(h, s, files)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := tree.Prove(files, 123_456_789, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuild builds the tree file of an 8 MiB sector: 37,449 nodes.
func BenchmarkBuild(b *testing.B) {
	builder := merkle.Builder{Hasher: merkle.NewHasher(), Layout: mustShape(b, 8<<20).DefaultLayout(), Workers: 1}
	b.SetBytes(8 << 20)
	for b.Loop() {
		if _, err := builder.File(zeros(8<<20), 0); err != nil {
			b.Fatal(err)
		}
	}
}
