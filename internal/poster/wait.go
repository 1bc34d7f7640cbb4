package poster

import (
	"context"
	"errors"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
)

// errNeverSent says that no hand-over of a message has begun.
var errNeverSent = errors.New("the message was never handed over")

// wait watches the batch's message until it is deep on the chain or sure to
// have failed. It goes on over failures of the sender for as long as the run
// lasts.
func (r *run) wait(ctx context.Context, a deadline.Wait) deadline.Event {
	failed := deadline.MessageFailed{Ref: r.ref, Batch: a.Batch}
	row, err := r.messageRow(ctx, a)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, errNeverSent) { // else the reason is that of the failed hand-over
			failed.Reason = err.Error()
		}
		return failed
	}
	out, ok := r.outcome(ctx, row)
	if !ok {
		return nil
	}
	row.Handle, row.Epoch, row.ExitCode = out.Handle.CID, int64(out.Height), int64(out.ExitCode)
	log := r.log.With("partitions", string(a.Batch), "message", row.ID, "cid", row.Handle, "attempt", row.Attempt)
	if out.Succeeded() {
		log.Info("window post message succeeded:", "epoch", out.Height)
		row.State, row.Error = ledger.Landed, ""
		r.noteWaited(ctx, a.Batch, row)
		return deadline.MessageLanded{Ref: r.ref, Batch: a.Batch, Epoch: out.Height}
	}
	failed.Reason = whyFailed(out)
	log.Warn("window post message failed", "reason", failed.Reason, "epoch", out.Height)
	row.State, row.Error = ledger.Failed, failed.Reason
	r.noteWaited(ctx, a.Batch, row)
	return failed
}

// whyFailed says in words how a message failed.
func whyFailed(o message.Outcome) string {
	if o.State == message.Unknown {
		return "the message was never handed over, or the service that should send it lost it"
	}
	return "the message was " + o.String()
}

// messageRow finds what is known of message a.Attempt: in memory, or in the
// ledger for a run of an earlier process.
func (r *run) messageRow(ctx context.Context, a deadline.Wait) (ledger.Message, error) {
	r.mu.Lock()
	if b := r.batches[a.Batch]; b != nil {
		if row, ok := b.messages[a.Attempt]; ok {
			r.mu.Unlock()
			return row, nil
		}
	}
	r.mu.Unlock()
	var rows []ledger.Message
	err := r.m.retry(ctx, func() (err error) {
		rows, err = r.m.cfg.Ledger.Messages(ctx, r.key)
		return err
	})
	for _, row := range rows {
		if row.Kind == ledger.KindPoSt && row.Partitions.String() == string(a.Batch) && row.Attempt == a.Attempt {
			return row, nil
		}
	}
	if err == nil {
		err = errNeverSent
	}
	return ledger.Message{}, err
}

// outcome follows a message to its end; ok is false if ctx ended first. A
// message whose push was never answered is looked up by its id.
func (r *run) outcome(ctx context.Context, row ledger.Message) (out message.Outcome, ok bool) {
	handle := message.Handle{ID: row.ID, CID: row.Handle}
	for try := 0; r.m.pause(ctx, try); try++ {
		if row.State == ledger.Sending {
			found, err := r.m.cfg.Sender.Find(ctx, handle)
			if err != nil {
				r.log.Debug("asking for a message failed; it is asked again", "message", row.ID, "error", err)
				continue
			}
			if found.State == message.Unknown {
				return found, true
			}
			row.State, handle = ledger.Sent, found.Handle
		}
		out, err := r.m.cfg.Sender.Wait(ctx, handle, r.m.conf.confidence())
		if err == nil {
			return out, true
		}
		r.log.Debug("waiting for a message failed; it is waited for again", "message", row.ID, "error", err)
	}
	return message.Outcome{}, false
}

// noteWaited keeps the end of a message, also of one that an earlier process sent.
func (r *run) noteWaited(ctx context.Context, id deadline.BatchID, row ledger.Message) {
	r.mu.Lock()
	b := r.batches[id]
	r.mu.Unlock()
	if b == nil {
		b = &batch{messages: map[int]ledger.Message{}}
	}
	r.note(ctx, b, row)
}
