// Package escalate decides what is done about a message that was handed over:
// whether it is left alone, offered at a higher price, sent with more gas, from
// another sender, sent anew, or taken back. It is pure: facts go in, one
// decision comes out, at every head and at every tick of the clock.
//
// It plans backwards from the epoch at which the message becomes worthless. A
// message handed over at head h is executed at h+1 at the earliest, so Latest
// is the last head at which anything helps. Seeing whether a price works takes
// a round of a few epochs, fewer when little time is left. A price covers the
// base fee for as long as it may rise until then: the cap is not what is paid,
// the base fee of the block is. What a partition's power is worth decides the
// defaults: a message may cost up to 5 FIL before it is left to fail.
//
//	pending, price too low ──▶ Replace, up to the limits
//	pending, sender empty or keyless ──▶ OtherSender
//	pending, unsigned for long ──▶ NewAttempt
//	unknown ──▶ PushAgain        dropped ──▶ NewAttempt
//	out of gas ──▶ MoreGas       failed otherwise ──▶ NewAttempt, a few times
//	no time left ──▶ GiveUp
package escalate

import (
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/condition"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// Limits are what the operator allows.
type Limits struct {
	// Off leaves messages as they are: nothing is raised.
	Off bool
	// MaxFee is the most that one message may cost, in attoFIL. Nil or zero:
	// 5 FIL, or what the configured fee cap allows, if that is more.
	MaxFee big.Int
	// MaxFeePerDay is the most that the raised messages of one miner may cost
	// in 24 hours, in attoFIL. Nil or zero: no limit.
	MaxFeePerDay big.Int
}

// Case is a message and what surrounds it.
type Case struct {
	Outcome message.Outcome
	Fees    message.Fees   // as configured
	Sent    abi.ChainEpoch // head at which it was handed over first
	Priced  abi.ChainEpoch // head at which it got its present price; 0: Sent
	Head    abi.ChainEpoch
	Expire  abi.ChainEpoch // first epoch at which executing it is worthless
	BaseFee big.Int        // of the head, in attoFIL; see BaseFee
	Balance big.Int        // of the sender, in attoFIL; nil where not known
	Spent   big.Int        // by the miner's raised messages in 24 hours; see Budget
	Others  bool           // another permitted sender can sign and pay
	Failed  int            // earlier messages of the same content that were executed without success
}

// Act is what is to be done.
type Act int

// The acts. All but Wait and GiveUp need time; they are not returned after
// Latest.
const (
	Wait        Act = iota // leave it alone
	Replace                // offer it at Decision.Price
	PushAgain              // push it again under the same id
	NewAttempt             // take it back if it is pending; send anew under another id
	MoreGas                // as NewAttempt, with Decision.Price.GasLimit
	OtherSender            // as NewAttempt, from another sender
	GiveUp                 // take it back if it is pending; it cannot succeed any more
)

// String is the act as it is shown to operators.
func (a Act) String() string {
	return [...]string{"wait", "replace", "push again", "new attempt", "more gas", "other sender", "give up"}[a]
}

// Decision is what is to be done and why.
type Decision struct {
	Act   Act
	Price message.Price // of Replace; of MoreGas the gas limit
	Why   string        // one sentence
	// Condition stands while the decision does, "" for none; Cost says whether
	// the window is in danger or only money.
	Condition condition.Kind
	Cost      condition.Cost
}

// Lengths in epochs, and counts.
const (
	round      = 5  // that a fitting price gets before it is raised
	tightRound = 2  // the same when little time is left
	tight      = 12 // that are little time
	settle     = 2  // that a price below the base fee gets: the fee swings
	unsignedOK = 3  // that a messager may take to sign
	stale      = 6  // after which an unsigned message is sent anew
	sameFault  = 3  // failures that neither gas nor another sender mends
)

// Latest is the last head at which handing a message over, or raising it, can
// still get it executed before expire.
func Latest(expire abi.ChainEpoch) abi.ChainEpoch { return expire - 2 }

// BaseFee is the base fee that the blocks of a tipset paid, in attoFIL; zero
// where the tipset does not tell.
func BaseFee(ts *lotus.TipSet) big.Int {
	if ts == nil || len(ts.Blocks) == 0 || ts.Blocks[0] == nil {
		return big.Zero()
	}
	return orZero(ts.Blocks[0].ParentBaseFee)
}

// Decide says what is to be done about a message now.
func Decide(c Case, l Limits) Decision {
	late := c.Expire > 0 && c.Head > Latest(c.Expire)
	switch c.Outcome.State {
	case message.Unknown:
		if late {
			return Decision{Act: GiveUp, Why: "the message is lost, and it is too late to send it again"}
		}
		return Decision{Act: PushAgain, Why: "the service does not know the message"}
	case message.Dropped:
		if late {
			return Decision{Act: GiveUp, Why: "it is too late for another message: " + c.Outcome.Reason}
		}
		return c.senderOr(Decision{Act: NewAttempt, Why: "the message was dropped: " + c.Outcome.Reason})
	case message.Executed:
		return c.executed(l, late)
	}
	switch {
	case late:
		return Decision{Act: GiveUp, Why: "the message can no longer be executed in time"}
	case !c.Outcome.Signed:
		return c.unsigned()
	}
	return c.signed(l)
}

// senderOr turns to another sender where the words of the outcome say that the
// present one is at fault, and else is d.
func (c Case) senderOr(d Decision) Decision {
	words := c.Outcome.Reason
	switch {
	case message.LacksFunds(words):
		d.Condition, d.Why = condition.SenderNoFunds, "the sender cannot pay: "+words
	case message.LacksKey(words):
		d.Condition, d.Why = condition.SenderNoKey, "the service cannot sign for the sender: "+words
	default:
		return d
	}
	d.Cost = condition.Window
	if c.Others {
		d.Act, d.Cost = OtherSender, condition.None
	}
	return d
}

func (c Case) executed(l Limits, late bool) Decision {
	o := c.Outcome
	if o.Succeeded() {
		return Decision{Why: o.String()}
	}
	d := Decision{Act: NewAttempt, Why: o.String(), Condition: condition.MessageFailed, Cost: condition.Window}
	switch {
	case late:
		d.Act = GiveUp
	case message.OutOfGas(o.ExitCode):
		return c.moreGas(l, d)
	case c.Others && senderFault(o.ExitCode):
		d.Act, d.Cost = OtherSender, condition.None
	case c.Failed+1 >= sameFault:
		d.Act, d.Why = GiveUp, fmt.Sprintf("%s, like %d messages before", o, c.Failed)
	}
	return d
}

// senderFault reports exit codes that another sender does not get.
func senderFault(code exitcode.ExitCode) bool {
	switch code {
	case exitcode.SysErrSenderInvalid, exitcode.SysErrSenderStateInvalid, exitcode.SysErrInsufficientFunds, exitcode.ErrForbidden:
		return true
	}
	return false
}

// moreGas asks for half as much again as was used, within the limits.
func (c Case) moreGas(l Limits, d Decision) Decision {
	used := max(c.Outcome.GasUsed, c.Outcome.Price.GasLimit)
	if used <= 0 {
		return d // nothing to go by: the next estimate will be another
	}
	limit := min(used+used/2, message.BlockGasLimit)
	total := big.Mul(c.Fees.Cap(), big.NewInt(limit))
	if limit > used && total.LessThanEqual(c.mostFor(l, limit)) {
		d.Act, d.Price.GasLimit, d.Cost = MoreGas, limit, condition.Money
		return d
	}
	d.Act, d.Condition = GiveUp, condition.FeeLimitReached
	d.Why = fmt.Sprintf("%s; %d units of gas at the configured price would cost more than MaxFee", d.Why, limit)
	return d
}

// unsigned is a message that a messager has not signed.
func (c Case) unsigned() Decision {
	waited, words := c.Head-c.Sent, c.Outcome.Reason
	if waited < 1 || words == "" && waited < unsignedOK {
		return Decision{Why: "the messager has not signed it yet"}
	}
	if words == "" {
		words = "the messager gives no reason"
	}
	d := c.senderOr(Decision{
		Why:       fmt.Sprintf("the messager has not signed it for %d epochs: %s", waited, words),
		Condition: condition.MessageStuck, Cost: condition.Window,
	})
	if d.Act == Wait && d.Condition == condition.MessageStuck && waited >= stale {
		d.Act = NewAttempt // what it says is looked at again before
	}
	return d
}
