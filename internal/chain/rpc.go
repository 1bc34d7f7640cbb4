package chain

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// rpc is the part of the node's API that is used. The field names are the wire
// names; go-jsonrpc fills them in. Source: lotus api/api_full.go.
type rpc struct {
	Version func(context.Context) (lotus.Version, error)

	ChainHead              func(context.Context) (*lotus.TipSet, error)
	ChainGetGenesis        func(context.Context) (*lotus.TipSet, error)
	ChainGetTipSet         func(context.Context, lotus.TipSetKey) (*lotus.TipSet, error)
	ChainGetTipSetByHeight func(context.Context, abi.ChainEpoch, lotus.TipSetKey) (*lotus.TipSet, error)

	StateNetworkName              func(context.Context) (string, error)
	StateNetworkVersion           func(context.Context, lotus.TipSetKey) (network.Version, error)
	StateGetNetworkParams         func(context.Context) (*lotus.NetworkParams, error)
	StateGetRandomnessFromBeacon  func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, lotus.TipSetKey) (abi.Randomness, error)
	StateGetRandomnessFromTickets func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, lotus.TipSetKey) (abi.Randomness, error)
	StateGetActor                 func(context.Context, address.Address, lotus.TipSetKey) (*lotus.Actor, error)
	StateLookupID                 func(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	StateAccountKey               func(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)

	StateMinerInfo             func(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateMinerProvingDeadline  func(context.Context, address.Address, lotus.TipSetKey) (*dline.Info, error)
	StateMinerDeadlines        func(context.Context, address.Address, lotus.TipSetKey) ([]lotus.Deadline, error)
	StateMinerPartitions       func(context.Context, address.Address, uint64, lotus.TipSetKey) ([]lotus.Partition, error)
	StateMinerSectors          func(context.Context, address.Address, *bitfield.BitField, lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error)
	StateMinerActiveSectors    func(context.Context, address.Address, lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error)
	StateMinerFaults           func(context.Context, address.Address, lotus.TipSetKey) (bitfield.BitField, error)
	StateMinerRecoveries       func(context.Context, address.Address, lotus.TipSetKey) (bitfield.BitField, error)
	StateMinerPower            func(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerPower, error)
	StateMinerAvailableBalance func(context.Context, address.Address, lotus.TipSetKey) (big.Int, error)
	StateSectorGetInfo         func(context.Context, address.Address, abi.SectorNumber, lotus.TipSetKey) (*lotus.SectorOnChainInfo, error)
	StateSectorExpiration      func(context.Context, address.Address, abi.SectorNumber, lotus.TipSetKey) (*lotus.SectorExpiration, error)
	StateSectorPartition       func(context.Context, address.Address, abi.SectorNumber, lotus.TipSetKey) (*lotus.SectorLocation, error)

	StateSearchMsg func(context.Context, lotus.TipSetKey, cid.Cid, abi.ChainEpoch, bool) (*lotus.MsgLookup, error)
	StateWaitMsg   func(context.Context, cid.Cid, uint64, abi.ChainEpoch, bool) (*lotus.MsgLookup, error)

	MpoolPending          func(context.Context, lotus.TipSetKey) ([]*lotus.SignedMessage, error)
	MpoolPush             func(context.Context, *lotus.SignedMessage) (cid.Cid, error)
	MpoolGetNonce         func(context.Context, address.Address) (uint64, error)
	MpoolPushMessage      func(context.Context, *lotus.Message, *lotus.MessageSendSpec) (*lotus.SignedMessage, error)
	GasEstimateGasLimit   func(context.Context, *lotus.Message, lotus.TipSetKey) (int64, error)
	GasEstimateGasPremium func(context.Context, uint64, address.Address, int64, lotus.TipSetKey) (big.Int, error)
	GasEstimateFeeCap     func(context.Context, *lotus.Message, int64, lotus.TipSetKey) (big.Int, error)
	WalletBalance         func(context.Context, address.Address) (big.Int, error)
	WalletHas             func(context.Context, address.Address) (bool, error)
	WalletSignMessage     func(context.Context, address.Address, *lotus.Message) (*lotus.SignedMessage, error)
}

// stream is the part of the node's API that needs a websocket.
type stream struct {
	ChainNotify func(context.Context) (<-chan []*lotus.HeadChange, error)
}
