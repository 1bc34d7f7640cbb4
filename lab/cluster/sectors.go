package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/sectorfile"
	"wdpost/lab/devnet"
	"wdpost/proofs"
)

// Limits of what a cluster makes by itself.
const (
	maxRandom   = 8 << 20 // larger sectors are faux ones: every leaf would have to be hashed
	storages    = 2       // storage directories, as in the guide
	firstMiner  = 1000
	firstSector = 1
)

// stores is how many storage directories have sectors.
func (c *Config) stores() int { return max(1, min(storages, c.Sectors)) }

// storage is the path of a storage directory.
func (c *Config) storage(i int) string { return c.path("storage", fmt.Sprintf("nfs%d", i+1)) }

// makeSectors makes the sector files of all miners and returns the miners as
// the chain knows them. Sectors alternate between the storage directories.
func (c *Config) makeSectors(ctx context.Context) ([]devnet.Miner, error) {
	maker := sectorfile.NewMaker(proofs.New().Hasher(), workers())
	for i := range c.stores() {
		if err := os.MkdirAll(c.storage(i), 0o755); err != nil {
			return nil, fmt.Errorf("storage directory: %w", err)
		}
	}
	var miners []devnet.Miner
	for m := range c.Miners {
		worker, err := newAccount()
		if err != nil {
			return nil, err
		}
		miner := devnet.Miner{
			ID: uint64(firstMiner + m), SectorSize: c.SectorSize, Worker: worker,
			PartitionSectors: uint64(c.PartitionSectors),
		}
		for i := range c.Sectors {
			sector, err := c.makeSector(ctx, maker, miner.ID, i)
			if err != nil {
				return nil, fmt.Errorf("make sector %d of miner t0%d: %w", firstSector+i, miner.ID, err)
			}
			miner.Sectors = append(miner.Sectors, sector)
		}
		miners = append(miners, miner)
	}
	return miners, nil
}

// makeSector makes the files of the miner's i-th sector.
func (c *Config) makeSector(ctx context.Context, maker *sectorfile.Maker, miner uint64, i int) (devnet.Sector, error) {
	s := sectorfile.Sector{Dir: c.storage(i % storages), Miner: miner, Number: uint64(firstSector + i), Size: c.SectorSize}
	var commR [32]byte
	var err error
	if c.SectorSize > maxRandom {
		commR, err = maker.Faux(s)
	} else {
		commR, err = maker.Random(ctx, s, rand.Reader)
	}
	out := devnet.Sector{Number: s.Number, CommR: commR, Faulty: i < c.Faulty}
	if c.Spread > 0 {
		deadline := uint64(i % c.Spread)
		out.Deadline = &deadline
	}
	return out, err
}

// newAccount makes up an address of the form of a BLS key.
func newAccount() (address.Address, error) {
	key := make([]byte, address.BlsPublicKeyBytes)
	if _, err := rand.Read(key); err != nil {
		return address.Undef, err
	}
	return address.NewBLSAddress(key)
}
