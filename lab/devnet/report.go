package devnet

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/simchain"
)

// Report is the score of a network.
type Report struct {
	Epoch    abi.ChainEpoch
	Reorgs   int
	Outcomes []*actor.Outcome  // closed windows with sectors, oldest first
	Messages []simchain.Record // every message ever pushed
	Winning  []Winning
}

// Report returns the score so far.
func (n *Network) Report() Report {
	n.mu.Lock()
	winning := slices.Clone(n.winning)
	n.mu.Unlock()
	return Report{
		Epoch: n.chain.Epoch(), Reorgs: n.chain.Reorgs(),
		Outcomes: n.chain.LatestState().Outcomes(), Messages: n.chain.Records(), Winning: winning,
	}
}

// Count returns how many partitions had a verdict, over all closed windows.
func (r *Report) Count(v actor.Verdict) int {
	total := 0
	for _, o := range r.Outcomes {
		for _, p := range o.Partitions {
			if p.Verdict == v {
				total++
			}
		}
	}
	return total
}

// Missed lists the windows in which something was not proven that could have
// been, in words.
func (r *Report) Missed() []string {
	var out []string
	for _, o := range r.Outcomes {
		if m := o.Missed(); len(m) != 0 {
			out = append(out, fmt.Sprintf("miner t0%d deadline %d (epochs %d to %d): partitions %v not proven", o.Miner, o.Deadline, o.Open, o.Close, m))
		}
	}
	return out
}

// Check goes through the whole history of all miners; see CheckMiner.
func (n *Network) Check() error {
	var errs []error
	for _, m := range n.chain.LatestState().Miners() {
		errs = append(errs, n.CheckMiner(m.Info.ID))
	}
	return errors.Join(errs...)
}

// CheckMiner goes through the whole history of a miner and reports every breach
// of what must always hold: each partition of each closed window has one
// verdict, a proven one was proven by one message whose proof was verified and
// covers exactly the sectors that were not faulty, and no proof was sent twice.
// A missed partition is no breach: Report tells of it.
func (n *Network) CheckMiner(id abi.ActorID) error {
	m, ok := n.chain.LatestState().Miner(id)
	if !ok {
		return fmt.Errorf("miner %d does not exist", id)
	}
	r := n.Report()
	errs := checkWindows(m, &r)
	errs = append(errs, checkMessages(m, &r)...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("miner t0%d: %w", id, err)
	}
	return nil
}

// checkWindows holds the outcomes of a miner against the windows that time has
// closed.
func checkWindows(m *actor.Miner, r *Report) (errs []error) {
	seen := map[abi.ChainEpoch]*actor.Outcome{}
	for _, o := range r.Outcomes {
		if o.Miner != m.Info.ID {
			continue
		}
		if seen[o.Open] != nil {
			errs = append(errs, fmt.Errorf("the window at %d closed twice", o.Open))
		}
		seen[o.Open] = o
		for i := range o.Partitions {
			if err := checkPartition(o, &o.Partitions[i], uint64(i)); err != nil {
				errs = append(errs, err)
			}
		}
	}
	newest := abi.ChainEpoch(0)
	for open := range seen {
		newest = max(newest, open)
	}
	for e := m.Info.ProvingStart; e <= newest; e += m.Policy.ChallengeWindow {
		w := m.DeadlineInfo(e)
		live := len(m.Deadlines[w.Index].Partitions)
		switch o := seen[w.Open]; {
		case live != 0 && o == nil:
			errs = append(errs, fmt.Errorf("deadline %d at %d closed without an outcome", w.Index, w.Open))
		case o != nil && len(o.Partitions) != live:
			errs = append(errs, fmt.Errorf("deadline %d at %d has %d verdicts for %d partitions", w.Index, w.Open, len(o.Partitions), live))
		}
	}
	return errs
}

// checkPartition holds one verdict against the message it rests on.
func checkPartition(o *actor.Outcome, p *actor.PartitionOutcome, idx uint64) error {
	where := fmt.Sprintf("deadline %d at %d partition %d", o.Deadline, o.Open, p.Index)
	switch {
	case p.Index != idx:
		return fmt.Errorf("%s: verdict in place %d", where, idx)
	case p.Verdict != actor.Proven:
		if p.Post != nil {
			return fmt.Errorf("%s: %s although message %s proved it", where, p.Verdict, p.Post.Message)
		}
		return nil
	case p.Post == nil:
		return fmt.Errorf("%s: proven by no message", where)
	case p.Post.Epoch < o.Open || p.Post.Epoch >= o.Close:
		return fmt.Errorf("%s: proven at epoch %d, outside its window", where, p.Post.Epoch)
	case !p.Post.Verified && !p.Post.Disputable:
		return fmt.Errorf("%s: its proof was never verified", where)
	case len(p.ProvenSectors.And(p.Skipped)) != 0:
		return fmt.Errorf("%s: sectors %v are proven and skipped", where, []uint64(p.ProvenSectors.And(p.Skipped)))
	}
	return nil
}

// checkMessages finds proofs that were sent more than once. A message that was
// replaced, lost in a reorganisation, or refused for another reason than that
// the partition was proven already, may be followed by another.
func checkMessages(m *actor.Miner, r *Report) (errs []error) {
	type target struct {
		open      abi.ChainEpoch
		partition uint64
	}
	sent := map[target][]string{}
	for i := range r.Messages {
		rec := &r.Messages[i]
		p := posted(&rec.Signed.Message)
		if p == nil || minerOf(&rec.Signed.Message) != m.Info.ID || rec.ReplacedBy != nil || rec.Dropped {
			continue
		}
		if rec.ExitCode != exitcode.Ok && !strings.Contains(rec.Failure, "already proven") {
			continue
		}
		w := openOf(m, p.Deadline, p.ChainCommitEpoch)
		for _, part := range p.Partitions {
			t := target{w.Open, part.Index}
			sent[t] = append(sent[t], rec.Cid.String())
		}
	}
	for t, cids := range sent {
		if len(cids) > 1 {
			errs = append(errs, fmt.Errorf("the proof of the window at %d partition %d was sent %d times: %s", t.open, t.partition, len(cids), strings.Join(cids, ", ")))
		}
	}
	return errs
}

// openOf finds the window that a proof bound to an epoch was for: the one of the
// deadline that closes after it.
func openOf(m *actor.Miner, deadline uint64, commit abi.ChainEpoch) *dline.Info {
	now := m.DeadlineInfo(commit)
	return dline.NewInfo(now.PeriodStart, deadline, commit, now.WPoStPeriodDeadlines, now.WPoStProvingPeriod,
		now.WPoStChallengeWindow, now.WPoStChallengeLookback, now.FaultDeclarationCutoff).NextNotElapsed()
}
