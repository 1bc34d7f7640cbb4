package actor

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/ipfs/go-cid"
)

// Sector is what the chain knows of a sector.
type Sector struct {
	Number    abi.SectorNumber
	SealProof abi.RegisteredSealProof
	SealedCID cid.Cid // CommR as a sealed commitment CID
}

// Info is what does not change about a miner.
type Info struct {
	ID               abi.ActorID
	Owner, Worker    abi.ActorID
	Control          []abi.ActorID
	SectorSize       abi.SectorSize
	WindowProof      abi.RegisteredPoStProof
	WinningProof     abi.RegisteredPoStProof
	PartitionSectors uint64
	// ProvingStart is the epoch of the first deadline that counts. Windows that
	// open earlier may be proven but cost nothing when they are not, as with a
	// new miner before its first full period.
	ProvingStart abi.ChainEpoch
	// PeriodOffset is any epoch at which a proving period starts.
	PeriodOffset abi.ChainEpoch
}

// Address is the miner's ID address.
func (i *Info) Address() address.Address {
	a, err := address.NewIDAddress(uint64(i.ID))
	if err != nil {
		panic(fmt.Sprintf("ID address of %d: %v", i.ID, err)) // only above 2^63
	}
	return a
}

// Entropy is the CBOR of the miner's ID address, which binds randomness to it.
func (i *Info) Entropy() ([]byte, error) {
	var b bytes.Buffer
	a := i.Address()
	if err := a.MarshalCBOR(&b); err != nil {
		return nil, fmt.Errorf("encoding address %s: %w", a, err)
	}
	return b.Bytes(), nil
}

// MayControl reports whether the caller may send PoSt messages for the miner.
func (i *Info) MayControl(caller abi.ActorID) bool {
	return caller == i.Owner || caller == i.Worker || slices.Contains(i.Control, caller)
}

// Partition is a group of sectors that is proven by one proof of the circuit.
type Partition struct {
	All        Set // terminated ones included
	Terminated Set // in none of the sets below
	Faults     Set // includes Recovering
	Recovering Set
	Unproven   Set // never proven yet
}

// Live returns the sectors that are not terminated.
func (p Partition) Live() Set { return p.All.Minus(p.Terminated) }

// Active returns the sectors that have power.
func (p Partition) Active() Set { return p.Live().Minus(p.Faults).Minus(p.Unproven) }

// Post is one accepted SubmitWindowedPoSt, kept for the record of its window and
// for disputes.
type Post struct {
	Partitions Set
	Epoch      abi.ChainEpoch // in which it was executed
	Caller     abi.ActorID
	Message    cid.Cid
	Skipped    Set // sectors the message skipped, old faults included
	Proven     Set // sectors the proof covers
	Verified   bool
	Disputable bool // taken without recovering anything, see DisputeWindowedPoSt

	query WindowPoSt // what a dispute verifies
}

// Deadline is one of a miner's windows.
type Deadline struct {
	Partitions []Partition
	Posted     Set    // partitions proven in the current window
	Posts      []Post // of the current window
	Disputable []Post // of the last closed window
}

// Live reports whether the deadline has sectors.
func (d *Deadline) Live() bool { return len(d.Partitions) != 0 }

// Miner is the state of one miner actor at one moment. It is never changed
// after it was returned.
type Miner struct {
	Info      *Info
	Policy    *Policy
	Deadlines []Deadline

	sectors map[uint64]Sector // shared by all versions
}

// Placement says where a sector of a new miner goes.
type Placement struct {
	Sector   Sector
	Deadline *uint64 // nil: where the actor would put it
	Faulty   bool    // starts as a declared fault
	Unproven bool    // starts without power, as a freshly sealed sector
}

// NewMiner returns a miner with the given sectors. Sectors with a fixed
// deadline are placed first, the others are spread as the actor does; within a
// deadline they fill partitions in the order of their numbers.
func NewMiner(info Info, policy *Policy, sectors []Placement) (*Miner, error) {
	if info.PartitionSectors == 0 {
		return nil, fmt.Errorf("miner %d: PartitionSectors is 0", info.ID)
	}
	m := &Miner{
		Info: &info, Policy: policy,
		Deadlines: make([]Deadline, policy.PeriodDeadlines),
		sectors:   make(map[uint64]Sector, len(sectors)),
	}
	sectors = slices.Clone(sectors)
	slices.SortFunc(sectors, func(a, b Placement) int { return int(a.Sector.Number) - int(b.Sector.Number) })
	byDeadline := make([][]Placement, policy.PeriodDeadlines)
	var spread []Placement
	for _, p := range sectors {
		n := uint64(p.Sector.Number)
		if _, dup := m.sectors[n]; dup {
			return nil, fmt.Errorf("miner %d: sector %d given twice", info.ID, n)
		}
		m.sectors[n] = p.Sector
		switch {
		case p.Deadline == nil:
			spread = append(spread, p)
		case *p.Deadline >= policy.PeriodDeadlines:
			return nil, fmt.Errorf("miner %d: sector %d in deadline %d, there are %d", info.ID, n, *p.Deadline, policy.PeriodDeadlines)
		default:
			byDeadline[*p.Deadline] = append(byDeadline[*p.Deadline], p)
		}
	}
	counts := make([]uint64, len(byDeadline))
	for i, ps := range byDeadline {
		counts[i] = uint64(len(ps))
	}
	for i, dl := range assign(counts, info.PartitionSectors, len(spread)) {
		byDeadline[dl] = append(byDeadline[dl], spread[i])
	}
	for i, ps := range byDeadline {
		m.Deadlines[i].Partitions = fill(ps, int(info.PartitionSectors))
		if n := uint64(len(m.Deadlines[i].Partitions)); n > policy.MaxPartitionsPerDeadline {
			return nil, fmt.Errorf("miner %d: %d partitions in deadline %d, limit %d", info.ID, n, i, policy.MaxPartitionsPerDeadline)
		}
	}
	return m, nil
}

// fill groups the sectors of one deadline into partitions.
func fill(ps []Placement, size int) []Partition {
	var out []Partition
	for chunk := range slices.Chunk(ps, size) {
		var p Partition
		for _, s := range chunk {
			n := uint64(s.Sector.Number)
			p.All = append(p.All, n)
			if s.Faulty {
				p.Faults = append(p.Faults, n)
			}
			if s.Unproven && !s.Faulty {
				p.Unproven = append(p.Unproven, n)
			}
		}
		slices.Sort(p.All)
		slices.Sort(p.Faults)
		slices.Sort(p.Unproven)
		out = append(out, p)
	}
	return out
}

// FirstLive returns the lowest deadline that has sectors; false without sectors.
func (m *Miner) FirstLive() (uint64, bool) {
	for i := range m.Deadlines {
		if m.Deadlines[i].Live() {
			return uint64(i), true
		}
	}
	return 0, false
}

// DeadlineInfo describes the window that is open at epoch now.
func (m *Miner) DeadlineInfo(now abi.ChainEpoch) *dline.Info {
	return m.Policy.current(m.Info.PeriodOffset, now)
}

// Sector returns the chain's knowledge of a sector.
func (m *Miner) Sector(n abi.SectorNumber) (Sector, bool) {
	s, ok := m.sectors[uint64(n)]
	return s, ok
}

// Sectors returns all sectors, ascending.
func (m *Miner) Sectors() []Sector {
	out := make([]Sector, 0, len(m.sectors))
	for _, s := range m.sectors {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Sector) int { return int(a.Number) - int(b.Number) })
	return out
}

// Find returns the deadline and partition of a sector.
func (m *Miner) Find(n abi.SectorNumber) (deadline, partition uint64, ok bool) {
	for d := range m.Deadlines {
		for p := range m.Deadlines[d].Partitions {
			if m.Deadlines[d].Partitions[p].All.Has(uint64(n)) {
				return uint64(d), uint64(p), true
			}
		}
	}
	return 0, 0, false
}

// Collect returns the union over all partitions of what pick selects.
func (m *Miner) Collect(pick func(Partition) Set) Set {
	var all []uint64
	for _, d := range m.Deadlines {
		for _, p := range d.Partitions {
			all = append(all, pick(p)...)
		}
	}
	return NewSet(all...)
}

// ActiveSectors returns the sectors that have power.
func (m *Miner) ActiveSectors() Set { return m.Collect(Partition.Active) }

// withDeadline returns a copy of the miner with a private copy of one deadline.
func (m *Miner) withDeadline(idx uint64) (*Miner, *Deadline) {
	c := *m
	c.Deadlines = slices.Clone(m.Deadlines)
	d := &c.Deadlines[idx]
	d.Partitions = slices.Clone(d.Partitions)
	return &c, d
}
