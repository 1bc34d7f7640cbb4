package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/patience"
)

// service is a Lotus-compatible node, or Venus's chain service.
var service = endpoint.Service{Name: "node", Path: "/rpc/v1", Namespace: "Filecoin", Header: "v1.FullNode"}

// ErrNotFound marks answers that say the chain does not know the actor, the
// sector or the message asked for.
var ErrNotFound = errors.New("not on chain")

// Config says which nodes to use.
type Config struct {
	// Endpoints are the addresses, as in Common.API.Chain of the config file;
	// at least one. See endpoint.Parse for the forms. Where two of them are of
	// different networks, the first one's is the right one.
	Endpoints []string
	// Token is used for addresses that bring none.
	Token string
	// EventInterval is how long the head stream may be silent at most before the
	// head is asked for (Common.API.ChainEventInterval); an epoch and a little is
	// enough where that is less. Default 1 minute.
	EventInterval time.Duration
	// ProbeInterval is how often the endpoints are looked at. Default 15
	// seconds, or half an epoch where that is less.
	ProbeInterval time.Duration
	// CallTimeout bounds one try of a read whose context allows more.
	// Default 30 seconds; calls with long answers get four times as much.
	CallTimeout time.Duration
	// HedgeAfter is how long an endpoint may be silent on a read before the next
	// one is asked beside it. Default 4 seconds.
	HedgeAfter time.Duration
	// Transport carries the calls; nil is the network. Head streams do not use it.
	Transport http.RoundTripper
	// Board is told what keeps endpoints from being used; nil for nobody.
	Board *condition.Board
	// Log receives what no caller sees: lost streams, endpoints that fail or
	// come back. Default: nothing is logged.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&c.EventInterval, time.Minute)
	set(&c.ProbeInterval, 15*time.Second)
	set(&c.CallTimeout, 30*time.Second)
	set(&c.HedgeAfter, 4*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Node is a client of one or several nodes of the same network. It is safe for
// concurrent use.
type Node struct {
	*core
	only *member // the one endpoint of a handle; nil for all
}

// core is what a Node and its handles share.
type core struct {
	cfg     Config
	http    *http.Client
	pool    *pool
	clock   atomic.Pointer[Clock]
	heads   headMemory
	grids   grids
	signers signers

	spreading sync.WaitGroup // signed messages on their way to other endpoints
	open      context.Context
	closeAll  context.CancelFunc
}

// New returns a client; it does not connect yet. An address that cannot be
// read is an error. Close ends what it does beside its calls.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no node address: set Common.API.Chain, like /ip4/127.0.0.1/tcp/1234/ws")
	}
	c := &core{cfg: cfg, http: endpoint.NewHTTPClient()}
	if cfg.Transport != nil {
		c.http.Transport = cfg.Transport
	}
	c.open, c.closeAll = context.WithCancel(context.Background())
	c.pool = &pool{log: cfg.Log, board: cfg.Board, now: c.epochNow, delay: c.blockDelay, changed: c.networkChanged}
	for _, addr := range cfg.Endpoints {
		ep, err := endpoint.Parse(addr, cfg.Token, service)
		if err != nil {
			return nil, err
		}
		m := newMember(ep)
		if err := ep.Calls(&m.rpc, c.http); err != nil {
			return nil, err
		}
		c.pool.members = append(c.pool.members, m)
	}
	return &Node{core: c}, nil
}

// closeGrace is how long Close lets signed messages reach the other endpoints.
const closeGrace = 2 * time.Second

// Close ends what was begun beside calls, drops idle connections and clears the
// conditions of its endpoints. Follow and Run end with their contexts.
func (n *Node) Close() {
	lastCall := time.AfterFunc(closeGrace, n.closeAll)
	n.spreading.Wait()
	lastCall.Stop()
	n.closeAll()
	n.http.CloseIdleConnections()
	n.pool.retire()
}

// String is the address of a handle's endpoint, or a word for all of them.
func (n *Node) String() string {
	if n.only != nil {
		return n.only.ep.String()
	}
	return fmt.Sprintf("%d nodes", len(n.pool.members))
}

// Run looks at the endpoints until ctx ends, so that calls go to the best one,
// one that failed is taken back when it recovers, and what is wrong with them
// stands on the board. It returns nil.
func (n *Node) Run(ctx context.Context) error {
	for {
		began := time.Now()
		n.Probe(ctx)
		if patience.Sleep(ctx, max(n.probeInterval()-time.Since(began), 50*time.Millisecond)) != nil {
			return nil
		}
	}
}

// probeInterval is how often to look: three times in the span after which a node
// that stands still is told of.
func (n *Node) probeInterval() time.Duration {
	if clock := n.clock.Load(); clock != nil {
		return min(n.cfg.ProbeInterval, max(clock.BlockDelay/2, 200*time.Millisecond))
	}
	return n.cfg.ProbeInterval
}

// Probe asks every endpoint once what it is, if that is not known, and for its
// head, all at the same time, and judges them. Once one has answered, the others
// have a quarter of an epoch, at least two seconds; where none does, the time of
// any call.
func (n *Node) Probe(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, n.cfg.CallTimeout)
	defer cancel()
	answered := make(chan bool, len(n.pool.members))
	for _, m := range n.pool.members {
		go func() { answered <- n.probe(ctx, limit, m) }()
	}
	short := time.NewTimer(max(n.blockDelay()/4, 2*time.Second))
	defer short.Stop()
	anybody, late := false, false
	for left := len(n.pool.members); left > 0; {
		select {
		case ok := <-answered:
			left--
			anybody = anybody || ok
		case <-short.C:
			late = true
		}
		if late && anybody {
			cancel()
		}
	}
	if ctx.Err() != nil {
		return // the caller went away, that says nothing about the nodes
	}
	clocked, done := context.WithTimeout(ctx, n.cfg.CallTimeout)
	defer done()
	if _, err := n.Clock(clocked); err != nil && ctx.Err() == nil {
		n.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "the clock of the network is not known yet", attr.Err(err))
	}
	n.pool.judge()
}

// errSlow ends a probe that takes too long.
var errSlow = errors.New("no answer to a probe in time")

// probe looks at one endpoint within limit, which ctx contains, and reports
// whether it answered.
func (n *Node) probe(ctx, limit context.Context, m *member) bool {
	start := time.Now()
	err := n.admit(limit, m)
	var ts *lotus.TipSet
	if err == nil {
		ts, err = guarded(func() (*lotus.TipSet, error) {
			ts, err := m.rpc.ChainHead(limit)
			return ts, checkTipSet(ts, err)
		})
		err = m.explain("ChainHead", err)
		n.pool.count(m, err)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return false // the caller went away
	case err != nil && limit.Err() != nil:
		err = m.ep.Explain("ChainHead", errSlow)
	}
	n.pool.report(m, err)
	if err == nil {
		n.pool.sawHead(m, ts, time.Since(start))
	}
	return err == nil
}

// networkChanged forgets what was learned from another network.
func (c *core) networkChanged() {
	c.clock.Store(nil)
	c.heads.forget()
	c.grids.moved(HeadEvent{Reset: true})
}

// epochNow is the epoch that the wall clock shows; false while the network's
// clock is not known.
func (c *core) epochNow() (abi.ChainEpoch, bool) {
	clock := c.clock.Load()
	if clock == nil {
		return 0, false
	}
	return clock.EpochAt(time.Now()), true
}

// headMemory is the head that the follower has reached, the least that ChainHead
// may answer, and the heights of the heads before it.
type headMemory struct {
	mu     sync.Mutex
	head   *lotus.TipSet
	at     time.Time // when it was learned or confirmed
	recent []*lotus.TipSet
}

// keptHeads is how many heads keep their heights in memory.
const keptHeads = 32

// set notes the follower's head.
func (h *headMemory) set(ts *lotus.TipSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head, h.at = ts, time.Now()
	if len(h.recent) > 0 && h.recent[len(h.recent)-1] == ts {
		return
	}
	h.recent = append(h.recent, ts)
	if over := len(h.recent) - keptHeads; over > 0 {
		h.recent = append([]*lotus.TipSet(nil), h.recent[over:]...)
	}
}

func (h *headMemory) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head, h.recent = nil, nil
}

func (h *headMemory) get() (ts *lotus.TipSet, age time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head, time.Since(h.at)
}

// find returns the head of a key, if it was one lately; the present one for the
// empty key.
func (h *headMemory) find(key lotus.TipSetKey) *lotus.TipSet {
	h.mu.Lock()
	defer h.mu.Unlock()
	if key.IsEmpty() {
		return h.head
	}
	for i := len(h.recent) - 1; i >= 0; i-- {
		if h.recent[i].Key().Equals(key) {
			return h.recent[i]
		}
	}
	return nil
}

// blockDelay is the length of an epoch, 0 while it is not known.
func (c *core) blockDelay() time.Duration {
	if clock := c.clock.Load(); clock != nil {
		return clock.BlockDelay
	}
	return 0
}
