package chain

import (
	"context"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/lotus"
)

// grids keeps the proving periods of miners, so that the deadline at a new head
// is computed and not asked for. A grid is asked for again when its period is
// over, when the chain was reverted to below where it was learned, and after a
// reset of the head.
type grids struct {
	mu   sync.Mutex
	of   map[address.Address]grid
	lost uint64 // counts what made grids invalid while they were asked for
}

// grid is the period of one miner as the chain told it at a height.
type grid struct {
	info dline.Info
	at   abi.ChainEpoch
}

// find computes the deadline of a miner at an epoch; nil when the grid does not
// reach there.
func (g *grids) find(miner address.Address, now abi.ChainEpoch) *dline.Info {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.of[miner]
	p := known.info
	if !ok || now < known.at || now < p.PeriodStart || now >= p.PeriodStart+p.WPoStProvingPeriod {
		return nil
	}
	index := uint64((now - p.PeriodStart) / p.WPoStChallengeWindow)
	return dline.NewInfo(p.PeriodStart, index, now, p.WPoStPeriodDeadlines, p.WPoStProvingPeriod,
		p.WPoStChallengeWindow, p.WPoStChallengeLookback, p.FaultDeclarationCutoff)
}

// begin returns what put must be given for an answer that is asked for now.
func (g *grids) begin() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost
}

// put keeps an answer, unless the chain moved backwards since it was asked for.
// Only a period that has begun is kept.
func (g *grids) put(miner address.Address, d *dline.Info, began uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if began != g.lost || d.CurrentEpoch < d.PeriodStart || !d.IsOpen() {
		return
	}
	if g.of == nil {
		g.of = map[address.Address]grid{}
	}
	g.of[miner] = grid{info: *d, at: d.CurrentEpoch}
}

// moved forgets what a move of the head makes doubtful.
func (g *grids) moved(e HeadEvent) {
	if !e.Reset && len(e.Revert) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost++
	if e.Reset {
		clear(g.of)
		return
	}
	lowest := e.Revert[len(e.Revert)-1].Height
	for miner, known := range g.of {
		if known.at >= lowest {
			delete(g.of, miner)
		}
	}
}

// StateMinerProvingDeadline returns the deadline current at tsk. For a miner that
// is new its period may begin before the chain did; see dline.Info.PeriodStarted.
// At a head that Follow has delivered lately it is computed from the period that
// the node told last, and costs no call.
func (n *Node) StateMinerProvingDeadline(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*dline.Info, error) {
	at := n.heads.find(tsk)
	if at != nil && n.only == nil {
		if d := n.grids.find(miner, at.Height); d != nil {
			return d, nil
		}
	}
	began := n.grids.begin()
	now, clocked := n.heightNow()
	d, err := read(ctx, n, "StateMinerProvingDeadline", func(ctx context.Context, r *rpc) (*dline.Info, error) {
		d, err := present(r.StateMinerProvingDeadline(ctx, miner, tsk))
		if err == nil {
			err = checkDeadline(d, now, clocked)
		}
		return d, err
	})
	if err == nil && at != nil && d.CurrentEpoch == at.Height {
		n.grids.put(miner, d, began)
	}
	return d, err
}
