package actor

import (
	"github.com/filecoin-project/go-state-types/abi"
)

// Verdict says how a partition came out of a window.
type Verdict string

// The verdicts. A partition has exactly one for each window with sectors.
const (
	Proven  Verdict = "proven"  // a message proved it
	Faulty  Verdict = "faulty"  // all its live sectors were faulty and none recovering: nothing to prove
	Missed  Verdict = "missed"  // it had sectors to prove and no message proved it
	Exempt  Verdict = "exempt"  // the window was before the miner's first and nobody proved it
	Invalid Verdict = "invalid" // accepted on trust, found wrong by a dispute
)

// PartitionOutcome is the end of one window for one partition.
type PartitionOutcome struct {
	Index          uint64
	Verdict        Verdict
	Sectors        int // live sectors of the partition
	ProvenSectors  Set // covered by the accepted proof
	Skipped        Set // skipped by the accepted message
	NewFaults      Set // lost power because the proof was missing
	LostRecoveries Set // were declared recovered and not proven
	Post           *Post
}

// Outcome is the end of one window of one miner.
type Outcome struct {
	Miner       abi.ActorID
	PeriodStart abi.ChainEpoch
	Deadline    uint64
	Open, Close abi.ChainEpoch
	Partitions  []PartitionOutcome
}

// Missed returns the partitions that were not proven although they could have been.
func (o *Outcome) Missed() []uint64 {
	var out []uint64
	for _, p := range o.Partitions {
		if p.Verdict == Missed || p.Verdict == Invalid {
			out = append(out, p.Index)
		}
	}
	return out
}

// EndEpoch is the work of cron after the messages of an epoch. In the last epoch
// of a window it closes the deadline: partitions without a proof become faulty,
// declared recoveries that were not proven are lost, and the next window starts
// with a clean sheet. The outcome is nil at all other epochs and for deadlines
// without sectors.
func (m *Miner) EndEpoch(epoch abi.ChainEpoch) (*Miner, *Outcome) {
	window := m.DeadlineInfo(epoch)
	if epoch != window.Last() || !m.Deadlines[window.Index].Live() {
		return m, nil
	}
	next, dl := m.withDeadline(window.Index)
	out := &Outcome{
		Miner: m.Info.ID, PeriodStart: window.PeriodStart, Deadline: window.Index,
		Open: window.Open, Close: window.Close,
	}
	exempt := window.Open < m.Info.ProvingStart
	for i := range dl.Partitions {
		out.Partitions = append(out.Partitions, dl.close(uint64(i), exempt))
	}
	dl.Disputable = nil
	for _, p := range dl.Posts {
		if p.Disputable {
			dl.Disputable = append(dl.Disputable, p)
		}
	}
	dl.Posts, dl.Posted = nil, nil
	return next, out
}

// close judges one partition and takes the power of what was not proven.
func (d *Deadline) close(idx uint64, exempt bool) PartitionOutcome {
	p := &d.Partitions[idx]
	out := PartitionOutcome{Index: idx, Sectors: len(p.Live())}
	switch {
	case d.Posted.Has(idx):
		out.Verdict = Proven
		for i := range d.Posts {
			if d.Posts[i].Partitions.Has(idx) {
				out.Post = &d.Posts[i]
				out.Skipped = out.Post.Skipped.And(p.All)
				out.ProvenSectors = out.Post.Proven.And(p.All)
			}
		}
	case len(p.Recovering) == 0 && len(p.Faults) == len(p.Live()):
		out.Verdict = Faulty
	case exempt:
		out.Verdict = Exempt
	default:
		out.Verdict = Missed
		out.NewFaults = p.Live().Minus(p.Faults)
		out.LostRecoveries = p.Recovering
		p.Faults, p.Recovering, p.Unproven = p.Live(), nil, nil
	}
	return out
}
