package chain

import (
	"context"
	"errors"
	"time"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// nodeHeads is a Node as a source of heads.
type nodeHeads struct{ n *Node }

func (h nodeHeads) ChainHead(ctx context.Context) (*lotus.TipSet, error) { return h.n.askHead(ctx) }

// Limits of how often the head is asked for while a new one is due.
const (
	minAsk = 200 * time.Millisecond
	maxAsk = 4 * time.Second
)

// Patience: while a new head is due it is asked for eight times an epoch, at most
// every fifth of a second and at least every four seconds. A stream has an epoch
// and a quarter, or the configured time, to bring it; without one it is due when
// its epoch begins.
func (h nodeHeads) Patience(head *lotus.TipSet, streams bool) (quiet, every time.Duration) {
	clock := h.n.clock.Load()
	if clock == nil {
		every = min(maxAsk, h.n.cfg.EventInterval)
		if streams && head != nil {
			return h.n.cfg.EventInterval, every
		}
		return every, every
	}
	every = max(minAsk, min(clock.BlockDelay/8, maxAsk))
	switch {
	case head == nil:
		return every, every
	case streams:
		return min(h.n.cfg.EventInterval, clock.BlockDelay*5/4), every
	}
	return max(every, min(time.Until(clock.TimeOf(head.Height+1)), clock.BlockDelay)), every
}

// Subscribe opens ChainNotify on the best endpoint that streams.
func (h nodeHeads) Subscribe(ctx context.Context) (subscription, error) {
	var m *member
	for _, candidate := range h.n.askable(call{method: "ChainNotify"}) {
		if candidate.ep.Streams() {
			m = candidate
			break
		}
	}
	if m == nil {
		for _, other := range h.n.pool.members {
			if other.ep.Streams() { // not usable now, perhaps later
				return subscription{}, h.n.nobody("ChainNotify")
			}
		}
		return subscription{}, errNoStream
	}
	open, cancel := context.WithTimeout(ctx, min(h.n.cfg.CallTimeout, askLimit))
	defer cancel()
	line, hangUp := context.WithCancel(ctx)
	sub, err := h.subscribe(open, line, m)
	h.n.pool.count(m, err)
	if err != nil {
		hangUp()
		if ctx.Err() == nil {
			h.n.pool.shun(m, "ChainNotify", err)
			if endpoint.WithoutEffect(err) {
				h.n.pool.report(m, err)
			}
		}
		return subscription{}, err
	}
	sub.lags = func() bool { return h.n.pool.lags(m) }
	sub.saw = func(ts *lotus.TipSet) { h.n.pool.sawStreamed(m, ts) }
	closeLine := sub.close
	sub.close = func() { hangUp(); closeLine() }
	return sub, nil
}

// subscribe bounds the opening by open; the stream itself lives on line.
func (h nodeHeads) subscribe(open, line context.Context, m *member) (subscription, error) {
	if err := h.n.admit(open, m); err != nil {
		return subscription{}, err
	}
	var s stream
	closed, err := m.ep.Stream(open, &s, h.n.http)
	if err != nil {
		return subscription{}, err
	}
	changes, err := endpoint.Await(open, func(context.Context) (<-chan []*lotus.HeadChange, error) {
		return s.ChainNotify(line)
	})
	if err == nil && changes == nil {
		err = errors.New("the answer has no channel")
	}
	if err != nil {
		closed()
		return subscription{}, m.explain("ChainNotify", err)
	}
	return subscription{name: m.ep.String(), changes: changes, close: closed}, nil
}
