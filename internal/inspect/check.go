package inspect

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-bitfield"
	commcid "github.com/filecoin-project/go-fil-commcid"

	"wdpost/internal/sector"
)

// Wanted is a sector of a deadline that is to be looked at.
type Wanted struct {
	Partition uint64
	sector.Wanted
	Err error // why the chain's answer about it is unusable
}

// Checker looks whether sectors could be proven from here.
type Checker interface {
	// Check looks at existence and size, or also reads where strict is set.
	Check(ctx context.Context, miner uint64, wanted []sector.Wanted, strict bool) []sector.Checked
}

// Wanted lists the live sectors of a deadline with what the chain knows of each.
func (m *Miner) Wanted(ctx context.Context, index uint64) ([]Wanted, error) {
	if err := m.known(index); err != nil {
		return nil, err
	}
	info, err := m.chain.StateMinerInfo(ctx, m.addr, m.head.Key())
	if err != nil {
		return nil, fmt.Errorf("ask the info of %s: %w", m.addr, err)
	}
	parts, err := m.partitions(ctx, index)
	if err != nil {
		return nil, err
	}
	var list []Wanted
	for i, p := range parts {
		found, err := m.wantedOf(ctx, uint64(i), p.LiveSectors, uint64(info.SectorSize))
		if err != nil {
			return nil, fmt.Errorf("sectors of partition %d: %w", i, err)
		}
		list = append(list, found...)
	}
	return list, nil
}

func (m *Miner) wantedOf(ctx context.Context, partition uint64, live bitfield.BitField, size uint64) ([]Wanted, error) {
	n, err := live.Count()
	if err != nil || n == 0 {
		return nil, err
	}
	infos, err := m.chain.StateMinerSectors(ctx, m.addr, &live, m.head.Key())
	if err != nil {
		return nil, err
	}
	var list []Wanted
	for _, info := range infos {
		if info == nil {
			continue
		}
		w := Wanted{Partition: partition, Wanted: sector.Wanted{Number: uint64(info.SectorNumber), SectorSize: size, Updated: info.SectorKeyCID != nil}}
		commR, err := commcid.CIDToReplicaCommitmentV1(info.SealedCID)
		if err != nil {
			w.Err = fmt.Errorf("sealed CID %s: %w", info.SealedCID, err)
		}
		copy(w.CommR[:], commR)
		list = append(list, w)
	}
	return list, nil
}

// Check looks at the sectors of a deadline and says of each whether it is good.
func Check(ctx context.Context, c Checker, miner, deadline uint64, wanted []Wanted, read bool) []CheckedSector {
	list := make([]CheckedSector, len(wanted))
	ask := make([]sector.Wanted, len(wanted))
	for i, w := range wanted {
		ask[i] = w.Wanted
		list[i] = CheckedSector{Deadline: deadline, Partition: w.Partition, Sector: w.Number}
	}
	for i, got := range c.Check(ctx, miner, ask, read) {
		err := wanted[i].Err
		if err == nil {
			err = got.Err
		}
		if err != nil {
			list[i].Error = err.Error()
		}
	}
	return list
}
