package fullnode

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// ofMiner answers a question about a miner at a tipset.
func ofMiner[T any](n *Node, ctx context.Context, method string, a address.Address, key lotus.TipSetKey, get func(*actor.Miner) (T, error)) (T, error) {
	return serve.Call(n.gate, ctx, method, func() (T, error) {
		m, _, _, err := n.miner(a, key)
		if err != nil {
			var none T
			return none, err
		}
		return get(m)
	})
}

// StateMinerInfo returns what rarely changes about a miner.
func (n *Node) StateMinerInfo(ctx context.Context, a address.Address, key lotus.TipSetKey) (*lotus.MinerInfo, error) {
	return ofMiner(n, ctx, "StateMinerInfo", a, key, func(m *actor.Miner) (*lotus.MinerInfo, error) {
		i := m.Info
		peer := peerID(i.ID)
		info := &lotus.MinerInfo{
			Owner: idAddress(i.Owner), Worker: idAddress(i.Worker),
			WorkerChangeEpoch: -1, PeerId: &peer,
			WindowPoStProofType: i.WindowProof, SectorSize: i.SectorSize,
			WindowPoStPartitionSectors: i.PartitionSectors, ConsensusFaultElapsed: -1,
			Beneficiary:     idAddress(i.Owner),
			BeneficiaryTerm: &lotus.BeneficiaryTerm{Quota: big.Zero(), UsedQuota: big.Zero()},
		}
		for _, c := range i.Control {
			info.ControlAddresses = append(info.ControlAddresses, idAddress(c))
		}
		return info, nil
	})
}

// StateMinerProvingDeadline describes the window that is open at a tipset.
func (n *Node) StateMinerProvingDeadline(ctx context.Context, a address.Address, key lotus.TipSetKey) (*dline.Info, error) {
	return serve.Call(n.gate, ctx, "StateMinerProvingDeadline", func() (*dline.Info, error) {
		m, _, height, err := n.miner(a, key)
		if err != nil {
			return nil, err
		}
		return m.DeadlineInfo(height), nil
	})
}

// StateMinerDeadlines returns a miner's deadlines in order.
func (n *Node) StateMinerDeadlines(ctx context.Context, a address.Address, key lotus.TipSetKey) ([]lotus.Deadline, error) {
	return ofMiner(n, ctx, "StateMinerDeadlines", a, key, func(m *actor.Miner) ([]lotus.Deadline, error) {
		var out []lotus.Deadline
		for _, d := range m.Deadlines {
			out = append(out, lotus.Deadline{
				PostSubmissions: d.Posted.Bits(), DisputableProofCount: uint64(len(d.Disputable)), DailyFee: big.Zero(),
			})
		}
		return out, nil
	})
}

// StateMinerPartitions returns the partitions of a deadline; null for none.
func (n *Node) StateMinerPartitions(ctx context.Context, a address.Address, deadline uint64, key lotus.TipSetKey) ([]lotus.Partition, error) {
	return ofMiner(n, ctx, "StateMinerPartitions", a, key, func(m *actor.Miner) ([]lotus.Partition, error) {
		if deadline >= uint64(len(m.Deadlines)) {
			return nil, fmt.Errorf("failed to load the deadline: invalid deadline %d", deadline)
		}
		var out []lotus.Partition
		for _, p := range m.Deadlines[deadline].Partitions {
			out = append(out, lotus.Partition{
				AllSectors: p.All.Bits(), FaultySectors: p.Faults.Bits(), RecoveringSectors: p.Recovering.Bits(),
				LiveSectors: p.Live().Bits(), ActiveSectors: p.Active().Bits(),
			})
		}
		return out, nil
	})
}

// StateMinerFaults returns the faulty sectors.
func (n *Node) StateMinerFaults(ctx context.Context, a address.Address, key lotus.TipSetKey) (bitfield.BitField, error) {
	return ofMiner(n, ctx, "StateMinerFaults", a, key, func(m *actor.Miner) (bitfield.BitField, error) {
		return m.Collect(func(p actor.Partition) actor.Set { return p.Faults }).Bits(), nil
	})
}

// StateMinerRecoveries returns the sectors that are declared to recover.
func (n *Node) StateMinerRecoveries(ctx context.Context, a address.Address, key lotus.TipSetKey) (bitfield.BitField, error) {
	return ofMiner(n, ctx, "StateMinerRecoveries", a, key, func(m *actor.Miner) (bitfield.BitField, error) {
		return m.Collect(func(p actor.Partition) actor.Set { return p.Recovering }).Bits(), nil
	})
}

// StateMinerSectors returns the sectors of a bitfield, or all without one.
func (n *Node) StateMinerSectors(ctx context.Context, a address.Address, which *bitfield.BitField, key lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return ofMiner(n, ctx, "StateMinerSectors", a, key, func(m *actor.Miner) ([]*lotus.SectorOnChainInfo, error) {
		var out []*lotus.SectorOnChainInfo
		if which == nil {
			for _, s := range m.Sectors() {
				out = append(out, sectorInfo(s))
			}
			return out, nil
		}
		all := m.Collect(func(p actor.Partition) actor.Set { return p.All })
		wanted, err := bitfield.IntersectBitField(*which, all.Bits())
		if err != nil {
			return nil, fmt.Errorf("sector filter: %w", err)
		}
		err = wanted.ForEach(func(num uint64) error {
			s, _ := m.Sector(abi.SectorNumber(num))
			out = append(out, sectorInfo(s))
			return nil
		})
		return out, err
	})
}

// StateMinerActiveSectors returns the sectors that have power.
func (n *Node) StateMinerActiveSectors(ctx context.Context, a address.Address, key lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return ofMiner(n, ctx, "StateMinerActiveSectors", a, key, func(m *actor.Miner) ([]*lotus.SectorOnChainInfo, error) {
		var out []*lotus.SectorOnChainInfo
		for _, num := range m.ActiveSectors() {
			s, _ := m.Sector(abi.SectorNumber(num))
			out = append(out, sectorInfo(s))
		}
		return out, nil
	})
}

// StateSectorGetInfo returns one sector; null for an unknown one.
func (n *Node) StateSectorGetInfo(ctx context.Context, a address.Address, num abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorOnChainInfo, error) {
	return ofMiner(n, ctx, "StateSectorGetInfo", a, key, func(m *actor.Miner) (*lotus.SectorOnChainInfo, error) {
		s, ok := m.Sector(num)
		if !ok {
			return nil, nil
		}
		return sectorInfo(s), nil
	})
}

// StateSectorExpiration returns when a sector ends.
func (n *Node) StateSectorExpiration(ctx context.Context, a address.Address, num abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorExpiration, error) {
	return ofMiner(n, ctx, "StateSectorExpiration", a, key, func(m *actor.Miner) (*lotus.SectorExpiration, error) {
		if _, ok := m.Sector(num); !ok {
			return nil, fmt.Errorf("failed to find sector %d: sector not found", num)
		}
		return &lotus.SectorExpiration{OnTime: expiration}, nil
	})
}

// StateSectorPartition returns where a sector is proven.
func (n *Node) StateSectorPartition(ctx context.Context, a address.Address, num abi.SectorNumber, key lotus.TipSetKey) (*lotus.SectorLocation, error) {
	return ofMiner(n, ctx, "StateSectorPartition", a, key, func(m *actor.Miner) (*lotus.SectorLocation, error) {
		d, p, ok := m.Find(num)
		if !ok {
			return nil, fmt.Errorf("sector %d not due at any deadline", num)
		}
		return &lotus.SectorLocation{Deadline: d, Partition: p}, nil
	})
}

// SectorCount is the answer of StateMinerSectorCount.
type SectorCount struct {
	Live, Active, Faulty uint64
}

// StateMinerSectorCount counts a miner's sectors.
func (n *Node) StateMinerSectorCount(ctx context.Context, a address.Address, key lotus.TipSetKey) (SectorCount, error) {
	return ofMiner(n, ctx, "StateMinerSectorCount", a, key, func(m *actor.Miner) (SectorCount, error) {
		return SectorCount{
			Live:   uint64(len(m.Collect(actor.Partition.Live))),
			Active: uint64(len(m.ActiveSectors())),
			Faulty: uint64(len(m.Collect(func(p actor.Partition) actor.Set { return p.Faults }))),
		}, nil
	})
}

// StateMinerPower returns a miner's power and the network's.
func (n *Node) StateMinerPower(ctx context.Context, a address.Address, key lotus.TipSetKey) (*lotus.MinerPower, error) {
	return serve.Call(n.gate, ctx, "StateMinerPower", func() (*lotus.MinerPower, error) {
		m, st, _, err := n.miner(a, key)
		if err != nil {
			return nil, err
		}
		own := powerOf(m)
		return &lotus.MinerPower{
			MinerPower: claim(own), TotalPower: claim(totalPower(st)),
			HasMinPower: own.GreaterThanEqual(big.NewInt(minPower)),
		}, nil
	})
}

// StateMinerAvailableBalance returns what a miner could withdraw.
func (n *Node) StateMinerAvailableBalance(ctx context.Context, a address.Address, key lotus.TipSetKey) (big.Int, error) {
	return serve.Call(n.gate, ctx, "StateMinerAvailableBalance", func() (big.Int, error) {
		m, st, _, err := n.miner(a, key)
		if err != nil {
			return big.Int{}, err
		}
		return st.Balance(m.Info.ID), nil
	})
}

// StateListMiners returns all miners.
func (n *Node) StateListMiners(ctx context.Context, key lotus.TipSetKey) ([]address.Address, error) {
	return serve.Call(n.gate, ctx, "StateListMiners", func() ([]address.Address, error) {
		st, _, err := n.chain.StateAt(key)
		if err != nil {
			return nil, err
		}
		var out []address.Address
		for _, m := range st.Miners() {
			out = append(out, m.Info.Address())
		}
		return out, nil
	})
}

// MinerGetBaseInfo returns what a miner needs to produce the block of an epoch;
// null when it may not.
func (n *Node) MinerGetBaseInfo(ctx context.Context, a address.Address, epoch abi.ChainEpoch, key lotus.TipSetKey) (*lotus.MiningBaseInfo, error) {
	return serve.Call(n.gate, ctx, "MinerGetBaseInfo", func() (*lotus.MiningBaseInfo, error) {
		m, st, _, err := n.miner(a, key)
		if err != nil {
			return nil, err
		}
		task, err := n.chain.Winning(m.Info.ID, epoch, key)
		if err != nil || task == nil {
			return nil, err
		}
		worker, err := n.chain.AccountKey(idAddress(m.Info.Worker))
		if err != nil {
			return nil, err
		}
		return &lotus.MiningBaseInfo{
			MinerPower: powerOf(m), NetworkPower: totalPower(st),
			Sectors: []proof.ExtendedSectorInfo{{
				SealProof: task.Sector.SealProof, SectorNumber: task.Sector.Number, SealedCID: task.Sector.SealedCID,
			}},
			WorkerKey: worker, SectorSize: m.Info.SectorSize,
			PrevBeaconEntry: task.Prev, BeaconEntries: task.Entries, EligibleForMining: true,
		}, nil
	})
}

// expiration is the epoch at which every sector ends: beyond any simulation.
const expiration = 3_675_537

// minPower is the power in bytes from which a miner may produce blocks.
const minPower = 2048

func sectorInfo(s actor.Sector) *lotus.SectorOnChainInfo {
	return &lotus.SectorOnChainInfo{
		SectorNumber: s.Number, SealProof: s.SealProof, SealedCID: s.SealedCID,
		Expiration: expiration, DealWeight: big.Zero(), VerifiedDealWeight: big.Zero(),
		InitialPledge: big.NewInt(1), Flags: 1, DailyFee: big.Zero(),
	}
}

func powerOf(m *actor.Miner) big.Int {
	return big.Mul(big.NewIntUnsigned(uint64(m.Info.SectorSize)), big.NewInt(int64(len(m.ActiveSectors()))))
}

func totalPower(st *simchain.State) big.Int {
	total := big.Zero()
	for _, m := range st.Miners() {
		total = big.Add(total, powerOf(m))
	}
	return total
}

func claim(power big.Int) lotus.Claim {
	return lotus.Claim{RawBytePower: power, QualityAdjPower: power}
}

func idAddress(id abi.ActorID) address.Address {
	a, err := address.NewIDAddress(uint64(id))
	if err != nil {
		panic(fmt.Sprintf("ID address of %d: %v", id, err)) // only above 2^63
	}
	return a
}
