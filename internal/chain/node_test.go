package chain

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

func plain(ws string) string { return "http" + strings.TrimPrefix(ws, "ws") }

func TestReads(t *testing.T) {
	head := grow(nil, "main", 7)[0]
	_, addr := startNode(t, head)
	n := newNode(t, Config{Endpoints: []string{addr}})
	if got, err := n.ChainHead(t.Context()); err != nil || !got.Key().Equals(head.Key()) {
		t.Errorf("head %v, %v", got, err)
	}
	if info, err := n.StateMinerInfo(t.Context(), miner(t, 1008), lotus.TipSetKey{}); err != nil || info.SectorSize != 2048 {
		t.Errorf("info %+v, %v", info, err)
	}
	some := bitfield.NewFromSet([]uint64{1, 5})
	if _, err := n.StateMinerSectors(t.Context(), miner(t, 1008), &some, lotus.TipSetKey{}); err != nil {
		t.Errorf("some sectors: %v", err)
	}
	if _, err := n.StateMinerSectors(t.Context(), miner(t, 1008), nil, lotus.TipSetKey{}); err == nil || !strings.Contains(err.Error(), "all sectors") {
		t.Errorf("nil did not ask for all sectors: %v", err)
	}
}

func TestErrorsNameTheirCause(t *testing.T) {
	_, addr := startNode(t, grow(nil, "main", 7)[0])
	good := newNode(t, Config{Endpoints: []string{addr}})
	_, unknown := good.StateMinerInfo(t.Context(), miner(t, 999999), lotus.TipSetKey{})
	_, method := good.StateNetworkName(t.Context())
	_, token := newNode(t, Config{Endpoints: []string{addr}, Token: "bad"}).ChainHead(t.Context())
	_, away := newNode(t, Config{Endpoints: []string{"/ip4/127.0.0.1/tcp/1/ws"}}).ChainHead(t.Context())
	for _, c := range []struct {
		err   error
		kind  error
		words string
	}{
		{unknown, ErrNotFound, "Filecoin.StateMinerInfo on node " + addr},
		{method, endpoint.ErrNoMethod, "is the address that of a node?"},
		{token, endpoint.ErrToken, "the node refused the token"},
		{away, endpoint.ErrUnreachable, "ws://127.0.0.1:1/rpc/v1"},
	} {
		if !errors.Is(c.err, c.kind) || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("got %v, want kind %q and %q", c.err, c.kind, c.words)
		}
	}
	if _, err := good.StateMinerInfo(t.Context(), miner(t, 0), lotus.TipSetKey{}); err == nil || !strings.Contains(err.Error(), "the answer is empty") {
		t.Errorf("null instead of an answer: %v", err)
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Common.API.Chain") {
		t.Errorf("no endpoint: %v", err)
	}
	if _, err := New(Config{Endpoints: []string{"nonsense"}}); err == nil {
		t.Error("a nonsense address was accepted")
	}
}

// Randomness is always drawn from a named chain.
func TestRandomnessNamesItsTipset(t *testing.T) {
	main := grow(nil, "main", 6, 7)
	node, addr := startNode(t, main[1])
	n := newNode(t, Config{Endpoints: []string{addr}})
	for _, k := range []lotus.TipSetKey{main[0].Key(), {}} {
		if _, err := n.PoStCommitRandomness(t.Context(), 5, k); err != nil {
			t.Fatal(err)
		}
		rand, err := n.WindowPoStChallenge(t.Context(), miner(t, 1000), 5, k)
		if err != nil {
			t.Fatal(err)
		}
		if want := "C\x00\xe8\a"; string(rand[:4]) != want {
			t.Errorf("entropy %q, want the CBOR of the address, %q", rand[:4], want)
		}
	}
	for i, want := range []lotus.TipSetKey{main[0].Key(), main[0].Key(), main[1].Key(), main[1].Key()} {
		if !node.keys[i].Equals(want) {
			t.Errorf("call %d was made for %v, want %v", i, node.keys[i], want)
		}
	}
}

func TestClock(t *testing.T) {
	node, addr := startNode(t, grow(nil, "main", 7)[0])
	for _, genesis := range []uint64{1000, 0} { // an old node leaves it out: then the genesis block says
		node.set(func() { node.genesis = genesis })
		n := newNode(t, Config{Endpoints: []string{addr}})
		c, err := n.Clock(t.Context())
		if err != nil || c.Genesis.Unix() != 1000 || c.BlockDelay != 30*time.Second {
			t.Fatalf("clock %+v, %v", c, err)
		}
	}
	c := Clock{Genesis: time.Unix(1000, 0), BlockDelay: 30 * time.Second}
	for at, want := range map[int64]abi.ChainEpoch{1000: 0, 1029: 0, 1030: 1, 1599: 19, 1600: 20, 999: -1, 970: -1, 969: -2} {
		if got := c.EpochAt(time.Unix(at, 0)); got != want {
			t.Errorf("second %d lies in epoch %d, want %d", at, got, want)
		}
	}
	if got := c.TimeOf(20).Unix(); got != 1600 {
		t.Errorf("epoch 20 begins at %d", got)
	}
	n := newNode(t, Config{Endpoints: []string{addr}})
	for range 3 {
		if _, err := n.Clock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := node.count("StateGetNetworkParams"); got != 3 {
		t.Errorf("the parameters were asked for %d times, want once per client", got)
	}
}

func TestFailover(t *testing.T) {
	head := grow(nil, "main", 7)[0]
	first, a := startNode(t, head)
	second, b := startNode(t, head)
	n := newNode(t, Config{Endpoints: []string{a, b}})
	ask := func() error { _, err := n.StateMinerInfo(t.Context(), miner(t, 1), lotus.TipSetKey{}); return err }
	calls := func() [2]int { return [2]int{first.count("StateMinerInfo"), second.count("StateMinerInfo")} }

	if err := ask(); err != nil || calls() != [2]int{1, 0} {
		t.Fatalf("calls %v, %v; want the first node asked", calls(), err)
	}
	if _, err := n.StateMinerInfo(t.Context(), miner(t, 999999), lotus.TipSetKey{}); !errors.Is(err, ErrNotFound) || second.count("StateMinerInfo") != 0 {
		t.Errorf("a plain answer was asked for twice: %v, %v", calls(), err)
	}
	first.set(func() { first.fail = errors.New("loading tipset x: block not found") })
	if err := ask(); err != nil || calls() != [2]int{3, 1} {
		t.Errorf("calls %v, %v; want the second asked when the first is behind", calls(), err)
	}
	first.set(func() { first.fail = nil })

	// The first loses its token: it is left, and taken back when it works.
	bad := newNode(t, Config{Endpoints: []string{"bad:" + a, b}})
	if _, err := bad.ChainHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := bad.Status()
	if st[0].Err == nil || st[0].Preferred || !st[1].Preferred || st[1].Err != nil {
		t.Errorf("status %+v", st)
	}
	// Both away: the error is that of the one asked first.
	second.set(func() { second.fail = errors.New("loading tipset") })
	if _, err := bad.ChainHead(t.Context()); err == nil {
		t.Error("no error although no node answers")
	}
}

func TestHungNodeLeavesTimeForTheOther(t *testing.T) {
	head := grow(nil, "main", 7)[0]
	first, a := startNode(t, head)
	_, b := startNode(t, head)
	release := make(chan struct{})
	defer close(release)
	first.set(func() { first.hang = release })
	n := newNode(t, Config{Endpoints: []string{a, b}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := n.ChainHead(ctx); err != nil {
		t.Errorf("the second node was not asked in time: %v", err)
	}
	if n.Status()[0].Err == nil {
		t.Error("the hung node counts as working")
	}
}

func TestProbePrefersTheHighest(t *testing.T) {
	low, a := startNode(t, grow(nil, "main", 7)[0])
	_, b := startNode(t, grow(nil, "main", 20)[0])
	n := newNode(t, Config{Endpoints: []string{a, b}})
	n.Probe(t.Context())
	if st := n.Status(); !st[1].Preferred || st[0].Height != 7 || st[1].Height != 20 {
		t.Errorf("status %+v", st)
	}
	low.set(func() { low.head = grow(nil, "main", 21)[0] })
	n.Probe(t.Context())
	if st := n.Status(); !st[1].Preferred {
		t.Errorf("switched for a lead of one epoch: %+v", st)
	}
	low.set(func() { low.head = grow(nil, "main", 30)[0] })
	n.Probe(t.Context())
	if st := n.Status(); !st[0].Preferred {
		t.Errorf("the node that came back is not used: %+v", st)
	}
}

// collect follows the chain in the background and returns the events as words.
func collect(t *testing.T, n *Node, s *store) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan string, 64), make(chan error, 1)
	go func() {
		done <- n.Follow(ctx, func(_ context.Context, e HeadEvent) { events <- show(e, s.name) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
	return events
}

func next(t *testing.T, ch <-chan string) string {
	t.Helper()
	select {
	case s := <-ch:
		return s
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
		return ""
	}
}

func TestFollowOverWebsocket(t *testing.T) {
	main := grow(nil, "main", span(1, 9)...)
	node, addr := startNode(t, main[0])
	node.add("", main)
	events := collect(t, newNode(t, Config{Endpoints: []string{addr}}), node.store)
	if got := next(t, events); got != "reset 1" {
		t.Errorf("first event %q", got)
	}
	node.move(changes(lotus.HCApply, main[1]))
	if got := next(t, events); got != "+2" {
		t.Errorf("event %q", got)
	}
	// The stream breaks; the head moves meanwhile.
	node.set(func() { node.mute = true })
	node.move(changes(lotus.HCApply, main[4]))
	node.set(func() { node.mute = false; node.streams = nil })
	node.cutAll()
	if got := next(t, events); got != "+3 +4 +5" {
		t.Errorf("after the break: %q", got)
	}
}

func TestFollowSwitchesNode(t *testing.T) {
	main := grow(nil, "main", span(1, 9)...)
	first, a := startNode(t, main[0])
	second, b := startNode(t, main[3])
	first.add("", main)
	second.add("", main)
	events := collect(t, newNode(t, Config{Endpoints: []string{a, b}}), first.store)
	if got := next(t, events); got != "reset 1" {
		t.Errorf("first event %q", got)
	}
	first.set(func() { first.fail = errors.New("loading tipset: block not found") })
	first.cutAll()
	if got := next(t, events); got != "+2 +3 +4" {
		t.Errorf("on the second node: %q", got)
	}
	second.move(changes(lotus.HCApply, main[4]))
	if got := next(t, events); got != "+5" {
		t.Errorf("on the second node: %q", got)
	}
}

func TestFollowOverHTTP(t *testing.T) {
	main := grow(nil, "main", span(1, 9)...)
	node, addr := startNode(t, main[0])
	node.add("", main)
	n := newNode(t, Config{Endpoints: []string{plain(addr)}})
	n.clock.Store(&Clock{Genesis: time.Now(), BlockDelay: 100 * time.Millisecond})
	events := collect(t, n, node.store)
	if got := next(t, events); got != "reset 1" {
		t.Errorf("first event %q", got)
	}
	node.move(changes(lotus.HCApply, main[2]))
	if got := next(t, events); got != "+2 +3" {
		t.Errorf("event %q", got)
	}
}
