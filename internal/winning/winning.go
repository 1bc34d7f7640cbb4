// Package winning answers the proof requests of Venus gateways. A block
// producer that won an epoch asks its gateway for a WinningPoSt, the gateway
// asks whoever is registered for that miner, and the answer must be there
// before the epoch ends.
//
// For every gateway and miner one registration is kept alive over its own
// websocket. Requests of all of them are served side by side, the newest first:
// an old one has the least time left to be of use. Every request is answered,
// with a proof or with the error, at the latest when its time is up.
package winning

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/endpoint"
	"wdpost/internal/task"
)

// gateway is the Venus (sophon) gateway. Source: filecoin-project/venus
// venus-shared/api/gateway/v2.
var gateway = endpoint.Service{Name: "gateway", Path: "/rpc/v2", Namespace: "Gateway", Header: "gateway.IGateway"}

// Prover makes a WinningPoSt. The proof it returns is verified. It stops soon
// after ctx ends.
type Prover interface {
	ProveWinningPoSt(context.Context, task.Question) (task.Answer, error)
}

// Locator finds a sector's files by the index, without touching them. updated
// asks for the files of a snap-updated sector.
type Locator interface {
	Locate(ctx context.Context, miner, sector uint64, updated bool) (cacheDir, sealedFile string, err error)
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
	// Concurrent is how many proofs are made at once. Default 2.
	Concurrent int
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
	listeners []*listener
}

// New returns a service; it does not connect yet.
func New(cfg Config) (*Service, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Concurrent <= 0 {
		cfg.Concurrent = 2
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, http: endpoint.NewHTTPClient(), desk: newDesk(cfg.Concurrent)}
	for _, addr := range cfg.Gateways {
		ep, err := endpoint.Parse(addr, cfg.Token, gateway)
		if err != nil {
			return nil, err
		}
		if !ep.Streams() {
			return nil, fmt.Errorf("gateway %s: requests come over a websocket; write the address with ws or wss", ep)
		}
		for _, m := range cfg.Miners {
			l := &listener{svc: s, ep: ep, miner: m, log: cfg.Log.With("gateway", ep.String(), "miner", m.Address.String())}
			l.state = Registration{Gateway: ep.String(), Miner: m.Address}
			if err := ep.Calls(&l.calls, s.http); err != nil {
				return nil, err
			}
			s.listeners = append(s.listeners, l)
		}
	}
	return s, nil
}

// Run keeps all registrations alive until ctx ends, answers what was asked by
// then, and returns nil.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	s.desk.drain()
	s.http.CloseIdleConnections()
	return nil
}

// Registration is the state of one (gateway, miner) pair, for dashboards.
type Registration struct {
	Gateway    string // address without token
	Miner      address.Address
	Registered bool      // the gateway confirmed and the line is up
	Since      time.Time // of the last change of Registered; zero before the first
	Err        error     // why it is not registered; nil while it is
	Answered   int       // requests answered with a proof
	Failed     int       // requests answered with an error
	Unheard    int       // answers that no way could deliver
	LastHeight abi.ChainEpoch
	LastTook   time.Duration // of the last request, from arrival to answer
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
		why[r.Miner] = errors.Join(why[r.Miner], r.Err)
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
// producers to prove within one: development networks count epochs in seconds.
const shortEpoch = 10 * time.Second

// limit is when the answer to a request for height is due: the end of that
// epoch. A height far from now (a trial run, a clock that is off) gets one
// epoch from now, and a request of a network with short epochs shortEpoch.
func (s *Service) limit(height abi.ChainEpoch) time.Time {
	end := s.cfg.Clock.TimeOf(height + 1)
	epoch := end.Sub(s.cfg.Clock.TimeOf(height))
	if epoch < shortEpoch {
		return time.Now().Add(shortEpoch)
	}
	if left := time.Until(end); left <= 0 || left > 2*epoch {
		return time.Now().Add(epoch)
	}
	return end
}
