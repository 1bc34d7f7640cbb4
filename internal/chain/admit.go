package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/patience"
)

// identity is what an endpoint is: which network it follows. A part that it
// would not tell is empty.
type identity struct {
	network string
	genesis cid.Cid
}

// differs reports whether two endpoints follow different networks. The block of
// genesis decides; networks of one name may be many.
func (i identity) differs(o identity) bool {
	if i.genesis.Defined() && o.genesis.Defined() {
		return i.genesis != o.genesis
	}
	return i.network != "" && o.network != "" && i.network != o.network
}

func (i identity) String() string {
	if i.genesis.Defined() {
		return fmt.Sprintf("%q with genesis %s", i.network, i.genesis)
	}
	return fmt.Sprintf("%q", i.network)
}

// API versions that Version tells, major in the third byte: the API of a full
// node is 2.x on /rpc/v1; 1.5 is that of /rpc/v0 and of a lotus-miner.
const (
	majorOfV1 = 2
	majorOfV0 = 1
)

// admit finds out once what an endpoint is, and again after an outage. An error
// means that it must not be used (ErrForeign) or did not say.
func (n *Node) admit(ctx context.Context, m *member) error {
	n.pool.mu.Lock()
	known, foreign := m.known, m.foreign
	n.pool.mu.Unlock()
	if known != nil && foreign == nil {
		return nil
	}
	select { // a mutex could not be left when the time is over
	case m.admitting <- struct{}{}:
		defer func() { <-m.admitting }()
	case <-ctx.Done():
		return m.ep.Explain("Version", context.Cause(ctx))
	}
	n.pool.mu.Lock()
	known, foreign = m.known, m.foreign
	n.pool.mu.Unlock()
	if known != nil && foreign == nil {
		return nil // somebody else has looked meanwhile
	}
	is, err := n.look(ctx, m)
	if err != nil && !errors.Is(err, endpoint.ErrForeign) {
		return err
	}
	return n.pool.admitted(m, is, err)
}

// look asks an endpoint what it is, in one round trip.
func (n *Node) look(ctx context.Context, m *member) (identity, error) {
	var is identity
	var version lotus.Version
	var genesis *lotus.TipSet
	var noVersion, noName, noGenesis error
	var asked sync.WaitGroup
	asked.Go(func() {
		version, noVersion = insist(ctx, m, "Version", func() (lotus.Version, error) { return m.rpc.Version(ctx) })
	})
	asked.Go(func() {
		is.network, noName = insist(ctx, m, "StateNetworkName", func() (string, error) { return m.rpc.StateNetworkName(ctx) })
	})
	asked.Go(func() {
		genesis, noGenesis = insist(ctx, m, "ChainGetGenesis", func() (*lotus.TipSet, error) {
			ts, err := m.rpc.ChainGetGenesis(ctx)
			return ts, checkTipSet(ts, err)
		})
	})
	asked.Wait()
	unknown := func(err error) bool { return errors.Is(err, endpoint.ErrNoMethod) }
	for _, err := range []error{noVersion, noName, noGenesis} {
		if err != nil && !errors.Is(err, endpoint.ErrAnswered) && !errors.Is(err, endpoint.ErrNonsense) && !unknown(err) {
			return identity{}, err // away, not allowed: it may say more later
		}
	}
	if noVersion == nil {
		if err := wrongAPI(m.ep, version); err != nil {
			return identity{}, err
		}
	}
	if unknown(noVersion) && unknown(noName) && unknown(noGenesis) {
		return identity{}, wrongAddress(m.ep, "it knows none of a full node's methods, so it is a service of another kind")
	}
	if noGenesis == nil {
		is.genesis = genesis.Cids[0]
	}
	if noName != nil {
		is.network = ""
	}
	return is, nil
}

// insist repeats one of the questions where the service wants it slower or the
// line broke.
func insist[T any](ctx context.Context, m *member, method string, f func() (T, error)) (T, error) {
	again := patience.Backoff{Min: minRepeat, Max: maxRepeat}
	for try := 1; ; try++ {
		v, err := guarded(f)
		err = m.explain(method, err)
		pause := again.Next()
		if rest, limited := endpoint.RetryAfter(err); limited {
			pause = max(pause, rest)
		}
		if err == nil || try == maxRounds || !repeatable(call{}, err) || !timeFor(ctx, pause) || patience.Sleep(ctx, pause) != nil {
			return v, err
		}
	}
}

// wrongAPI refuses versions whose calls have other parameters.
func wrongAPI(ep *endpoint.Endpoint, v lotus.Version) error {
	switch major := v.APIVersion >> 16; {
	case major == majorOfV1 || v.APIVersion == 0:
		return nil
	case major == majorOfV0 && strings.Contains(ep.Path(), "v0"):
		return wrongAddress(ep, fmt.Sprintf("it speaks the old API %s of %s", apiVersion(v), ep.Path()))
	case major == majorOfV0:
		return wrongAddress(ep, fmt.Sprintf("it speaks API %s, that of a lotus-miner or of /rpc/v0 behind a proxy", apiVersion(v)))
	default:
		return wrongAddress(ep, fmt.Sprintf("it speaks API %s, a full node's is 2.x", apiVersion(v)))
	}
}

func apiVersion(v lotus.Version) string {
	return fmt.Sprintf("%d.%d.%d", v.APIVersion>>16, v.APIVersion>>8&0xff, v.APIVersion&0xff)
}

// wrongAddress says what to write instead.
func wrongAddress(ep *endpoint.Endpoint, why string) error {
	return &foreignError{
		kind:   condition.EndpointWrong,
		text:   fmt.Sprintf("%s is not the API of a full node: %s", ep, why),
		remedy: fmt.Sprintf("Write %s, or another full node's address, in Common.API.Chain.", ep.WithPath(service.Path)),
	}
}

// admitted records what an endpoint is. The network of the first one, in the
// order of the configuration, that has told is the right one; who differs from it
// is not used.
func (p *pool) admitted(m *member, is identity, wrong error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wrong != nil {
		m.foreign = m.ep.Explain("Version", wrong)
		return m.foreign
	}
	m.known, m.foreign = &is, nil
	before := p.network
	for _, o := range p.members {
		if o.known != nil {
			p.network, p.from = o.known, o
			break
		}
	}
	if before != nil && before.differs(*p.network) {
		p.log.LogAttrs(context.Background(), slog.LevelError, "the nodes' network is another one than before: an endpoint further to the front in Common.API.Chain tells so; restart this program if the network's name or its miners differ",
			attr.Network(p.network.String()), attr.Endpoint(p.from.ep.String()), attr.Before(before.String()))
		if p.changed != nil {
			p.changed()
		}
	}
	for _, o := range p.members {
		if o.known == nil || o.foreign != nil && !isForeignNetwork(o.foreign) {
			continue
		}
		o.foreign = nil
		if o.known.differs(*p.network) {
			o.foreign = o.ep.Explain("ChainGetGenesis", &foreignError{
				kind:   condition.EndpointForeign,
				text:   fmt.Sprintf("%s follows the network %s, %s follows %s", o.ep, o.known, p.from.ep, p.network),
				remedy: "Remove it from Common.API.Chain, or put the addresses of the right network first.",
			})
		}
	}
	return m.foreign
}

func isForeignNetwork(err error) bool {
	var f *foreignError
	return errors.As(err, &f) && f.kind == condition.EndpointForeign
}
