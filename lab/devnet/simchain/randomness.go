package simchain

import (
	"encoding/binary"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"golang.org/x/crypto/blake2b"

	"wdpost/internal/lotus"
)

// DrawRandomness derives randomness of 32 bytes for one purpose from a ticket or
// a beacon value: blake2b-256 over the tag (8 bytes, big-endian), the digest of
// base, the round (8 bytes, big-endian) and the entropy.
//
// Source: lotus chain/rand/rand.go, DrawRandomnessFromBase.
func DrawRandomness(base []byte, tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte) [32]byte {
	digest := blake2b.Sum256(base)
	b := make([]byte, 0, 48+len(entropy))
	b = binary.BigEndian.AppendUint64(b, uint64(tag))
	b = append(b, digest[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(round))
	b = append(b, entropy...)
	return blake2b.Sum256(b)
}

// beaconOffset is added to an epoch to get its beacon round, as in the mock
// beacon of lotus: confusing the two must not go unnoticed.
const beaconOffset = 100

// beacon returns the beacon entry of an epoch. Without a seed it is that of the
// mock beacon of lotus. Entries do not depend on forks.
func beacon(seed string, epoch abi.ChainEpoch) lotus.BeaconEntry {
	round := uint64(epoch) + beaconOffset
	d := blake2b.Sum256(binary.BigEndian.AppendUint64([]byte(seed), round))
	return lotus.BeaconEntry{Round: round, Data: d[:]}
}

// view draws randomness as seen from a tipset.
type view struct {
	seed string
	at   *entry
}

// Tickets draws from the ticket of the tipset at round, or of the next one when
// round was null.
func (v view) Tickets(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte) ([32]byte, error) {
	if round > v.at.ts.Height {
		return [32]byte{}, fmt.Errorf("cannot draw randomness from the future")
	}
	e, err := v.at.atHeight(max(round, 0), false)
	if err != nil {
		return [32]byte{}, err
	}
	return DrawRandomness(e.ts.Blocks[0].Ticket.VRFProof, tag, round, entropy), nil
}

// Beacon draws from the beacon entry of round.
func (v view) Beacon(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte) ([32]byte, error) {
	if round > v.at.ts.Height {
		return [32]byte{}, fmt.Errorf("cannot draw randomness from the future")
	}
	return DrawRandomness(beacon(v.seed, max(round, 0)).Data, tag, round, entropy), nil
}
