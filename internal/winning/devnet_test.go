package winning

import (
	"context"
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
			Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true,
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
