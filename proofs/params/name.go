package params

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Extensions of the files of one key in a parameter cache.
const (
	ParamsExt = ".params" // proving key, of rust-fil-proofs
	VKExt     = ".vk"     // verifying key, of rust-fil-proofs
	MetaExt   = ".meta"   // description, of rust-fil-proofs
	RawExt    = ".rawkey" // proving key in memory form, ours
)

// CacheID is the name, without extension, of the key of a circuit in the
// parameter cache:
// "v28-proof-of-spacetime-fallback-merkletree-poseidon_hasher-8-8-0-<64 hex>".
// The setup must be valid. Two keys with one cache id fit the same circuit,
// but are not the same key unless they come from the same setup ceremony.
// Spec section 8.3.
func CacheID(s post.Setup) string {
	sum := sha256.Sum256([]byte(s.String()))
	return fmt.Sprintf("v28-proof-of-spacetime-fallback-merkletree-poseidon_hasher-%s-%s",
		shapeOf(s), hex.EncodeToString(sum[:]))
}

// shapeOf panics on a setup that is not valid (see post.Setup.Validate).
func shapeOf(s post.Setup) merkle.Shape {
	shape, err := merkle.ShapeOf(s.SectorSize)
	if err != nil {
		panic("params: invalid setup: " + err.Error())
	}
	return shape
}

// Meta is the content of the .meta file: {"sector_size":S}.
func Meta(s post.Setup) []byte {
	return fmt.Appendf(nil, `{"sector_size":%d}`, s.SectorSize)
}

// ParseMeta reads a .meta file and returns the sector size in bytes.
func ParseMeta(b []byte) (sectorSize uint64, err error) {
	var meta struct {
		SectorSize *uint64 `json:"sector_size"`
	}
	if err := json.Unmarshal(b, &meta); err != nil {
		return 0, fmt.Errorf(".meta file: %w", err)
	}
	if meta.SectorSize == nil {
		return 0, fmt.Errorf(".meta file: no sector_size in %.80q", b)
	}
	return *meta.SectorSize, nil
}
