package chain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"wdpost/internal/lotus"
)

// go-jsonrpc brings a background worker of opencensus, and a line that is
// closed while a frame arrives leaves its reader behind.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		goleak.IgnoreTopFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

const token = "good"

// blockCID is the CID of the block at a height of a fork.
func blockCID(fork string, h abi.ChainEpoch) cid.Cid {
	mh, err := multihash.Sum(fmt.Appendf(nil, "%s/%d", fork, h), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

// grow makes a chain of one-block tipsets at the given heights on top of base,
// which may be nil. Heights may jump: null rounds.
func grow(base *lotus.TipSet, fork string, heights ...abi.ChainEpoch) []*lotus.TipSet {
	var out []*lotus.TipSet
	for _, h := range heights {
		parents := []cid.Cid{blockCID("genesis", 0)}
		if base != nil {
			parents = base.Cids
		}
		base = &lotus.TipSet{Cids: []cid.Cid{blockCID(fork, h)}, Blocks: []*lotus.BlockHeader{{Parents: parents, Height: h, Timestamp: 1000 + 30*uint64(h)}}, Height: h}
		out = append(out, base)
	}
	return out
}

// span returns the heights from a to b.
func span(a, b abi.ChainEpoch) []abi.ChainEpoch {
	var out []abi.ChainEpoch
	for h := a; h <= b; h++ {
		out = append(out, h)
	}
	return out
}

func changes(kind string, ts ...*lotus.TipSet) []*lotus.HeadChange {
	var out []*lotus.HeadChange
	for _, t := range ts {
		out = append(out, &lotus.HeadChange{Type: kind, Val: t})
	}
	return out
}

// show writes an event as "reset 5", "-7 -6 +6' +7'", one word a tipset.
func show(e HeadEvent, name func(*lotus.TipSet) string) string {
	if e.Reset {
		return "reset " + name(e.Head)
	}
	var words []string
	for _, ts := range e.Revert {
		words = append(words, "-"+name(ts))
	}
	for _, ts := range e.Apply {
		words = append(words, "+"+name(ts))
	}
	return strings.Join(words, " ")
}

// store holds tipsets by key and names them by fork and height.
type store struct {
	mu    sync.Mutex
	byKey map[string]*lotus.TipSet
	names map[string]string
	reads int
	fail  error
}

func newStore() *store {
	return &store{byKey: map[string]*lotus.TipSet{}, names: map[string]string{}}
}

func (s *store) add(fork string, tss []*lotus.TipSet) []*lotus.TipSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ts := range tss {
		s.byKey[ts.Key().String()] = ts
		s.names[ts.Key().String()] = fmt.Sprint(ts.Height, fork)
	}
	return tss
}

func (s *store) name(ts *lotus.TipSet) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[ts.Key().String()]
}

func (s *store) tipset(_ context.Context, k lotus.TipSetKey) (*lotus.TipSet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if ts := s.byKey[k.String()]; ts != nil && s.fail == nil {
		return ts, nil
	}
	return nil, errors.Join(errors.New("loading tipset: block not found"), s.fail)
}

// fakeNode is a node in the process. Only what the tests ask is answered.
type fakeNode struct {
	*store
	mu      sync.Mutex
	head    *lotus.TipSet
	fail    error         // every call fails with it
	hang    chan struct{} // every call waits for it to close
	mute    bool          // ChainNotify sends nothing after the current head
	calls   map[string]int
	streams []chan []*lotus.HeadChange
	cut     []context.CancelFunc
	keys    []lotus.TipSetKey // passed to the randomness methods
	genesis uint64
	network string // fork of the genesis block
	api     uint32
}

func (n *fakeNode) enter(ctx context.Context, method string) error {
	n.mu.Lock()
	n.calls[method]++
	fail, hang := n.fail, n.hang
	n.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fail
}

func (n *fakeNode) set(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *fakeNode) count(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

// cutAll ends all streams.
func (n *fakeNode) cutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, cut := range n.cut {
		cut()
	}
}

// move makes ts the head and tells the streams.
func (n *fakeNode) move(c []*lotus.HeadChange) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = c[len(c)-1].Val
	if n.mute {
		return
	}
	for _, s := range n.streams {
		s <- c
	}
}

func (n *fakeNode) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	if err := n.enter(ctx, "ChainHead"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, nil
}

func (n *fakeNode) ChainGetTipSet(ctx context.Context, k lotus.TipSetKey) (*lotus.TipSet, error) {
	if err := n.enter(ctx, "ChainGetTipSet"); err != nil {
		return nil, err
	}
	return n.tipset(ctx, k)
}

func (n *fakeNode) ChainNotify(ctx context.Context) (<-chan []*lotus.HeadChange, error) {
	if err := n.enter(ctx, "ChainNotify"); err != nil {
		return nil, err
	}
	ctx, cut := context.WithCancel(ctx)
	in, out := make(chan []*lotus.HeadChange, 64), make(chan []*lotus.HeadChange)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams, n.cut = append(n.streams, in), append(n.cut, cut)
	in <- changes(lotus.HCCurrent, n.head)
	go func() {
		defer close(out)
		for {
			select {
			case c := <-in:
				select {
				case out <- c:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (n *fakeNode) StateMinerInfo(ctx context.Context, a address.Address, _ lotus.TipSetKey) (*lotus.MinerInfo, error) {
	if err := n.enter(ctx, "StateMinerInfo"); err != nil {
		return nil, err
	}
	switch id, _ := address.IDFromAddress(a); id {
	case 0:
		return nil, nil
	case 999999:
		return nil, errors.New("failed to load miner actor: actor not found")
	}
	return &lotus.MinerInfo{SectorSize: 2048, WindowPoStPartitionSectors: 2, Owner: a, Worker: a, Beneficiary: a, NewWorker: address.Undef}, nil
}

func (n *fakeNode) StateMinerSectors(ctx context.Context, _ address.Address, f *bitfield.BitField, _ lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	if err := n.enter(ctx, "StateMinerSectors"); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, errors.New("all sectors were asked for")
	}
	return nil, f.ForEach(func(uint64) error { return nil })
}

func (n *fakeNode) StateGetRandomnessFromBeacon(ctx context.Context, _ crypto.DomainSeparationTag, _ abi.ChainEpoch, entropy []byte, k lotus.TipSetKey) (abi.Randomness, error) {
	return n.randomness(ctx, entropy, k)
}

func (n *fakeNode) StateGetRandomnessFromTickets(ctx context.Context, _ crypto.DomainSeparationTag, _ abi.ChainEpoch, entropy []byte, k lotus.TipSetKey) (abi.Randomness, error) {
	if k.IsEmpty() {
		return nil, errors.New("loading tipset key: NewTipSet called with zero length array of blocks")
	}
	return n.randomness(ctx, entropy, k)
}

func (n *fakeNode) randomness(ctx context.Context, entropy []byte, k lotus.TipSetKey) (abi.Randomness, error) {
	if err := n.enter(ctx, "randomness"); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, k)
	out := make([]byte, 32)
	copy(out, entropy)
	return out, nil
}

func (n *fakeNode) StateGetNetworkParams(ctx context.Context) (*lotus.NetworkParams, error) {
	if err := n.enter(ctx, "StateGetNetworkParams"); err != nil {
		return nil, err
	}
	return &lotus.NetworkParams{NetworkName: "rig", BlockDelaySecs: 30, GenesisTimestamp: n.genesis, ConsensusMinerMinPower: abi.NewStoragePower(0)}, nil
}

func (n *fakeNode) Version(ctx context.Context) (lotus.Version, error) {
	if err := n.enter(ctx, "Version"); err != nil {
		return lotus.Version{}, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return lotus.Version{Version: "fake", APIVersion: n.api}, nil
}

func (n *fakeNode) ChainGetGenesis(ctx context.Context) (*lotus.TipSet, error) {
	n.mu.Lock()
	network := n.network
	n.mu.Unlock()
	return grow(nil, "genesis"+network, 0)[0], n.enter(ctx, "ChainGetGenesis")
}

func (n *fakeNode) MpoolPending(ctx context.Context, _ lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	return nil, n.enter(ctx, "MpoolPending")
}

// startNode serves n and returns its ws and http address.
func startNode(t *testing.T, head *lotus.TipSet) (n *fakeNode, ws string) {
	t.Helper()
	n = &fakeNode{store: newStore(), head: head, calls: map[string]int{}, genesis: 1000, api: 2<<16 | 3<<8}
	rpc := jsonrpc.NewServer()
	rpc.Register("Filecoin", n)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/rpc/v1" || r.Header.Get("X-VENUS-API-NAMESPACE") != "v1.FullNode":
			http.NotFound(w, r)
		default:
			rpc.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(n.cutAll)
	return n, "ws" + strings.TrimPrefix(srv.URL, "http")
}

func newNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	if cfg.Token == "" {
		cfg.Token = token
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func miner(t *testing.T, id uint64) address.Address {
	t.Helper()
	a, err := address.NewIDAddress(id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
