package params_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// Files of keys from fixed secrets, equal byte for byte to those that
// bellperson writes. Spec section 7.8.
func TestKnownFiles(t *testing.T) {
	system := proofs.New()
	for _, c := range []struct {
		name       string
		setup      post.Setup
		params, vk string // SHA-256
	}{
		{"K1", post.Setup{SectorSize: 2 * kib, Challenges: 1, Sectors: 1},
			"8a8a90dd7bbec0570126389da59333ea1633dcffd4cdd8dcbaa9d2a9f7199bc3",
			"593328b065f13da686149878c8849dde55060d43c0bded3b1084c4aa8c7348c5"},
		{"K2", post.Setup{SectorSize: 2 * kib, Challenges: 10, Sectors: 2},
			"27859a7738b4c5cc39ca35fbb974cc572573969980795fd3adab12eb95afd94f",
			"10b8d12f66f0d795c836265eea7ced58e8389bc1f3aea2038764b95a78a515e8"},
		{"K4", post.Setup{SectorSize: 32 * kib, Challenges: 1, Sectors: 1},
			"35589c9bac4a3614e2f58c16740e33c6e2e0de57d5833bce7d5146e794ac61b0",
			"5b62b00668732deec4a18a5c1b8955eeb49829e3f3cd863fe6d41c577ea45801"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trapdoor groth16.Trapdoor
			trapdoor.Alpha.SetUint64(11)
			trapdoor.Beta.SetUint64(13)
			trapdoor.Gamma.SetUint64(17)
			trapdoor.Delta.SetUint64(19)
			trapdoor.Tau.SetUint64(23)
			circuit, err := system.Circuit(c.setup)
			if err != nil {
				t.Fatal(err)
			}
			var file bytes.Buffer
			if err := groth16.Setup(circuit, &trapdoor, params.NewWriter(&file), groth16.SetupConfig{Workers: 2}); err != nil {
				t.Fatal(err)
			}
			key, err := readParams(file.Bytes(), c.setup)
			if err != nil {
				t.Fatal(err)
			}
			vk, err := key.VK.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			for what, digests := range map[string][2]string{
				".params": {sha256Hex(file.Bytes()), c.params},
				".vk":     {sha256Hex(vk), c.vk},
				"again":   {sha256Hex(paramsFile(t, key)), c.params},
			} {
				if digests[0] != digests[1] {
					t.Errorf("%s: SHA-256 %s, want %s", what, digests[0], digests[1])
				}
			}
			if _, err := params.ParseVK(vk, c.setup); err != nil {
				t.Error(err)
			}
		})
	}
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// The closed forms of CountsOf and Constraints are those of the circuits.
func TestCountsAreThoseOfCircuits(t *testing.T) {
	system := proofs.New()
	for _, size := range post.SectorSizes() {
		for _, s := range []post.Setup{
			{SectorSize: size, Challenges: 10, Sectors: 2},
			{SectorSize: size, Challenges: 1, Sectors: 66},
		} {
			circuit, err := system.Circuit(s)
			if err != nil {
				t.Fatal(err)
			}
			want, err := groth16.CountsOf(circuit)
			if err != nil {
				t.Fatal(err)
			}
			if got := params.CountsOf(s); got != want {
				t.Errorf("%s: %+v, the circuit has %+v", s, got, want)
			}
			if got, want := params.Constraints(s), uint64(circuit.Blocks()*circuit.Constraints()); got != want {
				t.Errorf("%s: %d constraints, the circuit has %d", s, got, want)
			}
		}
	}
}
