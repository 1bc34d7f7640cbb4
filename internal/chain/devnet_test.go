package chain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/chain"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

type trusting struct{}

func (trusting) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (trusting) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// network is a simulated network whose epochs begin when the test says.
func network(t *testing.T) *devnet.Network {
	t.Helper()
	n, err := devnet.New(devnet.Config{
		Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true, SingleBlocks: true,
		Miners: []devnet.Miner{{Sectors: []devnet.Sector{{Number: 1, CommR: [32]byte{1}}, {Number: 2, CommR: [32]byte{2}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func client(t *testing.T, cfg chain.Config) *chain.Node {
	t.Helper()
	n, err := chain.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// Every read method is understood by a node, and its answer by us.
func TestEveryReadOverTheWire(t *testing.T) {
	net := network(t)
	if err := net.StepTo(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	n := client(t, chain.Config{Endpoints: []string{net.Node().URL("ws")}, Token: net.Token()})
	ctx := t.Context()
	miner, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	head, err := n.ChainHead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tsk := head.Key()
	info, err := n.StateMinerInfo(ctx, miner, tsk)
	if err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string]func() (any, error){
		"Version":             func() (any, error) { return n.Version(ctx) },
		"StateNetworkName":    func() (any, error) { return n.StateNetworkName(ctx) },
		"StateNetworkVersion": func() (any, error) { return n.StateNetworkVersion(ctx, tsk) },
		"ChainGetGenesis":     func() (any, error) { return n.ChainGetGenesis(ctx) },
		"ChainGetTipSet":      func() (any, error) { return n.ChainGetTipSet(ctx, head.Parents()) },
		"Clock":               func() (any, error) { return n.Clock(ctx) },
		"deadline":            func() (any, error) { return n.StateMinerProvingDeadline(ctx, miner, tsk) },
		"deadlines":           func() (any, error) { return n.StateMinerDeadlines(ctx, miner, tsk) },
		"partitions":          func() (any, error) { return n.StateMinerPartitions(ctx, miner, 0, tsk) },
		"all sectors":         func() (any, error) { return n.StateMinerSectors(ctx, miner, nil, tsk) },
		"active":              func() (any, error) { return n.StateMinerActiveSectors(ctx, miner, tsk) },
		"faults":              func() (any, error) { return n.StateMinerFaults(ctx, miner, tsk) },
		"recoveries":          func() (any, error) { return n.StateMinerRecoveries(ctx, miner, tsk) },
		"power":               func() (any, error) { return n.StateMinerPower(ctx, miner, tsk) },
		"available":           func() (any, error) { return n.StateMinerAvailableBalance(ctx, miner, tsk) },
		"sector":              func() (any, error) { return n.StateSectorGetInfo(ctx, miner, 1, tsk) },
		"expiration":          func() (any, error) { return n.StateSectorExpiration(ctx, miner, 1, tsk) },
		"location":            func() (any, error) { return n.StateSectorPartition(ctx, miner, 1, tsk) },
		"actor":               func() (any, error) { return n.StateGetActor(ctx, info.Worker, tsk) },
		"id":                  func() (any, error) { return n.StateLookupID(ctx, info.Worker, tsk) },
		"balance":             func() (any, error) { return n.WalletBalance(ctx, info.Worker) },
		"pending":             func() (any, error) { return n.MpoolPending(ctx, tsk) },
		"challenge":           func() (any, error) { return n.WindowPoStChallenge(ctx, miner, head.Height-2, tsk) },
		"commit":              func() (any, error) { return n.PoStCommitRandomness(ctx, head.Height-1, lotus.TipSetKey{}) },
		"key": func() (any, error) {
			key, err := n.StateAccountKey(ctx, info.Worker, tsk)
			if err != nil {
				return nil, err
			}
			has, err := n.WalletHas(ctx, key)
			if err == nil && !has {
				err = errors.New("the worker's key is not in the wallet")
			}
			return key, err
		},
	} {
		if v, err := ask(); err != nil {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
	stranger, err := address.NewIDAddress(4711)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.StateMinerInfo(ctx, stranger, tsk); !errors.Is(err, chain.ErrNotFound) {
		t.Errorf("unknown miner: %v", err)
	}
	if _, err := client(t, chain.Config{Endpoints: []string{net.Node().URL("ws")}, Token: "wrong"}).ChainHead(ctx); !errors.Is(err, endpoint.ErrToken) {
		t.Errorf("wrong token: %v", err)
	}
	if _, err := client(t, chain.Config{Endpoints: []string{net.Node().URL("ws")}}).ChainHead(ctx); !errors.Is(err, endpoint.ErrPermission) {
		t.Errorf("no token: %v", err)
	}
}

// The follower's picture of the chain stays that of the node through null
// rounds, reorgs, a silent stream and broken streams.
func TestFollowTheDevnet(t *testing.T) {
	net := network(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := net.StepTo(ctx, 10); err != nil {
		t.Fatal(err)
	}
	n := client(t, chain.Config{Endpoints: []string{net.Node().URL("ws")}, Token: net.Token(), EventInterval: 200 * time.Millisecond})
	events, done := make(chan chain.HeadEvent, 100), make(chan error, 1)
	go func() {
		done <- n.Follow(ctx, func(_ context.Context, e chain.HeadEvent) { events <- e })
	}()
	var view []*lotus.TipSet
	catchUp := func(what string) {
		t.Helper()
		want := net.Chain().Head()
		limit := time.After(20 * time.Second)
		for len(view) == 0 || !view[len(view)-1].Key().Equals(want.Key()) {
			select {
			case e := <-events:
				view = apply(t, view, e)
			case <-limit:
				t.Fatalf("%s: the follower did not reach epoch %d", what, want.Height)
			}
		}
	}
	catchUp("start")
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"an epoch", func() error { return net.Step(ctx, 1) }},
		{"a null round", func() error { return errors.Join(net.NullRound(ctx), net.Step(ctx, 1)) }},
		{"a reorg", func() error { return net.Reorg(ctx, 3, false) }},
		{"more epochs", func() error { return net.Step(ctx, 4) }},
		{"silence", func() error { net.Streams().Mute(true); return net.Step(ctx, 3) }},
		{"sound again", func() error { net.Streams().Mute(false); return net.Step(ctx, 1) }},
		{"a broken stream", func() error { net.Streams().CloseAll(); return net.Step(ctx, 2) }},
		{"a reorg behind its back", func() error {
			net.Streams().CloseAll()
			return errors.Join(net.Reorg(ctx, 2, false), net.Step(ctx, 2))
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		catchUp(step.what)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Follow: %v", err)
	}
}

// apply changes a view of the chain as the event says and fails where the event
// does not fit.
func apply(t *testing.T, view []*lotus.TipSet, e chain.HeadEvent) []*lotus.TipSet {
	t.Helper()
	if e.Reset {
		if len(view) > 0 {
			t.Error("the follower lost its way")
		}
		view = nil
	}
	for _, ts := range e.Revert {
		if len(view) == 0 {
			continue // below the first head that was seen
		}
		if !view[len(view)-1].Key().Equals(ts.Key()) {
			t.Fatalf("revert of epoch %d does not fit", ts.Height)
		}
		view = view[:len(view)-1]
	}
	for _, ts := range e.Apply {
		if len(view) > 0 && !ts.Parents().Equals(view[len(view)-1].Key()) {
			t.Fatalf("apply of epoch %d does not fit", ts.Height)
		}
		view = append(view, ts)
	}
	return view
}

func TestClockOfTheDevnet(t *testing.T) {
	net := network(t)
	n := client(t, chain.Config{Endpoints: []string{net.Node().URL("http")}, Token: net.Token()})
	c, err := n.Clock(t.Context())
	if err != nil || c.BlockDelay != time.Second {
		t.Fatalf("clock %+v, %v", c, err)
	}
	if e := c.EpochAt(time.Now()); e < 0 || e > 5 {
		t.Errorf("now is epoch %d, genesis was moments ago", e)
	}
	if at := c.TimeOf(abi.ChainEpoch(60)); at.Sub(c.Genesis) != time.Minute {
		t.Errorf("epoch 60 begins %v after genesis", at.Sub(c.Genesis))
	}
}
