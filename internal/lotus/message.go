package lotus

import (
	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
)

// Message is an unsigned chain message. Params is CBOR; base64 on the wire.
type Message struct {
	Version    uint64
	To         address.Address
	From       address.Address
	Nonce      uint64
	Value      abi.TokenAmount
	GasLimit   int64
	GasFeeCap  abi.TokenAmount
	GasPremium abi.TokenAmount
	Method     abi.MethodNum
	Params     []byte
	CID        *cid.Cid `json:",omitempty"` // filled by the node, ignored when sent
}

// SignedMessage is a message with its sender's signature.
type SignedMessage struct {
	Message   Message
	Signature crypto.Signature
	CID       *cid.Cid `json:",omitempty"`
}

// MessageSendSpec limits the fee of a message pushed through the node.
// MsgUuid makes a repeated push of the same message safe: the node answers the
// second with the message it signed for the first.
type MessageSendSpec struct {
	MaxFee         abi.TokenAmount
	MsgUuid        *string `json:",omitempty"`
	MaximizeFeeCap bool    `json:",omitempty"`
}

// MessageReceipt is the outcome of an executed message.
type MessageReceipt struct {
	ExitCode   exitcode.ExitCode
	Return     []byte
	GasUsed    int64
	EventsRoot *cid.Cid
}

// MsgLookup is the answer of StateWaitMsg and StateSearchMsg: where the
// message was executed. Message may differ from the one asked for when it was
// replaced by one of the same nonce.
type MsgLookup struct {
	Message   cid.Cid
	Receipt   MessageReceipt
	ReturnDec any
	TipSet    TipSetKey
	Height    abi.ChainEpoch
}

// GasEstimate groups what the gas estimation methods fill into a message.
type GasEstimate struct {
	GasLimit   int64
	GasFeeCap  big.Int
	GasPremium big.Int
}
