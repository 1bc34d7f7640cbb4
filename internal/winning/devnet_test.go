package winning

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"wdpost/internal/chain"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

type trusting struct{}

func (trusting) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (trusting) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// The requests of the simulated network are answered, also for sector sizes
// that no network registers.
func TestDevnetGetsItsProof(t *testing.T) {
	for _, size := range []uint64{2 << 10, 16 << 10} {
		n, err := devnet.New(devnet.Config{
			Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true, GatewayPaths: []string{"/rpc/v1", "/rpc/v0"},
			Miners: []devnet.Miner{{ID: 1008, SectorSize: size, Sectors: []devnet.Sector{{Number: 1, CommR: [32]byte{1}}}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{
			Gateways: []string{n.Gateway().URL("ws")}, Token: n.Token(),
			Miners: []Miner{{Address: miner(t, 1008), SectorSize: size}},
			Prover: proverFunc(proves), Locator: locator{},
			Clock: chain.Clock{Genesis: time.Now(), BlockDelay: time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		eventually(t, "registered", func() bool { return s.Healthy() == nil })
		if err := n.Step(ctx, 8); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the devnet has a proof", func() bool {
			w, err := n.AskWinning(ctx, 1008)
			return err == nil && w.Err == nil
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
}

// missing knows no sector.
type missing struct{}

func (missing) Locate(context.Context, uint64, uint64, bool) ([]Files, error) {
	return nil, errors.New("in no attached store")
}

// Two managers serve a miner, one of them lacks the sector (W13). The gateway
// asks either; every request is proven.
func TestManagerThatLacksTheSectorLosesNoBlock(t *testing.T) {
	n, err := devnet.New(devnet.Config{
		Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true, WinningTimeout: 20 * time.Second,
		Miners: []devnet.Miner{{ID: 1008, Sectors: []devnet.Sector{{Number: 1, CommR: [32]byte{1}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var services []*Service
	for _, l := range []Locator{locator{}, missing{}} {
		s, err := New(Config{
			Gateways: []string{n.Gateway().URL("ws")}, Token: n.Token(), Miners: []Miner{{Address: miner(t, 1008)}},
			Prover: proverFunc(proves), Locator: l, Clock: chain.Clock{Genesis: time.Now(), BlockDelay: time.Second},
		})
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, s)
		group.Go(func() { _ = s.Run(ctx) })
	}
	if err := n.Step(ctx, 8); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for ; asked < 12 || services[1].Status()[0].Failed == 0 && asked < 500; asked++ { // which one is asked is chance
		for _, s := range services {
			eventually(t, "registered", func() bool { return s.Healthy() == nil })
		}
		if w, err := n.AskWinning(ctx, 1008); err != nil || w.Err != nil {
			t.Fatalf("%v, %v", err, w.Err)
		}
	}
	eventually(t, "all are answered by the one that has the sector", func() bool { return services[0].Status()[0].Answered == asked })
	if services[1].Status()[0].Failed == 0 {
		t.Error("the manager without the sector was never asked")
	}
}
