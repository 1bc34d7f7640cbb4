package poster

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
	"wdpost/internal/patience"
)

// rewatch ends what followed an earlier message of the batch, and returns the
// context of what follows the new one.
func (r *run) rewatch(id deadline.BatchID) context.Context {
	ctx, cancel := context.WithCancel(r.all)
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.watching[id]; old != nil {
		old()
	}
	r.watching[id] = cancel
	return ctx
}

// watch follows the batch's message and reports whenever something about it
// changes, until nothing more can: it is deep on the chain, or it came to
// nothing. It goes on over failures of the sender for as long as the run lasts.
func (r *run) watch(ctx context.Context, a deadline.Watch) deadline.Event {
	b, row, ok := r.messageRow(ctx, a)
	if ctx.Err() != nil {
		return nil
	}
	if !ok {
		return deadline.MessageSeen{Ref: r.ref, Batch: a.Batch, Attempt: a.Attempt}
	}
	var outage patience.Outage
	var last message.Outcome
	first := true
	for {
		if now, ok := r.row(b, a.Attempt); ok {
			row = now // it may have been replaced meanwhile
		}
		seen, err := ask(ctx, r.m.cfg.CallTimeout, "look for message "+row.ID, func(ctx context.Context) (message.Outcome, error) {
			return r.m.cfg.Sender.Find(ctx, message.Handle{ID: row.ID, CID: row.Handle})
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			outage.Failed(r.log, "asking for a message failed, retrying", err.Error(), attr.MessageID(row.ID), attr.Err(err))
		default:
			outage.Over(r.log, "the message is told of again", attr.MessageID(row.ID))
			if seen.Handle.CID != "" {
				row.Handle = seen.Handle.CID
			}
			ended := seen.Settled(r.m.conf.confidence())
			if changed := differs(last, seen); changed || first || ended {
				row = r.noteSeen(b, row, seen)
				ev := deadline.MessageSeen{Ref: r.ref, Batch: a.Batch, Attempt: a.Attempt, Seen: seen}
				if ended {
					return ev
				}
				r.m.send(ctx, ev)
				first, last = false, seen
			}
		}
		if r.m.purse.isShort() {
			if _, err := r.candidates(ctx); err != nil && ctx.Err() == nil {
				r.log.Debug("the senders' balances are not told", attr.Err(err))
			}
		}
		if patience.Sleep(ctx, r.m.cfg.BlockDelay/2) != nil {
			return nil
		}
	}
}

// differs reports whether there is anything new to tell.
func differs(a, b message.Outcome) bool {
	return a.State != b.State || a.ExitCode != b.ExitCode || a.Height != b.Height || a.Reason != b.Reason ||
		a.Signed != b.Signed || a.Before != b.Before || a.Price.String() != b.Price.String()
}

// noteSeen logs and keeps what became of a message.
func (r *run) noteSeen(b *batch, row ledger.Message, seen message.Outcome) ledger.Message {
	log := r.log.With(attr.Partitions(row.Partitions), attr.MessageID(row.ID), attr.Message(row.Handle), attr.Attempt(row.Attempt))
	was := row.State
	switch {
	case seen.Succeeded():
		row.Epoch, row.ExitCode, row.Error = int64(seen.Height), 0, ""
		if seen.Landed(r.m.conf.confidence()) {
			row.State = ledger.Landed
			if row.Kind == ledger.KindRecovery {
				log.Info("declare faults recovered message succeeded", attr.Epoch(seen.Height))
			} else {
				log.Info("window post message succeeded:", attr.Epoch(seen.Height))
			}
		}
	case seen.State == message.Executed, seen.State == message.Dropped:
		row.State, row.Epoch, row.ExitCode, row.Error = ledger.Failed, int64(seen.Height), int64(seen.ExitCode), seen.String()
		text := "window post message failed"
		if row.Kind == ledger.KindRecovery {
			text = "declare faults recovered message failed"
		}
		log.Warn(text, attr.Reason(seen.String()), attr.Epoch(seen.Height))
	case seen.State == message.Pending:
		row.State = ledger.Sent
		if seen.Reason != "" {
			log.Warn("the message is not executed yet", attr.Reason(seen.Reason), attr.Price(seen.Price.String()))
		}
	}
	if row.State != was || row.Epoch != 0 {
		r.note(b, row)
	}
	if row.State != was && (row.State == ledger.Landed || row.State == ledger.Failed) {
		r.tell(Outcome{What: MessageEnded, Partitions: row.Partitions, Message: seen, Failed: row.State == ledger.Failed, Reason: row.Error})
	}
	if seen.From != address.Undef {
		r.mu.Lock()
		b.from[row.Attempt] = seen.From
		r.mu.Unlock()
	}
	return row
}

// messageRow finds what is known of message a.Attempt: in memory, or in the
// ledger for a run of an earlier process. ok is false where no hand-over of it
// has begun.
func (r *run) messageRow(ctx context.Context, a deadline.Watch) (b *batch, row ledger.Message, ok bool) {
	if b = r.batch(a.Batch); b != nil {
		if row, ok = r.row(b, a.Attempt); ok {
			return b, row, true
		}
	} else {
		b = &batch{name: a.Batch}
		r.add(b)
	}
	for try := 0; r.m.pause(ctx, try) && try <= ledgerPatience; try++ {
		if r.m.cfg.book.Read(ctx, r.key, readLimit) == nil {
			break
		}
	}
	for _, row := range r.m.cfg.book.Messages(r.key) {
		if r.names(row) == a.Batch && row.Attempt == a.Attempt {
			r.mu.Lock()
			b.messages[row.Attempt] = row
			r.mu.Unlock()
			return b, row, true
		}
	}
	return b, ledger.Message{}, false
}

// names is the batch that a message of the ledger belongs to, "" for one of the
// other kind.
func (r *run) names(row ledger.Message) deadline.BatchID {
	switch {
	case r.ref.Kind == deadline.PoSt && row.Kind == ledger.KindPoSt:
		return deadline.BatchID(row.Partitions.String())
	case r.ref.Kind == deadline.Recovery && row.Kind == ledger.KindRecovery:
		return declarationID(row.Partitions, row.Sectors)
	}
	return ""
}

// replace offers a message at another price.
func (r *run) replace(ctx context.Context, a deadline.Replace) deadline.Event {
	ev := deadline.Replaced{Ref: r.ref, Batch: a.Batch, Attempt: a.Attempt}
	b := r.batch(a.Batch)
	row, ok := r.row(b, a.Attempt)
	if !ok {
		return ev
	}
	handle, err := ask(ctx, r.limit(), "replace message "+row.ID, func(ctx context.Context) (message.Handle, error) {
		return r.m.cfg.Sender.Replace(ctx, message.Handle{ID: row.ID, CID: row.Handle}, a.Price)
	})
	r.tell(Outcome{What: MessageRaised, Partitions: row.Partitions, Reason: a.Why, Failed: err != nil})
	if err != nil {
		r.log.Warn("the message could not be offered at a higher price, retrying", attr.Partitions(row.Partitions), attr.MessageID(row.ID), attr.Price(a.Price.String()), attr.Reason(a.Why), attr.Err(err))
		if message.IsRefused(err) {
			r.m.purse.budget.Undo(row.ID)
		}
		ev.Why = failure(err)
		return ev
	}
	r.log.Info("the message was offered at a higher price", attr.Partitions(row.Partitions), attr.MessageID(row.ID), attr.Message(handle.CID), attr.Price(a.Price.String()), attr.Reason(a.Why))
	if now, ok := r.row(b, a.Attempt); ok && handle.CID != "" && now.State == ledger.Sent {
		now.Handle = handle.CID
		r.note(b, now)
	}
	return ev
}

// giveUp takes a message back. Its sender is avoided from then on.
func (r *run) giveUp(ctx context.Context, a deadline.GiveUp) deadline.Event {
	ev := deadline.GaveUp{Ref: r.ref, Batch: a.Batch, Attempt: a.Attempt}
	b := r.batch(a.Batch)
	row, ok := r.row(b, a.Attempt)
	if !ok {
		return ev
	}
	_, err := ask(ctx, r.m.cfg.CallTimeout, "take back message "+row.ID, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.m.cfg.Sender.GiveUp(ctx, message.Handle{ID: row.ID, CID: row.Handle})
	})
	r.tell(Outcome{What: MessageGivenUp, Partitions: row.Partitions, Reason: a.Why, Failed: err != nil})
	if err != nil {
		r.log.Warn("the message could not be taken back", attr.Partitions(row.Partitions), attr.MessageID(row.ID), attr.Reason(a.Why), attr.Err(err))
		ev.Why = deadline.Failure{Text: fmt.Sprintf("%s; %v", a.Why, err)}
		return ev
	}
	r.log.Warn("the message was taken back", attr.Partitions(row.Partitions), attr.MessageID(row.ID), attr.Reason(a.Why))
	if r.working.Err() == nil { // else it was only too late
		r.mu.Lock()
		from := b.from[a.Attempt]
		r.mu.Unlock()
		r.avoidSender(from)
	}
	return ev
}
