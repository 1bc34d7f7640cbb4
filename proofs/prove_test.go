package proofs_test

import (
	"errors"
	"slices"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// keyMemory is a groth16.Sink in memory.
type keyMemory struct {
	key    groth16.ProvingKey
	points []bls.G1Affine
}

func (m *keyMemory) Begin(vk *groth16.VerifyingKey, n groth16.Counts) error {
	m.points = make([]bls.G1Affine, 0, n.H+n.L+n.A+n.B)
	all := m.points[:cap(m.points)]
	m.key = groth16.ProvingKey{VK: *vk, H: all[:n.H], L: all[n.H : n.H+n.L], A: all[n.H+n.L : n.H+n.L+n.A], B1: all[n.H+n.L+n.A:]}
	return nil
}

func (m *keyMemory) G1(points []bls.G1Affine) error {
	m.points = append(m.points, points...)
	return nil
}

func (m *keyMemory) G2(points []bls.G2Affine) error {
	m.key.B2 = append(m.key.B2, points...)
	return nil
}

func (m *keyMemory) End() error { return nil }

// generate makes a key and its verifier.
func generate(t testing.TB, system *proofs.System, setup post.Setup) (*groth16.ProvingKey, *groth16.Verifier) {
	t.Helper()
	var m keyMemory
	if err := system.GenerateKey(setup, &m, proofs.KeyConfig{Workers: 2}); err != nil {
		t.Fatal(err)
	}
	v, err := groth16.NewVerifier(&m.key.VK, 2, kernel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return &m.key, v
}

// TestProve proves what the reference proved, from its vanilla proofs, with a
// key of our own: both window versions, several partitions, padding.
func TestProve(t *testing.T) {
	system := proofs.New()
	key, v := generate(t, system, post.Window2KiBV1_1.Setup())
	for _, name := range []string{"window-2KiB-full-v1", "window-2KiB-full-v1_1", "window-2KiB-3-partitions-v1_1"} {
		g := readGolden(t, name)
		task := &proofs.Task{Statement: &g.statement, Vanilla: g.vanilla}
		var last, total uint64
		proof, err := system.Prove(key, task, proofs.ProveConfig{Workers: 2, Progress: func(d, n uint64) {
			if d < last || d > n {
				t.Errorf("progress went from %d to %d of %d", last, d, n)
			}
			last, total = d, n
		}})
		if err != nil {
			t.Fatal(err)
		}
		if last != total || total == 0 {
			t.Errorf("%s: progress ended at %d of %d", name, last, total)
		}
		if err := system.Verify(v, &g.statement, proof); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Partition by partition, with nothing but that partition's vanilla proofs.
		var parts []byte
		for p := range g.statement.Partitions() {
			partial := &proofs.Task{Statement: &g.statement, Vanilla: make([]*post.Vanilla, len(g.vanilla))}
			for _, b := range g.statement.Blocks(p) {
				partial.Vanilla[b.Sector] = g.vanilla[b.Sector]
			}
			part, err := system.ProvePartition(key, partial, p, proofs.ProveConfig{Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part...)
		}
		if !slices.Equal(parts, proof) {
			t.Errorf("%s: partitions proven one by one give another proof", name)
		}
		if err := system.Verify(v, &g.statement, g.proof); !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("%s: proof of another key: %v, want ErrInvalidProof", name, err)
		}
	}
}

// TestProveWinning proves 66 challenges of one sector.
func TestProveWinning(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a key of 91,674 variables")
	}
	system := proofs.New()
	g := readGolden(t, "winning-2KiB")
	key, v := generate(t, system, g.statement.Type.Setup())
	task := &proofs.Task{Statement: &g.statement, Vanilla: g.vanilla}
	proof, err := system.Prove(key, task, proofs.ProveConfig{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := system.Verify(v, &g.statement, proof); err != nil {
		t.Error(err)
	}
}

// cloneVanilla copies a vanilla proof deeply enough to change any part of it.
func cloneVanilla(v *post.Vanilla) *post.Vanilla {
	c := *v
	c.Inclusion = slices.Clone(v.Inclusion)
	for i := range c.Inclusion {
		p := &c.Inclusion[i]
		p.Path = slices.Clone(p.Path)
		for k := range p.Path {
			p.Path[k].Siblings = slices.Clone(p.Path[k].Siblings)
		}
	}
	return &c
}

// TestBadVanilla: nothing is proven from a vanilla proof that does not hold,
// down to the last of winning's 66 challenges.
func TestBadVanilla(t *testing.T) {
	system := proofs.New()
	window, winning := readGolden(t, "window-2KiB-full-v1_1"), readGolden(t, "winning-2KiB")
	bump := func(x *fr.Element) {
		one := fr.One()
		x.Add(x, &one)
	}
	for _, tt := range []struct {
		name   string
		golden golden
		edit   func(v []*post.Vanilla)
		want   error
	}{
		{"sector", window, func(v []*post.Vanilla) { v[0].Sector++ }, post.ErrInvalidVanilla},
		{"swapped", window, func(v []*post.Vanilla) { v[0], v[1] = v[1], v[0] }, post.ErrInvalidVanilla},
		{"missing", window, func(v []*post.Vanilla) { v[1] = nil }, post.ErrInvalidVanilla},
		{"comm_r", window, func(v []*post.Vanilla) { bump(&v[1].CommR) }, post.ErrInvalidVanilla},
		{"comm_c", window, func(v []*post.Vanilla) { bump(&v[1].CommC) }, post.ErrInvalidVanilla},
		{"comm_r_last", window, func(v []*post.Vanilla) { bump(&v[1].CommRLast) }, post.ErrInvalidVanilla},
		{"root", window, func(v []*post.Vanilla) { bump(&v[0].Inclusion[9].Root) }, post.ErrInvalidVanilla},
		{"leaf", window, func(v []*post.Vanilla) { bump(&v[0].Inclusion[9].Leaf) }, post.ErrInvalidVanilla},
		{"sibling", window, func(v []*post.Vanilla) { bump(&v[0].Inclusion[3].Path[1].Siblings[6]) }, post.ErrInvalidVanilla},
		{"challenges short", window, func(v []*post.Vanilla) { v[0].Inclusion = v[0].Inclusion[:9] }, post.ErrInvalidVanilla},
		{"challenges in another order", window, func(v []*post.Vanilla) { slices.Reverse(v[0].Inclusion) }, post.ErrInvalidVanilla},
		{"level missing", window, func(v []*post.Vanilla) { v[0].Inclusion[0].Path = v[0].Inclusion[0].Path[:1] }, merkle.ErrInvalidProof},
		{"winning, last leaf", winning, func(v []*post.Vanilla) { bump(&v[0].Inclusion[65].Leaf) }, post.ErrInvalidVanilla},
		{"winning, one too few", winning, func(v []*post.Vanilla) { v[0].Inclusion = v[0].Inclusion[:65] }, post.ErrInvalidVanilla},
	} {
		task := &proofs.Task{Statement: &tt.golden.statement}
		for _, v := range tt.golden.vanilla {
			task.Vanilla = append(task.Vanilla, cloneVanilla(v))
		}
		tt.edit(task.Vanilla)
		// The empty key shows that the check comes before anything costly.
		if _, err := system.Prove(&groth16.ProvingKey{}, task, proofs.ProveConfig{Workers: 2}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestProveRefuses: calls that cannot be served say why.
func TestProveRefuses(t *testing.T) {
	system := proofs.New()
	g := readGolden(t, "window-2KiB-full-v1_1")
	task := &proofs.Task{Statement: &g.statement, Vanilla: g.vanilla}
	closed := make(chan struct{})
	close(closed)
	var empty groth16.ProvingKey
	for name, tt := range map[string]struct {
		call func() ([]byte, error)
		want error
	}{
		"key": {func() ([]byte, error) { return system.Prove(&empty, task, proofs.ProveConfig{}) }, groth16.ErrMalformedKey},
		"canceled": {func() ([]byte, error) {
			return system.Prove(&empty, task, proofs.ProveConfig{Done: closed})
		}, groth16.ErrCanceled},
		"partition": {func() ([]byte, error) { return system.ProvePartition(&empty, task, 1, proofs.ProveConfig{}) }, post.ErrStatement},
		"vanilla count": {func() ([]byte, error) {
			return system.Prove(&empty, &proofs.Task{Statement: &g.statement}, proofs.ProveConfig{})
		}, post.ErrInvalidVanilla},
		"statement": {func() ([]byte, error) {
			return system.Prove(&empty, &proofs.Task{Statement: &post.Statement{Type: 99}}, proofs.ProveConfig{})
		}, post.ErrUnknownType},
	} {
		if _, err := tt.call(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := system.GenerateKey(post.Setup{SectorSize: 3, Challenges: 1, Sectors: 1}, &keyMemory{}, proofs.KeyConfig{}); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("key of no sector size: %v, want ErrUnknownType", err)
	}
}
