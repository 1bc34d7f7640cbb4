package fullnode

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-jsonrpc/auth"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// Needs lists the methods that need more than reading.
func Needs() map[string]auth.Permission {
	return map[string]auth.Permission{
		"MpoolBatchPush":          serve.Write,
		"MpoolBatchPushUntrusted": serve.Write,
		"MpoolPush":               serve.Write,
		"MpoolPushMessage":        serve.Sign,
		"WalletHas":               serve.Write,
		"WalletList":              serve.Write,
		"WalletSignMessage":       serve.Sign,
	}
}

// Node is the API. Its exported methods are the RPC methods; set up the node
// with New.
type Node struct {
	chain   *simchain.Node
	gate    *serve.Gate
	streams *Streams
	log     *slog.Logger
}

// New returns the API of one node of a chain.
func New(chain *simchain.Node, gate *serve.Gate, streams *Streams, log *slog.Logger) *Node {
	return &Node{chain: chain, gate: gate, streams: streams, log: log}
}

// Streams controls the ChainNotify streams of a node. The zero value is ready.
type Streams struct {
	mu    sync.Mutex
	muted bool
	cut   chan struct{}
}

// Mute keeps streams open and silent, or ends that. What happened meanwhile is
// never told.
func (s *Streams) Mute(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = muted
}

// CloseAll closes the streams that are open now.
func (s *Streams) CloseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut != nil {
		close(s.cut)
	}
	s.cut = nil
}

// closing returns a channel that CloseAll closes.
func (s *Streams) closing() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut == nil {
		s.cut = make(chan struct{})
	}
	return s.cut
}

func (s *Streams) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.muted
}

// apiVersion is the version of the RPC API, 2.3.0.
const apiVersion = 2<<16 | 3<<8

// Version describes the node.
func (n *Node) Version(ctx context.Context) (lotus.Version, error) {
	return serve.Call(n.gate, ctx, "Version", func() (lotus.Version, error) {
		return lotus.Version{
			Version: "1.36.2+devnet", APIVersion: apiVersion, BlockDelay: n.blockDelay(), Agent: "wdpost-devnet",
		}, nil
	})
}

// blockDelay is the epoch duration in whole seconds, rounded up.
func (n *Node) blockDelay() uint64 {
	d := n.chain.Chain().Config().EpochDuration
	return uint64((d + 999_999_999) / 1_000_000_000)
}

// SyncState says that the node is in sync.
func (n *Node) SyncState(ctx context.Context) (*lotus.SyncState, error) {
	return serve.Call(n.gate, ctx, "SyncState", func() (*lotus.SyncState, error) {
		return &lotus.SyncState{ActiveSyncs: []lotus.ActiveSync{{WorkerID: 1}}, VMApplied: uint64(n.chain.Chain().Epoch())}, nil
	})
}

// ChainHead returns the newest tipset.
func (n *Node) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	return serve.Call(n.gate, ctx, "ChainHead", func() (*lotus.TipSet, error) { return n.chain.Head(), nil })
}

// ChainGetGenesis returns the first tipset.
func (n *Node) ChainGetGenesis(ctx context.Context) (*lotus.TipSet, error) {
	return serve.Call(n.gate, ctx, "ChainGetGenesis", func() (*lotus.TipSet, error) { return n.chain.Genesis(), nil })
}

// ChainGetTipSet returns the tipset of a key.
func (n *Node) ChainGetTipSet(ctx context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return serve.Call(n.gate, ctx, "ChainGetTipSet", func() (*lotus.TipSet, error) { return n.chain.TipSet(key) })
}

// ChainGetTipSetByHeight returns the tipset at a height, or the one before.
func (n *Node) ChainGetTipSetByHeight(ctx context.Context, h abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return serve.Call(n.gate, ctx, "ChainGetTipSetByHeight", func() (*lotus.TipSet, error) { return n.chain.TipSetByHeight(h, key) })
}

// ChainNotify streams head changes, the present head first. It needs a websocket.
func (n *Node) ChainNotify(ctx context.Context) (<-chan []*lotus.HeadChange, error) {
	return serve.Call(n.gate, ctx, "ChainNotify", func() (<-chan []*lotus.HeadChange, error) {
		changes, cancel := n.chain.Subscribe()
		out := make(chan []*lotus.HeadChange)
		cut := n.streams.closing()
		go func() {
			defer close(out)
			defer cancel()
			n.forward(ctx, changes, cut, out)
		}()
		return out, nil
	})
}

// forward hands on head changes until one side ends.
func (n *Node) forward(ctx context.Context, changes <-chan []*lotus.HeadChange, cut <-chan struct{}, out chan<- []*lotus.HeadChange) {
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				n.log.Warn("a head follower was too slow, its stream is closed")
				return
			}
			if n.streams.silent() {
				continue
			}
			select {
			case out <- c:
			case <-cut:
				return
			case <-ctx.Done():
				return
			}
		case <-cut:
			return
		case <-ctx.Done():
			return
		}
	}
}

// StateNetworkName returns the network's name.
func (n *Node) StateNetworkName(ctx context.Context) (string, error) {
	return serve.Call(n.gate, ctx, "StateNetworkName", func() (string, error) { return n.chain.Chain().Config().NetworkName, nil })
}

// StateNetworkVersion returns the network version at a tipset.
func (n *Node) StateNetworkVersion(ctx context.Context, key lotus.TipSetKey) (network.Version, error) {
	return serve.Call(n.gate, ctx, "StateNetworkVersion", func() (network.Version, error) {
		ts, err := n.chain.TipSet(key)
		if err != nil {
			return 0, err
		}
		return n.chain.Chain().NetworkVersion(ts.Height), nil
	})
}

// StateGetRandomnessFromTickets draws from the chain that ends at key, which
// must be given.
func (n *Node) StateGetRandomnessFromTickets(ctx context.Context, tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) (abi.Randomness, error) {
	return serve.Call(n.gate, ctx, "StateGetRandomnessFromTickets", func() (abi.Randomness, error) {
		if key.IsEmpty() {
			return nil, fmt.Errorf("loading tipset key: NewTipSet called with zero length array of blocks")
		}
		r, err := n.chain.TicketRandomness(tag, round, entropy, key)
		return randomness(r, err)
	})
}

// StateGetRandomnessFromBeacon draws from the beacon.
func (n *Node) StateGetRandomnessFromBeacon(ctx context.Context, tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) (abi.Randomness, error) {
	return serve.Call(n.gate, ctx, "StateGetRandomnessFromBeacon", func() (abi.Randomness, error) {
		r, err := n.chain.BeaconRandomness(tag, round, entropy, key)
		return randomness(r, err)
	})
}

func randomness(r [32]byte, err error) (abi.Randomness, error) {
	if err != nil {
		return nil, err
	}
	return r[:], nil
}

// miner finds a miner actor in the state of a tipset.
func (n *Node) miner(a address.Address, key lotus.TipSetKey) (*actor.Miner, *simchain.State, abi.ChainEpoch, error) {
	st, height, err := n.chain.StateAt(key)
	if err != nil {
		return nil, nil, 0, err
	}
	if id, ok := n.chain.Account(a); ok {
		if m, ok := st.Miner(id); ok {
			return m, st, height, nil
		}
		return nil, nil, 0, fmt.Errorf("failed to load miner actor state: actor code is not miner: account")
	}
	return nil, nil, 0, fmt.Errorf("failed to load miner actor: actor not found")
}
