package poster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
)

// askAfter is how many epochs after Close the chain is asked what became of a
// window: the state of its last epoch is seen in the tipset after it, or, after
// null rounds, one later.
const askAfter abi.ChainEpoch = 2

// askChain asks the chain what became of a closed window. A partition was
// missed if every sector that was to be proven in it, and still lives, is faulty
// now. What was to be proven is what the plan said, or, for a window that nobody
// planned, what the chain shows from when it opened.
func (r *run) askChain(ctx context.Context, a deadline.AskChain) deadline.Event {
	if !r.m.pauseLong(ctx, a.Try) {
		return nil
	}
	ev, err := r.verdict(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		r.log.Log(ctx, levelOfTry(a.Try), "the chain could not be asked what became of the window, retrying", attr.Failures(a.Try+1), attr.Err(err))
		return deadline.AskFailed{Ref: r.ref, Why: failure(err)}
	}
	return *ev
}

func (r *run) verdict(ctx context.Context) (*deadline.ChainSays, error) {
	head, err := r.settledHead(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	due := r.due
	r.mu.Unlock()
	ev := &deadline.ChainSays{Ref: r.ref}
	if due == nil {
		if due, ev.AllFaulty, err = r.dueThen(ctx, head); err != nil {
			return nil, err
		}
	}
	after, err := r.partitions(ctx, head.Key())
	if err != nil {
		return nil, err
	}
	for index, sectors := range due {
		if index >= uint64(len(after)) {
			continue // compacted: its sectors are elsewhere
		}
		missed, err := lost(after[index], sectors)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", index, err)
		}
		if missed {
			ev.Missed = append(ev.Missed, index)
		} else {
			ev.Proven = append(ev.Proven, index)
		}
	}
	slices.Sort(ev.Missed)
	slices.Sort(ev.Proven)
	return ev, nil
}

// settledHead waits for a head at which the window's end can be seen.
func (r *run) settledHead(ctx context.Context) (*lotus.TipSet, error) {
	for {
		head, err := ask(ctx, r.m.cfg.CallTimeout, "read the head", r.m.cfg.Chain.ChainHead)
		if err != nil {
			return nil, err
		}
		if head != nil && head.Height >= r.info.Close+askAfter {
			return head, nil
		}
		if !r.m.pause(ctx, 4) {
			return nil, ctx.Err()
		}
	}
}

// dueThen lists what was to be proven when the window opened.
func (r *run) dueThen(ctx context.Context, head *lotus.TipSet) (map[uint64][]uint64, int, error) {
	opened, err := ask(ctx, r.m.cfg.CallTimeout, fmt.Sprintf("read the tipset of epoch %d", r.info.Open), func(ctx context.Context) (*lotus.TipSet, error) {
		return r.m.cfg.Chain.ChainGetTipSetByHeight(ctx, r.info.Open, head.Key())
	})
	if err != nil {
		return nil, 0, err
	}
	if opened == nil {
		return nil, 0, fmt.Errorf("the node has no tipset of epoch %d", r.info.Open)
	}
	partitions, allFaulty, err := r.toProve(ctx, opened.Key())
	if err != nil {
		return nil, 0, err
	}
	due := map[uint64][]uint64{}
	for _, p := range partitions {
		due[p.index] = p.toProve
	}
	return due, allFaulty, nil
}

// lost reports whether all of the sectors that still live are faulty.
func lost(p lotus.Partition, sectors []uint64) (bool, error) {
	live, err := numbers(p.LiveSectors)
	if err != nil {
		return false, err
	}
	faulty, err := numbers(p.FaultySectors)
	if err != nil {
		return false, err
	}
	some := false
	for _, n := range sectors {
		if !isIn(live, n) {
			continue
		}
		if !isIn(faulty, n) {
			return false, nil
		}
		some = true
	}
	return some, nil
}

// finish closes a run: its outcome is logged here and nowhere else, and kept.
func (m *miner) finish(a deadline.End) {
	m.drop(a.Ref)
	log := m.log.With(attr.Deadline(a.Key.Index), attr.PeriodStart(a.Key.PeriodStart))
	o := Outcome{
		What: RunEnded, Kind: a.Kind, Deadline: a.Key, Verdict: a.Outcome.Verdict, Reason: a.Outcome.Reason,
		Margin: time.Until(m.timeOf(a.Info.Close)),
	}
	if a.Kind == deadline.Recovery {
		if a.Outcome.Verdict == deadline.NotDeclared {
			log.Warn("faulty sectors were not declared recovered before the cut-off", attr.SectorCount(a.Outcome.Left), attr.Reason(a.Outcome.Reason))
		}
		m.tell(o)
		return
	}
	end := m.summary(a)
	o.Proven, o.Skipped = end.Proven, end.Skipped
	log = log.With(attr.PartitionCount(end.Proven))
	switch a.Outcome.Verdict {
	case deadline.Missed:
		log.Error("deadline missed", attr.Reason(a.Outcome.Reason), attr.Partitions(a.Outcome.Lost))
	case deadline.Proven:
		log.Info("deadline proven")
	case deadline.ProvenByAnother:
		log.Warn("deadline proven by another sender: another manager may be working for the miner")
	case deadline.AllFaulty:
		log.Warn("all sectors of the deadline are faulty; there is nothing to prove until they are declared recovered")
	default:
		log.Info("deadline has nothing to prove")
	}
	m.troubles.ended(a)
	m.tell(o)
	row := m.newLedgerRun(a.Info)
	row.ClosesAt = m.timeOf(a.Info.Close)
	m.cfg.book.EndRun(row, end)
}

// summary counts what an outcome covers.
func (m *miner) summary(a deadline.End) ledger.RunEnd {
	end := ledger.RunEnd{Verdict: a.Outcome.Verdict.String(), Reason: a.Outcome.Reason, Proven: a.Outcome.OnChain, At: time.Now()}
	for _, b := range a.Outcome.Batches {
		if partitions, err := ledger.ParsePartitions(string(b.ID)); err == nil && b.Stage == deadline.Landed {
			end.Proven += len(partitions)
		}
	}
	for _, p := range m.cfg.book.Proofs(m.runKey(a.Key)) {
		end.Skipped += len(p.Skipped)
	}
	return end
}
