package message

import (
	"fmt"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
)

// State of a message. All but Dropped may change: a service may remember, a
// reorg may take a message off the chain that is not deep.
type State int

// The states; the package comment says what they mean.
const (
	Unknown State = iota
	Pending
	Executed
	Dropped
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Executed:
		return "executed"
	case Dropped:
		return "dropped"
	}
	return "unknown"
}

// Price is what a signed message offers. Nil or zero amounts mean "not set".
type Price struct {
	FeeCap   big.Int // attoFIL, the most paid for a unit of gas
	Premium  big.Int // attoFIL, of that the block producer's part
	GasLimit int64   // units of gas

	// OlderMost bounds what raising one older message of the sender, which goes
	// before, may cost in all, in attoFIL. Nil or zero: no bound.
	OlderMost big.Int
}

// Older is the price to which an older message of price old is raised so that it
// does not hold up one of price p. It keeps its own gas limit, and is refused
// where it would cost more than OlderMost.
func (p Price) Older(old Price) (Price, error) {
	to := Price{FeeCap: p.FeeCap, Premium: p.Premium}
	if most := orZero(p.OlderMost); most.Sign() > 0 {
		if total := old.Raised(to).Total(); total.GreaterThan(most) {
			return Price{}, fmt.Errorf("%w: raising the older message could cost %s attoFIL, MaxFee allows %s: replace it by hand, or raise MaxFee", ErrRefused, total, most)
		}
	}
	return to, nil
}

// Total is the most that a message of this price can cost: FeeCap × GasLimit.
func (p Price) Total() big.Int {
	if p.FeeCap.Nil() {
		return big.Zero()
	}
	return big.Mul(p.FeeCap, big.NewInt(p.GasLimit))
}

// String names what is set.
func (p Price) String() string {
	return fmt.Sprintf("fee cap %s, premium %s attoFIL, gas limit %d", orZero(p.FeeCap), orZero(p.Premium), p.GasLimit)
}

// Below reports whether p offers less than what is set in other for a unit of
// gas.
func (p Price) Below(other Price) bool {
	less := func(have, want big.Int) bool { return orZero(have).LessThan(orZero(want)) }
	return less(p.FeeCap, other.FeeCap) || less(p.Premium, other.Premium)
}

// Raised is p raised to at least other, and by at least the step with which a
// mempool lets a message take another's place: 1.25 times the premium. Source:
// lotus chain/messagepool ComputeRBF.
func (p Price) Raised(other Price) Price {
	least := big.Add(Scale(p.Premium, 1.25), big.NewInt(1))
	up := Price{Premium: big.Max(least, orZero(other.Premium)), GasLimit: max(p.GasLimit, other.GasLimit)}
	up.FeeCap = big.Max(big.Max(orZero(p.FeeCap), orZero(other.FeeCap)), up.Premium)
	return up
}

func orZero(v big.Int) big.Int {
	if v.Nil() {
		return big.Zero()
	}
	return v
}

// Outcome is what is known of a message.
type Outcome struct {
	State  State
	Handle Handle // with the CID of the form that counts, as soon as it is known

	// Of a pending message. Price and Nonce are those it was signed with;
	// Signed is false while a messager has not signed it yet.
	Signed bool
	Price  Price
	Nonce  uint64
	From   address.Address // as it was signed, the zero value where not known
	// Since is when the service, or this process, first had it; the zero time
	// where neither tells.
	Since time.Time
	// Before counts older pending messages of the same sender: the chain
	// executes them first, so one of them may be what holds this one up.
	Before int

	// Of an executed message. Depth is how many epochs the head is beyond
	// Height, 0 at the head itself.
	ExitCode exitcode.ExitCode
	GasUsed  int64
	Height   abi.ChainEpoch
	Depth    abi.ChainEpoch

	// Reason says in words why it was dropped, or why it is still pending where
	// the service tells: a messager keeps trying a message that it cannot
	// estimate, sign or push.
	Reason string
}

// Succeeded reports a message that was executed with exit code 0, at whatever
// depth.
func (o Outcome) Succeeded() bool { return o.State == Executed && o.ExitCode == exitcode.Ok }

// Failed reports a message that was executed without success, at whatever depth.
func (o Outcome) Failed() bool { return o.State == Executed && o.ExitCode != exitcode.Ok }

// Landed reports a message that was executed with success and is confidence
// epochs deep.
func (o Outcome) Landed(confidence uint64) bool { return o.Succeeded() && o.deep(confidence) }

// Final reports that nothing will change any more: executed and confidence
// epochs deep, or dropped.
func (o Outcome) Final(confidence uint64) bool {
	return o.State == Dropped || o.State == Executed && o.deep(confidence)
}

// Settled reports what ends a Wait: landed, failed at whatever depth, dropped
// or unknown.
func (o Outcome) Settled(confidence uint64) bool {
	return o.State == Unknown || o.State == Dropped || o.Failed() || o.Landed(confidence)
}

func (o Outcome) deep(confidence uint64) bool { return o.Depth >= abi.ChainEpoch(confidence) }

// String tells the outcome as it is shown to operators.
func (o Outcome) String() string {
	switch {
	case o.Succeeded():
		return fmt.Sprintf("executed at epoch %d with success", o.Height)
	case o.State == Executed:
		return fmt.Sprintf("executed at epoch %d without success: %s", o.Height, ExitText(o.ExitCode))
	case o.State == Unknown:
		return "unknown to the service that should send it"
	case o.Reason != "":
		return o.State.String() + ": " + o.Reason
	}
	return o.State.String()
}
