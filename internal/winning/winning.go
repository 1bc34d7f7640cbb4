// Package winning answers the proof requests of Venus gateways. A block
// producer that won an epoch asks its gateway for a WinningPoSt, the gateway
// asks whoever is registered for that miner, and the answer must be there
// within half an epoch, counted from the beginning of the request's epoch:
// later the block is of no use.
//
// For every gateway and miner one registration is kept alive over its own
// websocket. Requests of all of them are served side by side, the newest first:
// an old one has the least time left to be of use. The same request of several
// gateways is proven once. A sector that cannot be read is tried from its other
// copies.
//
// A gateway asks one connection of a miner, and takes what it says for final,
// an error too; only where that connection breaks it asks the others. So a
// request that this manager cannot prove is given away by hanging up and
// registering again, and answered with its error only when its time is up.
package winning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/task"
)

// gateways are the forms of the Venus (sophon) gateway, the newest first: v1.8
// and older serve /rpc/v0 and /rpc/v1, newer ones /rpc/v2. The methods are the
// same. An address with a path of its own is taken as it is. Source:
// filecoin-project/venus venus-shared/api/gateway, sophon-gateway main.go.
func gateways() []endpoint.Service {
	var out []endpoint.Service
	for _, path := range []string{"/rpc/v2", "/rpc/v1", "/rpc/v0"} {
		out = append(out, endpoint.Service{Name: "gateway", Path: path, Namespace: "Gateway", Header: "gateway.IGateway"})
	}
	return out
}

// Prover makes a WinningPoSt. The proof it returns is verified. It stops soon
// after ctx ends.
type Prover interface {
	ProveWinningPoSt(context.Context, task.Question) (task.Answer, error)
}

// Locator finds all copies of a sector's files by the index, without touching
// them, the best first. updated asks for the files of a snap-updated sector.
type Locator interface {
	Locate(ctx context.Context, miner, sector uint64, updated bool) ([]Files, error)
}

// Files is where one copy of a sector lies.
type Files struct {
	CacheDir   string
	SealedFile string
}

// Clock is the wall time at which an epoch begins.
type Clock interface {
	TimeOf(abi.ChainEpoch) time.Time
}

// Miner is a miner whose requests are answered.
type Miner struct {
	Address address.Address
	// SectorSize in bytes; 0 takes it from the seal proof of the request.
	SectorSize uint64
}

// Config says whom to serve and how.
type Config struct {
	Gateways []string // Common.API.Gateway; see endpoint.Parse for the forms
	Token    string   // used for gateways that bring none
	Miners   []Miner
	Prover   Prover
	Locator  Locator
	Clock    Clock
	// Concurrent is how many proofs are made at once. Default: half of the
	// cores, at least 2. A single proof does not use them all for all of its
	// time.
	Concurrent int
	// Board receives gateways that are away and proofs that fail.
	Board *condition.Board
	// Log receives requests and registrations. Default: nothing is logged.
	Log *slog.Logger
}

func (c Config) validate() error {
	switch {
	case len(c.Gateways) == 0:
		return errors.New("no gateway to take winning post requests from: set Common.API.Gateway, like [\"/ip4/127.0.0.1/tcp/45132/ws\"]")
	case len(c.Miners) == 0:
		return errors.New("no miner to answer winning post requests for: set Enabled in a [Miners.Proof]")
	case c.Prover == nil || c.Locator == nil || c.Clock == nil:
		return errors.New("winning post service without prover, locator or clock")
	}
	for _, m := range c.Miners {
		if m.Address.Protocol() != address.ID {
			return fmt.Errorf("miner %s: winning post requests need its ID address", m.Address)
		}
	}
	return nil
}

// Service keeps the registrations and answers the requests.
type Service struct {
	cfg       Config
	http      *http.Client
	desk      *desk
	flights   flights
	listeners []*listener

	confirmIn, quietAfter time.Duration

	raising sync.Mutex // one look at all registrations at a time
}

// New returns a service; it does not connect yet.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Concurrent <= 0 {
		cfg.Concurrent = max(2, runtime.GOMAXPROCS(0)/2)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, http: endpoint.NewHTTPClient(), desk: newDesk(cfg.Concurrent), confirmIn: confirmTimeout, quietAfter: quietAfter}
	for _, addr := range cfg.Gateways {
		for _, m := range cfg.Miners {
			l, err := s.newListener(addr, m)
			if err != nil {
				return nil, err
			}
			s.listeners = append(s.listeners, l)
		}
	}
	return s, nil
}

func (s *Service) newListener(addr string, m Miner) (*listener, error) {
	l := &listener{svc: s, miner: m}
	for _, svc := range gateways() {
		ep, err := endpoint.Parse(addr, s.cfg.Token, svc)
		if err != nil {
			return nil, err
		}
		if !ep.Streams() {
			return nil, fmt.Errorf("gateway %s: requests come over a websocket; write the address with ws or wss", ep)
		}
		if slices.ContainsFunc(l.ways, func(w *way) bool { return w.ep.String() == ep.String() }) {
			continue // the address names its path
		}
		w := &way{ep: ep}
		if err := ep.Calls(&w.calls, s.http); err != nil {
			return nil, err
		}
		l.ways = append(l.ways, w)
	}
	name := l.ways[0].ep.String()
	l.log = s.cfg.Log.With(attr.Endpoint(name), attr.Miner(m.Address))
	l.state = Registration{Gateway: name, Miner: m.Address}
	return l, nil
}

// Run keeps all registrations alive until ctx ends, hangs up, so that another
// manager is asked for what is under way, and returns nil.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	s.desk.drain()
	s.clear()
	s.http.CloseIdleConnections()
	return nil
}

// Registration is the state of one (gateway, miner) pair, for dashboards.
type Registration struct {
	Gateway    string          `json:"gateway"` // address without token
	Miner      address.Address `json:"miner"`
	Registered bool            `json:"registered"`       // the gateway confirmed and the line is up
	Since      time.Time       `json:"since"`            // of the last change of Registered; zero before the first
	Reason     string          `json:"reason,omitempty"` // why it is not registered; empty while it is
	Answered   int             `json:"answered"`         // requests answered with a proof
	Failed     int             `json:"failed"`           // requests given away or answered with an error
	Unheard    int             `json:"unheard"`          // answers that no way could deliver
	Late       int             `json:"late"`             // of all these, those that ended after their time
	LastHeight abi.ChainEpoch  `json:"lastHeight"`
	LastTook   time.Duration   `json:"lastTook"`            // of the last request, from arrival to answer, in ns
	LastMargin time.Duration   `json:"lastMargin"`          // what was left of its time, in ns; negative when it was late
	LastError  string          `json:"lastError,omitempty"` // why the last request failed; empty after a proof
}

// Status reports all registrations, gateways in the order of the configuration.
func (s *Service) Status() []Registration {
	out := make([]Registration, len(s.listeners))
	for i, l := range s.listeners {
		out[i] = l.status()
	}
	return out
}

// Healthy returns nil when every miner is registered at one gateway at least.
func (s *Service) Healthy() error {
	up := map[address.Address]bool{}
	why := map[address.Address]error{}
	for _, r := range s.Status() {
		up[r.Miner] = up[r.Miner] || r.Registered
		if r.Reason != "" {
			why[r.Miner] = errors.Join(why[r.Miner], errors.New(r.Reason))
		}
	}
	var errs []error
	for _, m := range s.cfg.Miners {
		if !up[m.Address] {
			errs = append(errs, fmt.Errorf("miner %s is registered at no gateway: %w", m.Address, errors.Join(why[m.Address], errNotYet)))
		}
	}
	return errors.Join(errs...)
}

var errNotYet = errors.New("winning post requests do not arrive")

// shortEpoch is the epoch length below which a network cannot mean its
// producers to prove within half of one: development networks count epochs in
// seconds.
const shortEpoch = 10 * time.Second

// limit is when the answer to a request for height is due: half an epoch after
// that epoch begins. A height far from now (a trial run, a clock that is off)
// gets half an epoch from now, and a request of a network with short epochs
// shortEpoch.
func (s *Service) limit(height abi.ChainEpoch) time.Time {
	begin := s.cfg.Clock.TimeOf(height)
	epoch := s.cfg.Clock.TimeOf(height + 1).Sub(begin)
	if epoch < shortEpoch {
		return time.Now().Add(shortEpoch)
	}
	due := begin.Add(epoch / 2)
	if left := time.Until(due); left <= 0 || left > 2*epoch {
		return time.Now().Add(epoch / 2)
	}
	return due
}
