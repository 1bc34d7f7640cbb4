package simchain

import (
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// Gas of blocks and the base fee's rule, as on the main network.
const (
	blockGasTarget   = 5_000_000_000
	blockGasLimit    = 2 * blockGasTarget
	minBaseFee       = 100 // attoFIL a unit of gas
	maxFeeChange     = 8   // the fee moves by an eighth an epoch at most
	packingNum       = 4   // blocks of a tipset repeat a fifth of their messages
	packingDenom     = 5
	premiumOfTheIdle = 99_978 // attoFIL a unit, what estimation says of a quiet network
	// lowerBoundFactor: a message whose cap is under this part of the base fee
	// is kept by its node and not passed on.
	lowerBoundFactor = 10
)

// Demand is what the rest of the network wants to put into each block.
type Demand struct {
	// Gas is the sum of the gas limits of other people's messages, a block. The
	// base fee rises while Gas and our own messages together exceed 4/5 of the
	// target of 5·10⁹, by an eighth an epoch at most, and falls below that. 0
	// stands for as much as keeps the fee where it is.
	Gas int64
	// Premium is what those messages offer. Where a block is full, messages with
	// a lower premium wait.
	Premium big.Int
}

// pin is a base fee that was set for the heights from..to, the last included.
type pin struct {
	from, to abi.ChainEpoch
	fee      big.Int
}

// wish is a demand in force from a height on.
type wish struct {
	from abi.ChainEpoch
	Demand
}

// market is what the base fee follows besides the chain itself.
type market struct {
	pins   []pin
	wishes []wish
}

// demandAt returns the demand in a height's block.
func (k *market) demandAt(height abi.ChainEpoch) Demand {
	d := Demand{}
	for _, w := range k.wishes {
		if height >= w.from {
			d = w.Demand
		}
	}
	if d.Premium.Nil() {
		d.Premium = big.Zero()
	}
	return d
}

// pinned returns the fee that was set for a height.
func (k *market) pinned(height abi.ChainEpoch) (big.Int, bool) {
	for _, p := range slices.Backward(k.pins) {
		if height >= p.from && height <= p.to {
			return p.fee, true
		}
	}
	return big.Int{}, false
}

// next returns the base fee of a tipset at height on top of parent, and what it
// would be had nobody pinned it: that one the chain goes on with.
func (k *market) next(parent *entry, height abi.ChainEpoch) (fee, natural big.Int) {
	natural = nextBaseFee(parent.natural, k.gasOf(parent), len(parent.ts.Blocks))
	if parent.ts.Height == 0 || k.demandAt(parent.ts.Height).Gas == 0 {
		natural = parent.natural
	}
	if p, ok := k.pinned(height); ok {
		return p, natural
	}
	return natural, natural
}

// gasOf is the sum of the gas limits in a tipset's blocks.
func (k *market) gasOf(e *entry) int64 {
	sum := k.demandAt(e.ts.Height).Gas * int64(len(e.ts.Blocks))
	for _, m := range e.messages {
		sum += m.Message.GasLimit
	}
	return min(sum, blockGasLimit*int64(len(e.ts.Blocks)))
}

// nextBaseFee is the fee after a tipset of blocks with messages of the given
// gas limits.
//
// Source: lotus chain/store/basefee.go, ComputeNextBaseFee.
func nextBaseFee(fee big.Int, gas int64, blocks int) big.Int {
	delta := packingDenom*gas/(int64(blocks)*packingNum) - blockGasTarget
	delta = max(-blockGasTarget, min(blockGasTarget, delta))
	change := big.Mul(fee, big.NewInt(delta))
	change = big.Div(big.Div(change, big.NewInt(blockGasTarget)), big.NewInt(maxFeeChange))
	return big.Max(big.Add(fee, change), big.NewInt(minBaseFee))
}

// spent is how the money for a message's gas is divided.
type spent struct {
	burn, tip big.Int // to nobody, to the block producer
}

func (s spent) total() big.Int { return big.Add(s.burn, s.tip) }

// gasCost divides what a message pays that used some of its gas.
//
// Source: lotus chain/vm/burn.go, ComputeGasOutputs.
func gasCost(msg *lotus.Message, used int64, fee big.Int) spent {
	pays := big.Min(fee, msg.GasFeeCap)
	tip := big.Min(msg.GasPremium, big.Sub(msg.GasFeeCap, pays))
	burnt := used + overestimation(used, msg.GasLimit)
	return spent{burn: big.Mul(pays, big.NewInt(burnt)), tip: big.Mul(tip, big.NewInt(msg.GasLimit))}
}

// overestimation is the gas that is burnt because the limit was too high.
func overestimation(used, limit int64) int64 {
	if used == 0 {
		return limit
	}
	over := min(limit-11*used/10, used)
	if over < 0 {
		return 0
	}
	return big.Div(big.Mul(big.NewInt(limit-used), big.NewInt(over)), big.NewInt(used)).Int64()
}

// BaseFee is the fee of the next tipset.
func (c *Chain) BaseFee() big.Int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	fee, _ := c.market.next(c.head(), c.epoch+1)
	return fee
}

// SetBaseFee pins the base fee for the given number of epochs from the next on,
// after which it is again what it would have been; 0 is for ever.
func (c *Chain) SetBaseFee(fee big.Int, epochs abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := pin{from: c.epoch + 1, to: 1 << 60, fee: fee}
	if epochs > 0 {
		p.to = c.epoch + epochs
	}
	c.market.pins = append(c.market.pins, p)
}

// SetDemand changes what other people put into blocks, from the next epoch on.
func (c *Chain) SetDemand(d Demand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.market.wishes = append(c.market.wishes, wish{c.epoch + 1, d})
}

// feeAhead is what the fee is after some epochs in which it rises as fast as it can.
func feeAhead(fee big.Int, epochs int64) big.Int {
	for range min(epochs, 200) {
		fee = big.Add(fee, big.Div(fee, big.NewInt(maxFeeChange)))
	}
	return fee
}
