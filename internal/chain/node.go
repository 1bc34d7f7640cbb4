// Package chain is this system's view of the Filecoin chain: JSON-RPC calls to
// one or several Lotus-compatible nodes, the stream of heads, and the clock
// that ties epochs to wall time.
//
// Node is the client. It keeps several endpoints in order of health and goes
// to the next one when a read fails; calls that change something go to the
// first configured endpoint and no other. Every error names method and endpoint. Node
// does not retry over time: how long a call is worth repeating only its caller
// knows.
package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// service is a Lotus-compatible node, or Venus's chain service.
var service = endpoint.Service{Name: "node", Path: "/rpc/v1", Namespace: "Filecoin", Header: "v1.FullNode"}

// ErrNotFound marks answers that say the chain does not know the actor, the
// sector or the message asked for.
var ErrNotFound = errors.New("not on chain")

// Config says which nodes to use.
type Config struct {
	// Endpoints are the addresses, as in Common.API.Chain of the config file;
	// at least one. See endpoint.Parse for the forms. Where no messager is
	// used, messages are sent through the first: its wallet holds the keys.
	Endpoints []string
	// Token is used for addresses that bring none.
	Token string
	// EventInterval is how long the head stream may be silent before the head
	// is asked for (Common.API.ChainEventInterval). Default 1 minute.
	EventInterval time.Duration
	// ProbeInterval is how often endpoints are compared when there are several.
	// Default 15 seconds.
	ProbeInterval time.Duration
	// CallTimeout bounds one attempt of a read whose context allows more.
	// Default 30 seconds; calls with long answers get four times as much.
	CallTimeout time.Duration
	// Log receives what no caller sees: lost streams, endpoints that fail or
	// come back. Default: nothing is logged.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.EventInterval <= 0 {
		c.EventInterval = time.Minute
	}
	if c.ProbeInterval <= 0 {
		c.ProbeInterval = 15 * time.Second
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Node is a client of one or several nodes of the same network. It is safe for
// concurrent use.
type Node struct {
	cfg   Config
	http  *http.Client
	pool  *pool
	clock atomic.Pointer[Clock]
}

// New returns a client; it does not connect yet. An address that cannot be
// read is an error.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no node address: set Common.API.Chain, like /ip4/127.0.0.1/tcp/1234/ws")
	}
	n := &Node{cfg: cfg, http: endpoint.NewHTTPClient(), pool: &pool{log: cfg.Log}}
	for _, addr := range cfg.Endpoints {
		ep, err := endpoint.Parse(addr, cfg.Token, service)
		if err != nil {
			return nil, err
		}
		m := &member{ep: ep}
		if err := ep.Calls(&m.rpc, n.http); err != nil {
			return nil, err
		}
		n.pool.members = append(n.pool.members, m)
	}
	return n, nil
}

// Close drops idle connections. Follow and Run end with their contexts.
func (n *Node) Close() { n.http.CloseIdleConnections() }

// Run compares the endpoints until ctx ends, so that calls go to the one with
// the highest head and one that failed is taken back when it recovers. With a
// single endpoint there is nothing to compare and it only waits. It returns nil.
func (n *Node) Run(ctx context.Context) error {
	if len(n.pool.members) == 1 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(n.cfg.ProbeInterval)
	defer tick.Stop()
	for {
		n.Probe(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Probe asks every endpoint for its head once, all at the same time.
func (n *Node) Probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, min(n.cfg.CallTimeout, n.cfg.ProbeInterval))
	defer cancel()
	done := make(chan struct{}, len(n.pool.members))
	for _, m := range n.pool.members {
		go func() {
			defer func() { done <- struct{}{} }()
			start := time.Now()
			ts, err := m.rpc.ChainHead(ctx)
			err = checkHead(ts, err)
			n.pool.report(m, m.ep.Explain("ChainHead", err))
			if err == nil {
				n.pool.sawHead(m, ts.Height, time.Since(start))
			}
		}()
	}
	for range n.pool.members {
		<-done
	}
}

func checkHead(ts *lotus.TipSet, err error) error {
	if err == nil && (ts == nil || len(ts.Cids) == 0 || len(ts.Blocks) == 0 || ts.Blocks[0] == nil) {
		return errors.New("the answer is an empty tipset")
	}
	return err
}

// EndpointStatus is the health of one endpoint, for dashboards.
type EndpointStatus struct {
	Address   string         // without token
	Preferred bool           // the next read goes here
	Height    abi.ChainEpoch // highest head seen; -1 before the first
	Latency   time.Duration  // of recent calls, smoothed
	Err       error          // last failure; nil while it works
	Since     time.Time      // of the first failure since it last worked
}

// Status reports every endpoint in the order of the configuration.
func (n *Node) Status() []EndpointStatus { return n.pool.status() }

// read asks the healthiest endpoint and, while ctx lasts and no answer came,
// the next ones. An error that a node answered with is final, another node
// would say the same, unless it shows that this one is behind.
func read[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	return attempt(ctx, n, call{method: method, timeout: n.cfg.CallTimeout}, f)
}

// readLong is read for answers that may take long to make and to carry.
func readLong[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	return attempt(ctx, n, call{method: method, timeout: 4 * n.cfg.CallTimeout}, f)
}

// present refuses null where the node must answer with something.
func present[T any](v *T, err error) (*T, error) {
	if err == nil && v == nil {
		err = errors.New("the answer is empty")
	}
	return v, err
}

// wait is read for calls that last until something happens on chain.
func wait[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	return attempt(ctx, n, call{method: method, patient: true}, f)
}

// atHome asks the first configured endpoint only: its wallet holds the keys and
// its mempool the messages, and a second node that got the same message would
// send it twice.
func atHome[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	return attempt(ctx, n, call{method: method, timeout: 4 * n.cfg.CallTimeout, home: true}, f)
}

type call struct {
	method  string
	timeout time.Duration // of one attempt
	patient bool          // only the context bounds an attempt
	home    bool          // only the home endpoint may be asked
}

func attempt[T any](ctx context.Context, n *Node, c call, f func(context.Context, *rpc) (T, error)) (T, error) {
	members := n.pool.order()
	if c.home {
		members = n.pool.members[:1]
	}
	var first error
	for i, m := range members {
		v, err := one(ctx, n, m, c, len(members)-i, f)
		if err == nil {
			return v, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || !worthAsking(err) {
			break
		}
	}
	var none T
	return none, first
}

// one is a single attempt on m. left is how many endpoints may still be asked,
// m included: a hung one must not use up the time of the others.
func one[T any](ctx context.Context, n *Node, m *member, c call, left int, f func(context.Context, *rpc) (T, error)) (T, error) {
	actx := ctx
	if !c.patient {
		var cancel context.CancelFunc
		actx, cancel = context.WithTimeout(ctx, share(ctx, c, left))
		defer cancel()
	}
	v, err := f(actx, &m.rpc)
	err = explain(m, c.method, err)
	if ctx.Err() == nil || err == nil { // a caller that went away says nothing about the node
		n.pool.report(m, err)
	}
	return v, err
}

// share is the time-out of one attempt: the call's own, or less where the
// context's remaining time has to do for left endpoints.
func share(ctx context.Context, c call, left int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.timeout
	}
	return min(c.timeout, time.Until(deadline)/time.Duration(left))
}

// worthAsking reports whether another endpoint could answer better.
func worthAsking(err error) bool {
	if errors.Is(err, endpoint.ErrAnswered) {
		return isBehind(err)
	}
	return true
}

// isBehind recognises the answers of a node that lacks the tipset asked about,
// which another node may have.
func isBehind(err error) bool {
	msg := err.Error()
	for _, sign := range []string{"loading tipset", "load tipset", "block not found", "ipld: could not find", "blockstore: block not found"} {
		if strings.Contains(msg, sign) {
			return true
		}
	}
	return false
}

// explain names the endpoint and recognises what the chain does not know.
func explain(m *member, method string, err error) error {
	err = m.ep.Explain(method, err)
	if err == nil || !errors.Is(err, endpoint.ErrAnswered) {
		return err
	}
	for _, sign := range []string{"actor not found", "sector not found", "resolution lookup failed"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	return err
}
