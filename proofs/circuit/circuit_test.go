package circuit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"wdpost/proofs/circuit"
	"wdpost/proofs/poseidon"
)

// levels are the tree arities of each sector size, spec 2.4.
func levels(t testing.TB, sectorSize uint64) []int {
	shape, ok := map[uint64]struct {
		base  int
		upper []int
	}{
		2 << 10:   {2, nil},
		4 << 10:   {2, []int{2}},
		16 << 10:  {2, []int{8}},
		32 << 10:  {2, []int{8, 2}},
		8 << 20:   {6, nil},
		16 << 20:  {6, []int{2}},
		512 << 20: {8, nil},
		1 << 30:   {8, []int{2}},
		32 << 30:  {9, []int{8}},
		64 << 30:  {9, []int{8, 2}},
	}[sectorSize]
	if !ok {
		t.Fatalf("no shape for sectors of %d bytes", sectorSize)
	}
	var out []int
	for range shape.base {
		out = append(out, 8)
	}
	return append(out, shape.upper...)
}

func hashes() circuit.Hashes {
	return circuit.Hashes{Arity2: poseidon.New(2), Arity8: poseidon.New(8)}
}

// TestR1CSDigest holds every circuit of the reference's list against ours:
// counts and the SHA-256 of all constraints.
func TestR1CSDigest(t *testing.T) {
	var rows []struct {
		Type        string
		SectorSize  uint64 `json:"sector_size"`
		Sectors     int
		Challenges  int
		Constraints int
		Inputs      int
		Aux         int
		SHA256      string
	}
	data, err := os.ReadFile("testdata/circuits.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	h := hashes()
	for _, row := range rows {
		t.Run(fmt.Sprintf("%s-%d-%dx%d", row.Type, row.SectorSize, row.Sectors, row.Challenges), func(t *testing.T) {
			config := circuit.Config{Levels: levels(t, row.SectorSize), Challenges: row.Challenges, Sectors: row.Sectors}
			if row.Type == "Winning" { // 66 blocks of one challenge
				config.Challenges, config.Sectors = 1, row.Challenges
			}
			c, err := circuit.New(config, h)
			if err != nil {
				t.Fatal(err)
			}
			n := c.Blocks()
			if got := [...]int{n * c.Constraints(), 1 + n*c.Inputs(), n * c.Aux()}; got != [...]int{row.Constraints, row.Inputs, row.Aux} {
				t.Errorf("constraints, inputs, aux = %v, want %d, %d, %d", got, row.Constraints, row.Inputs, row.Aux)
			}
			sum := sha256.New()
			if err := c.WriteR1CS(sum); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(sum.Sum(nil)); got != row.SHA256 {
				t.Errorf("R1CS digest %s, want %s", got, row.SHA256)
			}
		})
	}
}
