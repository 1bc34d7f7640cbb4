package cluster

import (
	"context"
	"fmt"
	"strings"

	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

// Verdict judges a run after some deadlines.
type Verdict struct {
	Deadlines int      // closed windows with sectors
	Proven    int      // partitions
	Missed    []string // windows that were not wholly proven, in words
	Breaches  error    // what must never happen and did
}

// Judge goes through everything the chain has seen. A partition counts as
// missed if it was not proven, whatever the reason; in this devnet no sector is
// really lost.
func (c *Cluster) Judge() Verdict {
	report := c.net.Report()
	return Verdict{
		Deadlines: len(report.Outcomes),
		Proven:    report.Count(actor.Proven),
		Missed:    report.Missed(),
		Breaches:  c.net.Check(),
	}
}

// Err is nil if everything was proven and nothing forbidden happened.
func (v Verdict) Err() error {
	switch {
	case v.Breaches != nil:
		return fmt.Errorf("the history of the chain breaks its rules: %w", v.Breaches)
	case len(v.Missed) > 0:
		return fmt.Errorf("missed:\n  %s", strings.Join(v.Missed, "\n  "))
	}
	return nil
}

// String sums the verdict up in a line.
func (v Verdict) String() string {
	return fmt.Sprintf("%d deadlines closed, %d partitions proven, %d deadlines missed", v.Deadlines, v.Proven, len(v.Missed))
}

// WaitDeadlines returns when n windows with sectors have closed for every
// miner, or when ctx ends.
func (c *Cluster) WaitDeadlines(ctx context.Context, n int) error {
	events, cancel := c.net.Events()
	defer cancel()
	for !c.closedForAll(n) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, open := <-events:
			if !open {
				return fmt.Errorf("the chain stopped before %d deadlines had closed", n)
			}
			if e.Kind != devnet.Closed {
				continue
			}
		}
	}
	return nil
}

func (c *Cluster) closedForAll(n int) bool {
	count := map[uint64]int{}
	for _, o := range c.net.Report().Outcomes {
		count[uint64(o.Miner)]++
	}
	for _, m := range c.miners {
		if count[m.ID] < n {
			return false
		}
	}
	return true
}
