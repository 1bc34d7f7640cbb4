package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// Clock ties epochs to wall time. Epoch e begins at Genesis + e·BlockDelay.
type Clock struct {
	Genesis    time.Time
	BlockDelay time.Duration
}

// TimeOf is the moment epoch e begins. It holds for epochs without a tipset
// and for future ones too.
func (c Clock) TimeOf(e abi.ChainEpoch) time.Time {
	return c.Genesis.Add(time.Duration(e) * c.BlockDelay)
}

// EpochAt is the epoch that t lies in; negative before genesis.
func (c Clock) EpochAt(t time.Time) abi.ChainEpoch {
	d := t.Sub(c.Genesis)
	e := d / c.BlockDelay
	if d%c.BlockDelay < 0 {
		e--
	}
	return abi.ChainEpoch(e)
}

// Clock returns the network's clock. It asks the node once; the answer never
// changes.
func (n *Node) Clock(ctx context.Context) (Clock, error) {
	if c := n.clock.Load(); c != nil {
		return *c, nil
	}
	params, err := n.StateGetNetworkParams(ctx)
	if err != nil {
		return Clock{}, err
	}
	if params == nil || params.BlockDelaySecs == 0 {
		return Clock{}, errors.New("the node's StateGetNetworkParams names no block delay: it is too old for this program")
	}
	start := params.GenesisTimestamp
	if start == 0 { // nodes before Lotus 1.26 leave it out
		ts, err := n.ChainGetGenesis(ctx)
		if err = checkTipSet(ts, err); err != nil {
			return Clock{}, fmt.Errorf("time of genesis: %w", err)
		}
		start = ts.Blocks[0].Timestamp
	}
	c := Clock{Genesis: time.Unix(int64(start), 0), BlockDelay: time.Duration(params.BlockDelaySecs) * time.Second}
	n.clock.Store(&c)
	return c, nil
}
