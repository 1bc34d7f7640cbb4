package poster

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
)

// MinerStatus is what a miner is doing, for people and dashboards.
type MinerStatus struct {
	Miner  address.Address
	Actor  abi.ActorID
	Head   abi.ChainEpoch // 0 before the first head
	Open   *dline.Info    // the deadline whose window is open, nil before the first head
	Active []deadline.State
}

// Status returns the state of every miner now. It waits for nobody.
func (p *Poster) Status() []MinerStatus {
	out := make([]MinerStatus, 0, len(p.miners))
	for _, m := range p.miners {
		m.mu.Lock()
		s := MinerStatus{Miner: m.addr, Actor: m.conf.Miner, Active: m.states}
		if m.seen {
			open := m.last
			s.Head, s.Open = open.CurrentEpoch, &open
		}
		m.mu.Unlock()
		out = append(out, s)
	}
	return out
}

// Recent returns the latest runs of a miner with their outcomes, newest first.
func (p *Poster) Recent(ctx context.Context, miner abi.ActorID, limit int) ([]ledger.Run, error) {
	id := uint64(miner)
	return p.cfg.Ledger.Runs(ctx, ledger.RunQuery{Miner: &id, Limit: limit})
}
