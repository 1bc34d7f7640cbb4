package sectorfile

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
)

// Seeded returns an endless stream of pseudo-random bytes (ChaCha8) that is the
// same for the same seed, miner and sector on every machine: content for
// Maker.Random that tests and demonstrations can make again.
func Seeded(seed string, miner, number uint64) io.Reader {
	key := binary.LittleEndian.AppendUint64(nil, miner)
	key = binary.LittleEndian.AppendUint64(key, number)
	return rand.NewChaCha8(sha256.Sum256(append(key, seed...)))
}
