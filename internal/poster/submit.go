package poster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
)

// errStale marks a proof that no longer answers the chain's question.
var errStale = errors.New("the proof is out of date")

// ledgerGrace is how long a push waits for the ledger to take its note.
const ledgerGrace = time.Second

// submit makes one attempt to hand over the batch's message. It looks first
// whether the chain still needs it and whether the proof is still right.
func (r *run) submit(ctx context.Context, a deadline.Submit) deadline.Event {
	if !r.m.pause(ctx, a.Try+a.Attempt-1) {
		return nil
	}
	b := r.batch(a.Batch)
	if a.OtherSender {
		r.avoidSendersOf(b, a.Attempt)
	}
	hand := r.handOver
	if r.ref.Kind == deadline.Recovery {
		hand = r.declare
	}
	ev, err := hand(ctx, b, a)
	switch {
	case err == nil:
		return ev
	case errors.Is(err, errStale):
		r.log.Warn("the proof must be made again", attr.Partitions(b.indices()), attr.Err(err))
		b.proof = nil
		r.m.cfg.book.DropProof(r.key, b.indices())
		return deadline.Stale{Ref: r.ref, Batch: a.Batch, Why: failure(err)}
	case ctx.Err() != nil:
		return nil
	}
	r.log.Log(ctx, levelOfTry(a.Try), "the message could not be handed over, retrying", attr.Partitions(b.indices()), attr.Attempt(a.Attempt), attr.Failures(a.Try+1), attr.Err(err))
	r.tell(Outcome{What: MessageRefused, Partitions: b.indices(), Reason: err.Error()})
	return deadline.SubmitFailed{
		Ref: r.ref, Batch: a.Batch, Why: failure(err),
		OtherSender: errors.Is(err, message.ErrNoFunds) || errors.Is(err, message.ErrNoKey),
	}
}

// handOver sends the batch's proof, in three round trips: the head, all that
// depends on it, the push.
func (r *run) handOver(ctx context.Context, b *batch, a deadline.Submit) (deadline.Event, error) {
	head, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Height < r.info.Open {
		return nil, fmt.Errorf("the node is at epoch %d, the window opens at %d", head.Height, r.info.Open)
	}
	tsk := head.Key()
	var (
		posted []uint64
		due    []partition
		seed   [32]byte
		ticket abi.Randomness
		from   address.Address
	)
	err = together(ctx,
		func(ctx context.Context) (err error) { posted, err = r.posted(ctx, tsk); return err },
		func(ctx context.Context) (err error) { due, _, err = r.toProve(ctx, tsk); return err },
		func(ctx context.Context) (err error) { seed, err = r.seedAt(ctx, tsk); return err },
		func(ctx context.Context) (err error) { ticket, err = r.ticketAt(ctx, tsk); return err },
		func(ctx context.Context) (err error) { from, err = r.sender(ctx, b, a.Attempt); return err })
	if err != nil {
		return nil, err
	}
	if ev := r.alreadyThere(b, head, posted, a.Attempt); ev != nil {
		return ev, nil
	}
	if ev, err := r.fresh(b, due, seed); ev != nil || err != nil {
		return ev, err
	}
	msg, err := r.message(b, ticket, from)
	if err != nil {
		return nil, err
	}
	msg.GasLimit = a.GasLimit
	row := ledger.Message{
		ID: postID(r.key, b.proof.Randomness, b.indices(), a.Attempt), RunKey: r.key, Kind: ledger.KindPoSt,
		Partitions: b.indices(), Attempt: a.Attempt, State: ledger.Sending, CreatedAt: time.Now(),
	}
	handle, err := r.push(ctx, b, row, msg, escalate.BaseFee(head))
	if err != nil {
		return nil, err
	}
	r.log.Info("Submitted window post:", attr.Partitions(b.indices()), attr.MessageID(row.ID), attr.Message(handle.CID),
		attr.Sender(from), attr.Attempt(a.Attempt), attr.SectorCount(len(b.proof.Sectors)), attr.Skipped(len(b.proof.Skipped)), attr.Epoch(head.Height))
	return deadline.Submitted{Ref: r.ref, Batch: a.Batch}, nil
}

// push notes a message and hands it over. A sender that cannot pay or sign is
// avoided from then on in this window.
func (r *run) push(ctx context.Context, b *batch, row ledger.Message, msg *lotus.Message, base big.Int) (message.Handle, error) {
	fees := escalate.First(r.m.conf.Fees, r.m.conf.Escalation, base)
	r.note(b, row)
	r.m.cfg.book.Settle(ctx, ledgerGrace)
	r.mu.Lock()
	b.from[row.Attempt] = msg.From
	r.mu.Unlock()
	handle, err := ask(ctx, r.limit(), "push message "+row.ID, func(ctx context.Context) (message.Handle, error) {
		return r.m.cfg.Sender.Push(ctx, row.ID, msg, message.Spec{Fees: fees, Expire: r.closes()})
	})
	if err != nil {
		if errors.Is(err, message.ErrNoFunds) || errors.Is(err, message.ErrNoKey) {
			r.avoidSender(msg.From)
		}
		return handle, err
	}
	row.State, row.Handle = ledger.Sent, handle.CID
	r.note(b, row)
	r.tell(Outcome{What: MessagePushed, Partitions: row.Partitions})
	return handle, nil
}

// sender chooses who pays, after those that failed in this window. A hand-over
// whose end is not known is repeated from the same sender: from another it would
// be a second message where the service does not keep ids.
func (r *run) sender(ctx context.Context, b *batch, attempt int) (address.Address, error) {
	list, err := r.candidates(ctx)
	if err != nil {
		return address.Undef, err
	}
	if len(list) == 0 {
		return address.Undef, fmt.Errorf("choose the sender: %w", message.ErrNoSender)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if tried := b.from[attempt]; tried != address.Undef && !slices.Contains(r.avoid, tried) {
		return tried, nil
	}
	return list[0].Address, nil
}

// candidates asks who can pay, and notes it in the purse.
func (r *run) candidates(ctx context.Context) ([]message.Candidate, error) {
	conf := r.m.conf
	list, err := ask(ctx, r.limit(), "choose the sender", func(ctx context.Context) ([]message.Candidate, error) {
		return r.m.cfg.Sender.Senders(ctx, message.Wish{
			Miner: r.m.addr, Configured: conf.Senders, Avoid: r.avoided(),
			WorkerFallback: conf.AllowWorkerFallback, OwnerFallback: conf.AllowOwnerFallback, Need: conf.Fees.Need(1),
		})
	})
	if err == nil {
		r.m.purse.note(list)
	}
	return list, err
}

// alreadyThere looks whether the chain shows partitions of the batch as proven.
// All of them: the batch has landed, by whosever message. Some: the others are
// proven without them. nil: none.
func (r *run) alreadyThere(b *batch, head *lotus.TipSet, posted []uint64, attempt int) deadline.Event {
	left := slices.DeleteFunc(slices.Clone(b.partitions), func(p partition) bool { return slices.Contains(posted, p.index) })
	switch len(left) {
	case len(b.partitions):
		return nil
	case 0:
		r.log.Info("the chain shows the partitions as proven", attr.Partitions(b.indices()), attr.Epoch(head.Height))
		by := deadline.Another
		for n := attempt; n >= 1; n-- { // a push that was never answered, or an earlier message
			if row, pushed := r.row(b, n); pushed {
				by = deadline.Us
				row.State = ledger.Landed
				r.note(b, row)
				break
			}
		}
		return deadline.MessageLanded{Ref: r.ref, Batch: b.id(), Epoch: head.Height, By: by}
	}
	rest := &batch{partitions: left}
	r.add(rest)
	return deadline.Regrouped{
		Ref: r.ref, Batch: b.id(), Why: deadline.Failure{Text: "other partitions of its batch are on the chain already"},
		By: []deadline.PlannedBatch{{ID: rest.id(), Stage: deadline.Proving}},
	}
}

// fresh holds the proof against the chain as it is now: the challenge must be
// the same, and the sectors to be proven too. errStale says that they are not;
// an event, that the batch is another one now.
func (r *run) fresh(b *batch, due []partition, seed [32]byte) (deadline.Event, error) {
	now := &batch{partitions: slices.DeleteFunc(due, func(p partition) bool { return !slices.Contains(b.indices(), p.index) })}
	if !slices.Equal(now.indices(), b.indices()) {
		ev := deadline.Regrouped{Ref: r.ref, Batch: b.id(), Why: deadline.Failure{Text: "the partitions to be proven changed"}}
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
	if b.proof == nil || seed != b.proof.Randomness {
		return nil, fmt.Errorf("%w: the challenge randomness changed", errStale)
	}
	return nil, nil
}

// ticketAt is what a message commits to the chain by: the ticket of the
// Challenge epoch, the oldest that the actor accepts.
func (r *run) ticketAt(ctx context.Context, tsk lotus.TipSetKey) (abi.Randomness, error) {
	return ask(ctx, r.limit(), fmt.Sprintf("read the commit randomness of epoch %d", r.info.Challenge), func(ctx context.Context) (abi.Randomness, error) {
		return r.m.cfg.Chain.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, r.info.Challenge, nil, tsk)
	})
}

// message is the SubmitWindowedPoSt of a batch.
func (r *run) message(b *batch, ticket abi.Randomness, from address.Address) (*lotus.Message, error) {
	s := submission{
		Deadline: r.info.Index, ProofType: abi.RegisteredPoStProof(b.proof.ProofType), Proof: b.proof.Proof,
		CommitEpoch: r.info.Challenge, CommitRand: ticket,
	}
	for _, p := range b.partitions {
		s.Partitions = append(s.Partitions, submittedPartition{Index: p.index, Skipped: without(p.toProve, b.proof.Sectors)})
	}
	params, err := s.encode()
	if err != nil {
		return nil, err
	}
	return newMessage(r.m.addr, from, methodSubmit, params), nil
}
