package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/serve"
)

const firstOpen = 20

var networks atomic.Int64 // gives each network a genesis of its own

// pair is a network of two full nodes with a client of both.
type pair struct {
	*devnet.Network
	*chain.Node
	board *condition.Board
	miner address.Address
}

func newPair(t *testing.T, change func(*chain.Config)) *pair {
	t.Helper()
	deadline := uint64(0)
	net, err := devnet.New(devnet.Config{
		GenesisTime: time.Now().Add(-(firstOpen + 2) * time.Second),
		Seed:        fmt.Sprint(t.Name(), networks.Add(1)), Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true, SingleBlocks: true, Nodes: 2, FirstOpen: firstOpen,
		Miners: []devnet.Miner{{Sectors: []devnet.Sector{{Number: 1, CommR: [32]byte{1}, Deadline: &deadline}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := net.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = net.Close() })
	if err := net.StepTo(t.Context(), firstOpen+2); err != nil {
		t.Fatal(err)
	}
	p := &pair{Network: net, board: condition.NewBoard()}
	cfg := chain.Config{
		Endpoints: []string{net.Nodes()[0].URL("ws"), net.Nodes()[1].URL("ws")}, Token: net.Token(),
		Board: p.board, HedgeAfter: 50 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	p.Node = client(t, cfg)
	if p.miner, err = address.NewIDAddress(1000); err != nil {
		t.Fatal(err)
	}
	return p
}

// errorsOf counts the failed calls of an endpoint, of one category.
func (p *pair) errorsOf(endpointIndex int, c endpoint.Category) uint64 {
	return p.Status()[endpointIndex].Errors[c]
}

func (p *pair) conditions() []condition.Kind {
	var out []condition.Kind
	for _, c := range p.board.List() {
		out = append(out, c.Kind)
	}
	return out
}

// post is a proof of the miner's partition, ready to be pushed.
func (p *pair) post(t *testing.T) *lotus.Message {
	t.Helper()
	head, err := p.ChainHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rand, err := p.PoStCommitRandomness(t.Context(), head.Height-1, head.Key())
	if err != nil {
		t.Fatal(err)
	}
	params := minertypes.SubmitWindowedPoStParams{
		Partitions:       []minertypes.PoStPartition{{Index: 0, Skipped: bitfield.New()}},
		Proofs:           []proof.PoStProof{{PoStProof: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1, ProofBytes: make([]byte, 192)}},
		ChainCommitEpoch: head.Height - 1, ChainCommitRand: rand,
	}
	var b bytes.Buffer
	if err := params.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	info, err := p.StateMinerInfo(t.Context(), p.miner, head.Key())
	if err != nil {
		t.Fatal(err)
	}
	return &lotus.Message{To: p.miner, From: info.Worker, Value: abi.NewTokenAmount(0), GasFeeCap: abi.NewTokenAmount(0), GasPremium: abi.NewTokenAmount(0),
		Method: builtin.MethodsMiner.SubmitWindowedPoSt, Params: b.Bytes()}
}

// landed steps until the partition is proven.
func (p *pair) landed(t *testing.T) {
	t.Helper()
	if err := p.Step(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, r := range p.Chain().Records() {
		if r.Height != 0 && r.ExitCode == 0 {
			return
		}
	}
	t.Errorf("no message landed: %+v", p.Chain().Records())
}

// TestPosterX41RefusedReadGoesToTheNextNode: a JSON-RPC error of one node is not
// the answer, and is remembered by method.
func TestPosterX41RefusedReadGoesToTheNextNode(t *testing.T) {
	p := newPair(t, nil)
	p.InjectAt(0, serve.Fault{Method: "Filecoin.StateMinerPartitions", Err: "getting state: blockstore is damaged"})
	for range 3 {
		if _, err := p.StateMinerPartitions(t.Context(), p.miner, 0, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.StateMinerDeadlines(t.Context(), p.miner, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
	}
	st := p.Status()
	if st[0].Errors[endpoint.Refused] != 1 || !st[0].Up || !st[0].Preferred {
		t.Errorf("the first node refused %d times, want once, and is used for the rest: %+v", st[0].Errors[endpoint.Refused], st[0])
	}
	if st[1].Calls == 0 {
		t.Error("the second node was never asked")
	}
}

// TestRefusedEverywhereIsACondition tells of a method that no node answers.
func TestRefusedEverywhereIsACondition(t *testing.T) {
	p := newPair(t, nil)
	lift := p.Inject(serve.Fault{Method: "Filecoin.StateMinerPartitions", Err: "getting state: blockstore is damaged"})
	for range 3 {
		if _, err := p.StateMinerPartitions(t.Context(), p.miner, 0, lotus.TipSetKey{}); !errors.Is(err, endpoint.ErrAnswered) {
			t.Fatalf("got %v", err)
		}
	}
	if got := p.conditions(); !slices.Contains(got, condition.NodeRefuses) {
		t.Errorf("conditions %v", got)
	}
	lift()
	if _, err := p.StateMinerPartitions(t.Context(), p.miner, 0, lotus.TipSetKey{}); err != nil {
		t.Fatal(err)
	}
	if got := p.conditions(); slices.Contains(got, condition.NodeRefuses) {
		t.Errorf("conditions after it works: %v", got)
	}
}

// TestPosterX42HangingMethodCostsAShare: a node that hangs in one method costs a
// moment once, not each call, and is used for the rest.
func TestPosterX42HangingMethodCostsAShare(t *testing.T) {
	p := newPair(t, nil)
	p.Probe(t.Context())
	p.InjectAt(0, serve.Fault{Method: "Filecoin.StateMinerPartitions", Hang: true})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if _, err := p.StateMinerPartitions(ctx, p.miner, 0, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
		left, _ := ctx.Deadline()
		cancel()
		if time.Until(left) < 30*time.Second {
			t.Fatal("the hanging node ate the caller's time")
		}
		p.Probe(t.Context())
	}
	if st := p.Status(); !st[0].Preferred || !st[0].Up {
		t.Errorf("the first node is not used for the rest: %+v", st[0])
	}
}

// TestFieldF21TooManyCalls: every third call is answered 429; each is repeated by
// itself and all succeed.
func TestFieldF21TooManyCalls(t *testing.T) {
	p := newPair(t, func(c *chain.Config) { c.Endpoints = c.Endpoints[:1] })
	p.Inject(serve.Fault{Status: 429, Every: 3, Body: "too many requests"})
	for range 12 {
		if _, err := p.StateMinerPartitions(t.Context(), p.miner, 0, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
	}
	if st := p.Status()[0]; st.Errors[endpoint.Limited] < 4 || st.Calls > 40 || !st.Up {
		t.Errorf("status %+v", st)
	}
}

// TestRetryAfterIsRespected waits as long as the service asks for, and asks the
// other node meanwhile where there is one.
func TestRetryAfterIsRespected(t *testing.T) {
	alone := newPair(t, func(c *chain.Config) { c.Endpoints = c.Endpoints[:1] })
	alone.Probe(t.Context())
	alone.Inject(serve.Fault{Method: "Filecoin.ChainHead", Status: 429, RetryAfter: time.Second, Times: 1})
	began := time.Now()
	if _, err := alone.ChainHead(t.Context()); err != nil || time.Since(began) < time.Second {
		t.Errorf("answered after %s: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	alone.Inject(serve.Fault{Method: "Filecoin.ChainHead", Status: 429, RetryAfter: time.Minute, Times: 1})
	if _, err := alone.ChainHead(ctx); !errors.Is(err, endpoint.ErrLimited) || ctx.Err() != nil {
		t.Errorf("a rest longer than the time left: %v, context %v", err, ctx.Err())
	}
	p := newPair(t, nil)
	p.Probe(t.Context())
	p.InjectAt(0, serve.Fault{Status: 429, RetryAfter: time.Minute})
	for range 3 {
		if _, err := p.ChainHead(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.errorsOf(0, endpoint.Limited); n != 1 {
		t.Errorf("the limited node was asked %d times", n)
	}
}

// TestBrokenLinesAreRepeated: connections that end without an answer cost the call
// that was on them a moment.
func TestBrokenLinesAreRepeated(t *testing.T) {
	p := newPair(t, func(c *chain.Config) { c.Endpoints = c.Endpoints[:1] })
	p.Inject(serve.Fault{Cut: true, Every: 2})
	for range 6 {
		if _, err := p.StateMinerDeadlines(t.Context(), p.miner, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPosterX34ForeignNetwork never uses an endpoint of another network, however
// high its head, and says so.
func TestPosterX34ForeignNetwork(t *testing.T) {
	p := newPair(t, func(c *chain.Config) { c.Endpoints = c.Endpoints[:1] })
	other := newPair(t, nil)
	if err := other.StepTo(t.Context(), firstOpen+40); err != nil {
		t.Fatal(err)
	}
	board := condition.NewBoard()
	n := client(t, chain.Config{
		Endpoints: []string{p.Nodes()[0].URL("ws"), other.Token() + ":" + other.Nodes()[0].URL("ws")}, Token: p.Token(), Board: board,
	})
	for range 2 {
		n.Probe(t.Context())
		if ts, err := n.ChainHead(t.Context()); err != nil || ts.Height != firstOpen+2 {
			t.Fatalf("head %v, %v", ts, err)
		}
	}
	st := n.Status()
	if st[1].Up || !errors.Is(st[1].Err, endpoint.ErrForeign) || !st[0].Preferred {
		t.Errorf("status %+v", st)
	}
	list := board.List()
	if len(list) == 0 || !slices.ContainsFunc(list, func(c condition.Condition) bool {
		return c.Kind == condition.EndpointForeign && c.Subject == other.Nodes()[0].URL("ws")
	}) {
		t.Errorf("conditions %+v", list)
	}
	// The first one is down at the start: the other is used until it is back.
	p.Nodes()[0].SetDown(true)
	late := client(t, chain.Config{
		Endpoints: []string{p.Nodes()[0].URL("ws"), other.Token() + ":" + other.Nodes()[0].URL("ws")}, Token: p.Token(),
	})
	late.Probe(t.Context())
	p.Nodes()[0].SetDown(false)
	late.Probe(t.Context())
	if st := late.Status(); !st[0].Up || st[1].Up {
		t.Errorf("the first endpoint's network is not the right one: %+v", st)
	}
}

// TestLotusL3OldAPI refuses /rpc/v0 with the address to write instead.
func TestLotusL3OldAPI(t *testing.T) {
	p := newPair(t, func(c *chain.Config) {
		c.Endpoints = []string{strings.Replace(c.Endpoints[0], "/rpc/v1", "/rpc/v0", 1)}
	})
	_, err := p.ChainHead(t.Context())
	if !errors.Is(err, endpoint.ErrForeign) || !strings.Contains(err.Error(), "speaks the old API 1.5.0") || !strings.Contains(err.Error(), "Write "+p.Nodes()[0].URL("ws")) {
		t.Errorf("got %v", err)
	}
	p.Probe(t.Context())
	list := p.board.List()
	if len(list) != 1 || list[0].Kind != condition.EndpointWrong || list[0].Cost != condition.Window || !strings.Contains(list[0].Remedy, "/rpc/v1") {
		t.Errorf("conditions %+v", list)
	}
}

// TestStandingStillNodeIsLeft: heads are compared, and the one that moves is used.
func TestStandingStillNodeIsLeft(t *testing.T) {
	p := newPair(t, nil)
	p.Probe(t.Context())
	p.Chain().NodeAt(0).Freeze(true)
	if err := p.Step(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	p.Probe(t.Context())
	if ts, err := p.ChainHead(t.Context()); err != nil || ts.Height != firstOpen+7 {
		t.Errorf("head %v, %v", ts, err)
	}
	p.Chain().NodeAt(0).Freeze(false)
	p.Probe(t.Context())
	if st := p.Status(); st[0].Height != st[1].Height {
		t.Errorf("status %+v", st)
	}
}

// TestPosterX08HungNodeIsLeft: a node that takes connections and answers nothing
// counts as gone as soon as another has answered and a moment has passed.
func TestPosterX08HungNodeIsLeft(t *testing.T) {
	p := newPair(t, nil)
	p.Probe(t.Context())
	p.InjectAt(0, serve.Fault{Hang: true})
	began := time.Now()
	p.Probe(t.Context())
	st := p.Status()
	if took := time.Since(began); st[0].Up || !st[1].Preferred || took > 20*time.Second {
		t.Errorf("after %s: %+v", took, st)
	}
	if got := p.board.List(); len(got) != 1 || got[0].Kind != condition.NodeGone || got[0].Cost != condition.None {
		t.Errorf("conditions %+v", got)
	}
}

// TestField23BalancerOverDifferentHeads: a call that meets a node without the
// tipset is repeated by itself.
func TestField23BalancerOverDifferentHeads(t *testing.T) {
	p := newPair(t, func(c *chain.Config) { c.Endpoints = c.Endpoints[:1] })
	p.Probe(t.Context())
	p.Inject(serve.Fault{Method: "Filecoin.State*", Err: "loading tipset {bafy}: ipld: could not find bafy", Every: 2})
	for range 6 {
		if _, err := p.StateMinerPartitions(t.Context(), p.miner, 0, lotus.TipSetKey{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConditionsEndWithTheClient leaves nothing on the board.
func TestConditionsEndWithTheClient(t *testing.T) {
	p := newPair(t, func(c *chain.Config) { c.Endpoints, c.Token = c.Endpoints[:1], "wrong" })
	p.Probe(t.Context())
	if got := p.conditions(); len(got) != 1 || got[0] != condition.NodeAuth {
		t.Fatalf("conditions %v", got)
	}
	p.Node.Close()
	if got := p.conditions(); len(got) != 0 {
		t.Errorf("conditions after the end: %v", got)
	}
}
