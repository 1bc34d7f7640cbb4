package sender

import (
	"context"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/message"
	"wdpost/internal/patience"
)

// Watch asks for the senders of all wishes again and again until ctx ends, so
// that what is wrong with them stands as a condition before a window needs
// them. A minute is a good interval; the chain's answers are kept for
// Config.Keep, the service's for ten minutes.
func (c *Chooser) Watch(ctx context.Context, every time.Duration, wishes func() []message.Wish) {
	outages := map[string]*patience.Outage{}
	for {
		for _, w := range wishes() {
			name := w.Miner.String()
			if outages[name] == nil {
				outages[name] = &patience.Outage{}
			}
			switch _, err := c.Senders(ctx, w); {
			case ctx.Err() != nil:
				return
			case err != nil:
				outages[name].Failed(c.cfg.Log, "no sender for the miner's messages, retrying", name, attr.Miner(w.Miner), attr.Err(err))
			default:
				outages[name].Over(c.cfg.Log, "the miner has a sender again", attr.Miner(w.Miner))
			}
		}
		if patience.Sleep(ctx, every) != nil {
			return
		}
	}
}
