// Package inspect answers what an operator asks about a miner: its proving
// period, deadlines, partitions, faults, sectors, power, balances and control
// addresses, each as a value that is printed as a table or as JSON.
//
// It reads the chain through a few calls of the node and changes nothing. The
// answers of one function come from one state of the chain, that of the head
// when it began.
package inspect

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/lotus"
)

// Chain is the node, as far as it is asked here.
type Chain interface {
	ChainHead(ctx context.Context) (*lotus.TipSet, error)
	StateGetNetworkParams(ctx context.Context) (*lotus.NetworkParams, error)
	StateMinerInfo(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateMinerProvingDeadline(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*dline.Info, error)
	StateMinerDeadlines(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]lotus.Deadline, error)
	StateMinerPartitions(ctx context.Context, miner address.Address, deadline uint64, tsk lotus.TipSetKey) ([]lotus.Partition, error)
	StateMinerSectors(ctx context.Context, miner address.Address, sectors *bitfield.BitField, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error)
	StateMinerFaults(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error)
	StateMinerRecoveries(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error)
	StateMinerPower(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*lotus.MinerPower, error)
	StateMinerAvailableBalance(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (big.Int, error)
	StateSectorGetInfo(ctx context.Context, miner address.Address, number abi.SectorNumber, tsk lotus.TipSetKey) (*lotus.SectorOnChainInfo, error)
	StateSectorPartition(ctx context.Context, miner address.Address, number abi.SectorNumber, tsk lotus.TipSetKey) (*lotus.SectorLocation, error)
	StateLookupID(ctx context.Context, addr address.Address, tsk lotus.TipSetKey) (address.Address, error)
	StateGetActor(ctx context.Context, addr address.Address, tsk lotus.TipSetKey) (*lotus.Actor, error)
}

// Miner is a miner at one state of the chain.
type Miner struct {
	chain Chain
	addr  address.Address
	head  *lotus.TipSet
	at    *dline.Info
	delay time.Duration
}

// Open fixes the state that the answers come from: that of the head.
func Open(ctx context.Context, chain Chain, miner address.Address) (*Miner, error) {
	head, err := chain.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the head: %w", err)
	}
	params, err := chain.StateGetNetworkParams(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the network's parameters: %w", err)
	}
	at, err := chain.StateMinerProvingDeadline(ctx, miner, head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the deadline of %s: %w", miner, err)
	}
	m := &Miner{chain: chain, addr: miner, head: head, at: at}
	m.delay = time.Duration(params.BlockDelaySecs) * time.Second
	return m, nil
}

// Info is what `proving info` shows.
type Info struct {
	Miner             string
	CurrentEpoch      abi.ChainEpoch
	PeriodBoundary    abi.ChainEpoch // offset of the periods
	PeriodStart       abi.ChainEpoch
	NextPeriodStart   abi.ChainEpoch
	Sectors           uint64
	Faults            uint64
	FaultPercent      float64
	Recovering        uint64
	DeadlineIndex     uint64
	DeadlineSectors   uint64
	DeadlineOpen      abi.ChainEpoch
	DeadlineClose     abi.ChainEpoch
	DeadlineChallenge abi.ChainEpoch
	DeadlineCutoff    abi.ChainEpoch
	BlockDelay        time.Duration
}

// Info reads all deadlines once.
func (m *Miner) Info(ctx context.Context) (Info, error) {
	d := m.at
	i := Info{
		Miner: m.addr.String(), CurrentEpoch: d.CurrentEpoch, PeriodStart: d.PeriodStart, NextPeriodStart: d.NextPeriodStart(),
		PeriodBoundary: d.PeriodStart % d.WPoStProvingPeriod, DeadlineIndex: d.Index, DeadlineOpen: d.Open, DeadlineClose: d.Close,
		DeadlineChallenge: d.Challenge, DeadlineCutoff: d.FaultCutoff, BlockDelay: m.delay,
	}
	for index := range d.WPoStPeriodDeadlines {
		row, err := m.deadline(ctx, index, nil)
		if err != nil {
			return Info{}, err
		}
		i.Sectors += row.Sectors
		i.Faults += row.Faults
		i.Recovering += row.Recovering
		if index == d.Index {
			i.DeadlineSectors = row.Sectors
		}
	}
	if i.Sectors > 0 {
		i.FaultPercent = 100 * float64(i.Faults) / float64(i.Sectors)
	}
	return i, nil
}

// Row is one deadline of `proving deadlines`.
type Row struct {
	Deadline   uint64
	Open       abi.ChainEpoch
	OpensAt    time.Time
	Partitions int
	Sectors    uint64 // live
	Faults     uint64
	Recovering uint64
	Proven     uint64 // partitions with an accepted proof
	Current    bool
}

// Deadlines lists the deadlines of the period; those without sectors are left
// out unless all is set.
func (m *Miner) Deadlines(ctx context.Context, all bool) ([]Row, error) {
	posted, err := m.chain.StateMinerDeadlines(ctx, m.addr, m.head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the deadlines of %s: %w", m.addr, err)
	}
	var rows []Row
	for index := range m.at.WPoStPeriodDeadlines {
		row, err := m.deadline(ctx, index, posted)
		if err != nil {
			return nil, err
		}
		if all || row.Sectors > 0 {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (m *Miner) deadline(ctx context.Context, index uint64, posted []lotus.Deadline) (Row, error) {
	parts, err := m.partitions(ctx, index)
	if err != nil {
		return Row{}, err
	}
	row := Row{Deadline: index, Open: m.open(index), Current: index == m.at.Index, Partitions: len(parts)}
	row.OpensAt = m.timeOf(row.Open)
	for _, p := range parts {
		var counts [3]uint64
		for i, bits := range []bitfield.BitField{p.LiveSectors, p.FaultySectors, p.RecoveringSectors} {
			if counts[i], err = bits.Count(); err != nil {
				return Row{}, fmt.Errorf("partitions of deadline %d: %w", index, err)
			}
		}
		row.Sectors, row.Faults, row.Recovering = row.Sectors+counts[0], row.Faults+counts[1], row.Recovering+counts[2]
	}
	if index < uint64(len(posted)) {
		if row.Proven, err = posted[index].PostSubmissions.Count(); err != nil {
			return Row{}, fmt.Errorf("proofs of deadline %d: %w", index, err)
		}
	}
	return row, nil
}

func (m *Miner) partitions(ctx context.Context, index uint64) ([]lotus.Partition, error) {
	parts, err := m.chain.StateMinerPartitions(ctx, m.addr, index, m.head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the partitions of deadline %d of %s: %w", index, m.addr, err)
	}
	return parts, nil
}

// open is the first epoch of the deadline's window: in this period, or in the
// next one if that of this period is over.
func (m *Miner) open(index uint64) abi.ChainEpoch {
	open := m.at.PeriodStart + abi.ChainEpoch(index)*m.at.WPoStChallengeWindow
	if index < m.at.Index {
		open += m.at.WPoStProvingPeriod
	}
	return open
}

// timeOf is when an epoch begins, by the head's own timestamp.
func (m *Miner) timeOf(e abi.ChainEpoch) time.Time {
	head := time.Unix(int64(m.head.Blocks[0].Timestamp), 0)
	return head.Add(time.Duration(e-m.head.Height) * m.delay)
}

// Partition is one partition of `proving deadline`.
type Partition struct {
	Index      uint64
	Proven     bool
	All        Sectors
	Live       Sectors
	Active     Sectors
	Faulty     Sectors
	Recovering Sectors
}

// Sectors are a count and, where asked for, the numbers.
type Sectors struct {
	Count   uint64
	Numbers []uint64 `json:",omitempty"`
}

// Detail is what `proving deadline N` shows.
type Detail struct {
	Row
	PartitionList []Partition
}

// mostNumbers bounds a list of sector numbers: a partition has 2349.
const mostNumbers = 1 << 20

// Deadline describes the partitions of one deadline.
func (m *Miner) Deadline(ctx context.Context, index uint64, numbers bool) (Detail, error) {
	if err := m.known(index); err != nil {
		return Detail{}, err
	}
	posted, err := m.chain.StateMinerDeadlines(ctx, m.addr, m.head.Key())
	if err != nil {
		return Detail{}, fmt.Errorf("ask the deadlines of %s: %w", m.addr, err)
	}
	row, err := m.deadline(ctx, index, posted)
	if err != nil {
		return Detail{}, err
	}
	parts, err := m.partitions(ctx, index)
	if err != nil {
		return Detail{}, err
	}
	d := Detail{Row: row}
	for i, p := range parts {
		out := Partition{Index: uint64(i)}
		if index < uint64(len(posted)) {
			if out.Proven, err = posted[index].PostSubmissions.IsSet(uint64(i)); err != nil {
				return Detail{}, fmt.Errorf("proofs of deadline %d: %w", index, err)
			}
		}
		for _, part := range []struct {
			to   *Sectors
			bits bitfield.BitField
		}{
			{&out.All, p.AllSectors}, {&out.Live, p.LiveSectors}, {&out.Active, p.ActiveSectors},
			{&out.Faulty, p.FaultySectors}, {&out.Recovering, p.RecoveringSectors},
		} {
			if *part.to, err = sectorsOf(part.bits, numbers); err != nil {
				return Detail{}, fmt.Errorf("partition %d of deadline %d: %w", i, index, err)
			}
		}
		d.PartitionList = append(d.PartitionList, out)
	}
	return d, nil
}

func (m *Miner) known(index uint64) error {
	if index >= m.at.WPoStPeriodDeadlines {
		return fmt.Errorf("there is no deadline %d: a period has 0 to %d", index, m.at.WPoStPeriodDeadlines-1)
	}
	return nil
}

func sectorsOf(bits bitfield.BitField, numbers bool) (Sectors, error) {
	n, err := bits.Count()
	s := Sectors{Count: n}
	if err == nil && numbers {
		s.Numbers, err = bits.All(mostNumbers)
	}
	return s, err
}
