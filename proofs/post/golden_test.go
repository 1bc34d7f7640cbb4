package post_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wdpost/lab/golden"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// golden is where the data made by the reference lies, beside the repository.

// goldenProof is one proof call of the reference.
type goldenProof struct {
	Type           string
	SectorSize     uint64 `json:"sector_size"`
	PerPartition   int    `json:"sectors_per_partition"`
	ChallengeCount int    `json:"challenge_count"`
	APIVersion     string `json:"api_version"`
	Miner          uint64
	ProverID       string `json:"prover_id"`
	Randomness     string
	Sectors        []struct {
		Number        uint64
		CommR         string `json:"comm_r"`
		Challenges    []uint64
		Vanilla       string
		VanillaLen    int    `json:"vanilla_len"`
		VanillaSHA256 string `json:"vanilla_sha256"`
	}
	Winning struct {
		SectorSet         []uint64 `json:"sector_set"`
		ChallengedIndices []uint64 `json:"challenged_indices"`
	}
	Proof string
}

// hex32 reads 32 bytes of hexadecimal.
func hex32(t testing.TB, s string) [32]byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 32 {
		t.Fatalf("%q is not 32 bytes of hexadecimal", s)
	}
	return [32]byte(raw)
}

func (g *goldenProof) statement(t testing.TB) *post.Statement {
	t.Helper()
	kind, err := post.ParseKind(strings.ToLower(g.Type))
	if err != nil {
		t.Fatal(err)
	}
	version, err := post.ParseAPIVersion(g.APIVersion)
	if err != nil {
		t.Fatal(err)
	}
	typ, err := post.TypeOf(kind, g.SectorSize, version)
	if err != nil {
		t.Fatal(err)
	}
	s := &post.Statement{Type: typ, Randomness: hex32(t, g.Randomness)}
	for _, sector := range g.Sectors {
		s.Sectors = append(s.Sectors, post.Sector{Number: sector.Number, CommR: hex32(t, sector.CommR)})
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

func readGolden(t testing.TB) map[string]*goldenProof {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(golden.Dir(t), "proofs", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no golden proofs: %v", err)
	}
	out := map[string]*goldenProof{}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		g := &goldenProof{}
		if err := json.Unmarshal(raw, g); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[strings.TrimSuffix(filepath.Base(name), ".json")] = g
	}
	return out
}

// zeros is an all-zero file.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), int64(z)-off))
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// goldenFiles opens a sector of the golden set; zero sectors are computed.
func goldenFiles(t testing.TB, h *merkle.Hasher, name string, g *goldenProof, sector uint64) post.SectorFiles {
	t.Helper()
	shape, err := merkle.ShapeOf(g.SectorSize)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(golden.Dir(t), "sectors", post.SizeName(g.SectorSize))
	zero := strings.Contains(name, "zero")
	switch {
	case zero:
		dir = filepath.Join(golden.Dir(t), "sectors", "zero-"+post.SizeName(g.SectorSize))
	case strings.Contains(name, "lotus"):
		dir = filepath.Join(golden.Dir(t), "sectors", "lotus-2KiB")
	}
	id := fmt.Sprintf("s-t0%d-%d", g.Miner, sector)
	read := func(path ...string) []byte {
		raw, err := os.ReadFile(filepath.Join(append([]string{dir}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	files := post.SectorFiles{PAux: read("cache", id, post.PAuxName)}
	if zero {
		files.Replica = zeros(g.SectorSize)
		content := merkle.ZeroFile(h, shape.DefaultLayout())
		for range shape.BaseTrees() {
			files.Trees = append(files.Trees, bytes.NewReader(content))
		}
		return files
	}
	files.Replica = bytes.NewReader(read("sealed", id))
	for _, tree := range shape.FileNames() {
		files.Trees = append(files.Trees, bytes.NewReader(read("cache", id, tree)))
	}
	return files
}

// TestGoldenVanilla makes each vanilla proof of the reference again, byte for
// byte, and reads and checks the reference's own.
func TestGoldenVanilla(t *testing.T) {
	h := merkle.NewHasher()
	for name, g := range readGolden(t) {
		t.Run(name, func(t *testing.T) {
			s := g.statement(t)
			shape, err := merkle.ShapeOf(g.SectorSize)
			if err != nil {
				t.Fatal(err)
			}
			if post.ProverID(g.Miner) != hex32(t, g.ProverID) {
				t.Errorf("prover id %x", post.ProverID(g.Miner))
			}
			for i, want := range g.Sectors {
				challenges := s.Challenges(i)
				if !slices.Equal(challenges, want.Challenges) {
					t.Fatalf("sector %d: challenges %v, want %v", want.Number, challenges, want.Challenges)
				}
				if got := s.Type.ChallengedLeaves(s.Randomness, want.Number, i); !slices.Equal(got, challenges) {
					t.Errorf("sector %d: type and statement disagree on the challenges", want.Number)
				}
				open, err := post.Open(h, g.SectorSize, goldenFiles(t, h, name, g, want.Number))
				if err != nil {
					t.Fatal(err)
				}
				v, err := open.Vanilla(post.VanillaConfig{Sector: s.Sectors[i], Challenges: challenges, Workers: 3})
				if err != nil {
					t.Fatal(err)
				}
				got := v.Encode(shape)
				if sum := sha256.Sum256(got); len(got) != want.VanillaLen || hex.EncodeToString(sum[:]) != want.VanillaSHA256 {
					t.Fatalf("sector %d: vanilla proof differs from the reference's", want.Number)
				}
				checkGoldenVanilla(t, h, s, i, want.Vanilla)
			}
		})
	}
}

// checkGoldenVanilla decodes, checks and encodes again the bytes of the
// reference.
func checkGoldenVanilla(t *testing.T, h *merkle.Hasher, s *post.Statement, i int, encoded string) {
	t.Helper()
	if encoded == "" {
		return
	}
	raw, err := hex.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	shape, err := merkle.ShapeOf(s.Type.SectorSize())
	if err != nil {
		t.Fatal(err)
	}
	v, err := post.DecodeVanilla(shape, s.Type.Challenges(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(h, i, v); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(v.Encode(shape), raw) {
		t.Error("encoding again gives other bytes")
	}
}

func TestGoldenWinningSelection(t *testing.T) {
	for name, g := range readGolden(t) {
		if g.Type != "Winning" {
			continue
		}
		i, err := post.WinningSector(hex32(t, g.ProverID), hex32(t, g.Randomness), uint64(len(g.Winning.SectorSet)))
		if err != nil || !slices.Equal(g.Winning.ChallengedIndices, []uint64{i}) || g.Winning.SectorSet[i] != g.Sectors[0].Number {
			t.Errorf("%s: index %d, want %v: %v", name, i, g.Winning.ChallengedIndices, err)
		}
	}
}
