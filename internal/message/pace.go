package message

import (
	"math"
	"sync/atomic"

	"github.com/filecoin-project/go-state-types/abi"
)

// Pace tells the present epoch from the clock, also where the clock is wrong
// and where the node stands still. It learns from each head how far the clock
// is ahead of the chain: the least lead ever seen is the clock's fault, all
// beyond it is the node's. A clock that is an hour fast costs no window; a node
// that stopped an hour ago is not believed.
//
// It is safe for concurrent use.
type Pace struct {
	clock func() abi.ChainEpoch
	lead  atomic.Int64
}

// NewPace returns a Pace over the epoch by the machine's clock.
func NewPace(clock func() abi.ChainEpoch) *Pace {
	p := &Pace{clock: clock}
	p.lead.Store(math.MaxInt64)
	return p
}

// Saw tells of a head that has just come.
func (p *Pace) Saw(height abi.ChainEpoch) {
	for now := int64(p.clock() - height); ; {
		old := p.lead.Load()
		if now >= old || p.lead.CompareAndSwap(old, now) {
			return
		}
	}
}

// Epoch is the present epoch; 0 before the first head.
func (p *Pace) Epoch() abi.ChainEpoch {
	lead := p.lead.Load()
	if lead == math.MaxInt64 {
		return 0
	}
	return max(0, p.clock()-abi.ChainEpoch(lead))
}
