package chain

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/patience"
)

const (
	// lagTolerance is how many epochs endpoints may differ and still count as
	// equally high: blocks do not reach all nodes at the same moment.
	lagTolerance = 2
	// freshLimit is how many epochs a head may be off the clock and still count
	// as fresh where endpoints are compared: null rounds make heads old.
	freshLimit = 5
	// refusalLasts is how long an endpoint that refused a method, or was silent
	// on it, is asked after the others.
	refusalLasts = 2 * time.Minute
)

// member is one endpoint with its client and its health.
type member struct {
	ep  *endpoint.Endpoint
	rpc rpc

	admitting chan struct{} // holds a token while somebody looks at what it is

	// guarded by pool.mu
	known    *identity
	foreign  error // why it must not be used
	head     *lotus.TipSet
	moved    time.Time     // when head changed last
	streamed *lotus.TipSet // the newest head that its stream brought
	latency  time.Duration
	err      error
	since    time.Time
	avoid    map[string]time.Time // by method: ask the others first until then
	rest     time.Time            // it asked not to be called before
	calls    uint64
	failures map[endpoint.Category]uint64
	standing map[condition.Kind]bool

	outage patience.Outage
}

func newMember(ep *endpoint.Endpoint) *member {
	return &member{
		ep: ep, avoid: map[string]time.Time{}, failures: map[endpoint.Category]uint64{},
		standing: map[condition.Kind]bool{}, admitting: make(chan struct{}, 1),
	}
}

// height is that of the head it answered last; -1 before the first.
func (m *member) height() abi.ChainEpoch {
	if m.head == nil {
		return -1
	}
	return m.head.Height
}

// pool orders the endpoints of a Node.
type pool struct {
	log     *slog.Logger
	board   *condition.Board
	now     func() (abi.ChainEpoch, bool) // the clock's epoch
	delay   func() time.Duration          // of an epoch; 0 while it is not known
	changed func()                        // the network is another one than before; may be nil
	members []*member                     // fixed after New

	mu        sync.Mutex
	network   *identity // of the first endpoint, in the order of the configuration, that told
	from      *member   // which one that was
	preferred *member
	refusals  map[string]int // by method: in a row, everywhere
}

// order returns the members that may be used, the one to ask a method of first
// at the front.
func (p *pool) order(method string) []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.ranked()
	if len(out) > 0 && out[0] != p.preferred {
		if p.preferred != nil {
			p.log.LogAttrs(context.Background(), slog.LevelInfo, "chain node switched", attr.Endpoint(out[0].ep.String()), attr.Before(p.preferred.ep.String()))
		}
		p.preferred = out[0]
	}
	now := time.Now()
	later := func(m *member) int {
		if now.Before(m.avoid[method]) || now.Before(m.rest) {
			return 1
		}
		return 0
	}
	// A node that refuses one method is still better than one that is behind.
	good := len(out)
	for i, m := range out {
		if p.rank(m, p.top()) != 0 {
			good = i
			break
		}
	}
	slices.SortStableFunc(out[:good], func(a, b *member) int { return cmp.Compare(later(a), later(b)) })
	if good == 0 || later(out[0]) == 0 {
		return out
	}
	slices.SortStableFunc(out[good:], func(a, b *member) int { return cmp.Compare(later(a), later(b)) })
	return out
}

// good is order without the members that are behind or fail, while there are
// others: what waits in their pools, and what they have not seen on the chain,
// says nothing.
func (p *pool) good(method string) []*member {
	all := p.order(method)
	p.mu.Lock()
	defer p.mu.Unlock()
	top := p.top()
	out := slices.DeleteFunc(slices.Clone(all), func(m *member) bool { return p.rank(m, top) != 0 })
	if len(out) == 0 {
		return all
	}
	return out
}

// ranked returns the members that may be used: good ones first, the one in use
// before its equals, then the heaviest, then the fastest. The caller holds mu.
func (p *pool) ranked() []*member {
	out := slices.DeleteFunc(slices.Clone(p.members), func(m *member) bool { return m.foreign != nil })
	top, using := p.top(), p.preferred
	if using == nil {
		using = p.members[0]
	}
	inUse := func(m *member) int {
		if m == using {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b *member) int {
		return cmp.Or(
			cmp.Compare(p.rank(a, top), p.rank(b, top)), cmp.Compare(inUse(a), inUse(b)),
			compareHeads(b.head, a.head), cmp.Compare(a.latency, b.latency),
		)
	})
	return out
}

// rank is 0 for a member that works and is with the others, 1 for one that is
// behind, and 2 for one that fails.
func (p *pool) rank(m *member, top *lotus.TipSet) int {
	switch {
	case m.err != nil:
		return 2
	case m.head != nil && top != nil && (isBehindOf(m.head, top) || p.fresh(top) && !p.fresh(m.head)):
		return 1
	}
	return 0
}

// top is the heaviest head of those that are fresh by the clock, or of all where
// none is. The caller holds mu.
func (p *pool) top() *lotus.TipSet {
	var top *lotus.TipSet
	for _, m := range p.members {
		if m.err != nil || m.foreign != nil || m.head == nil {
			continue
		}
		better := compareHeads(m.head, top) > 0
		if top != nil && p.fresh(m.head) != p.fresh(top) {
			better = p.fresh(m.head)
		}
		if better {
			top = m.head
		}
	}
	return top
}

// fresh reports whether a head is near the clock.
func (p *pool) fresh(ts *lotus.TipSet) bool {
	now, known := p.now()
	return !known || max(now-ts.Height, ts.Height-now) <= freshLimit
}

// isBehindOf reports whether a head is not the one to follow while top is there:
// lower, or on a lighter fork however high that is.
func isBehindOf(ts, top *lotus.TipSet) bool {
	apart := max(ts.Height-top.Height, top.Height-ts.Height)
	return apart > lagTolerance && compareHeads(ts, top) < 0
}

// compareHeads orders heads by weight, or by height where weights are not told.
// nil is less than any.
func compareHeads(a, b *lotus.TipSet) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	wa, wb := weightOf(a), weightOf(b)
	if wa.Sign() > 0 && wb.Sign() > 0 && !wa.Equals(wb) {
		return big.Cmp(wa, wb)
	}
	return cmp.Compare(a.Height, b.Height)
}

func weightOf(ts *lotus.TipSet) big.Int {
	if w := ts.Blocks[0].ParentWeight; !w.Nil() {
		return w
	}
	return big.Zero()
}

// count adds one call to the member's numbers.
func (p *pool) count(m *member, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.calls++
	if c := endpoint.CategoryOf(err); c != "" {
		m.failures[c]++
	}
}

// report records whether the member works. One that answers with an error does.
func (p *pool) report(m *member, err error) {
	for _, answered := range []error{endpoint.ErrAnswered, endpoint.ErrNoMethod, endpoint.ErrPermission, endpoint.ErrLimited} {
		if errors.Is(err, answered) {
			err = nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, endpoint.ErrForeign) {
		return // judge tells of it
	}
	at := attr.Endpoint(m.ep.String())
	switch {
	case err == nil:
		m.outage.Over(p.log, "chain node works again", at)
		if m.err != nil {
			m.known = nil // another node may stand there now
		}
	default:
		if m.err == nil {
			m.since = time.Now()
		}
		m.outage.Failed(p.log, "chain node fails", string(endpoint.CategoryOf(err)), at, attr.Err(err))
	}
	m.err = err
}

// shun asks the others first for a method, or for everything where the service
// asked for rest.
func (p *pool) shun(m *member, method string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if after, limited := endpoint.RetryAfter(err); limited {
		m.rest = time.Now().Add(min(after, refusalLasts))
		return
	}
	m.avoid[method] = time.Now().Add(refusalLasts)
}

// shunned reports whether the others are asked first for a method.
func (p *pool) shunned(m *member, method string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	return now.Before(m.avoid[method]) || now.Before(m.rest)
}

// sawHead records the head that m answered with and how long that took, 0 for
// not known.
func (p *pool) sawHead(m *member, ts *lotus.TipSet, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.head == nil || !m.head.Key().Equals(ts.Key()) {
		m.head, m.moved = ts, time.Now()
	}
	if took <= 0 {
		return
	}
	if m.latency == 0 {
		m.latency = took
	}
	m.latency += (took - m.latency) / 4
}

// sawStreamed records a head that m's stream brought.
func (p *pool) sawStreamed(m *member, ts *lotus.TipSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.streamed = ts
}

// lags reports whether m is no longer the endpoint to follow.
func (p *pool) lags(m *member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.ranked()
	return len(out) > 0 && out[0] != m && (m.foreign != nil || p.rank(m, p.top()) > p.rank(out[0], p.top()))
}

// EndpointStatus is the health of one endpoint, for dashboards and metrics.
type EndpointStatus struct {
	Address   string                       // without token
	Preferred bool                         // the next read goes here
	Up        bool                         // it answers and may be used
	Height    abi.ChainEpoch               // of the head it answered last; -1 before the first
	Lag       abi.ChainEpoch               // epochs that head is behind the clock; 0 while that is not known
	Latency   time.Duration                // of recent calls, smoothed
	Calls     uint64                       // made so far
	Errors    map[endpoint.Category]uint64 // failed calls so far, by category
	Err       error                        // last failure, or why it is not used; nil while it works
	Since     time.Time                    // of the first failure since it last worked
}

func (p *pool) status() []EndpointStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first *member
	if out := p.ranked(); len(out) > 0 {
		first = out[0]
	}
	now, clocked := p.now()
	out := make([]EndpointStatus, 0, len(p.members))
	for _, m := range p.members {
		s := EndpointStatus{
			Address: m.ep.String(), Preferred: m == first, Up: m.err == nil && m.foreign == nil, Height: m.height(),
			Latency: m.latency, Calls: m.calls, Errors: maps.Clone(m.failures), Err: m.err, Since: m.since,
		}
		if m.foreign != nil {
			s.Err = m.foreign
		}
		if clocked && m.head != nil {
			s.Lag = max(0, now-m.head.Height)
		}
		out = append(out, s)
	}
	return out
}

// Status reports every endpoint in the order of the configuration.
func (n *Node) Status() []EndpointStatus { return n.pool.status() }
