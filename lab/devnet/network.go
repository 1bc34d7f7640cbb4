package devnet

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/fullnode"
	"wdpost/lab/devnet/gateway"
	"wdpost/lab/devnet/messager"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// Network is a simulated network. It is safe for concurrent use.
type Network struct {
	cfg      Config
	token    string
	chain    *simchain.Chain
	messager *messager.Messager
	gateway  *gateway.Gateway
	streams  []fullnode.Streams // by node
	faults   serve.Faults
	own      []serve.Faults // by node

	ticking sync.Mutex // one epoch at a time
	begun   []bool     // by trouble
	endings []func()   // of the troubles that are on
	work    sync.WaitGroup
	stop    context.CancelFunc
	servers servers

	mu      sync.Mutex
	told    map[window]bool // closed windows that were announced
	winning []Winning
	subs    map[chan Event]struct{}
}

// window names one window of one miner.
type window struct {
	miner abi.ActorID
	open  abi.ChainEpoch
}

type servers struct {
	nodes             []*serve.Server
	messager, gateway *serve.Server
}

// New makes a network at its genesis. Nothing listens and no time passes until
// Start.
func New(cfg Config) (*Network, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Network{
		cfg: cfg, token: cfg.Token, gateway: gateway.New(cfg.Log),
		told: map[window]bool{}, subs: map[chan Event]struct{}{},
		streams: make([]fullnode.Streams, cfg.Nodes), own: make([]serve.Faults, cfg.Nodes),
		begun: make([]bool, len(cfg.Troubles)), endings: make([]func(), len(cfg.Troubles)),
	}
	if n.token == "" {
		n.token = madeUpToken(cfg.Seed, "admin")
	}
	accounts := &book{seed: cfg.Seed}
	var miners []*actor.Miner
	ids := map[uint64]bool{}
	for i, m := range cfg.Miners {
		if m.ID == 0 {
			m.ID = firstMiner + uint64(i)
		}
		if ids[m.ID] {
			return nil, fmt.Errorf("devnet: two miners with ID %d", m.ID)
		}
		ids[m.ID] = true
		made, err := accounts.build(m, &n.cfg)
		if err != nil {
			return nil, fmt.Errorf("devnet: %w", err)
		}
		miners = append(miners, made)
	}
	n.chain, err = simchain.New(simchain.Config{
		Seed: cfg.Seed, NetworkName: cfg.NetworkName, NetworkVersion: cfg.NetworkVersion,
		GenesisTime: cfg.GenesisTime, EpochDuration: cfg.EpochDuration,
		Miners: miners, Accounts: accounts.accounts,
		Verifier: cfg.Verifier, Optimistic: cfg.Optimistic,
		SingleBlocks: cfg.SingleBlocks, BaseFee: cfg.BaseFee, History: cfg.History, Nodes: cfg.Nodes, Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("devnet: %w", err)
	}
	n.messager = messager.New(n.chain, cfg.Log)
	return n, nil
}

// madeUpToken has the form of a JWT.
func madeUpToken(seed, who string) string {
	b64 := base64.RawURLEncoding
	body := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		b64.EncodeToString([]byte(`{"Allow":["read","write","sign","`+who+`"]}`))
	mac := hmac.New(sha256.New, []byte("devnet "+seed))
	mac.Write([]byte(body))
	return body + "." + b64.EncodeToString(mac.Sum(nil))
}

// Start begins to listen and, unless the network is manual, to count epochs.
// Both end with Close.
func (n *Network) Start() error {
	if n.stop != nil {
		return errors.New("devnet: started already")
	}
	// Any number of epochs may be counted before the first caller arrives; the
	// listeners must be there by then.
	if err := n.listen(); err != nil {
		return errors.Join(err, n.servers.close())
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	if !n.cfg.Manual {
		n.work.Go(func() { n.drive(ctx) })
	}
	n.cfg.Log.LogAttrs(ctx, slog.LevelInfo, fmt.Sprintf("devnet listens: node %s, messager %s, gateway %s", n.servers.nodes[0].URL("ws"), n.servers.messager.URL("http"), n.servers.gateway.URL("ws")))
	return nil
}

// listen starts the three services.
func (n *Network) listen() (err error) {
	gate := func(namespace string, needs map[string]auth.Permission) *serve.Gate {
		return &serve.Gate{Namespace: namespace, Needs: needs, Faults: &n.faults, OpenReads: n.cfg.OpenReads, Log: n.cfg.Log}
	}
	tokens := map[string][]auth.Permission{n.token: serve.AllPermissions()}
	for i := range n.cfg.Nodes {
		srv, err := n.listenNode(i, gate("Filecoin", fullnode.Needs()), tokens)
		if err != nil {
			return err
		}
		n.servers.nodes = append(n.servers.nodes, srv)
	}
	if n.servers.messager, err = serve.Start(serve.Config{
		Addr: n.cfg.MessagerAddr, Namespace: "Message",
		API:   messager.NewAPI(n.messager, gate("Message", messager.Needs())),
		Paths: []string{"/rpc/v0"}, Tokens: tokens,
		VenusNamespaces: []string{messager.VenusNamespace}, Log: n.cfg.Log,
	}); err != nil {
		return err
	}
	n.servers.gateway, err = serve.Start(serve.Config{
		Addr: n.cfg.GatewayAddr, Namespace: "Gateway",
		API:   gateway.NewAPI(n.gateway, gate("Gateway", gateway.Needs())),
		Paths: n.cfg.GatewayPaths, Tokens: tokens,
		VenusNamespaces: gateway.VenusNamespaces(), Log: n.cfg.Log,
	})
	return err
}

// listenNode starts one full node. The first has the configured address.
func (n *Network) listenNode(i int, gate *serve.Gate, tokens map[string][]auth.Permission) (*serve.Server, error) {
	addr := n.cfg.NodeAddr
	if i > 0 {
		addr = "127.0.0.1:0"
	}
	gate.Own = &n.own[i]
	return serve.Start(serve.Config{
		Addr: addr, Namespace: "Filecoin", API: fullnode.New(n.chain.NodeAt(i), gate, &n.streams[i], n.cfg.Log),
		Old: fullnode.NewOld(n.chain.NodeAt(i), gate), Paths: []string{"/rpc/v1"}, OldPaths: []string{"/rpc/v0"},
		Tokens: tokens, Faults: []*serve.Faults{&n.own[i], &n.faults}, Log: n.cfg.Log,
	})
}

func (s *servers) close() error {
	var errs []error
	for _, srv := range append([]*serve.Server{s.messager, s.gateway}, s.nodes...) {
		if srv != nil {
			errs = append(errs, srv.Close())
		}
	}
	return errors.Join(errs...)
}

// Close stops time and the listeners and waits for both. The network can still
// be asked for its report.
func (n *Network) Close() error {
	if n.stop != nil {
		n.stop()
	}
	n.work.Wait()
	err := n.servers.close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.subs {
		delete(n.subs, s)
		close(s)
	}
	return err
}

// Token is the bearer token that allows everything on all three services.
func (n *Network) Token() string { return n.token }

// Node is the listener of the first node; it exists after Start.
func (n *Network) Node() *serve.Server { return n.servers.nodes[0] }

// Nodes are the listeners of all nodes; they exist after Start.
func (n *Network) Nodes() []*serve.Server { return n.servers.nodes }

// Messager is the listener of the messager; it exists after Start.
func (n *Network) Messager() *serve.Server { return n.servers.messager }

// Gateway is the listener of the gateway; it exists after Start.
func (n *Network) Gateway() *serve.Server { return n.servers.gateway }

// Chain is the simulated chain, for questions and for trouble: Reorg, Hold,
// SetBaseFee.
func (n *Network) Chain() *simchain.Chain { return n.chain }

// Inject makes calls to the services go wrong until lift is called or the fault
// is used up.
func (n *Network) Inject(f serve.Fault) (lift func()) { return n.faults.Inject(f) }

// InjectAt is Inject for one of the nodes alone, counted from 0.
func (n *Network) InjectAt(node int, f serve.Fault) (lift func()) { return n.own[node].Inject(f) }

// Streams controls the ChainNotify streams of the first node.
func (n *Network) Streams() *fullnode.Streams { return &n.streams[0] }

// StreamsOf controls the ChainNotify streams of one of the nodes.
func (n *Network) StreamsOf(node int) *fullnode.Streams { return &n.streams[node] }

// FeeSpike raises the base fee by a factor for some epochs.
func (n *Network) FeeSpike(factor int64, epochs abi.ChainEpoch) {
	n.chain.SetBaseFee(big.Mul(n.chain.Config().BaseFee, big.NewInt(factor)), epochs)
}

// HoldMessages keeps every message that is pushed from now on from being mined,
// until it is replaced, or ends that for messages to come.
func (n *Network) HoldMessages(on bool) {
	if !on {
		n.chain.Hold(nil)
		return
	}
	n.chain.Hold(func(*lotus.Message) bool { return true })
}
