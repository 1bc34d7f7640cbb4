package poster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-bitfield"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
)

// Of the patience with a ledger that does not answer.
const (
	// ledgerPatience is how many times planning fails over it before it goes on
	// without: message ids follow from the question, so nothing is sent twice
	// even then, but a proof may be made again.
	ledgerPatience = 3
	// readLimit is how long one read of the past may take.
	readLimit = 2 * time.Second
)

// plan finds out what the deadline needs: the partitions to be proven that the
// chain does not show as proven, put into batches, each where an earlier run
// left it.
func (r *run) plan(ctx context.Context, try int) deadline.Event {
	if !r.m.pause(ctx, try) {
		return nil
	}
	if try == 0 {
		r.log.Info("deadline started", attr.Challenge(r.info.Challenge), attr.Open(r.info.Open), attr.Close(r.info.Close), attr.Epoch(r.info.CurrentEpoch))
	}
	var now *now
	var past error
	err := together(ctx,
		func(ctx context.Context) error { past = r.m.cfg.book.Read(ctx, r.key, readLimit); return nil },
		func(ctx context.Context) (err error) { now, err = r.now(ctx); return err })
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		r.log.Log(ctx, levelOfTry(try), "the deadline could not be planned, retrying", attr.Failures(try+1), attr.Err(err))
		return deadline.PlanFailed{Ref: r.ref, Why: failure(err)}
	case past != nil && try < ledgerPatience:
		return deadline.PlanFailed{Ref: r.ref, Why: failure(past)}
	case past != nil:
		r.log.Error("planning without the ledger", attr.Err(past))
	}
	r.m.warned.Do(func() { r.warnOfCap() })

	batches, planned := r.takeUp(now.due, now.posted)
	onChain := 0
	var left []partition
	for _, p := range now.due {
		taken := slices.ContainsFunc(batches, func(b *batch) bool { return slices.Contains(b.indices(), p.index) })
		switch {
		case taken:
		case slices.Contains(now.posted, p.index):
			onChain++
		default:
			left = append(left, p)
		}
	}
	for _, b := range group(left, r.perMessage()) {
		batches = append(batches, b)
		planned = append(planned, deadline.PlannedBatch{ID: b.id(), Stage: deadline.Proving})
	}
	r.add(batches...)
	r.mu.Lock()
	r.due = map[uint64][]uint64{}
	for _, p := range now.due {
		r.due[p.index] = p.toProve
	}
	r.mu.Unlock()
	r.keepPlan(batches)
	r.log.Info("deadline planned", attr.PartitionCount(len(now.due)), attr.OnChain(onChain), attr.MessageCount(len(batches)))
	return deadline.Planned{Ref: r.ref, Batches: planned, OnChain: onChain, AllFaulty: now.allFaulty}
}

// now is what the chain shows of a deadline.
type now struct {
	head      *lotus.TipSet
	due       []partition // with sectors to prove
	posted    []uint64    // proven already in this window
	allFaulty int         // partitions whose sectors are all faulty, none recovering
}

// now asks the node, in two round trips, for the partitions with sectors to
// prove, for those proven already, and for the rules in force.
func (r *run) now(ctx context.Context) (*now, error) {
	head, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Height <= r.info.Challenge {
		return nil, fmt.Errorf("the node answers from epoch %d, before the challenge at %d", head.Height, r.info.Challenge)
	}
	n := &now{head: head}
	err = together(ctx,
		func(ctx context.Context) error { return r.readRules(ctx, head.Key()) },
		func(ctx context.Context) (err error) {
			n.due, n.allFaulty, err = r.toProve(ctx, head.Key())
			return err
		},
		func(ctx context.Context) (err error) {
			n.posted, err = r.posted(ctx, head.Key())
			return err
		})
	return n, err
}

// head is the node's head, refused where the node is behind what it told before
// or behind the window.
func (r *run) head(ctx context.Context) (*lotus.TipSet, error) {
	head, err := ask(ctx, r.limit(), "read the head", r.m.cfg.Chain.ChainHead)
	if err == nil && head == nil {
		err = errors.New("read the head: the node answers with nothing")
	}
	if err != nil {
		return nil, err
	}
	if known, older := r.m.olderThanKnown(head.Height); older {
		return nil, fmt.Errorf("the node answers from epoch %d, it told of %d before", head.Height, known)
	}
	return head, nil
}

// readRules asks for what bounds a message of the miner.
func (r *run) readRules(ctx context.Context, tsk lotus.TipSetKey) error {
	var info *lotus.MinerInfo
	var nv network.Version
	err := together(ctx,
		func(ctx context.Context) (err error) { info, err = r.minerInfo(ctx, tsk); return err },
		func(ctx context.Context) (err error) {
			nv, err = ask(ctx, r.limit(), "read the network version", func(ctx context.Context) (network.Version, error) {
				return r.m.cfg.Chain.StateNetworkVersion(ctx, tsk)
			})
			return err
		})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = rules{
		proofType:        info.WindowPoStProofType,
		partitionSectors: info.WindowPoStPartitionSectors,
		sectorSize:       info.SectorSize,
		maxPartitions:    maxPartitions(nv, info.WindowPoStPartitionSectors),
	}
	return nil
}

func (r *run) minerInfo(ctx context.Context, tsk lotus.TipSetKey) (*lotus.MinerInfo, error) {
	info, err := ask(ctx, r.limit(), "read the miner's info", func(ctx context.Context) (*lotus.MinerInfo, error) {
		return r.m.cfg.Chain.StateMinerInfo(ctx, r.m.addr, tsk)
	})
	if err == nil && info == nil {
		err = errors.New("read the miner's info: the node answers with nothing")
	}
	return info, err
}

// partitions lists the partitions of the deadline.
func (r *run) partitions(ctx context.Context, tsk lotus.TipSetKey) ([]lotus.Partition, error) {
	return ask(ctx, r.limit(), "list the partitions", func(ctx context.Context) ([]lotus.Partition, error) {
		return r.m.cfg.Chain.StateMinerPartitions(ctx, r.m.addr, r.info.Index, tsk)
	})
}

// toProve lists the partitions of the deadline that have sectors to be proven:
// live ones that are not faulty, and those declared recovered. It counts those
// that have live sectors and none to be proven.
func (r *run) toProve(ctx context.Context, tsk lotus.TipSetKey) (due []partition, allFaulty int, err error) {
	partitions, err := r.partitions(ctx, tsk)
	if err != nil {
		return nil, 0, err
	}
	return dueOf(partitions)
}

func dueOf(partitions []lotus.Partition) (due []partition, allFaulty int, err error) {
	for i, p := range partitions {
		sectors, err := provable(p)
		if err != nil {
			return nil, 0, fmt.Errorf("partition %d: %w", i, err)
		}
		if len(sectors) > 0 {
			due = append(due, partition{index: uint64(i), toProve: sectors})
			continue
		}
		if live, err := p.LiveSectors.IsEmpty(); err == nil && !live {
			allFaulty++
		}
	}
	return due, allFaulty, nil
}

func provable(p lotus.Partition) ([]uint64, error) {
	healthy, err := bitfield.SubtractBitField(p.LiveSectors, p.FaultySectors)
	if err != nil {
		return nil, err
	}
	all, err := bitfield.MergeBitFields(healthy, p.RecoveringSectors)
	if err != nil {
		return nil, err
	}
	return numbers(all)
}

// numbers expands a bitfield; it refuses more than a message may address.
func numbers(b bitfield.BitField) ([]uint64, error) { return b.All(mineractor.AddressedSectorsMax) }

// posted lists the partitions that the chain shows as proven in this window.
func (r *run) posted(ctx context.Context, tsk lotus.TipSetKey) ([]uint64, error) {
	deadlines, err := ask(ctx, r.limit(), "read what is proven already", func(ctx context.Context) ([]lotus.Deadline, error) {
		return r.m.cfg.Chain.StateMinerDeadlines(ctx, r.m.addr, tsk)
	})
	if err != nil {
		return nil, err
	}
	if r.info.Index >= uint64(len(deadlines)) {
		return nil, fmt.Errorf("the node knows %d deadlines, not number %d", len(deadlines), r.info.Index)
	}
	return deadlines[r.info.Index].PostSubmissions.All(mineractor.AddressedPartitionsMax)
}

// perMessage is how many partitions share one message.
func (r *run) perMessage() uint64 {
	limit := r.chainRules().maxPartitions
	if want := r.m.conf.MaxPartitionsPerPoStMessage; want > 0 {
		limit = min(limit, want)
	}
	return limit
}

// warnOfCap tells of settings that this network does not allow.
func (r *run) warnOfCap() {
	if want, limit := r.m.conf.MaxPartitionsPerPoStMessage, r.chainRules().maxPartitions; want > limit {
		r.m.log.Warn("MaxPartitionsPerPoStMessage is more than the network accepts; it is capped", attr.Count(int(want)), attr.Limit(limit))
	}
	if tight := r.m.conf.timing().Tight(r.info); tight != "" {
		r.m.log.Warn(tight)
		r.m.cfg.Board.Set(condition.Condition{Kind: condition.SubmitTooLate, Subject: r.m.addr.String(), Detail: tight})
	}
}

// group puts partitions into batches of at most size partitions and at most
// the number of sectors that a message may address.
func group(partitions []partition, size uint64) []*batch {
	var out []*batch
	sectors := 0
	for _, p := range partitions {
		last := len(out) - 1
		if last < 0 || uint64(len(out[last].partitions)) >= size || sectors+len(p.toProve) > mineractor.AddressedSectorsMax {
			out = append(out, &batch{})
			last, sectors = last+1, 0
		}
		out[last].partitions = append(out[last].partitions, p)
		sectors += len(p.toProve)
	}
	return out
}

// lastMessages returns the latest PoSt message of each batch, by its name, and
// all of them by attempt.
func lastMessages(messages []ledger.Message) (last map[string]ledger.Message, all map[string]map[int]ledger.Message) {
	last, all = map[string]ledger.Message{}, map[string]map[int]ledger.Message{}
	for _, msg := range messages {
		if msg.Kind != ledger.KindPoSt {
			continue
		}
		name := msg.Partitions.String()
		if all[name] == nil {
			all[name] = map[int]ledger.Message{}
		}
		all[name][msg.Attempt] = msg
		if msg.Attempt >= last[name].Attempt {
			last[name] = msg
		}
	}
	return last, all
}

// stageOf tells where a batch with this last message stands. A message noted
// as landed is watched again: only the chain knows whether it still is.
func stageOf(msg ledger.Message) deadline.Stage {
	switch msg.State {
	case ledger.Sending:
		return deadline.Submitting
	case ledger.Sent, ledger.Landed:
		return deadline.Sent
	}
	return deadline.Ready
}

// takeUp makes batches of what the ledger holds and the deadline still needs:
// proofs of exactly the sectors that are due, and messages on their way.
func (r *run) takeUp(due []partition, posted []uint64) (batches []*batch, planned []deadline.PlannedBatch) {
	last, all := lastMessages(r.m.cfg.book.Messages(r.key))
	proofs := r.m.cfg.book.Proofs(r.key)
	for i := range proofs {
		proof := &proofs[i]
		name := proof.Partitions.String()
		msg, sent := last[name]
		b := &batch{proof: proof, messages: all[name]}
		for _, p := range due {
			if slices.Contains(proof.Partitions, p.index) {
				b.partitions = append(b.partitions, p)
			}
		}
		onChain := slices.ContainsFunc(proof.Partitions, func(n uint64) bool { return slices.Contains(posted, n) })
		underway := sent && stageOf(msg) == deadline.Sent
		switch {
		case !slices.Equal(b.indices(), proof.Partitions) || !proves(proof, b.sectors()):
			continue // something else is due now
		case onChain && !underway:
			continue
		case slices.ContainsFunc(batches, func(o *batch) bool { return o.indices().Overlaps(proof.Partitions) }):
			continue
		}
		p := deadline.PlannedBatch{ID: b.id(), Stage: deadline.Ready}
		if sent {
			p.Stage, p.Attempt = stageOf(msg), msg.Attempt
		}
		r.log.Info("taken up where it was left", attr.Partitions(proof.Partitions), attr.Stage(p.Stage.String()), attr.Attempt(p.Attempt))
		batches, planned = append(batches, b), append(planned, p)
	}
	return batches, planned
}

// proves reports whether a proof is over exactly these sectors, skipped ones
// included.
func proves(p *ledger.Proof, sectors []uint64) bool {
	have := slices.Concat(p.Sectors, p.Skipped)
	slices.Sort(have)
	return slices.Equal(have, sectors)
}

// keepPlan notes which partitions are to be proven by this run.
func (r *run) keepPlan(batches []*batch) {
	row := r.m.newLedgerRun(r.info)
	for _, b := range batches {
		row.Partitions = append(row.Partitions, b.indices()...)
	}
	slices.Sort(row.Partitions)
	r.m.cfg.book.OpenRun(row)
}
