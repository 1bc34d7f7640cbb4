package proofs_test

import (
	"testing"

	"wdpost/proofs"
	"wdpost/proofs/post"
)

// BenchmarkWindow2KiB proves one partition of two 2 KiB sectors.
func BenchmarkWindow2KiB(b *testing.B) {
	system := proofs.New()
	g := readGolden(b, "window-2KiB-full-v1_1")
	benchmarkProve(b, system, &proofs.Task{Statement: &g.statement, Vanilla: g.vanilla})
}

// BenchmarkWinning2KiB proves 66 challenges of a 2 KiB sector.
func BenchmarkWinning2KiB(b *testing.B) {
	system := proofs.New()
	g := readGolden(b, "winning-2KiB")
	benchmarkProve(b, system, &proofs.Task{Statement: &g.statement, Vanilla: g.vanilla})
}

func benchmarkProve(b *testing.B, system *proofs.System, task *proofs.Task) {
	key, v := generate(b, system, task.Statement.Type.Setup())
	var proof []byte
	for b.Loop() {
		var err error
		if proof, err = system.Prove(key, task, proofs.ProveConfig{Workers: 2}); err != nil {
			b.Fatal(err)
		}
	}
	if err := system.Verify(v, task.Statement, proof); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGenerateKey makes the keys of 2 KiB sectors.
func BenchmarkGenerateKey(b *testing.B) {
	system := proofs.New()
	for _, typ := range []post.ProofType{post.Window2KiBV1_1, post.Winning2KiB} {
		b.Run(typ.String(), func(b *testing.B) {
			for b.Loop() {
				generate(b, system, typ.Setup())
			}
		})
	}
}

// BenchmarkVerify checks one proof of 22 public inputs.
func BenchmarkVerify(b *testing.B) {
	system := proofs.New()
	g := readGolden(b, "window-2KiB-full-v1_1")
	v := goldenVerifier(b, &g.statement)
	for b.Loop() {
		if err := system.Verify(v, &g.statement, g.proof); err != nil {
			b.Fatal(err)
		}
	}
}
