package proofs_test

import (
	"fmt"
	"log"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// memorySink keeps a key in memory, as a parameter file keeps it on disk.
type memorySink struct {
	key    groth16.ProvingKey
	counts groth16.Counts
}

func (s *memorySink) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	s.key.VK, s.counts = *vk, counts
	return nil
}

func (s *memorySink) G1(points []bls.G1Affine) error {
	for _, v := range []struct {
		vector *[]bls.G1Affine
		length uint64
	}{{&s.key.H, s.counts.H}, {&s.key.L, s.counts.L}, {&s.key.A, s.counts.A}, {&s.key.B1, s.counts.B}} {
		n := min(int(v.length)-len(*v.vector), len(points))
		*v.vector = append(*v.vector, points[:n]...)
		points = points[n:]
	}
	return nil
}

func (s *memorySink) G2(points []bls.G2Affine) error {
	s.key.B2 = append(s.key.B2, points...)
	return nil
}

func (s *memorySink) End() error { return nil }

// memory is a file in memory.
type memory []byte

func (m memory) Size() int64 { return int64(len(m)) }

func (m memory) ReadAt(b []byte, at int64) (int, error) { return copy(b, m[at:]), nil }

// A WindowPoSt of one 2 KiB sector, from its files to the verified proof, with
// development keys.
func Example() {
	system := proofs.New()
	statement := &post.Statement{
		Type: post.Window2KiBV1_1, Setup: post.Window2KiBV1_1.Setup().WithSectors(1),
		Randomness: post.MaskRandomness([32]byte{1, 2, 3}),
	}

	// The sector: a replica of zeros with its tree and commitments.
	replica := make(memory, 2<<10)
	shape, err := merkle.ShapeOf(2 << 10)
	if err != nil {
		log.Fatal(err)
	}
	tree, err := merkle.Builder{Hasher: system.Hasher(), Layout: shape.DefaultLayout(), Workers: 1}.File(replica, 0)
	if err != nil {
		log.Fatal(err)
	}
	var aux post.PAux
	if aux.CommRLast, err = merkle.FileRoot(tree); err != nil {
		log.Fatal(err)
	}
	open, err := post.Open(system.Hasher(), 2<<10, post.SectorFiles{
		Files: merkle.Files{Replica: replica, Trees: []merkle.File{memory(tree)}}, PAux: aux.Encode(),
	})
	if err != nil {
		log.Fatal(err)
	}
	sector := post.Sector{Number: 7, CommR: open.CommR()}
	statement.Sectors = []post.Sector{sector}

	// The vanilla proof opens the challenged leaves.
	vanilla, err := open.Vanilla(post.VanillaConfig{Sector: sector, Challenges: statement.Challenges(0), Workers: 1})
	if err != nil {
		log.Fatal(err)
	}

	var sink memorySink
	if err := system.GenerateKey(statement.Setup, &sink, proofs.KeyConfig{Workers: 2}); err != nil {
		log.Fatal(err)
	}
	proof, err := system.Prove(&sink.key, &proofs.Task{Statement: statement, Vanilla: []*post.Vanilla{vanilla}}, proofs.ProveConfig{Workers: 2})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := groth16.NewVerifier(&sink.key.VK, 1, kernel.Auto)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(proof), "bytes, error:", system.Verify(verifier, statement, proof))
	// Output: 192 bytes, error: <nil>
}

// A kernel is chosen once, by name or Auto, and passed on.
func ExampleNewOn() {
	on, err := kernel.Parse("scalar")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(proofs.NewOn(on).Kernel())
	// Output: scalar
}
