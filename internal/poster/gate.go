package poster

import (
	"context"
	"sync"
	"time"
)

// gate lets one batch prove at a time, unless Parallel. It is held over the
// proof alone, and it never holds others for longer than a proof usually takes:
// whoever waits goes in when the holder has had that time, for a prover that
// hangs over one batch must not cost the others.
type gate struct {
	open bool // nobody waits: Parallel

	mu      sync.Mutex
	since   time.Time     // when the last one went in; zero while nobody is inside
	inside  int           // how many are
	changed chan struct{} // closed and made anew when one leaves
	usual   func() time.Duration
}

func newGate(parallel bool, usual func() time.Duration) *gate {
	return &gate{open: parallel, changed: make(chan struct{}), usual: usual}
}

// enter waits for the turn. The error is that of ctx.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	for {
		g.mu.Lock()
		left := time.Until(g.since.Add(g.usual()))
		if g.open || g.inside == 0 || left <= 0 {
			g.inside++
			g.since = time.Now()
			g.mu.Unlock()
			return sync.OnceFunc(g.leave), nil
		}
		changed := g.changed
		g.mu.Unlock()
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	close(g.changed)
	g.changed = make(chan struct{})
}

// pace remembers how long proofs take.
type pace struct {
	mu   sync.Mutex
	last time.Duration // of the slowest of late, falling slowly
}

// took notes one proof.
func (p *pace) took(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = max(d, p.last-p.last/8)
}

// usual is half as much again as proofs took of late, or otherwise.
func (p *pace) usual(otherwise time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == 0 {
		return otherwise
	}
	return p.last * 3 / 2
}
