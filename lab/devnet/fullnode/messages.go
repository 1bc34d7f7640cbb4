package fullnode

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
)

// MpoolPushMessage estimates, signs and sends a message.
func (n *Node) MpoolPushMessage(ctx context.Context, msg *lotus.Message, spec *lotus.MessageSendSpec) (*lotus.SignedMessage, error) {
	return serve.Call(n.gate, ctx, "MpoolPushMessage", func() (*lotus.SignedMessage, error) {
		if msg == nil {
			return nil, fmt.Errorf("no message to push")
		}
		if msg.Nonce != 0 {
			return nil, fmt.Errorf("MpoolPushMessage expects message nonce to be 0, was %d", msg.Nonce)
		}
		return n.chain.Push(ctx, *msg, spec, "node")
	})
}

// MpoolPush sends a signed message, or replaces one of the same nonce.
func (n *Node) MpoolPush(ctx context.Context, msg *lotus.SignedMessage) (cid.Cid, error) {
	return serve.Call(n.gate, ctx, "MpoolPush", func() (cid.Cid, error) {
		if msg == nil {
			return cid.Undef, fmt.Errorf("no message to push")
		}
		return n.chain.PushSigned(msg, "node")
	})
}

// MpoolPending returns the messages that wait to be mined.
func (n *Node) MpoolPending(ctx context.Context, key lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	return serve.Call(n.gate, ctx, "MpoolPending", func() ([]*lotus.SignedMessage, error) { return n.chain.Pending(), nil })
}

// MpoolGetNonce returns the nonce of an account's next message.
func (n *Node) MpoolGetNonce(ctx context.Context, a address.Address) (uint64, error) {
	return serve.Call(n.gate, ctx, "MpoolGetNonce", func() (uint64, error) { return n.chain.NextNonce(a) })
}

// GasEstimateMessageGas fills in the gas fields that are zero.
func (n *Node) GasEstimateMessageGas(ctx context.Context, msg *lotus.Message, spec *lotus.MessageSendSpec, key lotus.TipSetKey) (*lotus.Message, error) {
	return serve.Call(n.gate, ctx, "GasEstimateMessageGas", func() (*lotus.Message, error) {
		if msg == nil {
			return nil, fmt.Errorf("no message to estimate")
		}
		out, err := n.chain.EstimateGas(ctx, *msg, spec, key)
		if err != nil {
			return nil, fmt.Errorf("estimating gas used: %w", err)
		}
		return out, nil
	})
}

// GasEstimateGasLimit executes a message and returns the gas it used.
func (n *Node) GasEstimateGasLimit(ctx context.Context, msg *lotus.Message, key lotus.TipSetKey) (int64, error) {
	return serve.Call(n.gate, ctx, "GasEstimateGasLimit", func() (int64, error) {
		if msg == nil {
			return 0, fmt.Errorf("no message to estimate")
		}
		m := *msg
		m.GasLimit = 0
		return n.chain.GasUsed(ctx, m, key)
	})
}

// GasEstimateGasPremium returns a premium with which a message is taken soon.
func (n *Node) GasEstimateGasPremium(ctx context.Context, blocks uint64, sender address.Address, limit int64, key lotus.TipSetKey) (big.Int, error) {
	return serve.Call(n.gate, ctx, "GasEstimateGasPremium", func() (big.Int, error) { return n.chain.GasPremium(), nil })
}

// GasEstimateFeeCap returns a fee cap that allows for a growing base fee.
func (n *Node) GasEstimateFeeCap(ctx context.Context, msg *lotus.Message, blocks int64, key lotus.TipSetKey) (big.Int, error) {
	return serve.Call(n.gate, ctx, "GasEstimateFeeCap", func() (big.Int, error) {
		if msg == nil {
			return big.Int{}, fmt.Errorf("no message to estimate")
		}
		return n.chain.FeeCapFor(msg, blocks), nil
	})
}

// StateSearchMsg finds where a message was executed; null if nowhere yet.
func (n *Node) StateSearchMsg(ctx context.Context, from lotus.TipSetKey, msg cid.Cid, limit abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	return serve.Call(n.gate, ctx, "StateSearchMsg", func() (*lotus.MsgLookup, error) { return n.chain.Search(msg, replaced) })
}

// StateWaitMsg waits until a message was executed and is confidence epochs deep.
func (n *Node) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	return serve.Call(n.gate, ctx, "StateWaitMsg", func() (*lotus.MsgLookup, error) {
		return n.chain.Wait(ctx, msg, abi.ChainEpoch(confidence), replaced)
	})
}
