package chain

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/endpoint"
)

// lagTolerance is how many epochs endpoints may differ and still count as
// equally high: blocks do not reach all nodes at the same moment.
const lagTolerance = 2

// member is one endpoint with its client and its health.
type member struct {
	ep  *endpoint.Endpoint
	rpc rpc

	// guarded by pool.mu
	height  abi.ChainEpoch // 0 until a head was seen
	latency time.Duration
	err     error
	since   time.Time
}

// pool orders the endpoints of a Node.
type pool struct {
	log     *slog.Logger
	members []*member // fixed after New

	mu        sync.Mutex
	preferred *member
}

// order returns the members, the one to ask first at the front: working before
// failing, then higher head, then the one in use, then the faster.
func (p *pool) order() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orderLocked()
}

func (p *pool) orderLocked() []*member {
	out := slices.Clone(p.members)
	if len(out) == 1 {
		return out
	}
	var top abi.ChainEpoch
	for _, m := range out {
		if m.err == nil {
			top = max(top, m.height)
		}
	}
	rank := func(m *member) int {
		switch {
		case m.err != nil:
			return 3
		case m.height != 0 && m.height+lagTolerance < top:
			return 2
		case m == p.preferred:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b *member) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.height, a.height), cmp.Compare(a.latency, b.latency))
	})
	if out[0] != p.preferred {
		if p.preferred != nil {
			p.log.Info("chain node switched", "from", p.preferred.ep.String(), "to", out[0].ep.String())
		}
		p.preferred = out[0]
	}
	return out
}

// report records the outcome of one call. A node that answers with an error
// works.
func (p *pool) report(m *member, err error) {
	for _, answered := range []error{endpoint.ErrAnswered, endpoint.ErrNoMethod, endpoint.ErrPermission} {
		if errors.Is(err, answered) {
			err = nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil && m.err != nil:
		p.log.Info("chain node works again", "node", m.ep.String(), "after", time.Since(m.since))
	case err != nil && m.err == nil:
		m.since = time.Now()
		p.log.Warn("chain node fails", "node", m.ep.String(), "err", err)
	}
	m.err = err
}

// sawHead records the height of m's head and how long it took to ask for it.
func (p *pool) sawHead(m *member, h abi.ChainEpoch, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.height = h
	if m.latency == 0 {
		m.latency = took
	}
	m.latency += (took - m.latency) / 4
}

// lags reports whether m is no longer the endpoint to follow.
func (p *pool) lags(m *member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orderLocked()[0] != m && (m.err != nil || m.height+lagTolerance < p.preferred.height)
}

func (p *pool) status() []EndpointStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.orderLocked()[0]
	out := make([]EndpointStatus, 0, len(p.members))
	for _, m := range p.members {
		height := m.height
		if height == 0 {
			height = -1
		}
		out = append(out, EndpointStatus{Address: m.ep.String(), Preferred: m == first, Height: height, Latency: m.latency, Err: m.err, Since: m.since})
	}
	return out
}
