// Package gateway plays a Venus gateway for WinningPoSt: miners register and
// receive requests for proofs over a stream; a block producer asks one of them
// and gets the proof back. JSON-RPC namespace Gateway, over websocket.
//
// Source: sophon-gateway, venus-shared/api/gateway/v2/proof_event.go.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/google/uuid"

	"wdpost/lab/devnet/serve"
)

// VenusNamespaces are the header values by which the gateway is addressed, the
// present one and that of older clients.
func VenusNamespaces() []string { return []string{"gateway.IGateway", "v2.gateway.IGateway"} }

// Needs lists the methods that need more than reading.
func Needs() map[string]auth.Permission {
	return map[string]auth.Permission{"ComputeProof": serve.Admin}
}

// ErrNoListener is returned when no connection serves a miner.
var ErrNoListener = errors.New("no connections for this miner")

// Policy says for which miner a client wants requests.
type Policy struct {
	MinerAddress address.Address
}

// Request is one event of the stream.
type Request struct {
	ID      uuid.UUID `json:"Id"`
	Method  string
	Payload []byte // JSON
}

// Response answers a request.
type Response struct {
	ID      uuid.UUID `json:"Id"`
	Payload []byte    // JSON
	Error   string
}

// ComputeProofRequest is the payload of a request with the method ComputeProof.
type ComputeProofRequest struct {
	SectorInfos []proof.ExtendedSectorInfo
	Rand        abi.PoStRandomness
	Height      abi.ChainEpoch
	NWVersion   network.Version
}

// initConnect is the payload of the first event of every stream.
type initConnect struct {
	ChannelId uuid.UUID
}

// Gateway keeps the connections and the requests under way.
type Gateway struct {
	log *slog.Logger

	mu        sync.Mutex
	listeners map[address.Address][]*listener
	waiting   map[uuid.UUID]chan *Response
}

type listener struct {
	id   uuid.UUID
	out  chan *Request
	gone <-chan struct{} // closed with its connection
}

// errClosed is what a request comes to whose connection broke.
var errClosed = errors.New("channel closed")

// New returns a gateway without connections.
func New(log *slog.Logger) *Gateway {
	return &Gateway{
		log:       log,
		listeners: map[address.Address][]*listener{},
		waiting:   map[uuid.UUID]chan *Response{},
	}
}

// Connected returns the miners that have at least one connection.
func (g *Gateway) Connected() []address.Address {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []address.Address
	for a := range g.listeners {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b address.Address) int { return slices.Compare(a.Bytes(), b.Bytes()) })
	return out
}

// listen registers a connection until ctx ends.
func (g *Gateway) listen(ctx context.Context, miner address.Address) (<-chan *Request, error) {
	l := &listener{id: uuid.New(), out: make(chan *Request), gone: ctx.Done()}
	payload, err := json.Marshal(initConnect{ChannelId: l.id})
	if err != nil {
		return nil, fmt.Errorf("encoding the first event: %w", err)
	}
	stream := make(chan *Request)
	go func() {
		defer close(stream)
		first := &Request{ID: uuid.New(), Method: "InitConnect", Payload: payload}
		if !relay(ctx, stream, first) {
			return
		}
		g.register(miner, l)
		defer g.unregister(miner, l)
		for {
			select {
			case r := <-l.out:
				if !relay(ctx, stream, r) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return stream, nil
}

func relay(ctx context.Context, out chan<- *Request, r *Request) bool {
	select {
	case out <- r:
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *Gateway) register(miner address.Address, l *listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listeners[miner] = append(g.listeners[miner], l)
	g.log.Info("winning PoSt listener connected", "miner", miner, "channel", l.id)
}

func (g *Gateway) unregister(miner address.Address, l *listener) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(g.listeners[miner], func(o *listener) bool { return o == l })
	if g.listeners[miner] = rest; len(rest) == 0 {
		delete(g.listeners, miner)
	}
	g.log.Info("winning PoSt listener gone", "miner", miner, "channel", l.id)
}

// Compute asks a miner's connections for a winning proof and returns the answer
// unverified. As the real one does, it asks one of them, chosen at random, and
// takes its answer for final, an error too; where that connection breaks it asks
// all others and takes the first answer.
func (g *Gateway) Compute(ctx context.Context, miner address.Address, q ComputeProofRequest) ([]proof.PoStProof, error) {
	payload, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	g.mu.Lock()
	ls := slices.Clone(g.listeners[miner])
	g.mu.Unlock()
	if len(ls) == 0 {
		return nil, fmt.Errorf("%w %s", ErrNoListener, miner)
	}
	rand.Shuffle(len(ls), func(i, j int) { ls[i], ls[j] = ls[j], ls[i] })
	a, err := g.ask(ctx, ls[0], payload)
	if errors.Is(err, errClosed) && len(ls) > 1 {
		a, err = g.askAll(ctx, ls[1:], payload)
	}
	if err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	var proofs []proof.PoStProof
	if err := json.Unmarshal(a.Payload, &proofs); err != nil {
		return nil, fmt.Errorf("answer of miner %s: %w", miner, err)
	}
	return proofs, nil
}

// ask sends a request down one connection and waits for its answer.
func (g *Gateway) ask(ctx context.Context, l *listener, payload []byte) (*Response, error) {
	r := &Request{ID: uuid.New(), Method: "ComputeProof", Payload: payload}
	answer := make(chan *Response, 1)
	g.mu.Lock()
	g.waiting[r.ID] = answer
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.waiting, r.ID)
	}()
	select {
	case l.out <- r:
	case <-l.gone:
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("send request cancel by context %w", ctx.Err())
	}
	select {
	case a := <-answer:
		return a, nil
	case <-l.gone:
		return nil, errClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("cancel by context %w", ctx.Err())
	}
}

// askAll sends a request down several connections and returns the first answer.
func (g *Gateway) askAll(ctx context.Context, ls []*listener, payload []byte) (*Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		a   *Response
		err error
	}
	results := make(chan result, len(ls))
	for _, l := range ls {
		go func() {
			a, err := g.ask(ctx, l, payload)
			results <- result{a, err}
		}()
	}
	var last error
	for range ls {
		r := <-results
		if r.err == nil {
			return r.a, nil
		}
		last = r.err
	}
	return nil, fmt.Errorf("all request failed: ComputeProof %w", last)
}

// respond hands an answer to whoever asked.
func (g *Gateway) respond(r *Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	ch, ok := g.waiting[r.ID]
	if !ok {
		return fmt.Errorf("request id %s not exit", r.ID)
	}
	delete(g.waiting, r.ID)
	ch <- r
	return nil
}

// API is what the gateway serves: its exported methods are the RPC methods.
type API struct {
	g    *Gateway
	gate *serve.Gate
}

// NewAPI returns the RPC methods of a gateway.
func NewAPI(g *Gateway, gate *serve.Gate) *API { return &API{g: g, gate: gate} }

// ListenProofEvent registers for a miner's requests.
func (a *API) ListenProofEvent(ctx context.Context, p *Policy) (<-chan *Request, error) {
	return serve.Call(a.gate, ctx, "ListenProofEvent", func() (<-chan *Request, error) {
		if p == nil || p.MinerAddress == address.Undef {
			return nil, errors.New("no miner address in the policy")
		}
		return a.g.listen(ctx, p.MinerAddress)
	})
}

// ResponseProofEvent answers a request.
func (a *API) ResponseProofEvent(ctx context.Context, r *Response) error {
	return serve.Do(a.gate, ctx, "ResponseProofEvent", func() error { return a.g.respond(r) })
}

// ComputeProof asks a registered miner for a proof.
func (a *API) ComputeProof(ctx context.Context, miner address.Address, sectors []proof.ExtendedSectorInfo, rand abi.PoStRandomness, height abi.ChainEpoch, version network.Version) ([]proof.PoStProof, error) {
	return serve.Call(a.gate, ctx, "ComputeProof", func() ([]proof.PoStProof, error) {
		return a.g.Compute(ctx, miner, ComputeProofRequest{SectorInfos: sectors, Rand: rand, Height: height, NWVersion: version})
	})
}
