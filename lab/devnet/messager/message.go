package messager

import (
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// State is where a message stands; a number on the wire.
type State int

// The states of a message.
const (
	UnKnown          State = iota
	UnFillMsg              // waits for a nonce, gas and a signature
	FillMsg                // signed and sent to the node
	OnChainMsg             // executed; look at the receipt
	FailedMsg              // given up
	NonceConflictMsg       // another message took its nonce
)

// SendSpec limits what a message may cost and how long it is tried.
type SendSpec struct {
	ExpireEpoch       abi.ChainEpoch `json:"expireEpoch"`
	GasOverEstimation float64        `json:"gasOverEstimation"`
	MaxFee            big.Int        `json:"maxFee,omitempty"`
	GasOverPremium    float64        `json:"gasOverPremium"`
}

// Message is a message with everything the messager knows about it; one flat
// object on the wire.
type Message struct {
	ID          string
	UnsignedCid *cid.Cid
	SignedCid   *cid.Cid
	lotus.Message
	Signature  *crypto.Signature
	Height     int64
	Confidence int64
	Receipt    *lotus.MessageReceipt
	TipSetKey  lotus.TipSetKey
	Meta       *SendSpec
	WalletName string
	State      State
	ErrorMsg   string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// ReplaceParams asks for another price. With Auto the messager chooses it.
type ReplaceParams struct {
	ID             string
	Auto           bool
	MaxFee         big.Int
	GasLimit       int64
	GasPremium     big.Int
	GasFeecap      big.Int
	GasOverPremium float64
}
