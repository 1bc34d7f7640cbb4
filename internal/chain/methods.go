package chain

import (
	"context"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// The methods of this file are those of the node under their own names. An
// empty TipSetKey means the head of whichever node answers; to see one state in
// several calls, pass the key of the head that is acted on.

// StateNetworkName names the network: mainnet, calibrationnet, or that of a development network.
func (n *Node) StateNetworkName(ctx context.Context) (string, error) {
	return read(ctx, n, "StateNetworkName", func(ctx context.Context, r *rpc) (string, error) { return r.StateNetworkName(ctx) })
}

// Version describes the node.
func (n *Node) Version(ctx context.Context) (lotus.Version, error) {
	return read(ctx, n, "Version", func(ctx context.Context, r *rpc) (lotus.Version, error) { return r.Version(ctx) })
}

// ChainGetGenesis returns the first tipset.
func (n *Node) ChainGetGenesis(ctx context.Context) (*lotus.TipSet, error) {
	return read(ctx, n, "ChainGetGenesis", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) { return present(r.ChainGetGenesis(ctx)) })
}

// ChainGetTipSet returns a tipset by its name.
func (n *Node) ChainGetTipSet(ctx context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return read(ctx, n, "ChainGetTipSet", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) { return present(r.ChainGetTipSet(ctx, key)) })
}

// StateNetworkVersion is the protocol version in force at tsk.
func (n *Node) StateNetworkVersion(ctx context.Context, tsk lotus.TipSetKey) (network.Version, error) {
	return read(ctx, n, "StateNetworkVersion", func(ctx context.Context, r *rpc) (network.Version, error) { return r.StateNetworkVersion(ctx, tsk) })
}

// StateGetNetworkParams returns what tells this network from others.
func (n *Node) StateGetNetworkParams(ctx context.Context) (*lotus.NetworkParams, error) {
	return read(ctx, n, "StateGetNetworkParams", func(ctx context.Context, r *rpc) (*lotus.NetworkParams, error) {
		return present(r.StateGetNetworkParams(ctx))
	})
}

// StateGetActor returns an actor with its balance; ErrNotFound when there is none.
func (n *Node) StateGetActor(ctx context.Context, addr address.Address, tsk lotus.TipSetKey) (*lotus.Actor, error) {
	return read(ctx, n, "StateGetActor", func(ctx context.Context, r *rpc) (*lotus.Actor, error) {
		return present(r.StateGetActor(ctx, addr, tsk))
	})
}

// StateLookupID resolves an address to its ID form; ErrNotFound when it never received anything.
func (n *Node) StateLookupID(ctx context.Context, addr address.Address, tsk lotus.TipSetKey) (address.Address, error) {
	return read(ctx, n, "StateLookupID", func(ctx context.Context, r *rpc) (address.Address, error) { return r.StateLookupID(ctx, addr, tsk) })
}

// StateAccountKey resolves an account's address to the key that signs for it.
func (n *Node) StateAccountKey(ctx context.Context, addr address.Address, tsk lotus.TipSetKey) (address.Address, error) {
	return read(ctx, n, "StateAccountKey", func(ctx context.Context, r *rpc) (address.Address, error) { return r.StateAccountKey(ctx, addr, tsk) })
}

// StateMinerInfo returns a miner's addresses, proof type and sector size; ErrNotFound for an unknown miner.
func (n *Node) StateMinerInfo(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*lotus.MinerInfo, error) {
	return read(ctx, n, "StateMinerInfo", func(ctx context.Context, r *rpc) (*lotus.MinerInfo, error) {
		return present(r.StateMinerInfo(ctx, miner, tsk))
	})
}

// StateMinerProvingDeadline returns the deadline current at tsk. For a miner that
// is new its period may begin before the chain did; see dline.Info.PeriodStarted.
func (n *Node) StateMinerProvingDeadline(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*dline.Info, error) {
	return read(ctx, n, "StateMinerProvingDeadline", func(ctx context.Context, r *rpc) (*dline.Info, error) {
		return present(r.StateMinerProvingDeadline(ctx, miner, tsk))
	})
}

// StateMinerDeadlines returns all deadlines with the partitions proven in
// their present window (PostSubmissions).
func (n *Node) StateMinerDeadlines(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]lotus.Deadline, error) {
	return readLong(ctx, n, "StateMinerDeadlines", func(ctx context.Context, r *rpc) ([]lotus.Deadline, error) {
		return r.StateMinerDeadlines(ctx, miner, tsk)
	})
}

// StateMinerPartitions returns the partitions of one deadline; empty when it has none.
func (n *Node) StateMinerPartitions(ctx context.Context, miner address.Address, deadline uint64, tsk lotus.TipSetKey) ([]lotus.Partition, error) {
	return readLong(ctx, n, "StateMinerPartitions", func(ctx context.Context, r *rpc) ([]lotus.Partition, error) {
		return r.StateMinerPartitions(ctx, miner, deadline, tsk)
	})
}

// StateMinerSectors returns the given sectors in ascending order, or all of
// the miner's when sectors is nil. Numbers that the miner does not have are left out.
func (n *Node) StateMinerSectors(ctx context.Context, miner address.Address, sectors *bitfield.BitField, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return readLong(ctx, n, "StateMinerSectors", func(ctx context.Context, r *rpc) ([]*lotus.SectorOnChainInfo, error) {
		return r.StateMinerSectors(ctx, miner, sectors, tsk)
	})
}

// StateMinerActiveSectors returns the sectors that are neither faulty nor terminated.
func (n *Node) StateMinerActiveSectors(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return readLong(ctx, n, "StateMinerActiveSectors", func(ctx context.Context, r *rpc) ([]*lotus.SectorOnChainInfo, error) {
		return r.StateMinerActiveSectors(ctx, miner, tsk)
	})
}

// StateMinerFaults returns the miner's faulty sectors.
func (n *Node) StateMinerFaults(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error) {
	return readLong(ctx, n, "StateMinerFaults", func(ctx context.Context, r *rpc) (bitfield.BitField, error) {
		return r.StateMinerFaults(ctx, miner, tsk)
	})
}

// StateMinerRecoveries returns the faulty sectors declared recovered.
func (n *Node) StateMinerRecoveries(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error) {
	return readLong(ctx, n, "StateMinerRecoveries", func(ctx context.Context, r *rpc) (bitfield.BitField, error) {
		return r.StateMinerRecoveries(ctx, miner, tsk)
	})
}

// StateMinerPower returns the miner's power and the network's.
func (n *Node) StateMinerPower(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (*lotus.MinerPower, error) {
	return read(ctx, n, "StateMinerPower", func(ctx context.Context, r *rpc) (*lotus.MinerPower, error) {
		return present(r.StateMinerPower(ctx, miner, tsk))
	})
}

// StateMinerAvailableBalance returns what the miner actor could withdraw, in attoFIL.
func (n *Node) StateMinerAvailableBalance(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (big.Int, error) {
	return read(ctx, n, "StateMinerAvailableBalance", func(ctx context.Context, r *rpc) (big.Int, error) {
		return r.StateMinerAvailableBalance(ctx, miner, tsk)
	})
}

// StateSectorGetInfo returns one sector, nil when the miner has not got it.
func (n *Node) StateSectorGetInfo(ctx context.Context, miner address.Address, number abi.SectorNumber, tsk lotus.TipSetKey) (*lotus.SectorOnChainInfo, error) {
	return read(ctx, n, "StateSectorGetInfo", func(ctx context.Context, r *rpc) (*lotus.SectorOnChainInfo, error) {
		return r.StateSectorGetInfo(ctx, miner, number, tsk)
	})
}

// StateSectorExpiration returns when a sector ends, on time and early.
func (n *Node) StateSectorExpiration(ctx context.Context, miner address.Address, number abi.SectorNumber, tsk lotus.TipSetKey) (*lotus.SectorExpiration, error) {
	return read(ctx, n, "StateSectorExpiration", func(ctx context.Context, r *rpc) (*lotus.SectorExpiration, error) {
		return present(r.StateSectorExpiration(ctx, miner, number, tsk))
	})
}

// StateSectorPartition returns the deadline and partition of a sector.
func (n *Node) StateSectorPartition(ctx context.Context, miner address.Address, number abi.SectorNumber, tsk lotus.TipSetKey) (*lotus.SectorLocation, error) {
	return read(ctx, n, "StateSectorPartition", func(ctx context.Context, r *rpc) (*lotus.SectorLocation, error) {
		return present(r.StateSectorPartition(ctx, miner, number, tsk))
	})
}

// StateSearchMsg looks for an executed message at most limit epochs back from
// tsk; nil when it is not there. With replaced, a message that took its nonce
// counts as well.
func (n *Node) StateSearchMsg(ctx context.Context, tsk lotus.TipSetKey, msg cid.Cid, limit abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	return readLong(ctx, n, "StateSearchMsg", func(ctx context.Context, r *rpc) (*lotus.MsgLookup, error) {
		return r.StateSearchMsg(ctx, tsk, msg, limit, replaced)
	})
}

// StateWaitMsg waits until a message is executed and confidence epochs deep.
// Only ctx bounds it.
func (n *Node) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	return wait(ctx, n, "StateWaitMsg", func(ctx context.Context, r *rpc) (*lotus.MsgLookup, error) {
		return present(r.StateWaitMsg(ctx, msg, confidence, limit, replaced))
	})
}

// MpoolPending returns the messages that wait in the home node's pool.
func (n *Node) MpoolPending(ctx context.Context, tsk lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	return atHome(ctx, n, "MpoolPending", func(ctx context.Context, r *rpc) ([]*lotus.SignedMessage, error) { return r.MpoolPending(ctx, tsk) })
}

// MpoolPush puts a signed message into the home node's pool.
func (n *Node) MpoolPush(ctx context.Context, msg *lotus.SignedMessage) (cid.Cid, error) {
	return atHome(ctx, n, "MpoolPush", func(ctx context.Context, r *rpc) (cid.Cid, error) { return r.MpoolPush(ctx, msg) })
}

// MpoolPushMessage lets the home node give msg its nonce and gas, sign it and
// send it.
func (n *Node) MpoolPushMessage(ctx context.Context, msg *lotus.Message, spec *lotus.MessageSendSpec) (*lotus.SignedMessage, error) {
	return atHome(ctx, n, "MpoolPushMessage", func(ctx context.Context, r *rpc) (*lotus.SignedMessage, error) {
		return present(r.MpoolPushMessage(ctx, msg, spec))
	})
}

// GasEstimateGasLimit executes msg on top of tsk and returns the gas it used; an
// execution that fails is an error.
func (n *Node) GasEstimateGasLimit(ctx context.Context, msg *lotus.Message, tsk lotus.TipSetKey) (int64, error) {
	return readLong(ctx, n, "GasEstimateGasLimit", func(ctx context.Context, r *rpc) (int64, error) { return r.GasEstimateGasLimit(ctx, msg, tsk) })
}

// GasEstimateGasPremium returns the premium that gets a message into one of the
// next blocks.
func (n *Node) GasEstimateGasPremium(ctx context.Context, blocks uint64, sender address.Address, gasLimit int64, tsk lotus.TipSetKey) (big.Int, error) {
	return read(ctx, n, "GasEstimateGasPremium", func(ctx context.Context, r *rpc) (big.Int, error) {
		return r.GasEstimateGasPremium(ctx, blocks, sender, gasLimit, tsk)
	})
}

// GasEstimateFeeCap returns a fee cap that holds for the next blocks.
func (n *Node) GasEstimateFeeCap(ctx context.Context, msg *lotus.Message, blocks int64, tsk lotus.TipSetKey) (big.Int, error) {
	return read(ctx, n, "GasEstimateFeeCap", func(ctx context.Context, r *rpc) (big.Int, error) { return r.GasEstimateFeeCap(ctx, msg, blocks, tsk) })
}

// WalletBalance returns the balance of an account, zero when there is none.
func (n *Node) WalletBalance(ctx context.Context, addr address.Address) (big.Int, error) {
	return read(ctx, n, "WalletBalance", func(ctx context.Context, r *rpc) (big.Int, error) { return r.WalletBalance(ctx, addr) })
}

// WalletHas reports whether the home node holds the key of addr.
func (n *Node) WalletHas(ctx context.Context, addr address.Address) (bool, error) {
	return atHome(ctx, n, "WalletHas", func(ctx context.Context, r *rpc) (bool, error) { return r.WalletHas(ctx, addr) })
}

// WalletSignMessage signs msg, complete with nonce and gas, with the key of addr.
func (n *Node) WalletSignMessage(ctx context.Context, addr address.Address, msg *lotus.Message) (*lotus.SignedMessage, error) {
	return atHome(ctx, n, "WalletSignMessage", func(ctx context.Context, r *rpc) (*lotus.SignedMessage, error) {
		return present(r.WalletSignMessage(ctx, addr, msg))
	})
}
