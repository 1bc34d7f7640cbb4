package message

import (
	"context"
	"fmt"
	"time"

	"wdpost/internal/patience"
)

// Follow is the Wait of a Sender made of its Find: it looks every interval until
// the outcome is settled, bridges failures, and ends with an error only with
// ctx, whose cause and the last failure it carries.
func Follow(ctx context.Context, find func(context.Context, Handle) (Outcome, error), h Handle, confidence uint64, every time.Duration) (Outcome, error) {
	for {
		o, err := find(ctx, h)
		if err == nil && o.Settled(confidence) {
			return o, nil
		}
		if patience.Sleep(ctx, every) != nil {
			ended := fmt.Errorf("waiting for message %s: %w", h, context.Cause(ctx))
			if err != nil {
				return Outcome{}, fmt.Errorf("%w; the last failure was: %w", ended, err)
			}
			return Outcome{}, ended
		}
		if err == nil && o.Handle.CID != "" {
			h.CID = o.Handle.CID
		}
	}
}
