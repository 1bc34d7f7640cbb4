package proofs_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// golden is a proof made by the reference.
type golden struct {
	statement post.Statement
	vanilla   []*post.Vanilla // nil where the file has none
	proof     []byte
}

// readGolden reads a file of testdata/golden.
func readGolden(t testing.TB, name string) golden {
	t.Helper()
	var file struct {
		Type       string
		Size       uint64 `json:"sector_size"`
		Version    string `json:"api_version"`
		Randomness string
		Proof      string
		Sectors    []struct {
			Number  uint64
			CommR   string `json:"comm_r"`
			Vanilla string
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata/golden", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	kind, err := post.ParseKind(file.Type)
	if err != nil {
		t.Fatal(err)
	}
	version, err := post.ParseAPIVersion(file.Version)
	if err != nil {
		t.Fatal(err)
	}
	typ, err := post.TypeOf(kind, file.Size, version)
	if err != nil {
		t.Fatal(err)
	}
	shape, err := merkle.ShapeOf(file.Size)
	if err != nil {
		t.Fatal(err)
	}
	g := golden{
		statement: post.Statement{Type: typ, Randomness: [32]byte(unhex(t, file.Randomness))},
		proof:     unhex(t, file.Proof),
	}
	for _, s := range file.Sectors {
		g.statement.Sectors = append(g.statement.Sectors, post.Sector{Number: s.Number, CommR: [32]byte(unhex(t, s.CommR))})
		if s.Vanilla == "" {
			continue
		}
		perSector := 10
		if kind == post.Winning {
			perSector = 66
		}
		v, err := post.DecodeVanilla(shape, perSector, unhex(t, s.Vanilla))
		if err != nil {
			t.Fatal(err)
		}
		g.vanilla = append(g.vanilla, v)
	}
	return g
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// goldenVerifier reads the reference's verifying key of a statement's circuit.
func goldenVerifier(t testing.TB, s *post.Statement) *groth16.Verifier {
	t.Helper()
	id := sha256.Sum256([]byte(s.Type.Setup().String()))
	names, err := filepath.Glob("testdata/golden/*-" + hex.EncodeToString(id[:]) + ".vk")
	if err != nil || len(names) != 1 {
		t.Fatalf("verifying key of %v: %v, %v", s.Type.Setup(), names, err)
	}
	f, err := os.Open(names[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	vk, err := groth16.ReadVerifyingKey(f)
	if err != nil {
		t.Fatal(err)
	}
	v, err := groth16.NewVerifier(vk, 2, kernel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGoldenProofs: what the reference proved, we accept.
func TestGoldenProofs(t *testing.T) {
	names, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	system := proofs.New()
	for _, path := range names {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			if err := system.Verify(goldenVerifier(t, &g.statement), &g.statement, g.proof); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTamperedInputs changes every public input of a golden proof, one by one.
func TestTamperedInputs(t *testing.T) {
	g := readGolden(t, "window-2KiB-full-v1_1")
	v := goldenVerifier(t, &g.statement)
	proof, err := groth16.ParseProof(g.proof)
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := g.statement.PublicInputs(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(proof, inputs); err != nil {
		t.Fatal(err)
	}
	for i := range inputs {
		changed := slices.Clone(inputs)
		one := fr.One()
		changed[i].Add(&changed[i], &one)
		if err := v.Verify(proof, changed); !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("input %d changed: %v, want ErrInvalidProof", i, err)
		}
	}
}

// TestTamperedStatement: a proof holds for its statement only.
func TestTamperedStatement(t *testing.T) {
	system := proofs.New()
	g := readGolden(t, "window-2KiB-3-partitions-v1_1")
	v := goldenVerifier(t, &g.statement)
	winning := readGolden(t, "winning-2KiB")
	type change struct {
		statement post.Statement
		proof     []byte
		verifier  *groth16.Verifier
	}
	for _, tt := range []struct {
		name string
		edit func(*change)
		want error
	}{
		{"nothing", func(*change) {}, nil},
		{"randomness", func(c *change) { c.statement.Randomness[0] ^= 1 }, groth16.ErrInvalidProof},
		{"comm_r", func(c *change) { c.statement.Sectors[3].CommR[0] ^= 1 }, groth16.ErrInvalidProof},
		{"sector number", func(c *change) { c.statement.Sectors[1].Number = 3 }, groth16.ErrInvalidProof},
		{"swapped commitments", func(c *change) {
			s := c.statement.Sectors
			s[0].CommR, s[1].CommR = s[1].CommR, s[0].CommR
		}, groth16.ErrInvalidProof},
		{"challenges of V1", func(c *change) { c.statement.Type = post.Window2KiBV1 }, groth16.ErrInvalidProof},
		{"one sector less, same partitions", func(c *change) {
			s := &c.statement.Sectors
			*s = append((*s)[:3:3], (*s)[4], post.Sector{Number: 7, CommR: (*s)[0].CommR})
		}, groth16.ErrInvalidProof},
		{"partitions swapped", func(c *change) {
			c.proof = slices.Concat(c.proof[192:384], c.proof[:192], c.proof[384:])
		}, groth16.ErrInvalidProof},
		{"a partition missing", func(c *change) { c.proof = c.proof[:384] }, groth16.ErrMalformedProof},
		{"a partition more", func(c *change) { c.proof = append(c.proof, c.proof[:192]...) }, groth16.ErrMalformedProof},
		{"no proof", func(c *change) { c.proof = nil }, groth16.ErrMalformedProof},
		{"byte of A", func(c *change) { c.proof[20] ^= 1 }, groth16.ErrInvalidProof},
		{"byte of B", func(c *change) { c.proof[192+100] ^= 1 }, groth16.ErrInvalidProof},
		{"sign of C", func(c *change) { c.proof[384+144] ^= 0x20 }, groth16.ErrInvalidProof},
		{"random input not masked", func(c *change) { c.statement.Randomness[31] = 0xff }, post.ErrStatement},
		{"sectors not ascending", func(c *change) { slices.Reverse(c.statement.Sectors) }, post.ErrStatement},
		{"no sectors", func(c *change) { c.statement.Sectors = nil }, post.ErrStatement},
		{"key of another circuit", func(c *change) { c.verifier = goldenVerifier(t, &winning.statement) }, groth16.ErrInputCount},
	} {
		c := change{g.statement, slices.Clone(g.proof), v}
		c.statement.Sectors = slices.Clone(g.statement.Sectors)
		tt.edit(&c)
		err := system.Verify(c.verifier, &c.statement, c.proof)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if tt.want == groth16.ErrMalformedProof && !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("%s: %v does not wrap ErrInvalidProof", tt.name, err)
		}
	}
}

// TestGoldenWitness: our variables are the reference's, all inputs and then all
// auxiliaries, 32 bytes little-endian each.
func TestGoldenWitness(t *testing.T) {
	const want = "594bf9e0976582a146b94d3c9d22daf1bf0b4fbf75e37d5a9fade1fb14a5fb1d"
	g := readGolden(t, "window-2KiB-full-v1_1")
	c, assignment, err := proofs.New().Assignment(&proofs.Task{Statement: &g.statement, Vanilla: g.vanilla}, 0)
	if err != nil {
		t.Fatal(err)
	}
	inputs := make([]fr.Element, 1+c.Blocks()*c.Inputs())
	inputs[0].SetOne()
	aux := make([]fr.Element, c.Blocks()*c.Aux())
	for k := range c.Blocks() {
		if err := assignment.Witness(k, inputs[1+k*c.Inputs():1+(k+1)*c.Inputs()], aux[k*c.Aux():(k+1)*c.Aux()]); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.New()
	for _, x := range slices.Concat(inputs, aux) {
		b := x.Bytes()
		slices.Reverse(b[:])
		sum.Write(b[:])
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		t.Errorf("witness SHA-256 %s, want %s", got, want)
	}
	public, err := g.statement.PublicInputs(0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(public, inputs[1:]) {
		t.Error("the statement's public inputs are not those of the witness")
	}
}
