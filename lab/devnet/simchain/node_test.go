package simchain

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

func twoNodes(c *Config) { c.Nodes = 2 }

// TestNodesShareMessages pushes to the second node; the first knows the message
// and anybody mines it.
func TestNodesShareMessages(t *testing.T) {
	c, _ := newChain(t, twoNodes)
	advance(t, c, open+2)
	second := c.NodeAt(1)
	m, err := second.Push(t.Context(), post(t, c, 0), nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pending()) != 1 || len(second.Pending()) != 1 {
		t.Fatalf("%d and %d messages wait", len(c.Pending()), len(second.Pending()))
	}
	advance(t, c, open+4)
	for i, n := range c.Nodes() {
		if found, err := n.Search(*m.CID, true); err != nil || found == nil {
			t.Errorf("node %d: %v, %v", i, found, err)
		}
		if len(n.Pending()) != 0 {
			t.Errorf("node %d still holds the message", i)
		}
	}
	if r, _ := c.Record(*m.CID); r.Node != 1 {
		t.Errorf("record %+v", r)
	}
}

// TestFrozenNode stands still, lacks what is newer, and catches up in one step.
func TestFrozenNode(t *testing.T) {
	c, _ := newChain(t, twoNodes)
	advance(t, c, 5)
	second := c.NodeAt(1)
	changes, cancel := second.Subscribe()
	defer cancel()
	<-changes
	second.Freeze(true)
	advance(t, c, 8)
	if second.Head().Height != 5 || c.Head().Height != 8 {
		t.Fatalf("heads %d and %d", second.Head().Height, c.Head().Height)
	}
	if _, err := second.TipSet(c.Head().Key()); err == nil || !strings.Contains(err.Error(), "block not found") {
		t.Errorf("the frozen node knows the chain's head: %v", err)
	}
	if err := c.Reorg(t.Context(), 5, false); err != nil { // below the frozen head
		t.Fatal(err)
	}
	second.Freeze(false)
	step := <-changes
	var kinds []string
	for _, ch := range step {
		kinds = append(kinds, ch.Type[:1])
	}
	if got := strings.Join(kinds, ""); got != "rraaaaa" {
		t.Errorf("caught up by %s", got)
	}
	if !second.Head().Key().Equals(c.Head().Key()) {
		t.Error("another head after catching up")
	}
}

// TestLaggingNode is two tipsets behind; TestOldAnswers below tells an old head
// although its stream goes on.
func TestLaggingNode(t *testing.T) {
	c, _ := newChain(t, twoNodes)
	c.NodeAt(1).Lag(2)
	advance(t, c, 9)
	if h := c.NodeAt(1).Head().Height; h != 7 {
		t.Errorf("head %d, want 7", h)
	}
	c.NodeAt(1).Lag(0)
	if h := c.NodeAt(1).Head().Height; h != 9 {
		t.Errorf("head %d after the lag, want 9", h)
	}
}

func TestOldAnswers(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, 5)
	c.AnswerOld(true)
	changes, cancel := c.Subscribe()
	defer cancel()
	advance(t, c, 7)
	if c.Head().Height != 5 || len(changes) != 3 {
		t.Errorf("head %d, %d changes", c.Head().Height, len(changes))
	}
	c.AnswerOld(false)
	if c.Head().Height != 7 {
		t.Errorf("head %d at the end", c.Head().Height)
	}
}

// TestCutNode keeps its messages to itself until it is back.
func TestCutNode(t *testing.T) {
	c, _ := newChain(t, twoNodes)
	advance(t, c, open+2)
	second := c.NodeAt(1)
	second.Cut(true)
	m, err := second.Push(t.Context(), post(t, c, 0), nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+4)
	if r, _ := c.Record(*m.CID); r.Height != 0 {
		t.Fatal("mined although it never left the node")
	}
	if _, err := c.Search(*m.CID, true); err == nil || !strings.Contains(err.Error(), "failed to load message: ipld: could not find") {
		t.Errorf("the first node: %v", err)
	}
	second.Cut(false)
	advance(t, c, open+5)
	if r, _ := c.Record(*m.CID); r.Height != open+5 {
		t.Errorf("record %+v", r)
	}
}

// TestForgetfulNode has never heard of the message that it sent.
func TestForgetfulNode(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	m := push(t, c, post(t, c, 0))
	c.Evict(*m.CID)
	c.Forget()
	advance(t, c, open+4)
	if _, err := c.Search(*m.CID, true); err == nil || !strings.Contains(err.Error(), "could not find") {
		t.Errorf("search: %v", err)
	}
	if r, _ := c.Record(*m.CID); !r.Dropped || r.Height != 0 {
		t.Errorf("record %+v", r)
	}
	if _, err := c.PushSigned(m, "test"); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+5)
	if r, _ := c.Record(*m.CID); r.Dropped || r.Height != open+5 {
		t.Errorf("record %+v", r)
	}
}

// TestKeys signs only where the key is.
func TestKeys(t *testing.T) {
	c, _ := newChain(t, twoNodes)
	advance(t, c, open+2)
	c.SetKey(mustID(100), false)
	if _, err := c.Push(t.Context(), post(t, c, 0), nil, "test"); err == nil || !strings.Contains(err.Error(), "key info not found") {
		t.Errorf("push without a key: %v", err)
	}
	if c.HasKey(mustID(100)) || !c.NodeAt(1).HasKey(mustID(100)) {
		t.Error("keys are at the wrong node")
	}
	if _, err := c.NodeAt(1).Push(t.Context(), post(t, c, 0), nil, "test"); err != nil {
		t.Error(err)
	}
}

// TestLowCapStaysAtHome is a message that its node takes and does not pass on
// until the base fee is within reach.
func TestLowCapStaysAtHome(t *testing.T) {
	c, _ := newChain(t, func(c *Config) { c.Nodes, c.BaseFee = 2, big.NewInt(1_000_000) })
	advance(t, c, open+2)
	m := post(t, c, 0)
	m.GasFeeCap, m.GasPremium = big.NewInt(50_000), big.NewInt(1)
	signed := push(t, c, m)
	if len(c.NodeAt(1).Pending()) != 0 || len(c.Pending()) != 1 {
		t.Fatal("passed on under a tenth of the base fee")
	}
	c.SetBaseFee(big.NewInt(40_000), 0)
	advance(t, c, open+4)
	if r, _ := c.Record(*signed.CID); r.Height == 0 {
		t.Errorf("not taken once it pays: %+v", r)
	}
	var none lotus.TipSetKey
	if in, err := c.Messages(none); err != nil || len(in) != 1 && len(c.Pending()) != 0 {
		t.Errorf("messages of the head: %v, %v", in, err)
	}
}
