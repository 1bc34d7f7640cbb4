package devnet

import (
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// Snapshot is the network at one moment, for a live view.
type Snapshot struct {
	Epoch   abi.ChainEpoch // the current one
	Head    *lotus.TipSet
	BaseFee big.Int
	Pending int // messages that wait to be mined
	Miners  []MinerView
}

// MinerView is one miner in a Snapshot.
type MinerView struct {
	ID        abi.ActorID
	Current   *dline.Info    // the window that is open
	Deadlines []DeadlineView // those with sectors
	Faults    int
	Power     uint64 // bytes with power
}

// DeadlineView is a deadline with sectors. Its window is the open one or else
// the next.
type DeadlineView struct {
	Window     *dline.Info
	Partitions []PartitionView
	// Last is how the last window ended; nil before the first.
	Last *actor.Outcome
}

// PartitionView is one partition in a DeadlineView.
type PartitionView struct {
	Sectors, Faults, Recovering int
	Posted                      bool // proven in the open window
}

// Snapshot returns the network as it is now, the head's messages included.
func (n *Network) Snapshot() Snapshot {
	head, st := n.chain.Head(), n.chain.LatestState()
	s := Snapshot{Epoch: n.chain.Epoch(), Head: head, BaseFee: n.chain.BaseFee(), Pending: len(n.chain.Pending())}
	type place struct {
		miner    abi.ActorID
		deadline uint64
	}
	last := map[place]*actor.Outcome{}
	for _, o := range st.Outcomes() {
		last[place{o.Miner, o.Deadline}] = o
	}
	for _, m := range st.Miners() {
		current := m.DeadlineInfo(s.Epoch)
		v := MinerView{
			ID: m.Info.ID, Current: current,
			Faults: len(m.Collect(func(p actor.Partition) actor.Set { return p.Faults })),
			Power:  uint64(m.Info.SectorSize) * uint64(len(m.ActiveSectors())),
		}
		for i := range m.Deadlines {
			if d := &m.Deadlines[i]; d.Live() {
				w := openOf(m, uint64(i), s.Epoch)
				v.Deadlines = append(v.Deadlines, DeadlineView{
					Window: w, Partitions: partitionViews(d), Last: last[place{m.Info.ID, uint64(i)}],
				})
			}
		}
		s.Miners = append(s.Miners, v)
	}
	return s
}

func partitionViews(d *actor.Deadline) []PartitionView {
	var out []PartitionView
	for i, p := range d.Partitions {
		out = append(out, PartitionView{
			Sectors: len(p.Live()), Faults: len(p.Faults), Recovering: len(p.Recovering), Posted: d.Posted.Has(uint64(i)),
		})
	}
	return out
}
