package devnet_test

import (
	"context"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/fullnode"
)

// batchAPI are the methods that a messager asks of its node.
type batchAPI struct {
	ChainGetMessagesInTipset   func(context.Context, lotus.TipSetKey) ([]fullnode.ChainMessage, error)
	ChainGetParentMessages     func(context.Context, cid.Cid) ([]fullnode.ChainMessage, error)
	ChainGetParentReceipts     func(context.Context, cid.Cid) ([]*lotus.MessageReceipt, error)
	GasBatchEstimateMessageGas func(context.Context, []*fullnode.EstimateMessage, uint64, lotus.TipSetKey) ([]*fullnode.EstimateResult, error)
	MpoolBatchPushUntrusted    func(context.Context, []*lotus.SignedMessage) ([]cid.Cid, error)
	MpoolGetConfig             func(context.Context) (*fullnode.MpoolConfig, error)
	MpoolGetNonce              func(context.Context, string) (uint64, error)
	StateNetworkName           func(context.Context) (string, error)
}

// TestNodeServesAMessager plays what a messager does with its node: estimates
// several messages of one sender, signs and pushes them together, and follows
// them by the tipsets' messages and receipts.
func TestNodeServesAMessager(t *testing.T) {
	r := newRig(t, nil)
	r.to(firstOpen + 2)
	var api batchAPI
	dial(t, r.Node().URL("ws"), "Filecoin", r.Token(), &api)
	ctx := t.Context()
	if name, err := api.StateNetworkName(ctx); err != nil || !strings.Contains(name, "localnet-") || name != devnet.NetworkName {
		t.Errorf("network name %q, %v: Venus services accept names with localnet- only", name, err)
	}
	if c, err := api.MpoolGetConfig(ctx); err != nil || c.ReplaceByFeeRatio != 1.25 || c.SizeLimitHigh == 0 {
		t.Errorf("pool config %+v, %v", c, err)
	}
	window, err := r.api.StateMinerProvingDeadline(ctx, r.miner, lotus.TipSetKey{})
	if err != nil {
		t.Fatal(err)
	}
	var ask []*fullnode.EstimateMessage
	for p := range uint64(3) {
		ask = append(ask, &fullnode.EstimateMessage{Msg: r.post(window.Index, p), Spec: &fullnode.EstimateSpec{MaxFee: big.Zero(), GasOverEstimation: 1.5, GasOverPremium: 2}})
	}
	ask = append(ask, &fullnode.EstimateMessage{Msg: r.post(window.Index, 1)}) // proven by then
	estimated, err := api.GasBatchEstimateMessageGas(ctx, ask, 7, lotus.TipSetKey{})
	if err != nil || len(estimated) != 4 {
		t.Fatalf("%d estimates, %v", len(estimated), err)
	}
	if e := estimated[3]; !strings.Contains(e.Err, "partition already proven") {
		t.Errorf("the same partition again: %q", e.Err)
	}
	var signed []*lotus.SignedMessage
	for i, e := range estimated[:3] {
		if e.Err != "" || e.Msg.Nonce != uint64(7+i) || e.Msg.GasLimit == 0 || e.Msg.GasPremium.Int64() != 2*99_978 {
			t.Fatalf("estimate %d: %+v %s", i, e.Msg, e.Err)
		}
		e.Msg.Nonce = uint64(i)
		s, err := r.api.WalletSignMessage(ctx, e.Msg.From, e.Msg)
		if err != nil {
			t.Fatal(err)
		}
		signed = append(signed, s)
	}
	cids, err := api.MpoolBatchPushUntrusted(ctx, signed)
	if err != nil || len(cids) != 3 || cids[0] != *signed[0].CID {
		t.Fatalf("pushed %v, %v", cids, err)
	}
	r.to(r.Chain().Epoch() + 1)
	in, err := api.ChainGetMessagesInTipset(ctx, r.Chain().Head().Key())
	if err != nil || len(in) != 3 || in[0].Cid != cids[0] {
		t.Errorf("in the tipset: %v, %v", in, err)
	}
	r.to(r.Chain().Epoch() + 1)
	block := r.Chain().Head().Cids[0]
	parents, err := api.ChainGetParentMessages(ctx, block)
	if err != nil || len(parents) != 3 {
		t.Errorf("parent messages %v, %v", parents, err)
	}
	receipts, err := api.ChainGetParentReceipts(ctx, block)
	if err != nil || len(receipts) != 3 || receipts[0].ExitCode != 0 || receipts[0].GasUsed == 0 {
		t.Errorf("receipts %v, %v", receipts, err)
	}
	if _, err := api.MpoolBatchPushUntrusted(ctx, []*lotus.SignedMessage{nil}); err == nil {
		t.Error("null was pushed")
	}
	unknown := cid.MustParse("bafy2bzaceasahvxh4zlrxzcsfmb3pleh2wvj6ncrz7vsejfnlv7y5ywqj2ouk")
	if _, err := r.api.StateSearchMsg(ctx, lotus.TipSetKey{}, unknown, 100, true); err == nil || !strings.Contains(err.Error(), "failed to load message: ipld: could not find "+unknown.String()) {
		t.Errorf("unknown message: %v", err)
	}
	if _, err := api.ChainGetParentReceipts(ctx, unknown); err == nil || !strings.Contains(err.Error(), "block not found") {
		t.Errorf("unknown block: %v", err)
	}
}

// TestReplacementThatComesTooLate: between the tipset that executes a message and
// the one that shows its receipt the messager still takes a replacement. The pool
// refuses it, and the message is found by its nonce all the same.
func TestReplacementThatComesTooLate(t *testing.T) {
	r := newRig(t, nil)
	m, ctx := r.messager(), t.Context()
	r.to(firstOpen + 1)
	must[string](t)(m.PushMessageWithId(ctx, "one", r.post(2, 0), nil))
	r.to(firstOpen + 2) // signed and sent
	r.to(firstOpen + 3) // executed, its receipt comes with the next tipset
	if got := must[*venusMessage](t)(m.GetMessageByUid(ctx, "one")); got.State != 2 {
		t.Fatalf("before the receipt: %+v", got)
	}
	if _, err := m.ReplaceMessage(ctx, &replaceParams{ID: "one", Auto: true}); err == nil || !strings.Contains(err.Error(), "nonce too low") {
		t.Errorf("replacement: %v", err)
	}
	r.to(firstOpen + 5)
	if got := must[*venusMessage](t)(m.GetMessageByUid(ctx, "one")); got.State != 3 || got.Receipt.ExitCode != 0 {
		t.Errorf("after the receipt: %+v", got)
	}
}
