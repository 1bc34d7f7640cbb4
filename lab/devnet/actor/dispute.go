package actor

import (
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
)

// Disputed is a proof of a closed window that was found wrong.
type Disputed struct {
	Miner      abi.ActorID
	Close      abi.ChainEpoch // of the window
	Partitions Set
}

// Amend changes the verdict of the partitions if the outcome is of that window.
// It returns the outcome as it was or an amended copy.
func (d *Disputed) Amend(o *Outcome) *Outcome {
	if o.Miner != d.Miner || o.Close != d.Close {
		return o
	}
	c := *o
	c.Partitions = slices.Clone(o.Partitions)
	for i := range c.Partitions {
		if d.Partitions.Has(c.Partitions[i].Index) {
			c.Partitions[i].Verdict = Invalid
		}
	}
	return &c
}

// DisputeWindowedPoSt executes method 24: anybody may show that a proof which
// the last window took on trust is invalid. The sectors it claimed become
// faults. A valid proof stays, and the message fails.
func (m *Miner) DisputeWindowedPoSt(rt *Runtime, params *minertypes.DisputeWindowedPoStParams) (*Miner, *Disputed, error) {
	if params.Deadline >= m.Policy.PeriodDeadlines {
		return m, nil, illegalArgument("invalid deadline %d of %d", params.Deadline, m.Policy.PeriodDeadlines)
	}
	current := m.DeadlineInfo(rt.Epoch)
	target := m.Policy.info(current.PeriodStart, params.Deadline, rt.Epoch).NextNotElapsed()
	if target.IsOpen() || rt.Epoch >= target.Close-m.Policy.ProvingPeriod()+m.Policy.DisputeWindow {
		return m, nil, forbidden("can only dispute window posts during the dispute window (%d epochs after the challenge window closes)", m.Policy.DisputeWindow)
	}
	next, dl := m.withDeadline(params.Deadline)
	if params.PoStIndex >= uint64(len(dl.Disputable)) {
		return m, nil, illegalArgument("failed to load proof for dispute: post %d not found", params.PoStIndex)
	}
	post := dl.Disputable[params.PoStIndex]
	if err := rt.Verify(post.query); err == nil {
		return m, nil, illegalArgument("failed to dispute valid post")
	}
	var rest []Post
	for i, p := range dl.Disputable {
		if uint64(i) != params.PoStIndex {
			rest = append(rest, p)
		}
	}
	dl.Disputable = rest
	for _, i := range post.Partitions {
		p := &dl.Partitions[i]
		p.Faults = p.Faults.Union(post.Proven.And(p.Live()))
		p.Recovering = p.Recovering.Minus(post.Proven)
	}
	return next, &Disputed{Miner: m.Info.ID, Close: target.Close - m.Policy.ProvingPeriod(), Partitions: post.Partitions}, nil
}
