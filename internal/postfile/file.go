package postfile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"wdpost/internal/durable"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// File is the JSON form of one proof call.
type File struct {
	Type                string         `json:"type"`        // window or winning
	SectorSize          uint64         `json:"sector_size"` // bytes
	SectorsPerPartition int            `json:"sectors_per_partition"`
	ChallengeCount      int            `json:"challenge_count"`
	APIVersion          string         `json:"api_version"`
	Miner               uint64         `json:"miner"`
	ProverID            string         `json:"prover_id"`
	Randomness          string         `json:"randomness"`
	Sectors             []Sector       `json:"sectors"` // for winning the chosen one
	Winning             *Winning       `json:"winning,omitempty"`
	Proof               string         `json:"proof"` // 192 bytes for each partition
	Verified            bool           `json:"verified"`
	TimingMs            map[string]int `json:"timing_ms,omitempty"`
}

// Sector is one proven sector.
type Sector struct {
	Number        uint64   `json:"number"`
	CommR         string   `json:"comm_r"`
	Challenges    []uint64 `json:"challenges"`
	Vanilla       string   `json:"vanilla,omitempty"`
	VanillaLen    int      `json:"vanilla_len,omitempty"`
	VanillaSHA256 string   `json:"vanilla_sha256,omitempty"`
}

// Winning is how the winning sector was drawn.
type Winning struct {
	SectorSet         []uint64 `json:"sector_set"`
	ChallengedIndices []uint64 `json:"challenged_indices"`
}

func newFile(statement *post.Statement, miner uint64) *File {
	proverID := post.ProverID(miner)
	setup := statement.Setup
	f := &File{
		Type: statement.Type.Kind().String(), SectorSize: statement.Type.SectorSize(),
		SectorsPerPartition: setup.Sectors, ChallengeCount: setup.Challenges,
		APIVersion: statement.Type.APIVersion().String(),
		Miner:      miner, ProverID: hex.EncodeToString(proverID[:]), Randomness: hex.EncodeToString(statement.Randomness[:]),
	}
	if statement.Type.IsWinning() { // one sector, opened once for each block of the circuit
		f.SectorsPerPartition, f.ChallengeCount = 1, setup.Sectors*setup.Challenges
	}
	return f
}

// fill adds the sectors and their vanilla proofs.
func (f *File) fill(statement *post.Statement, vanilla []*post.Vanilla) error {
	shape, err := merkle.ShapeOf(f.SectorSize)
	if err != nil {
		return err
	}
	for i, s := range statement.Sectors {
		encoded := vanilla[i].Encode(shape)
		sum := sha256.Sum256(encoded)
		f.Sectors = append(f.Sectors, Sector{
			Number: s.Number, CommR: hex.EncodeToString(s.CommR[:]), Challenges: statement.Challenges(i),
			Vanilla: hex.EncodeToString(encoded), VanillaLen: len(encoded), VanillaSHA256: hex.EncodeToString(sum[:]),
		})
	}
	return nil
}

// Claim is what a proof file says that its proof proves.
func (f *File) Claim() (*post.Statement, []byte, error) {
	kind, err := post.ParseKind(f.Type)
	if err != nil {
		return nil, nil, err
	}
	version, err := post.ParseAPIVersion(f.APIVersion)
	if err != nil {
		return nil, nil, err
	}
	typ, err := post.TypeOf(kind, f.SectorSize, version)
	if err != nil {
		return nil, nil, err
	}
	randomness, err := Hex32("randomness", f.Randomness)
	if err != nil {
		return nil, nil, err
	}
	statement := &post.Statement{Type: typ, Setup: setupOf(typ, f.SectorsPerPartition), Randomness: post.MaskRandomness(randomness)}
	for _, s := range f.Sectors {
		commR, err := Hex32(fmt.Sprintf("comm_r of sector %d", s.Number), s.CommR)
		if err != nil {
			return nil, nil, err
		}
		statement.Sectors = append(statement.Sectors, post.Sector{Number: s.Number, CommR: commR})
	}
	if w := f.Winning; w != nil && kind == post.Winning {
		if err := f.checkChoice(statement); err != nil {
			return nil, nil, err
		}
	}
	proof, err := hex.DecodeString(f.Proof)
	if err != nil || len(proof) == 0 {
		return nil, nil, fmt.Errorf("proof: expected hex, 192 bytes for each partition")
	}
	return statement, proof, nil
}

// checkChoice holds the sector of a winning proof against what the randomness
// draws from the set.
func (f *File) checkChoice(statement *post.Statement) error {
	set := f.Winning.SectorSet
	if len(set) == 0 || len(statement.Sectors) != 1 {
		return fmt.Errorf("winning: want a sector_set and one sector, have %d and %d", len(set), len(statement.Sectors))
	}
	i, err := post.WinningSector(post.ProverID(f.Miner), statement.Randomness, uint64(len(set)))
	if err != nil {
		return err
	}
	if set[i] != statement.Sectors[0].Number {
		return fmt.Errorf("winning: the randomness draws sector %d of the set, the proof is of sector %d", set[i], statement.Sectors[0].Number)
	}
	return nil
}

// Read reads a file.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &f, nil
}

// Write writes the file, whole or not at all.
func (f *File) Write(path string) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the proof: %w", err)
	}
	if err := durable.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the proof: %w", err)
	}
	return nil
}

// Hex32 reads 32 bytes in hex; what names them in the error.
func Hex32(what, s string) (out [32]byte, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(out) {
		return out, fmt.Errorf("%s: %q is not 32 bytes in hex (64 digits)", what, s)
	}
	return [32]byte(b), nil
}
