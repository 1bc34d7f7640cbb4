package chain

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// heavy is a head of a height and a weight.
func heavy(h abi.ChainEpoch, weight int64) *lotus.TipSet {
	ts := grow(nil, "w", h)[0]
	ts.Blocks[0].ParentWeight = big.NewInt(weight)
	return ts
}

// testPool is a pool of members at heads, with a clock at an epoch.
func testPool(t *testing.T, clock abi.ChainEpoch, heads ...*lotus.TipSet) *pool {
	t.Helper()
	n := newNode(t, Config{Endpoints: slices.Repeat([]string{"ws://h:1"}, len(heads)), Board: condition.NewBoard()})
	n.pool.now = func() (abi.ChainEpoch, bool) { return clock, clock >= 0 }
	n.pool.delay = func() time.Duration { return 30 * time.Second }
	for i, ts := range heads {
		n.pool.members[i].ep, _ = endpoint.Parse("ws://h:"+string(rune('1'+i)), "", service)
		n.pool.members[i].head, n.pool.members[i].moved = ts, time.Now()
	}
	return n.pool
}

// TestHeadsAreRankedByWeightAndClock chooses the endpoint to ask.
func TestHeadsAreRankedByWeightAndClock(t *testing.T) {
	for _, c := range []struct {
		name  string
		clock abi.ChainEpoch
		heads []*lotus.TipSet
		want  int
	}{
		{"equal: the first", 100, []*lotus.TipSet{heavy(100, 500), heavy(100, 500)}, 0},
		{"one epoch ahead is nothing", 100, []*lotus.TipSet{heavy(99, 495), heavy(100, 500)}, 0},
		{"behind", 100, []*lotus.TipSet{heavy(90, 450), heavy(100, 500)}, 1},
		{"higher on a lighter fork", 110, []*lotus.TipSet{heavy(110, 400), heavy(106, 500)}, 1},
		{"lower and heavier is the chain", 106, []*lotus.TipSet{heavy(106, 500), heavy(110, 400)}, 0},
		{"heavy and years ahead of the clock", 100, []*lotus.TipSet{heavy(5000, 9000), heavy(100, 500)}, 1},
		{"nobody is near the clock", 5000, []*lotus.TipSet{heavy(90, 450), heavy(100, 500)}, 1},
		{"no clock yet", -1, []*lotus.TipSet{heavy(90, 450), heavy(100, 500)}, 1},
		{"weights not told", 100, []*lotus.TipSet{grow(nil, "a", 80)[0], grow(nil, "b", 100)[0]}, 1},
	} {
		p := testPool(t, c.clock, c.heads...)
		if got := p.order("X")[0]; got != p.members[c.want] {
			t.Errorf("%s: asked %s", c.name, got.ep)
		}
	}
}

// TestConditionsOfASingleNode tells of a node within three epochs (F9, F15, x10,
// x11, L11) and clears what is over.
func TestConditionsOfASingleNode(t *testing.T) {
	still := func(m *member) { m.moved = time.Now().Add(-2 * time.Minute) }
	for _, c := range []struct {
		name   string
		clock  abi.ChainEpoch
		change func(*member)
		want   condition.Kind
		words  string
	}{
		{"in time", 100, nil, "", ""},
		{"two null rounds", 102, still, "", ""},
		{"stands still (x11, L11)", 103, still, condition.NodeStandsStill, "epoch 100 for 2m0s, the clock shows epoch 103"},
		{"lags", 103, nil, condition.NodeLags, "3 epochs behind the clock (1m30s)"},
		{"days behind (field F15)", 9000, nil, condition.NodeLags, "8900 epochs behind the clock"},
		{"stream ahead of the answers (x10)", 110, func(m *member) { m.streamed = heavy(110, 600) }, condition.NodeOldHeads, "it answers epoch 100, its stream has brought epoch 110"},
		{"clock behind", 90, nil, condition.NodeClock, "clock of this machine shows epoch 90"},
		{"gone", 100, func(m *member) { m.err = errors.New("connection refused") }, condition.NodeGone, "connection refused"},
		{"token", 100, func(m *member) { m.err = endpoint.ErrToken }, condition.NodeAuth, "token refused"},
		{"limited", 100, func(m *member) { m.rest = time.Now().Add(time.Minute) }, condition.NodeLimited, "left alone for"},
		{"foreign", 100, func(m *member) {
			m.foreign = &foreignError{kind: condition.EndpointForeign, text: "another network"}
		}, condition.EndpointForeign, "another network"},
	} {
		p := testPool(t, c.clock, heavy(100, 500))
		if c.change != nil {
			c.change(p.members[0])
		}
		p.judge()
		list := p.board.List()
		switch {
		case c.want == "":
			if len(list) != 0 {
				t.Errorf("%s: %+v", c.name, list)
			}
			continue
		case len(list) != 1 || list[0].Kind != c.want || !strings.Contains(list[0].Detail, c.words) || list[0].Remedy == "":
			t.Errorf("%s: %+v", c.name, list)
			continue
		case c.want != condition.NodeClock && c.want != condition.NodeLimited && c.want != condition.EndpointForeign && list[0].Cost != condition.Window:
			t.Errorf("%s: cost %s with a single node", c.name, list[0].Cost)
		}
		*p.members[0] = member{ep: p.members[0].ep, head: heavy(c.clock, 900), moved: time.Now(), standing: p.members[0].standing}
		p.judge()
		if list := p.board.List(); len(list) != 0 {
			t.Errorf("%s: stands after it is over: %+v", c.name, list)
		}
	}
}

// TestAReserveGoneCostsNoWindow: what is wrong with one of two endpoints costs
// nothing yet.
func TestAReserveGoneCostsNoWindow(t *testing.T) {
	p := testPool(t, 100, heavy(50, 200), heavy(100, 500))
	p.judge()
	if list := p.board.List(); len(list) != 1 || list[0].Kind != condition.NodeLags || list[0].Cost != condition.None || list[0].Subject != p.members[0].ep.String() {
		t.Errorf("%+v", list)
	}
	p.members[1].err = errors.New("away")
	p.judge()
	for _, c := range p.board.List() {
		if c.Cost != condition.Window {
			t.Errorf("with nobody left: %+v", c)
		}
	}
}

// TestPosterX10OldAnswersAreNotBelieved: the head is never older than the one that
// the follower has reached.
func TestPosterX10OldAnswersAreNotBelieved(t *testing.T) {
	main := grow(nil, "main", span(1, 9)...)
	node, addr := startNode(t, main[8])
	node.add("", main)
	n := newNode(t, Config{Endpoints: []string{addr}})
	n.heads.set(main[8])
	n.heads.at = time.Now().Add(-time.Minute)
	node.set(func() { node.head = main[3] })
	if ts, err := n.ChainHead(t.Context()); err != nil || ts.Height != 9 {
		t.Errorf("head %v, %v", ts, err)
	}
	node.set(func() { node.fail = errors.New("away") })
	if _, err := n.ChainHead(t.Context()); err == nil {
		t.Error("an old head instead of an error")
	}
}

// TestQuietGridsCostNoCall computes deadlines at followed heads, and asks again at
// a new period, after a reorganisation and after a reset.
func TestQuietGridsCostNoCall(t *testing.T) {
	main := grow(nil, "main", span(1001, 1100)...)
	n := scriptedGrid(t)
	a := miner(t, 1000)
	ask := func(ts *lotus.TipSet, wantIndex uint64, wantCalls int64) {
		t.Helper()
		n.heads.set(ts)
		d, err := n.StateMinerProvingDeadline(t.Context(), a, ts.Key())
		if err != nil || d.Index != wantIndex || d.CurrentEpoch != ts.Height || d.Open > ts.Height || d.Close <= ts.Height {
			t.Fatalf("at %d: %+v, %v", ts.Height, d, err)
		}
		if got := n.asked.Load(); got != wantCalls {
			t.Fatalf("at %d: %d calls, want %d", ts.Height, got, wantCalls)
		}
	}
	ask(main[0], 0, 1)
	ask(main[1], 0, 1)
	ask(main[15], 1, 1)
	n.grids.moved(HeadEvent{Head: main[15], Apply: main[15:16]})
	ask(main[40], 3, 1)
	n.grids.moved(HeadEvent{Head: main[40], Revert: []*lotus.TipSet{main[41]}}) // above where it was learned
	ask(main[41], 3, 1)
	n.grids.moved(HeadEvent{Head: main[40], Revert: []*lotus.TipSet{main[41], main[0]}})
	ask(main[42], 3, 2)
	n.grids.moved(reset(main[43]))
	ask(main[43], 3, 3)
	ask(main[48], 0, 4) // the next period
	old := main[2]
	if _, err := n.StateMinerProvingDeadline(t.Context(), a, grow(nil, "elsewhere", 1003)[0].Key()); err != nil || n.asked.Load() != 5 {
		t.Errorf("a tipset that was no head (%v): %d calls, %v", old.Height, n.asked.Load(), err)
	}
}

// gridNode answers the deadline of the head that it is told of: periods of four
// windows of 12 epochs from 1000 on.
type gridNode struct {
	*Node
	asked atomic.Int64
}

func scriptedGrid(t *testing.T) *gridNode {
	t.Helper()
	_, addr := startNode(t, grow(nil, "main", 1001)[0])
	g := &gridNode{Node: newNode(t, Config{Endpoints: []string{addr}})}
	m := g.pool.members[0]
	if err := g.admit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	m.rpc.StateMinerProvingDeadline = func(_ context.Context, _ address.Address, _ lotus.TipSetKey) (*dline.Info, error) {
		g.asked.Add(1)
		head, _ := g.heads.get()
		start := head.Height - (head.Height-1000)%48
		return dline.NewInfo(start, uint64((head.Height-start)/12), head.Height, 4, 48, 12, 4, 14), nil
	}
	return g
}

// TestHandlerPanicCostsOneEvent: the follower goes on.
func TestHandlerPanicCostsOneEvent(t *testing.T) {
	main := grow(nil, "main", span(1, 9)...)
	node, addr := startNode(t, main[0])
	node.add("", main)
	n := newNode(t, Config{Endpoints: []string{addr}})
	ctx, cancel := context.WithCancel(t.Context())
	heads, done := make(chan abi.ChainEpoch, 8), make(chan error, 1)
	go func() {
		done <- n.Follow(ctx, func(_ context.Context, e HeadEvent) {
			heads <- e.Head.Height
			if e.Head.Height == 1 {
				panic("a nil element")
			}
		})
	}()
	for want := abi.ChainEpoch(1); want <= 2; want++ {
		select {
		case got := <-heads:
			if got != want {
				t.Fatalf("head %d, want %d", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the follower died")
		}
		node.move(changes(lotus.HCApply, main[want]))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
