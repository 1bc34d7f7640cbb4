package devnet

import (
	"fmt"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"golang.org/x/crypto/blake2b"

	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/simchain"
	"wdpost/proofs/post"
)

// firstAccount and firstMiner are where made-up IDs begin.
const (
	firstAccount = 100
	firstMiner   = 1000
)

// book gives account IDs to addresses.
type book struct {
	seed     string
	accounts []simchain.Account
}

// account returns the ID of a key address, a made-up one for Undef.
func (b *book) account(key address.Address, purpose string) (abi.ActorID, error) {
	if key == address.Undef {
		a, err := madeUpKey(b.seed, purpose)
		if err != nil {
			return 0, err
		}
		key = a
	}
	if p := key.Protocol(); p != address.BLS && p != address.SECP256K1 {
		return 0, fmt.Errorf("%s address %s is not a key address: give one that begins with t1, f1, t3 or f3", purpose, key)
	}
	for _, a := range b.accounts {
		if a.Key == key {
			return a.ID, nil
		}
	}
	id := abi.ActorID(firstAccount + len(b.accounts))
	b.accounts = append(b.accounts, simchain.Account{ID: id, Key: key, Balance: big.Mul(big.NewInt(1_000_000), big.NewInt(1e18))})
	return id, nil
}

// madeUpKey returns an address of the form of a BLS key.
func madeUpKey(seed, purpose string) (address.Address, error) {
	x, err := blake2b.NewXOF(address.BlsPublicKeyBytes, nil)
	if err != nil {
		return address.Undef, fmt.Errorf("key of %s: %w", purpose, err)
	}
	fmt.Fprintf(x, "%s key %s", seed, purpose)
	key := make([]byte, address.BlsPublicKeyBytes)
	if _, err := x.Read(key); err != nil {
		return address.Undef, fmt.Errorf("key of %s: %w", purpose, err)
	}
	return address.NewBLSAddress(key)
}

// build makes the miner actor of a description.
func (b *book) build(m Miner, cfg *Config) (*actor.Miner, error) {
	if m.SectorSize == 0 {
		m.SectorSize = 2048
	}
	if m.FirstOpen == 0 {
		m.FirstOpen = cfg.FirstOpen
	}
	if m.FirstOpen <= cfg.Policy.ChallengeLookback {
		return nil, fmt.Errorf("miner %d: FirstOpen is %d, its challenge %d epochs earlier must be after genesis", m.ID, m.FirstOpen, cfg.Policy.ChallengeLookback)
	}
	info, err := b.info(m)
	if err != nil {
		return nil, err
	}
	sealType, err := sealProof(m.SectorSize)
	if err != nil {
		return nil, fmt.Errorf("miner %d: %w", m.ID, err)
	}
	var placed []actor.Placement
	for _, s := range m.Sectors {
		c, err := commcid.ReplicaCommitmentV1ToCID(s.CommR[:])
		if err != nil {
			return nil, fmt.Errorf("miner %d sector %d: comm_r: %w", m.ID, s.Number, err)
		}
		placed = append(placed, actor.Placement{
			Sector:   actor.Sector{Number: abi.SectorNumber(s.Number), SealProof: sealType, SealedCID: c},
			Deadline: s.Deadline, Faulty: s.Faulty, Unproven: s.Unproven,
		})
	}
	info.ProvingStart = m.FirstOpen
	out, err := actor.NewMiner(info, &cfg.Policy, placed)
	if err != nil {
		return nil, err
	}
	// The period is laid so that the first deadline with sectors opens in time.
	first, _ := out.FirstLive()
	out.Info.PeriodOffset = m.FirstOpen - abi.ChainEpoch(first)*cfg.Policy.ChallengeWindow
	return out, nil
}

// info fills in the addresses and proof types of a miner.
func (b *book) info(m Miner) (actor.Info, error) {
	info := actor.Info{ID: abi.ActorID(m.ID), SectorSize: abi.SectorSize(m.SectorSize), PartitionSectors: m.PartitionSectors}
	window, err := post.TypeOf(post.Window, m.SectorSize, post.V1_2_0)
	if err != nil {
		return info, fmt.Errorf("miner %d: %w", m.ID, err)
	}
	winning, err := post.TypeOf(post.Winning, m.SectorSize, post.V1_0_0)
	if err != nil {
		return info, fmt.Errorf("miner %d: %w", m.ID, err)
	}
	info.WindowProof, info.WinningProof = abi.RegisteredPoStProof(window), abi.RegisteredPoStProof(winning)
	if info.PartitionSectors == 0 {
		info.PartitionSectors = uint64(window.Setup().Sectors)
	}
	if info.Owner, err = b.account(m.Owner, fmt.Sprintf("owner of %d", m.ID)); err != nil {
		return info, fmt.Errorf("miner %d: %w", m.ID, err)
	}
	if info.Worker, err = b.account(m.Worker, fmt.Sprintf("worker of %d", m.ID)); err != nil {
		return info, fmt.Errorf("miner %d: %w", m.ID, err)
	}
	for i, c := range m.Control {
		id, err := b.account(c, fmt.Sprintf("control %d of %d", i, m.ID))
		if err != nil {
			return info, fmt.Errorf("miner %d: %w", m.ID, err)
		}
		info.Control = append(info.Control, id)
	}
	return info, nil
}

// privateSealProofs is where the seal proof numbers of the sizes begin that no
// network registers, in the order of proofs/post.
const privateSealProofs = 1000

// sealProof is the seal proof number (V1_1) of a sector size.
func sealProof(size uint64) (abi.RegisteredSealProof, error) {
	registered := map[uint64]abi.RegisteredSealProof{
		2 << 10:   abi.RegisteredSealProof_StackedDrg2KiBV1_1,
		8 << 20:   abi.RegisteredSealProof_StackedDrg8MiBV1_1,
		512 << 20: abi.RegisteredSealProof_StackedDrg512MiBV1_1,
		32 << 30:  abi.RegisteredSealProof_StackedDrg32GiBV1_1,
		64 << 30:  abi.RegisteredSealProof_StackedDrg64GiBV1_1,
	}
	if t, ok := registered[size]; ok {
		return t, nil
	}
	next := abi.RegisteredSealProof(privateSealProofs)
	for _, s := range post.SectorSizes() {
		if _, ok := registered[s]; ok {
			continue
		}
		if s == size {
			return next, nil
		}
		next++
	}
	return 0, fmt.Errorf("no seal proof type for sectors of %d bytes", size)
}
