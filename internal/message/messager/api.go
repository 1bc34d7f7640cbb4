package messager

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// service is the Venus (sophon) messager. Source: filecoin-project/venus
// venus-shared/api/messager, types/messager; sophon-messager v1.20.
var service = endpoint.Service{Name: "messager", Path: "/rpc/v0", Namespace: "Message", Header: "messager.IMessager"}

// API is the part of the messager that is used; names are wire names.
type API struct {
	PushMessageWithId      func(ctx context.Context, id string, msg *lotus.Message, spec *SendSpec) (string, error)
	HasMessageByUid        func(ctx context.Context, id string) (bool, error)
	GetMessageByUid        func(ctx context.Context, id string) (*Message, error)
	ListMessageByFromState func(ctx context.Context, from address.Address, state State, ascending bool, page, size int, age time.Duration) ([]*Message, error)
	ReplaceMessage         func(ctx context.Context, p *ReplaceParams) (cid.Cid, error)
	MarkBadMessage         func(ctx context.Context, id string) error
	WalletHas              func(ctx context.Context, addr address.Address) (bool, error)
}

// SendSpec is the messager's form of message.Spec.
type SendSpec struct {
	ExpireEpoch       abi.ChainEpoch `json:"expireEpoch"`
	GasOverEstimation float64        `json:"gasOverEstimation"`
	MaxFee            big.Int        `json:"maxFee,omitempty"`
	GasOverPremium    float64        `json:"gasOverPremium"`
}

// State is the messager's state of a message; a number on the wire.
type State int

// The messager's states. NoWallet is gone since v1.11.
const (
	Unknown  State = iota
	Unfilled       // waits for a nonce, gas and a signature
	Filled         // signed and sent to the node
	OnChain
	Failed
	NonceConflict
	NoWallet
)

// Message is a message as the messager knows it, as far as it is used; one flat
// object on the wire. Receipt is null or {"ExitCode":-1,…} until it is on chain.
type Message struct {
	ID         string
	SignedCid  *cid.Cid
	From       address.Address
	Nonce      uint64
	GasLimit   int64
	GasFeeCap  abi.TokenAmount
	GasPremium abi.TokenAmount
	Height     abi.ChainEpoch
	Confidence int64
	Receipt    *lotus.MessageReceipt
	State      State
	ErrorMsg   string // why it waits or failed; older messagers leave it out
	CreatedAt  time.Time
}

// ReplaceParams is the question of ReplaceMessage. With Auto the messager
// chooses the price by itself and takes no notice of GasFeecap.
type ReplaceParams struct {
	ID             string
	Auto           bool
	MaxFee         abi.TokenAmount
	GasLimit       int64
	GasPremium     abi.TokenAmount
	GasFeecap      abi.TokenAmount
	GasOverPremium float64
}

// outcome is what the messager knows, in the words of the contract.
func (msg *Message) outcome(h message.Handle) message.Outcome {
	o := message.Outcome{
		Handle: message.Handle{ID: h.ID, CID: h.CID}, From: msg.From, Since: msg.CreatedAt, Nonce: msg.Nonce,
		Price: message.Price{FeeCap: msg.GasFeeCap, Premium: msg.GasPremium, GasLimit: msg.GasLimit},
	}
	if msg.SignedCid != nil {
		o.Handle.CID = msg.SignedCid.String()
	}
	switch msg.State {
	case Unfilled:
		o.State, o.Reason = message.Pending, msg.ErrorMsg
	case Filled:
		o.State, o.Reason, o.Signed = message.Pending, msg.ErrorMsg, true
	case OnChain:
		o.State, o.Height, o.Depth = message.Executed, msg.Height, abi.ChainEpoch(msg.Confidence)
		if msg.Receipt != nil {
			o.ExitCode, o.GasUsed = msg.Receipt.ExitCode, msg.Receipt.GasUsed
		}
	case NonceConflict:
		o.State, o.Reason = message.Dropped, "another message took its nonce"
	case Failed:
		o.State, o.Reason = message.Dropped, cmp.Or(msg.ErrorMsg, msg.returned(), "the messager marked it as failed")
	case NoWallet:
		o.State, o.Reason = message.Dropped, "the messager has no wallet with the sender's key"
	default:
		o.State = message.Unknown
	}
	return o
}

// returned is where older messagers keep the reason: in the place of the
// return value.
func (msg *Message) returned() string {
	if msg.Receipt == nil {
		return ""
	}
	return strings.TrimSpace(string(msg.Receipt.Return))
}
