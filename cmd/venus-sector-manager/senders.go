package main

import (
	"context"
	"errors"
	"time"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/message"
)

// senderPause is the wait between two looks for the senders of all miners.
const senderPause = time.Minute

// checkSenders looks whether there is a sender for each miner, so that a wrong
// one is known before the first window needs it. It ends when there is.
func (d *daemon) checkSenders(ctx context.Context, j *joined) {
	for {
		var missing []error
		for _, m := range d.miners(posts) {
			addr, err := address.NewIDAddress(m.Actor)
			if err == nil {
				p := posterMiner(m)
				_, err = j.payers.Senders(ctx, message.Wish{
					Miner: addr, Configured: p.Senders, WorkerFallback: p.AllowWorkerFallback, OwnerFallback: p.AllowOwnerFallback,
				})
			}
			if errors.Is(err, message.ErrNoSender) {
				missing = append(missing, err)
			}
		}
		err := errors.Join(missing...)
		switch known := j.mute.Load() != nil; {
		case err == nil:
			j.mute.Store(nil)
			return
		case !known:
			d.log.Error("nothing can be sent for a miner; looking again", "err", err, "every", senderPause)
		}
		j.mute.Store(&err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(senderPause):
		}
	}
}
