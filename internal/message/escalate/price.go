package escalate

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/condition"
	"wdpost/internal/message"
)

// signed is a pending message with a price.
func (c Case) signed(l Limits) Decision {
	price := c.Outcome.Price
	if d := c.senderOr(Decision{}); d.Condition != "" {
		return d // the node takes it from nobody who cannot pay
	}
	if !c.Balance.Nil() && c.Balance.LessThan(price.Total()) {
		d := Decision{
			Why:       fmt.Sprintf("the sender's balance of %s attoFIL does not cover the message's %s", c.Balance, price.Total()),
			Condition: condition.SenderNoFunds, Cost: condition.Window,
		}
		if c.Others {
			d.Act, d.Cost = OtherSender, condition.None
		}
		return d
	}
	waited := c.Head - max(c.Sent, c.Priced)
	base := orZero(c.BaseFee)
	below := orZero(price.FeeCap).LessThan(base)
	patience := abi.ChainEpoch(round)
	switch {
	case below:
		patience = settle
	case c.left() <= tight:
		patience = tightRound
	}
	if waited < patience {
		return Decision{Why: fmt.Sprintf("pending for %d epochs", waited)}
	}
	d := Decision{Condition: condition.MessageStuck, Cost: condition.Money, Why: c.whyStuck(waited)}
	if below {
		d.Condition = condition.FeeCapBelowBaseFee
		d.Why = fmt.Sprintf("its fee cap of %s attoFIL is below the base fee of %s", orZero(price.FeeCap), base)
	}
	if l.Off {
		d.Cost, d.Why = condition.Window, d.Why+"; escalation is off"
		return d
	}
	return c.raise(l, d)
}

func (c Case) whyStuck(waited abi.ChainEpoch) string {
	why := fmt.Sprintf("pending for %d epochs at %s", waited, c.Outcome.Price)
	if n := c.Outcome.Before; n > 0 {
		why += fmt.Sprintf(", behind %d older messages of its sender", n)
	}
	if c.Outcome.Reason != "" {
		why += ": " + c.Outcome.Reason
	}
	return why
}

// left is how many epochs there are in which it may be executed.
func (c Case) left() abi.ChainEpoch {
	if c.Expire <= 0 {
		return 1 << 20
	}
	return c.Expire - 1 - c.Head
}

// raise chooses the next price. It covers the base fee for half of the time
// that is left, at the fastest that it can rise, and goes as high as the limits
// allow where that is not enough.
func (c Case) raise(l Limits, d Decision) Decision {
	old := c.Outcome.Price
	step := old.Raised(message.Price{}) // the least that a mempool takes in exchange
	next := step
	if c.left() <= tight {
		next = old.Raised(message.Price{Premium: big.Mul(orZero(old.Premium), big.NewInt(2))})
	}
	ahead := int(min(max(c.left()/2, 4), 12))
	next.FeeCap = big.Max(next.FeeCap, big.Add(rising(orZero(c.BaseFee), ahead), next.Premium))
	most, why := c.affordable(l)
	least := big.Max(step.FeeCap, orZero(c.BaseFee)) // below this it would be in vain
	switch {
	case next.FeeCap.LessThanEqual(most):
	case most.GreaterThanEqual(least):
		next.FeeCap = most
		next.Premium = big.Min(next.Premium, most)
	default:
		d.Condition, d.Cost = condition.FeeLimitReached, condition.Window
		d.Why = fmt.Sprintf("%s; it needs a fee cap of %s attoFIL, and %s allows %s", d.Why, least, why, most)
		return d
	}
	next.OlderMost = c.mostFor(l, old.GasLimit)
	d.Act, d.Price = Replace, next
	return d
}

// rising is a base fee after n full blocks: each adds an eighth.
func rising(base big.Int, n int) big.Int {
	for range n {
		base = big.Add(base, big.Div(base, big.NewInt(8)))
	}
	return base
}

// affordable is the highest fee cap that the limits and the sender's balance
// allow, and which of them binds.
func (c Case) affordable(l Limits) (most big.Int, why string) {
	limit := max(c.Outcome.Price.GasLimit, 1)
	gas := big.NewInt(limit)
	most, why = big.Div(c.mostFor(l, limit), gas), "MaxFee"
	bound := func(total big.Int, name string) {
		if other := big.Div(big.Max(total, big.Zero()), gas); other.LessThan(most) {
			most, why = other, name
		}
	}
	if day := orZero(l.MaxFeePerDay); day.Sign() > 0 {
		bound(big.Sub(day, orZero(c.Spent)), "MaxFeePerDay")
	}
	if !c.Balance.Nil() {
		bound(c.Balance, "the sender's balance")
	}
	return most, why
}

// mostFor is the most that the message may cost in all, with that much gas.
func (c Case) mostFor(l Limits, gasLimit int64) big.Int {
	if orZero(l.MaxFee).Sign() > 0 {
		return l.MaxFee
	}
	return big.Max(message.Fees{}.Limit(), big.Mul(c.Fees.Cap(), big.NewInt(gasLimit)))
}

// First is the price with which a message is handed over: as configured, or
// where the base fee is above the configured cap and escalation is on, with a
// cap that covers it. The limit on the whole message stays in force, because
// services cut the cap by it.
func First(fees message.Fees, l Limits, base big.Int) message.Fees {
	if orZero(l.MaxFee).Sign() > 0 {
		fees.MaxFee = l.MaxFee
	}
	if l.Off || fees.Cap().Sign() == 0 || fees.Cap().GreaterThan(orZero(base)) {
		return fees
	}
	if orZero(fees.MaxFee).Sign() == 0 {
		fees.MaxFee = message.Fees{}.Limit()
	}
	fees.GasFeeCap = rising(base, 4)
	return fees
}

func orZero(v big.Int) big.Int {
	if v.Nil() {
		return big.Zero()
	}
	return v
}
