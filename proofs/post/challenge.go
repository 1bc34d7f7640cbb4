package post

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"wdpost/proofs/merkle"
)

// MaskRandomness clears the two top bits of the last byte, so that the value is
// below 2^254 and hence a field element. Chain randomness must be masked before
// anything is derived from it. Spec 1.
func MaskRandomness(r [32]byte) [32]byte {
	r[31] &= 0x3f
	return r
}

// ProverID returns the 32 bytes that stand for a miner in winning sector
// selection: the unsigned LEB128 of the actor number, filled with zeros.
func ProverID(miner uint64) [32]byte {
	var id [32]byte
	binary.PutUvarint(id[:], miner)
	return id
}

// ErrNoSectors is returned when there is nothing to choose from or to prove.
var ErrNoSectors = errors.New("no sectors")

// WinningSector returns which of count eligible sectors, in ascending order,
// WinningPoSt has to prove. Spec 4.1.
func WinningSector(proverID, randomness [32]byte, count uint64) (uint64, error) {
	if count == 0 {
		return 0, fmt.Errorf("select winning sector: %w", ErrNoSectors)
	}
	var msg [72]byte // proverID ‖ randomness ‖ u64le(0)
	copy(msg[:], proverID[:])
	copy(msg[32:], randomness[:])
	sum := sha256.Sum256(msg[:])
	return binary.LittleEndian.Uint64(sum[:8]) % count, nil
}

// leafChallenge returns the leaf that challenge index k opens in a sector of
// the given number of leaves. Spec 4.2.
func leafChallenge(randomness [32]byte, sector, k, leaves uint64) uint64 {
	var msg [48]byte
	copy(msg[:], randomness[:])
	binary.LittleEndian.PutUint64(msg[32:], sector)
	binary.LittleEndian.PutUint64(msg[40:], k)
	sum := sha256.Sum256(msg[:])
	return binary.LittleEndian.Uint64(sum[:8]) % leaves
}

// ChallengedLeaves returns the leaves that a sector must open, of the standard number
// for the type (10 window, 66 winning). randomness is masked; position is the
// sector's place in the whole proof, counted over all partitions: it matters
// for Window V1 alone and is 0 for winning.
func (t ProofType) ChallengedLeaves(randomness [32]byte, sector uint64, position int) []uint64 {
	return challenges(t.APIVersion(), t.SectorSize(), t.Challenges(), randomness, sector, position)
}

// challenges derives n leaf indices. With V1_2_0 they do not depend on which
// other sectors are proven.
func challenges(v APIVersion, size uint64, n int, randomness [32]byte, sector uint64, position int) []uint64 {
	first := uint64(position) * uint64(n)
	if v == V1_2_0 {
		first = 0
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = leafChallenge(randomness, sector, first+uint64(i), size/merkle.NodeSize)
	}
	return out
}
