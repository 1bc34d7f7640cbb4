package fullnode

import (
	"context"
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// The methods of this file are those that a messager asks of its node.

// ChainMessage is one entry of ChainGetParentMessages and ChainGetMessagesInTipset.
type ChainMessage struct {
	Cid     cid.Cid
	Message *lotus.Message
}

func chainMessages(in []simchain.Executed) []ChainMessage {
	var out []ChainMessage
	for _, m := range in {
		out = append(out, ChainMessage{Cid: *m.Message.CID, Message: &m.Message.Message})
	}
	return out
}

// ChainGetParentMessages returns the messages of the parents of a block; null for none.
func (n *Node) ChainGetParentMessages(ctx context.Context, block cid.Cid) ([]ChainMessage, error) {
	return serve.Call(n.gate, ctx, "ChainGetParentMessages", func() ([]ChainMessage, error) {
		in, err := n.chain.ParentMessages(block)
		return chainMessages(in), err
	})
}

// ChainGetParentReceipts returns the receipts of the messages of the parents of
// a block, in the order of ChainGetParentMessages; null for none.
func (n *Node) ChainGetParentReceipts(ctx context.Context, block cid.Cid) ([]*lotus.MessageReceipt, error) {
	return serve.Call(n.gate, ctx, "ChainGetParentReceipts", func() ([]*lotus.MessageReceipt, error) {
		in, err := n.chain.ParentMessages(block)
		if err != nil {
			return nil, err
		}
		var out []*lotus.MessageReceipt
		for _, m := range in {
			out = append(out, &m.Receipt)
		}
		return out, nil
	})
}

// ChainGetMessagesInTipset returns the messages of a tipset; null for none.
func (n *Node) ChainGetMessagesInTipset(ctx context.Context, key lotus.TipSetKey) ([]ChainMessage, error) {
	return serve.Call(n.gate, ctx, "ChainGetMessagesInTipset", func() ([]ChainMessage, error) {
		in, err := n.chain.Messages(key)
		return chainMessages(in), err
	})
}

// EstimateSpec are a messager's wishes for the price of one message.
type EstimateSpec struct {
	MaxFee            big.Int
	GasOverEstimation float64
	GasOverPremium    float64
}

// EstimateMessage is one question of GasBatchEstimateMessageGas.
type EstimateMessage struct {
	Msg  *lotus.Message
	Spec *EstimateSpec
}

// EstimateResult is one answer: the message with its gas filled in, or why not.
type EstimateResult struct {
	Msg *lotus.Message
	Err string
}

// GasBatchEstimateMessageGas estimates messages of one sender, each after those
// before it that could be estimated, and numbers them from fromNonce on.
func (n *Node) GasBatchEstimateMessageGas(ctx context.Context, in []*EstimateMessage, fromNonce uint64, key lotus.TipSetKey) ([]*EstimateResult, error) {
	return serve.Call(n.gate, ctx, "GasBatchEstimateMessageGas", func() ([]*EstimateResult, error) {
		var out []*EstimateResult
		var before []*lotus.Message
		for _, q := range in {
			if q == nil || q.Msg == nil {
				return nil, fmt.Errorf("no message to estimate")
			}
			msg, err := n.estimateAfter(ctx, q, before, key)
			if err != nil {
				out = append(out, &EstimateResult{Msg: q.Msg, Err: err.Error()})
				continue
			}
			msg.Nonce = fromNonce
			fromNonce++
			before = append(before, msg)
			out = append(out, &EstimateResult{Msg: msg})
		}
		return out, nil
	})
}

func (n *Node) estimateAfter(ctx context.Context, q *EstimateMessage, before []*lotus.Message, key lotus.TipSetKey) (*lotus.Message, error) {
	msg, spec := *q.Msg, &lotus.MessageSendSpec{MaxFee: big.Zero()}
	overGas, overPremium := 0.0, 0.0
	if q.Spec != nil {
		spec.MaxFee, overGas, overPremium = q.Spec.MaxFee, q.Spec.GasOverEstimation, q.Spec.GasOverPremium
	}
	if msg.GasLimit == 0 {
		used, err := n.chain.GasUsed(ctx, msg, key, before...)
		if err != nil {
			return nil, fmt.Errorf("estimating gas limit: %w", err)
		}
		if overGas == 0 {
			overGas = 1.25
		}
		msg.GasLimit = int64(float64(used) * overGas)
	}
	if overPremium > 0 && (msg.GasPremium.Nil() || msg.GasPremium.IsZero()) {
		msg.GasPremium = big.Div(big.Mul(n.chain.GasPremium(), big.NewInt(int64(overPremium*1000))), big.NewInt(1000))
	}
	return n.chain.EstimateGas(ctx, msg, spec, key)
}

// MpoolBatchPushUntrusted puts signed messages of others into the pool, one
// after the other; the first that is refused ends it.
func (n *Node) MpoolBatchPushUntrusted(ctx context.Context, in []*lotus.SignedMessage) ([]cid.Cid, error) {
	return n.pushAll(ctx, "MpoolBatchPushUntrusted", in)
}

// MpoolBatchPush puts signed messages into the pool.
func (n *Node) MpoolBatchPush(ctx context.Context, in []*lotus.SignedMessage) ([]cid.Cid, error) {
	return n.pushAll(ctx, "MpoolBatchPush", in)
}

func (n *Node) pushAll(ctx context.Context, method string, in []*lotus.SignedMessage) ([]cid.Cid, error) {
	return serve.Call(n.gate, ctx, method, func() ([]cid.Cid, error) {
		out := []cid.Cid{}
		for _, m := range in {
			if m == nil {
				return out, fmt.Errorf("no message to push")
			}
			c, err := n.chain.PushSigned(m, "node")
			if err != nil {
				return out, err
			}
			out = append(out, c)
		}
		return out, nil
	})
}

// MpoolConfig is the answer of MpoolGetConfig.
type MpoolConfig struct {
	PriorityAddrs          []address.Address
	SizeLimitHigh          int
	SizeLimitLow           int
	ReplaceByFeeRatio      float64
	PruneCooldown          time.Duration
	GasLimitOverestimation float64
}

// MpoolGetConfig describes the pool.
func (n *Node) MpoolGetConfig(ctx context.Context) (*MpoolConfig, error) {
	return serve.Call(n.gate, ctx, "MpoolGetConfig", func() (*MpoolConfig, error) {
		high := n.chain.PoolLimit()
		return &MpoolConfig{
			SizeLimitHigh: high, SizeLimitLow: high * 2 / 3, ReplaceByFeeRatio: 1.25,
			PruneCooldown: time.Minute, GasLimitOverestimation: 1.25,
		}, nil
	})
}
