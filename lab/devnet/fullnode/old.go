package fullnode

import (
	"context"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/serve"
	"wdpost/lab/devnet/simchain"
)

// Old is the API of a node under /rpc/v0: most methods are those of /rpc/v1, some
// have other parameters.
type Old struct {
	*Node
}

// NewOld returns the old API of one node of a chain.
func NewOld(chain *simchain.Node, gate *serve.Gate) *Old {
	return &Old{New(chain, gate, &Streams{}, gate.Log)}
}

// oldVersion is the version of the old API, 1.5.0.
const oldVersion = 1<<16 | 5<<8

// Version describes the node and the old API.
func (o *Old) Version(ctx context.Context) (lotus.Version, error) {
	v, err := o.Node.Version(ctx)
	v.APIVersion = oldVersion
	return v, err
}

// StateSearchMsg looks back as far as the chain is known.
func (o *Old) StateSearchMsg(ctx context.Context, msg cid.Cid) (*lotus.MsgLookup, error) {
	return o.Node.StateSearchMsg(ctx, lotus.TipSetKey{}, msg, -1, true)
}

// StateWaitMsg waits as long as it takes.
func (o *Old) StateWaitMsg(ctx context.Context, msg cid.Cid, confidence uint64) (*lotus.MsgLookup, error) {
	return o.Node.StateWaitMsg(ctx, msg, confidence, abi.ChainEpoch(-1), true)
}
