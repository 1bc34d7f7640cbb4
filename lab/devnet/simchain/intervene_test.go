package simchain

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// TestTerminate ends sectors: a partition without live ones has nothing to prove,
// and a reorganisation repeats it.
func TestTerminate(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open-2)
	c.Terminate(1000, 0, 1, 2) // the first partition, and half of the second
	advance(t, c, open)
	if err := c.Reorg(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	m, _ := c.LatestState().Miner(1000)
	parts := m.Deadlines[0].Partitions
	if len(parts[0].Live()) != 0 || len(parts[1].Live()) != 1 || len(parts[1].All) != 2 || len(m.ActiveSectors()) != 3 {
		t.Fatalf("partitions %+v", parts)
	}
	advance(t, c, open+2)
	push(t, c, post(t, c, 1))
	advance(t, c, open+14)
	out := c.LatestState().Outcomes()
	if len(out) != 1 {
		t.Fatalf("%d outcomes", len(out))
	}
	verdicts := []actor.Verdict{actor.Faulty, actor.Proven, actor.Missed}
	for i, p := range out[0].Partitions {
		if p.Verdict != verdicts[i] {
			t.Errorf("partition %d is %s, want %s", i, p.Verdict, verdicts[i])
		}
	}
	if got := out[0].Partitions[1].ProvenSectors; len(got) != 1 || got[0] != 3 {
		t.Errorf("proven %v, want sector 3 alone", got)
	}
	if _, err := m.Terminate(actor.NewSet(99)); err == nil {
		t.Error("a sector that is none was terminated")
	}
}

// TestChanges schedules what can happen to accounts, miners and the network.
func TestChanges(t *testing.T) {
	c, _ := newChain(t, func(c *Config) { c.NetworkVersion = 27 })
	advance(t, c, 5)
	if err := c.SetBalance(mustID(100), big.NewInt(7)); err != nil {
		t.Fatal(err)
	}
	c.Upgrade(28)
	c.ChangeMiner(1000, func(m *actor.Miner) (*actor.Miner, error) { return m.MarkFaulty(actor.NewSet(4)) })
	if b := c.LatestState().Balance(100); b.Int64() == 7 {
		t.Error("before its epoch")
	}
	if _, err := c.Advance(t.Context(), true); err != nil { // the epoch is null: the next tipset does it
		t.Fatal(err)
	}
	advance(t, c, 7)
	m, _ := c.LatestState().Miner(1000)
	if b := c.LatestState().Balance(100); b.Int64() != 7 || len(m.ActiveSectors()) != 5 {
		t.Errorf("balance %s, active %v", b, m.ActiveSectors())
	}
	if c.NetworkVersion(5) != 27 || c.NetworkVersion(6) != 28 {
		t.Errorf("versions %d, %d", c.NetworkVersion(5), c.NetworkVersion(6))
	}
	policy := *m.Policy
	policy.PostedPartitionsMax = 1
	if n := m.WithPolicy(&policy); n.Policy.PostedPartitionsMax != 1 || m.Policy.PostedPartitionsMax == 1 {
		t.Error("the old miner has the new policy")
	}
	if n := m.WithInfo(func(i *actor.Info) { i.Worker = 5 }); n.Info.Worker != 5 || m.Info.Worker == 5 {
		t.Error("the old miner has the new worker")
	}
	c.ChangeMiner(77, func(m *actor.Miner) (*actor.Miner, error) { return m, nil })
	if _, err := c.Advance(t.Context(), false); err == nil {
		t.Error("a miner that is none was changed")
	}
	if err := c.SetBalance(mustID(12345), big.Zero()); err == nil {
		t.Error("an account that is none got money")
	}
}

// TestInABubble runs a chain, a follower and a waiter in simulated time.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newChain(t, func(c *Config) { c.Nodes = 2 })
		advance(t, c, open+2)
		m, err := c.NodeAt(1).Push(t.Context(), post(t, c, 0), nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		found := make(chan *lotus.MsgLookup, 1)
		go func() {
			l, err := c.Wait(ctx, *m.CID, 3, true)
			if err != nil {
				t.Errorf("wait: %v", err)
			}
			found <- l
		}()
		began := time.Now()
		for range 8 {
			time.Sleep(30 * time.Second)
			if _, err := c.Advance(t.Context(), false); err != nil {
				t.Fatal(err)
			}
		}
		if l := <-found; l == nil || l.Height != abi.ChainEpoch(open+4) {
			t.Errorf("found %+v", l)
		}
		if time.Since(began) != 4*time.Minute {
			t.Errorf("%s passed", time.Since(began))
		}
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := c.Wait(short, *m.CID, 1000, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait without end: %v", err)
		}
	})
}
