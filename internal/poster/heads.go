package poster

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/patience"
)

// pastPatience is how long the first head waits for what the ledger knows.
const pastPatience = 5 * time.Second

// followHeads tells the loop of each head with the deadline that is open at it.
func (m *miner) followHeads(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-m.past:
	case <-time.After(pastPatience):
	}
	var outage patience.Outage
	var asked dline.Info // as the node told it last
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.heads.filled:
		}
		h, ok := m.heads.take()
		if !ok || h.TipSet == nil {
			continue
		}
		m.clock.sight(h.TipSet.Height)
		info, ok := m.computed(asked, h)
		if !ok {
			told, err := m.provingDeadline(ctx, h)
			switch {
			case err == nil:
				outage.Over(m.log, "the node tells the proving deadline again")
				asked, info = told, told
			case asked.WPoStProvingPeriod > 0 && ctx.Err() == nil:
				// The grid of windows does not change: it follows from before.
				m.log.Debug("the deadline of the head was computed, the node does not tell it", attr.Epoch(h.TipSet.Height), attr.Err(err))
				info = deadline.Current(asked, h.TipSet.Height)
			default:
				if ctx.Err() != nil {
					return
				}
				outage.Failed(m.log, "the node does not tell the proving deadline, retrying", err.Error(), attr.Epoch(h.TipSet.Height), attr.Err(err))
				if m.pause(ctx, 3) {
					m.heads.putBack(h)
				}
				continue
			}
		}
		ev := deadline.Head{Info: info, RevertedFrom: h.RevertedFrom, Reset: h.Reset}
		if len(h.TipSet.Blocks) > 0 && h.TipSet.Blocks[0] != nil {
			ev.BaseFee = h.TipSet.Blocks[0].ParentBaseFee
		}
		m.send(ctx, ev)
	}
}

// computed returns the deadline of a head without asking the node: while the
// window that the node told last is open, nothing else can be.
func (m *miner) computed(asked dline.Info, h Head) (dline.Info, bool) {
	height := h.TipSet.Height
	if asked.WPoStProvingPeriod <= 0 || h.Reset || h.RevertedFrom > 0 || height < max(asked.Open, asked.PeriodStart) || height >= asked.Close {
		return dline.Info{}, false
	}
	asked.CurrentEpoch = height
	return asked, true
}

func (m *miner) provingDeadline(ctx context.Context, h Head) (dline.Info, error) {
	limit := min(m.cfg.CallTimeout, max(m.cfg.BlockDelay, time.Second))
	di, err := ask(ctx, limit, "read the proving deadline", func(ctx context.Context) (*dline.Info, error) {
		return m.cfg.Chain.StateMinerProvingDeadline(ctx, m.addr, h.TipSet.Key())
	})
	if err != nil {
		return dline.Info{}, err
	}
	if di == nil {
		return dline.Info{}, deadline.Sane(dline.Info{})
	}
	info := *di
	info.CurrentEpoch = h.TipSet.Height
	if err := deadline.Sane(info); err != nil {
		return dline.Info{}, err
	}
	return deadline.At(info, deadline.KeyOf(info)), nil
}

// caught ends a panic of the loop: it costs the event that led to it.
func (m *miner) caught() {
	if p := recover(); p != nil {
		m.log.Error("a defect was caught", attr.Panic(p), attr.Stack(debug.Stack()))
	}
}

// headNow is the head that the node tells, not older than the one that the
// machine acts on: an older answer is of another node, or of one that went back.
func (m *miner) olderThanKnown(height abi.ChainEpoch) (known abi.ChainEpoch, older bool) {
	known = m.lastInfo().CurrentEpoch
	return known, height < known-2
}
