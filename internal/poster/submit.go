package poster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// errStale marks a proof that no longer answers the chain's question.
var errStale = errors.New("the proof is out of date")

// submit makes one attempt to hand over the batch's message. It looks first
// whether the chain still needs it and whether the proof is still right.
func (r *run) submit(ctx context.Context, a deadline.Submit) deadline.Event {
	if !r.m.pause(ctx, a.Try+a.Attempt-1) {
		return nil
	}
	call, cancel := r.call(ctx)
	defer cancel()
	b := r.batch(a.Batch)
	ev, err := r.handOver(call, b, a)
	switch {
	case err == nil:
		return ev
	case errors.Is(err, errStale):
		r.log.Warn("the proof must be made again", "partitions", string(a.Batch), "reason", err)
		b.proof = nil
		r.keep(ctx, "the end of a proof", func(ctx context.Context) error {
			return r.m.cfg.Ledger.DropProof(ctx, r.key, b.indices())
		})
		return deadline.Stale{Ref: r.ref, Batch: a.Batch, Reason: err.Error()}
	case ctx.Err() != nil:
		return nil
	}
	r.log.Log(ctx, levelOfTry(a.Try), "the message could not be handed over; it is tried again", "partitions", string(a.Batch), "attempt", a.Attempt, "try", a.Try, "error", err)
	return deadline.SubmitFailed{Ref: r.ref, Batch: a.Batch, Reason: err.Error()}
}

func (r *run) handOver(ctx context.Context, b *batch, a deadline.Submit) (deadline.Event, error) {
	head, err := r.m.cfg.Chain.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	if head.Height < r.info.Open {
		return nil, fmt.Errorf("the node is at epoch %d, the window opens at %d", head.Height, r.info.Open)
	}
	if ev, err := r.alreadyThere(ctx, b, head, a.Attempt); ev != nil || err != nil {
		return ev, err
	}
	if ev, err := r.fresh(ctx, b, head.Key()); ev != nil || err != nil {
		return ev, err
	}
	msg, err := r.message(ctx, b, head.Key())
	if err != nil {
		return nil, err
	}
	row := ledger.Message{
		ID: postID(r.key, b.proof.Randomness, b.indices(), a.Attempt), RunKey: r.key, Kind: ledger.KindPoSt,
		Partitions: b.indices(), Attempt: a.Attempt, State: ledger.Sending, CreatedAt: time.Now(),
	}
	r.note(ctx, b, row)
	handle, err := r.m.cfg.Sender.Push(ctx, row.ID, msg, message.Spec{Fees: r.m.conf.Fees, Expire: r.info.Close})
	if err != nil {
		return nil, fmt.Errorf("push message %s: %w", row.ID, err)
	}
	row.State, row.Handle = ledger.Sent, handle.CID
	r.note(ctx, b, row)
	r.log.Info("Submitted window post:", "partitions", string(a.Batch), "message", row.ID, "cid", handle.CID,
		"from", msg.From.String(), "attempt", a.Attempt, "sectors", len(b.proof.Sectors), "skipped", len(b.proof.Skipped), "epoch", head.Height)
	return deadline.Submitted{Ref: r.ref, Batch: a.Batch}, nil
}

// alreadyThere looks whether the chain shows partitions of the batch as proven.
// All of them: the batch has landed, by whosever message. Some: the others are
// proven without them.
func (r *run) alreadyThere(ctx context.Context, b *batch, head *lotus.TipSet, attempt int) (deadline.Event, error) {
	posted, err := r.m.posted(ctx, r.info, head.Key())
	if err != nil {
		return nil, err
	}
	left := slices.DeleteFunc(slices.Clone(b.partitions), func(p partition) bool { return slices.Contains(posted, p.index) })
	switch len(left) {
	case len(b.partitions):
		return nil, nil
	case 0:
		r.log.Info("the chain shows the partitions as proven", "partitions", string(b.id()), "epoch", head.Height)
		r.mu.Lock()
		row, pushed := b.messages[attempt]
		r.mu.Unlock()
		if pushed { // its push was never answered
			row.State = ledger.Landed
			r.note(ctx, b, row)
		}
		return deadline.MessageLanded{Ref: r.ref, Batch: b.id(), Epoch: head.Height}, nil
	}
	rest := &batch{partitions: left}
	r.add(rest)
	return deadline.Replaced{
		Ref: r.ref, Batch: b.id(), Reason: "other partitions of its batch are on the chain already",
		By: []deadline.PlannedBatch{{ID: rest.id(), Stage: deadline.Proving}},
	}, nil
}

// fresh holds the proof against the chain as it is now: the challenge must be
// the same, and the sectors to be proven too. errStale says that they are not;
// an event, that the batch is another one now.
func (r *run) fresh(ctx context.Context, b *batch, tsk lotus.TipSetKey) (deadline.Event, error) {
	due, err := r.m.toProve(ctx, r.info, tsk)
	if err != nil {
		return nil, err
	}
	now := &batch{partitions: slices.DeleteFunc(due, func(p partition) bool { return !slices.Contains(b.indices(), p.index) })}
	if !slices.Equal(now.indices(), b.indices()) {
		ev := deadline.Replaced{Ref: r.ref, Batch: b.id(), Reason: "the partitions to be proven changed"}
		if len(now.partitions) > 0 {
			r.add(now)
			ev.By = []deadline.PlannedBatch{{ID: now.id(), Stage: deadline.Proving}}
		}
		return ev, nil
	}
	if !slices.Equal(now.sectors(), b.sectors()) {
		b.partitions = now.partitions
		return nil, fmt.Errorf("%w: the sectors to be proven changed", errStale)
	}
	seed, err := r.seedAt(ctx, tsk)
	if err != nil {
		return nil, err
	}
	if b.proof == nil || seed != b.proof.Randomness {
		return nil, fmt.Errorf("%w: the challenge randomness changed", errStale)
	}
	return nil, nil
}

// message is the SubmitWindowedPoSt of a batch. It commits to the chain by the
// ticket of the Challenge epoch, the oldest that the actor accepts.
func (r *run) message(ctx context.Context, b *batch, tsk lotus.TipSetKey) (*lotus.Message, error) {
	rand, err := r.m.cfg.Chain.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, r.info.Challenge, nil, tsk)
	if err != nil {
		return nil, fmt.Errorf("read the commit randomness of epoch %d: %w", r.info.Challenge, err)
	}
	s := submission{
		Deadline: r.info.Index, ProofType: abi.RegisteredPoStProof(b.proof.ProofType), Proof: b.proof.Proof,
		CommitEpoch: r.info.Challenge, CommitRand: rand,
	}
	for _, p := range b.partitions {
		s.Partitions = append(s.Partitions, submittedPartition{Index: p.index, Skipped: without(p.toProve, b.proof.Sectors)})
	}
	params, err := s.encode()
	if err != nil {
		return nil, err
	}
	from, err := r.m.payer(ctx)
	if err != nil {
		return nil, err
	}
	return newMessage(r.m.addr, from, methodSubmit, params), nil
}

// payer chooses the address that pays for the miner's next message.
func (m *miner) payer(ctx context.Context, avoid ...address.Address) (address.Address, error) {
	list, err := m.cfg.Sender.Senders(ctx, message.Wish{
		Miner: m.addr, Configured: m.conf.Senders, Avoid: avoid,
		WorkerFallback: m.conf.AllowWorkerFallback, OwnerFallback: m.conf.AllowOwnerFallback,
	})
	if err != nil {
		return address.Undef, fmt.Errorf("choose the sender: %w", err)
	}
	return list[0].Address, nil
}

// note keeps what is known of a message, in memory and in the ledger.
func (r *run) note(ctx context.Context, b *batch, row ledger.Message) {
	row.UpdatedAt = time.Now()
	r.mu.Lock()
	b.messages[row.Attempt] = row
	r.mu.Unlock()
	r.keep(ctx, "a message", func(ctx context.Context) error { return r.m.cfg.Ledger.PutMessage(ctx, row) })
}
