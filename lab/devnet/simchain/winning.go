package simchain

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// WinningSector is the index of the sector that a block producer must prove,
// among its provable ones in ascending order; count must not be 0. Randomness
// is masked first as the proof system does.
//
// Source: rust-fil-proofs generate_winning_post_sector_challenge, with one
// sector to be proven.
func WinningSector(miner abi.ActorID, randomness [32]byte, count int) int {
	randomness[31] &= 0x3f
	var id [32]byte
	binary.LittleEndian.PutUint64(id[:], uint64(miner))
	h := sha256.New()
	h.Write(id[:])
	h.Write(randomness[:])
	h.Write(make([]byte, 8)) // challenge number 0
	return int(binary.LittleEndian.Uint64(h.Sum(nil)) % uint64(count))
}

// WinningTask is what a miner that may produce the block of an epoch must prove.
type WinningTask struct {
	Miner      *actor.Miner
	Epoch      abi.ChainEpoch
	Randomness [32]byte
	Sector     actor.Sector
	Prev       lotus.BeaconEntry
	Entries    []lotus.BeaconEntry
}

// Winning returns the task of a miner for an epoch on top of the tipset of key.
// It is nil for a miner without a provable sector.
func (n *Node) Winning(id abi.ActorID, epoch abi.ChainEpoch, key lotus.TipSetKey) (*WinningTask, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, err
	}
	m, ok := e.pre.Miner(id)
	if !ok {
		return nil, errNoMiner
	}
	active := m.ActiveSectors()
	if len(active) == 0 {
		return nil, nil
	}
	entropy, err := m.Info.Entropy()
	if err != nil {
		return nil, err
	}
	t := &WinningTask{Miner: m, Epoch: epoch, Prev: beacon(n.c.cfg.Seed, e.ts.Height)}
	for h := e.ts.Height + 1; h <= epoch; h++ {
		t.Entries = append(t.Entries, beacon(n.c.cfg.Seed, h))
	}
	base := t.Prev
	if n := len(t.Entries); n > 0 {
		base = t.Entries[n-1]
	}
	t.Randomness = DrawRandomness(base.Data, crypto.DomainSeparationTag_WinningPoStChallengeSeed, epoch, entropy)
	t.Sector, _ = m.Sector(abi.SectorNumber(active[WinningSector(id, t.Randomness, len(active))]))
	return t, nil
}
