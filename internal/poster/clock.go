package poster

import (
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Of the watch over the clock.
const (
	// watchedHeads is how many heads in a row are compared with the clock.
	watchedHeads = 6
	// maxLag is how many epochs a head may be away from the clock.
	maxLag = 3
)

// clock tells the epoch by the wall clock, as long as that can be trusted.
//
// A head that is older than the clock says means one of two things: the node
// stands still or catches up, or this machine's clock is wrong. In the first
// case heads come not at all or faster than one an epoch; in the second they
// come at the pace of the chain, all with the same lag. Then the clock is not
// believed: refusing to send by a wrong clock would miss every window.
type clock struct {
	genesis time.Time // zero: not known
	delay   time.Duration

	mu   sync.Mutex
	seen []sighting // newest last
}

type sighting struct {
	height abi.ChainEpoch
	lag    abi.ChainEpoch // epochs that the head was behind the clock
}

// byTime is the epoch at t, 0 if genesis is not known.
func (c *clock) byTime(t time.Time) abi.ChainEpoch {
	if c.genesis.IsZero() {
		return 0
	}
	return abi.ChainEpoch(t.Sub(c.genesis) / c.delay)
}

// sight notes that a head came now.
func (c *clock) sight(height abi.ChainEpoch) {
	if c.genesis.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.seen); n > 0 && c.seen[n-1].height == height {
		return // the tipset of the same epoch with more blocks
	}
	for n := len(c.seen); n > 0 && c.seen[n-1].height > height; n = len(c.seen) {
		c.seen = c.seen[:n-1] // a reorg
	}
	c.seen = append(c.seen, sighting{height, c.byTime(time.Now()) - height})
	if len(c.seen) > watchedHeads {
		c.seen = c.seen[1:]
	}
}

// trusted reports whether the clock and the heads can be brought together, and
// the lag of the last head.
func (c *clock) trusted() (bool, abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.genesis.IsZero() || len(c.seen) == 0 {
		return !c.genesis.IsZero(), 0
	}
	least, most := c.seen[0].lag, c.seen[0].lag
	for _, s := range c.seen {
		least, most = min(least, s.lag), max(most, s.lag)
	}
	last := c.seen[len(c.seen)-1].lag
	steady := len(c.seen) == watchedHeads && most-least <= 2 && (least > maxLag || most < -maxLag)
	return !steady, last
}

// epoch is the epoch now, 0 if the clock is not known or not to be trusted.
func (c *clock) epoch() abi.ChainEpoch {
	if ok, _ := c.trusted(); !ok {
		return 0
	}
	return c.byTime(time.Now())
}

// timeOf is when an epoch begins; ok is false without a trusted clock.
func (c *clock) timeOf(e abi.ChainEpoch) (t time.Time, ok bool) {
	if ok, _ := c.trusted(); !ok {
		return t, false
	}
	return c.genesis.Add(time.Duration(e) * c.delay), true
}
