package chain_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/chain"
	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
)

// TestPosterX09PushesGoToAHealthyNode: with the first node down messages are
// signed and sent by the second (F5, L10).
func TestPosterX09PushesGoToAHealthyNode(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Nodes()[0].SetDown(true)
	if ok, err := p.WalletHas(t.Context(), msg.From); err != nil || !ok {
		t.Fatalf("key: %v, %v", ok, err)
	}
	if _, err := p.MpoolPending(t.Context(), lotus.TipSetKey{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.MpoolPushMessage(t.Context(), msg, nil); err != nil {
		t.Fatal(err)
	}
	p.landed(t)
	if r := p.Chain().Records(); len(r) != 1 || r[0].Node != 1 {
		t.Errorf("records %+v", r)
	}
}

// TestPushGoesWhereTheKeyIs signs on the only node that has the key.
func TestPushGoesWhereTheKeyIs(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Chain().SetKey(msg.From, false)
	handles, err := p.ForKey(t.Context(), msg.From)
	if err != nil || len(handles) != 1 || handles[0].String() != p.Nodes()[1].URL("ws") {
		t.Fatalf("handles %v, %v", handles, err)
	}
	if len(p.Endpoints()) != 2 {
		t.Errorf("%d endpoints", len(p.Endpoints()))
	}
	if _, err := p.MpoolPushMessage(t.Context(), msg, nil); err != nil {
		t.Fatal(err)
	}
	p.landed(t)
	p.Chain().NodeAt(1).SetKey(msg.From, false)
	fresh := client(t, chain.Config{Endpoints: []string{p.Nodes()[0].URL("ws"), p.Nodes()[1].URL("ws")}, Token: p.Token()})
	if handles, err := fresh.ForKey(t.Context(), msg.From); err != nil || len(handles) != 0 {
		t.Errorf("nobody has the key: %v, %v", handles, err)
	}
}

// TestLotusL10MessageOfACutOffNode: a message that its node cannot pass on reaches
// the network through the other.
func TestLotusL10MessageOfACutOffNode(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Chain().NodeAt(0).Cut(true)
	signed, err := p.MpoolPushMessage(t.Context(), msg, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Node.Close() // waits for what is under way
	if pending := p.Chain().NodeAt(1).Pending(); len(pending) != 1 || *pending[0].CID != *signed.CID {
		t.Fatalf("the second node holds %v", pending)
	}
	p.landed(t)
	if r := p.Chain().Records(); len(r) != 1 {
		t.Errorf("%d messages", len(r))
	}
}

// TestPendingIsThatOfAllNodes finds what only one node knows.
func TestPendingIsThatOfAllNodes(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Chain().NodeAt(1).Cut(true)
	signed, err := p.Chain().NodeAt(1).Push(t.Context(), *msg, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.MpoolPending(t.Context(), lotus.TipSetKey{})
	if err != nil || len(got) != 1 || *got[0].CID != *signed.CID {
		t.Errorf("pending %v, %v", got, err)
	}
	if _, err := p.Broadcast(t.Context(), signed); err != nil {
		t.Errorf("broadcast: %v", err)
	}
	if len(p.Chain().Pending()) != 1 {
		t.Error("the first node has not got it")
	}
}

// TestAmbiguousPushIsNotRepeated: a push whose answer was lost is not made again
// elsewhere.
func TestAmbiguousPushIsNotRepeated(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Chain().NodeAt(0).Cut(true) // the other node has not heard of it
	p.InjectAt(0, serve.Fault{Method: "Filecoin.MpoolPushMessage", After: true, Err: "connection to the wallet lost"})
	if _, err := p.MpoolPushMessage(t.Context(), msg, nil); err == nil {
		t.Error("the lost answer is no error")
	}
	if r := p.Chain().Records(); len(r) != 1 {
		t.Errorf("%d messages", len(r))
	}
	p.Chain().NodeAt(0).Cut(false)
	p.landed(t)
}

// TestLotusL2UnknownMessage: what one node has never heard of another may know;
// where none does the words are passed on.
func TestLotusL2UnknownMessage(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.Chain().NodeAt(1).Cut(true)
	signed, err := p.Chain().NodeAt(1).Push(t.Context(), *msg, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := p.StateSearchMsg(t.Context(), lotus.TipSetKey{}, *signed.CID, 100, true); err != nil || found != nil {
		t.Errorf("known to the second node: %v, %v", found, err)
	}
	p.Chain().NodeAt(1).Forget()
	if _, err := p.StateSearchMsg(t.Context(), lotus.TipSetKey{}, *signed.CID, 100, true); err == nil || !strings.Contains(err.Error(), "ipld: could not find") {
		t.Errorf("known to nobody: %v", err)
	}
}

// TestPushThatHangsGoesElsewhereNextTime: the next push goes to the other node,
// after the message was looked for.
func TestPushThatHangsGoesElsewhereNextTime(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	p.InjectAt(0, serve.Fault{Method: "Filecoin.MpoolPushMessage", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := p.MpoolPushMessage(ctx, msg, nil); err == nil {
		t.Fatal("a push that hangs succeeded")
	}
	if pending, err := p.MpoolPending(t.Context(), lotus.TipSetKey{}); err != nil || len(pending) != 0 {
		t.Fatalf("pending %v, %v", pending, err)
	}
	if _, err := p.MpoolPushMessage(t.Context(), msg, nil); err != nil {
		t.Fatal(err)
	}
	p.landed(t)
	if r := p.Chain().Records(); len(r) != 1 || r[0].Node != 1 {
		t.Errorf("records %+v", r)
	}
}

// TestPoolOfAFrozenNodeIsNotTheTruth: a node that stands still holds executed
// messages as pending and takes replacements of them.
func TestPoolOfAFrozenNodeIsNotTheTruth(t *testing.T) {
	p := newPair(t, nil)
	msg := p.post(t)
	signed, err := p.MpoolPushMessage(t.Context(), msg, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Chain().NodeAt(0).Freeze(true)
	if err := p.Step(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	p.Probe(t.Context())
	if pending, err := p.MpoolPending(t.Context(), lotus.TipSetKey{}); err != nil || len(pending) != 0 || len(p.Chain().Pending()) != 1 {
		t.Errorf("pending %v, %v; %d at the frozen node", pending, err, len(p.Chain().Pending()))
	}
	dearer := signed.Message
	dearer.GasPremium = big.Mul(dearer.GasPremium, big.NewInt(2))
	again, err := p.WalletSignMessage(t.Context(), dearer.From, &dearer)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := p.MpoolPush(t.Context(), again); err == nil || !strings.Contains(err.Error(), "nonce too low") {
		t.Errorf("a replacement of an executed message was taken: %s, %v", c, err)
	}
	if found, err := p.StateSearchMsg(t.Context(), lotus.TipSetKey{}, *signed.CID, 100, true); err != nil || found == nil {
		t.Errorf("the executed message: %v, %v", found, err)
	}
}
