package poster

import (
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-bitfield"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
)

// ledgerPatience is how many times planning fails over a silent ledger before
// it goes on without: message ids follow from the question, so nothing is sent
// twice even then, but a proof may be made again.
const ledgerPatience = 3

// plan finds out what the deadline needs: the partitions to be proven that the
// chain does not show as proven, put into batches, each where an earlier run
// left it.
func (r *run) plan(ctx context.Context, try int) deadline.Event {
	if !r.m.pause(ctx, try) {
		return nil
	}
	if try == 0 {
		r.log.Info("deadline started", "challenge", r.info.Challenge, "open", r.info.Open, "close", r.info.Close, "epoch", r.info.CurrentEpoch)
	}
	call, cancel := r.call(ctx)
	defer cancel()
	fail := func(err error) deadline.Event { return deadline.PlanFailed{Ref: r.ref, Reason: err.Error()} }

	past, err := r.past(call)
	if err != nil {
		if try < ledgerPatience {
			return fail(err)
		}
		r.log.Error("planning without the ledger", "error", err)
	}
	due, posted, err := r.due(call)
	if err != nil {
		return fail(err)
	}
	r.m.warned.Do(func() { r.warnOfCap() })

	batches, planned := r.takeUp(due, posted, past)
	onChain := 0
	var left []partition
	for _, p := range due {
		taken := slices.ContainsFunc(batches, func(b *batch) bool { return slices.Contains(b.indices(), p.index) })
		switch {
		case taken:
		case slices.Contains(posted, p.index):
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
	r.keepPlan(ctx, batches)
	r.log.Info("deadline planned", "partitions", len(due), "on_chain", onChain, "messages", len(batches))
	return deadline.Planned{Ref: r.ref, Batches: planned, OnChain: onChain}
}

// due asks the node for the partitions with sectors to prove, and for the
// indices of those already proven in this window.
func (r *run) due(ctx context.Context) (due []partition, posted []uint64, err error) {
	chain := r.m.cfg.Chain
	head, err := chain.ChainHead(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read the head: %w", err)
	}
	if head.Height <= r.info.Challenge {
		return nil, nil, fmt.Errorf("the node answers from epoch %d, before the challenge at %d", head.Height, r.info.Challenge)
	}
	tsk := head.Key()
	info, err := chain.StateMinerInfo(ctx, r.m.addr, tsk)
	if err != nil {
		return nil, nil, fmt.Errorf("read the miner's info: %w", err)
	}
	nv, err := chain.StateNetworkVersion(ctx, tsk)
	if err != nil {
		return nil, nil, fmt.Errorf("read the network version: %w", err)
	}
	r.mu.Lock()
	r.rules = rules{
		proofType:        info.WindowPoStProofType,
		partitionSectors: info.WindowPoStPartitionSectors,
		maxPartitions:    maxPartitions(nv, info.WindowPoStPartitionSectors),
	}
	r.mu.Unlock()
	if due, err = r.m.toProve(ctx, r.info, tsk); err != nil {
		return nil, nil, err
	}
	posted, err = r.m.posted(ctx, r.info, tsk)
	return due, posted, err
}

// toProve lists the partitions of a deadline that have sectors to be proven:
// live ones that are not faulty, and those declared recovered.
func (m *miner) toProve(ctx context.Context, di dline.Info, tsk lotus.TipSetKey) ([]partition, error) {
	partitions, err := m.cfg.Chain.StateMinerPartitions(ctx, m.addr, di.Index, tsk)
	if err != nil {
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
	var due []partition
	for i, p := range partitions {
		sectors, err := provable(p)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", i, err)
		}
		if len(sectors) > 0 {
			due = append(due, partition{index: uint64(i), toProve: sectors})
		}
	}
	return due, nil
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
func (m *miner) posted(ctx context.Context, di dline.Info, tsk lotus.TipSetKey) ([]uint64, error) {
	deadlines, err := m.cfg.Chain.StateMinerDeadlines(ctx, m.addr, tsk)
	if err != nil {
		return nil, fmt.Errorf("read what is proven already: %w", err)
	}
	if di.Index >= uint64(len(deadlines)) {
		return nil, fmt.Errorf("the node knows %d deadlines, not number %d", len(deadlines), di.Index)
	}
	return deadlines[di.Index].PostSubmissions.All(mineractor.AddressedPartitionsMax)
}

// perMessage is how many partitions share one message.
func (r *run) perMessage() uint64 {
	limit := r.chainRules().maxPartitions
	if want := r.m.conf.MaxPartitionsPerPoStMessage; want > 0 {
		limit = min(limit, want)
	}
	return limit
}

func (r *run) warnOfCap() {
	if want, limit := r.m.conf.MaxPartitionsPerPoStMessage, r.chainRules().maxPartitions; want > limit {
		r.m.log.Warn("MaxPartitionsPerPoStMessage is more than the network accepts; it is capped", "configured", want, "network", limit)
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

// past is what the ledger holds of this deadline.
type past struct {
	proofs   []ledger.Proof
	messages []ledger.Message
}

// past opens the run in the ledger and reads what an earlier one left there.
func (r *run) past(ctx context.Context) (past, error) {
	if err := r.m.cfg.Ledger.OpenRun(ctx, r.m.newLedgerRun(r.info)); err != nil {
		return past{}, err
	}
	return r.m.readPast(ctx, r.key)
}

func (m *miner) readPast(ctx context.Context, key ledger.RunKey) (past, error) {
	proofs, err := m.cfg.Ledger.Proofs(ctx, key)
	if err != nil {
		return past{}, err
	}
	messages, err := m.cfg.Ledger.Messages(ctx, key)
	return past{proofs: proofs, messages: messages}, err
}

// lastMessages returns the latest PoSt message of each batch, by its name, and
// all of them by attempt.
func (p past) lastMessages() (last map[string]ledger.Message, all map[string]map[int]ledger.Message) {
	last, all = map[string]ledger.Message{}, map[string]map[int]ledger.Message{}
	for _, msg := range p.messages {
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
func (r *run) takeUp(due []partition, posted []uint64, past past) (batches []*batch, planned []deadline.PlannedBatch) {
	last, all := past.lastMessages()
	for i := range past.proofs {
		proof := &past.proofs[i]
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
		r.log.Info("taken up where it was left", "partitions", name, "stage", p.Stage.String(), "attempt", p.Attempt)
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
func (r *run) keepPlan(ctx context.Context, batches []*batch) {
	row := r.m.newLedgerRun(r.info)
	for _, b := range batches {
		row.Partitions = append(row.Partitions, b.indices()...)
	}
	slices.Sort(row.Partitions)
	r.keep(ctx, "the plan", func(ctx context.Context) error { return r.m.cfg.Ledger.OpenRun(ctx, row) })
}
