package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// Fault is one faulty sector of `proving faults`.
type Fault struct {
	Deadline   uint64
	Partition  uint64
	Sector     uint64
	Recovering bool
	Expiration abi.ChainEpoch
	DaysLeft   float64 // until it expires
}

// Faults lists the faulty sectors, by deadline and partition.
func (m *Miner) Faults(ctx context.Context) ([]Fault, error) {
	var list []Fault
	for index := range m.at.WPoStPeriodDeadlines {
		parts, err := m.partitions(ctx, index)
		if err != nil {
			return nil, err
		}
		for i, p := range parts {
			numbers, err := p.FaultySectors.All(mostNumbers)
			if err != nil {
				return nil, fmt.Errorf("faults of deadline %d, partition %d: %w", index, i, err)
			}
			for _, n := range numbers {
				recovering, err := p.RecoveringSectors.IsSet(n)
				if err != nil {
					return nil, fmt.Errorf("recoveries of deadline %d, partition %d: %w", index, i, err)
				}
				list = append(list, Fault{Deadline: index, Partition: uint64(i), Sector: n, Recovering: recovering})
			}
		}
	}
	return list, m.expirations(ctx, list)
}

// expirations fills in when the faulty sectors expire.
func (m *Miner) expirations(ctx context.Context, list []Fault) error {
	if len(list) == 0 {
		return nil
	}
	var numbers []uint64
	for _, f := range list {
		numbers = append(numbers, f.Sector)
	}
	bits := bitfield.NewFromSet(numbers)
	infos, err := m.chain.StateMinerSectors(ctx, m.addr, &bits, m.head.Key())
	if err != nil {
		return fmt.Errorf("ask the faulty sectors of %s: %w", m.addr, err)
	}
	byNumber := map[uint64]abi.ChainEpoch{}
	for _, info := range infos {
		if info != nil {
			byNumber[uint64(info.SectorNumber)] = info.Expiration
		}
	}
	for i := range list {
		list[i].Expiration = byNumber[list[i].Sector]
		left := list[i].Expiration - m.head.Height
		list[i].DaysLeft = float64(left) * m.delay.Hours() / 24
	}
	return nil
}

// SectorInfo is what `proving sector-info` shows of one sector.
type SectorInfo struct {
	Sector     uint64
	Deadline   *uint64 `json:",omitempty"`
	Partition  *uint64 `json:",omitempty"`
	SealProof  abi.RegisteredSealProof
	SealedCID  string
	Updated    bool
	Activation abi.ChainEpoch
	Expiration abi.ChainEpoch
	Pledge     string // attoFIL
	Faulty     bool
	Recovering bool
	Error      string `json:",omitempty"` // why nothing is known of it
}

// SectorInfos describes sectors; one that the chain does not know costs only
// its own row.
func (m *Miner) SectorInfos(ctx context.Context, numbers []uint64) ([]SectorInfo, error) {
	faults, err := m.chain.StateMinerFaults(ctx, m.addr, m.head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the faults of %s: %w", m.addr, err)
	}
	recoveries, err := m.chain.StateMinerRecoveries(ctx, m.addr, m.head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the recoveries of %s: %w", m.addr, err)
	}
	var list []SectorInfo
	for _, n := range numbers {
		s, err := m.sectorInfo(ctx, n)
		if err != nil {
			s.Error = err.Error()
		}
		var errs [2]error
		s.Faulty, errs[0] = faults.IsSet(n)
		s.Recovering, errs[1] = recoveries.IsSet(n)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (m *Miner) sectorInfo(ctx context.Context, n uint64) (SectorInfo, error) {
	s := SectorInfo{Sector: n}
	info, err := m.chain.StateSectorGetInfo(ctx, m.addr, abi.SectorNumber(n), m.head.Key())
	if err != nil {
		return s, err
	}
	if info == nil {
		return s, fmt.Errorf("%s has no sector %d", m.addr, n)
	}
	s.SealProof, s.SealedCID, s.Updated = info.SealProof, info.SealedCID.String(), info.SectorKeyCID != nil
	s.Activation, s.Expiration, s.Pledge = info.Activation, info.Expiration, info.InitialPledge.String()
	at, err := m.chain.StateSectorPartition(ctx, m.addr, abi.SectorNumber(n), m.head.Key())
	if err != nil {
		return s, err
	}
	s.Deadline, s.Partition = &at.Deadline, &at.Partition
	return s, nil
}

// Address is one address of a miner and what it has to pay with.
type Address struct {
	Address string
	Roles   []string // owner, worker, control
	Balance big.Int  // attoFIL
	Uses    []string // what the manager uses it for
	Error   string   `json:",omitempty"`
}

// Overview is what `miner info` shows.
type Overview struct {
	Miner       string
	SectorSize  uint64
	ProofType   abi.RegisteredPoStProof
	RawPower    big.Int // bytes
	QualPower   big.Int // bytes
	NetworkRaw  big.Int // bytes
	HasMinPower bool
	Balance     big.Int // attoFIL, of the actor
	Available   big.Int // attoFIL
	Locked      big.Int // attoFIL: pledge and vesting, what is not available
	Addresses   []Address
}

// Overview reads power, balances and addresses. senders are those configured.
func (m *Miner) Overview(ctx context.Context, senders []address.Address) (Overview, error) {
	tsk := m.head.Key()
	info, err := m.chain.StateMinerInfo(ctx, m.addr, tsk)
	if err != nil {
		return Overview{}, fmt.Errorf("ask the info of %s: %w", m.addr, err)
	}
	power, err := m.chain.StateMinerPower(ctx, m.addr, tsk)
	if err != nil {
		return Overview{}, fmt.Errorf("ask the power of %s: %w", m.addr, err)
	}
	actor, err := m.chain.StateGetActor(ctx, m.addr, tsk)
	if err != nil {
		return Overview{}, fmt.Errorf("ask the balance of %s: %w", m.addr, err)
	}
	available, err := m.chain.StateMinerAvailableBalance(ctx, m.addr, tsk)
	if err != nil {
		return Overview{}, fmt.Errorf("ask the available balance of %s: %w", m.addr, err)
	}
	o := Overview{
		Miner: m.addr.String(), SectorSize: uint64(info.SectorSize), ProofType: info.WindowPoStProofType,
		RawPower: power.MinerPower.RawBytePower, QualPower: power.MinerPower.QualityAdjPower, NetworkRaw: power.TotalPower.RawBytePower,
		HasMinPower: power.HasMinPower, Balance: actor.Balance, Available: available, Locked: big.Sub(actor.Balance, available),
	}
	o.Addresses = m.addresses(ctx, info, senders)
	return o, nil
}

// addresses lists each address once, with all its roles.
func (m *Miner) addresses(ctx context.Context, info *lotus.MinerInfo, senders []address.Address) []Address {
	var order []address.Address
	roles := map[address.Address][]string{}
	add := func(a address.Address, role string) {
		if a == address.Undef {
			return
		}
		if roles[a] == nil {
			order = append(order, a)
		}
		roles[a] = append(roles[a], role)
	}
	add(info.Owner, "owner")
	add(info.Worker, "worker")
	for _, c := range info.ControlAddresses {
		add(c, "control")
	}
	for _, s := range senders {
		if id, err := m.chain.StateLookupID(ctx, s, m.head.Key()); err == nil {
			s = id // as the miner's info names its addresses
		}
		add(s, "sender")
	}
	var list []Address
	for _, a := range order {
		row := Address{Address: a.String(), Roles: roles[a], Balance: big.Zero()}
		if slices.Contains(row.Roles, "sender") {
			row.Uses = []string{"pays for WindowPoSt and recoveries"}
			row.Roles = slices.DeleteFunc(row.Roles, func(r string) bool { return r == "sender" })
		}
		actor, err := m.chain.StateGetActor(ctx, a, m.head.Key())
		switch {
		case err != nil:
			row.Error = err.Error()
		case actor != nil:
			row.Balance = actor.Balance
		}
		list = append(list, row)
	}
	return list
}
