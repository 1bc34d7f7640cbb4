package chain

import (
	"context"
	"log/slog"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/ipfs/go-cid"

	"wdpost/internal/attr"
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
	return read(ctx, n, "ChainGetGenesis", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) {
		ts, err := r.ChainGetGenesis(ctx)
		return ts, checkTipSet(ts, err)
	})
}

// ChainGetTipSetByHeight returns the tipset at a height of the chain that ends
// at key, or the one before it where that epoch has none.
func (n *Node) ChainGetTipSetByHeight(ctx context.Context, height abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return read(ctx, n, "ChainGetTipSetByHeight", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) {
		ts, err := r.ChainGetTipSetByHeight(ctx, height, key)
		if err = checkTipSet(ts, err); err == nil && ts.Height > height {
			err = nonsense("the tipset at %d was asked for and one at %d came", height, ts.Height)
		}
		return ts, err
	})
}

// ChainGetTipSet returns a tipset by its name.
func (n *Node) ChainGetTipSet(ctx context.Context, key lotus.TipSetKey) (*lotus.TipSet, error) {
	return read(ctx, n, "ChainGetTipSet", func(ctx context.Context, r *rpc) (*lotus.TipSet, error) {
		ts, err := r.ChainGetTipSet(ctx, key)
		return checkNamed(key, ts, err)
	})
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
		v, err := present(r.StateMinerInfo(ctx, miner, tsk))
		if err == nil {
			err = checkMiner(v)
		}
		return v, err
	})
}

// StateMinerDeadlines returns all deadlines with the partitions proven in
// their present window (PostSubmissions).
func (n *Node) StateMinerDeadlines(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]lotus.Deadline, error) {
	return readLong(ctx, n, "StateMinerDeadlines", func(ctx context.Context, r *rpc) ([]lotus.Deadline, error) {
		v, err := r.StateMinerDeadlines(ctx, miner, tsk)
		if err == nil {
			err = checkDeadlines(v)
		}
		return v, err
	})
}

// StateMinerPartitions returns the partitions of one deadline; empty when it has none.
func (n *Node) StateMinerPartitions(ctx context.Context, miner address.Address, deadline uint64, tsk lotus.TipSetKey) ([]lotus.Partition, error) {
	return readLong(ctx, n, "StateMinerPartitions", func(ctx context.Context, r *rpc) ([]lotus.Partition, error) {
		v, err := r.StateMinerPartitions(ctx, miner, deadline, tsk)
		if err == nil {
			err = checkPartitions(v)
		}
		return v, err
	})
}

// StateMinerSectors returns the given sectors in ascending order, or all of
// the miner's when sectors is nil. Numbers that the miner does not have are left out.
func (n *Node) StateMinerSectors(ctx context.Context, miner address.Address, sectors *bitfield.BitField, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return readLong(ctx, n, "StateMinerSectors", func(ctx context.Context, r *rpc) ([]*lotus.SectorOnChainInfo, error) {
		list, err := r.StateMinerSectors(ctx, miner, sectors, tsk)
		return n.sectors(miner, list, sectors, err)
	})
}

// StateMinerActiveSectors returns the sectors that are neither faulty nor terminated.
func (n *Node) StateMinerActiveSectors(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	return readLong(ctx, n, "StateMinerActiveSectors", func(ctx context.Context, r *rpc) ([]*lotus.SectorOnChainInfo, error) {
		list, err := r.StateMinerActiveSectors(ctx, miner, tsk)
		return n.sectors(miner, list, nil, err)
	})
}

// StateMinerFaults returns the miner's faulty sectors.
func (n *Node) StateMinerFaults(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error) {
	return readLong(ctx, n, "StateMinerFaults", func(ctx context.Context, r *rpc) (bitfield.BitField, error) {
		v, err := r.StateMinerFaults(ctx, miner, tsk)
		if err == nil {
			err = checkBits("the set of faulty sectors", v, maxMinerSectors)
		}
		return v, err
	})
}

// StateMinerRecoveries returns the faulty sectors declared recovered.
func (n *Node) StateMinerRecoveries(ctx context.Context, miner address.Address, tsk lotus.TipSetKey) (bitfield.BitField, error) {
	return readLong(ctx, n, "StateMinerRecoveries", func(ctx context.Context, r *rpc) (bitfield.BitField, error) {
		v, err := r.StateMinerRecoveries(ctx, miner, tsk)
		if err == nil {
			err = checkBits("the set of recovering sectors", v, maxMinerSectors)
		}
		return v, err
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
	return readNow(ctx, n, "StateSearchMsg", func(ctx context.Context, r *rpc) (*lotus.MsgLookup, error) {
		v, err := r.StateSearchMsg(ctx, tsk, msg, limit, replaced)
		if err == nil {
			err = checkLookup(v)
		}
		return v, err
	})
}

// StateWaitMsg waits until a message is executed and confidence epochs deep.
// Only ctx bounds it.
func (n *Node) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64, limit abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	return wait(ctx, n, "StateWaitMsg", func(ctx context.Context, r *rpc) (*lotus.MsgLookup, error) {
		v, err := present(r.StateWaitMsg(ctx, msg, confidence, limit, replaced))
		if err == nil {
			err = checkLookup(v)
		}
		return v, err
	})
}

// WalletBalance returns the balance of an account, zero when there is none.
func (n *Node) WalletBalance(ctx context.Context, addr address.Address) (big.Int, error) {
	return read(ctx, n, "WalletBalance", func(ctx context.Context, r *rpc) (big.Int, error) { return r.WalletBalance(ctx, addr) })
}

// sectors returns the usable entries of an answer and tells of the others.
func (n *Node) sectors(miner address.Address, list []*lotus.SectorOnChainInfo, asked *bitfield.BitField, err error) ([]*lotus.SectorOnChainInfo, error) {
	if err != nil {
		return nil, err
	}
	out, left, err := usableSectors(list, asked)
	if left > 0 {
		n.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "sectors of the node's answer cannot be used: missing, repeated, without a CID or not asked for",
			attr.Miner(miner), attr.Count(left), attr.SectorCount(len(out)))
	}
	return out, err
}
