package escalate_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/condition"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
)

const gas = 25_000_000 // of a message of three partitions

func nano(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e9)) }

func fil(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }

// pending is a message at the guide's price, handed over at 104 for a window
// that closes at 160.
func pending(head abi.ChainEpoch) escalate.Case {
	return escalate.Case{
		Outcome: message.Outcome{State: message.Pending, Signed: true, Price: message.Price{FeeCap: nano(5), Premium: big.NewInt(100_000), GasLimit: gas}},
		Fees:    message.Fees{GasFeeCap: nano(5)},
		Sent:    104, Head: head, Expire: 160, BaseFee: nano(1), Balance: fil(1000),
	}
}

func with(c escalate.Case, f func(*escalate.Case)) escalate.Case {
	f(&c)
	return c
}

func TestDecide(t *testing.T) {
	spike := func(c *escalate.Case) { c.BaseFee = nano(10) }
	unsigned := func(reason string) func(*escalate.Case) {
		return func(c *escalate.Case) { c.Outcome.Signed, c.Outcome.Reason = false, reason }
	}
	executed := func(code exitcode.ExitCode) func(*escalate.Case) {
		return func(c *escalate.Case) {
			c.Outcome = message.Outcome{State: message.Executed, ExitCode: code, GasUsed: gas, Height: 110}
		}
	}
	both := func(f ...func(*escalate.Case)) func(*escalate.Case) {
		return func(c *escalate.Case) {
			for _, g := range f {
				g(c)
			}
		}
	}
	others := func(c *escalate.Case) { c.Others = true }
	for name, tt := range map[string]struct {
		c     escalate.Case
		l     escalate.Limits
		act   escalate.Act
		kind  condition.Kind
		words string
	}{
		"a fitting price gets a round":           {pending(108), escalate.Limits{}, escalate.Wait, "", "pending for 4"},
		"then it is raised":                      {pending(109), escalate.Limits{}, escalate.Replace, condition.MessageStuck, "pending for 5"},
		"sooner when little time is left":        {with(pending(150), func(c *escalate.Case) { c.Priced = 148 }), escalate.Limits{}, escalate.Replace, condition.MessageStuck, ""},
		"not again at once":                      {with(pending(111), func(c *escalate.Case) { c.Priced = 109 }), escalate.Limits{}, escalate.Wait, "", ""},
		"x12: the base fee rose over the cap":    {with(pending(106), spike), escalate.Limits{}, escalate.Replace, condition.FeeCapBelowBaseFee, "below the base fee of 10000000000"},
		"the fee swings for an epoch":            {with(pending(105), spike), escalate.Limits{}, escalate.Wait, "", ""},
		"escalation is off":                      {with(pending(120), spike), escalate.Limits{Off: true}, escalate.Wait, condition.FeeCapBelowBaseFee, "escalation is off"},
		"MaxFee forbids it":                      {with(pending(120), spike), escalate.Limits{MaxFee: fil(0)}, escalate.Replace, condition.FeeCapBelowBaseFee, ""},
		"MaxFee allows less than the base fee":   {with(pending(120), spike), escalate.Limits{MaxFee: big.Mul(nano(9), big.NewInt(gas))}, escalate.Wait, condition.FeeLimitReached, "MaxFee allows 9000000000"},
		"MaxFeePerDay is used up":                {with(pending(120), both(spike, func(c *escalate.Case) { c.Spent = fil(1) })), escalate.Limits{MaxFeePerDay: fil(1)}, escalate.Wait, condition.FeeLimitReached, "MaxFeePerDay allows 0"},
		"the balance allows less":                {with(pending(120), both(spike, func(c *escalate.Case) { c.Balance = big.Mul(nano(9), big.NewInt(gas)) })), escalate.Limits{}, escalate.Wait, condition.FeeLimitReached, "the sender's balance allows"},
		"x14: the sender is empty":               {with(pending(105), func(c *escalate.Case) { c.Balance = big.Zero() }), escalate.Limits{}, escalate.Wait, condition.SenderNoFunds, "does not cover"},
		"x14: the sender is empty, another pays": {with(pending(105), both(others, func(c *escalate.Case) { c.Balance = big.Zero() })), escalate.Limits{}, escalate.OtherSender, condition.SenderNoFunds, ""},
		"x14m: signed, and the node refuses it": {with(pending(105), func(c *escalate.Case) {
			c.Others, c.Outcome.Reason = true, "mpool push: not enough funds (required: 5, balance: 0)"
		}), escalate.Limits{}, escalate.OtherSender, condition.SenderNoFunds, "cannot pay"},
		"x13b: behind an older message":             {with(pending(110), func(c *escalate.Case) { c.Outcome.Before = 2 }), escalate.Limits{}, escalate.Replace, condition.MessageStuck, "behind 2 older"},
		"a messager takes an epoch to sign":         {with(pending(106), unsigned("")), escalate.Limits{}, escalate.Wait, "", ""},
		"a messager signs nothing and says nothing": {with(pending(108), unsigned("")), escalate.Limits{}, escalate.Wait, condition.MessageStuck, "gives no reason"},
		"W3: no wallet":                             {with(pending(105), unsigned("sign message failed: can't find a wallet")), escalate.Limits{}, escalate.Wait, condition.SenderNoKey, "can't find a wallet"},
		"W3: no wallet, another signs":              {with(pending(105), both(others, unsigned("sign message failed: can't find a wallet"))), escalate.Limits{}, escalate.OtherSender, condition.SenderNoKey, ""},
		"F5: not enough funds":                      {with(pending(105), both(others, unsigned("gas estimate: not enough funds"))), escalate.Limits{}, escalate.OtherSender, condition.SenderNoFunds, ""},
		"the estimate is refused":                   {with(pending(107), unsigned("gas estimate: message execution failed (exit=[16])")), escalate.Limits{}, escalate.Wait, condition.MessageStuck, "exit=[16]"},
		"the estimate is refused for long":          {with(pending(110), unsigned("gas estimate: message execution failed (exit=[16])")), escalate.Limits{}, escalate.NewAttempt, condition.MessageStuck, "exit=[16]"},
		"M3: no time left":                          {pending(159), escalate.Limits{}, escalate.GiveUp, "", "no longer"},
		"the last head that helps":                  {with(pending(158), spike), escalate.Limits{}, escalate.Replace, condition.FeeCapBelowBaseFee, ""},
		"L2: nobody ever heard of it":               {with(pending(106), func(c *escalate.Case) { c.Outcome = message.Outcome{} }), escalate.Limits{}, escalate.PushAgain, "", "does not know"},
		"unknown, no time left":                     {with(pending(159), func(c *escalate.Case) { c.Outcome = message.Outcome{} }), escalate.Limits{}, escalate.GiveUp, "", ""},
		"W7: its nonce was taken": {with(pending(106), func(c *escalate.Case) {
			c.Outcome = message.Outcome{State: message.Dropped, Reason: "another message took its nonce"}
		}), escalate.Limits{}, escalate.NewAttempt, "", "nonce"},
		"landed":                               {with(pending(111), executed(0)), escalate.Limits{}, escalate.Wait, "", "with success"},
		"F11: out of gas":                      {with(pending(111), executed(7)), escalate.Limits{}, escalate.MoreGas, condition.MessageFailed, "out of gas"},
		"F11: out of gas, MaxFee forbids more": {with(pending(111), executed(7)), escalate.Limits{MaxFee: big.Mul(nano(5), big.NewInt(gas))}, escalate.GiveUp, condition.FeeLimitReached, "MaxFee"},
		"out of gas, too late":                 {with(pending(159), executed(7)), escalate.Limits{}, escalate.GiveUp, condition.MessageFailed, ""},
		"M2: exit 16 is tried again":           {with(pending(111), executed(16)), escalate.Limits{}, escalate.NewAttempt, condition.MessageFailed, "illegal argument"},
		"M2: but not for ever":                 {with(pending(111), both(executed(16), func(c *escalate.Case) { c.Failed = 2 })), escalate.Limits{}, escalate.GiveUp, condition.MessageFailed, "like 2 messages before"},
		"forbidden, another is permitted":      {with(pending(111), both(executed(18), others)), escalate.Limits{}, escalate.OtherSender, condition.MessageFailed, ""},
		"a base fee nobody knows":              {with(pending(109), func(c *escalate.Case) { c.BaseFee = big.Int{} }), escalate.Limits{}, escalate.Replace, condition.MessageStuck, ""},
		"a price nobody knows":                 {with(pending(109), func(c *escalate.Case) { c.Outcome.Price = message.Price{} }), escalate.Limits{}, escalate.Replace, condition.FeeCapBelowBaseFee, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := escalate.Decide(tt.c, tt.l)
			if d.Act != tt.act || d.Condition != tt.kind || !strings.Contains(d.Why, tt.words) || d.Why == "" {
				t.Errorf("%s (%s) %q, want %s (%s) with %q", d.Act, d.Condition, d.Why, tt.act, tt.kind, tt.words)
			}
			if (d.Condition == "") != (d.Cost == "") {
				t.Errorf("condition %q costs %q", d.Condition, d.Cost)
			}
		})
	}
}

// A message is raised to a price that a mempool takes, that covers the base fee,
// and that keeps within every limit, whatever the numbers are.
func TestPricesKeepTheLimits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	amount := func(most int64) big.Int { return big.NewInt(r.Int64N(most) + 1) }
	raised := 0
	for range 20_000 {
		c := pending(104 + abi.ChainEpoch(r.IntN(55)))
		c.BaseFee = amount(1e11)
		c.Outcome.Price = message.Price{FeeCap: amount(1e11), Premium: amount(1e6), GasLimit: r.Int64N(1e9) + 1}
		c.Balance = big.Mul(amount(1e10), big.NewInt(1e9))
		c.Spent = big.Mul(amount(1e10), big.NewInt(1e9))
		l := escalate.Limits{MaxFee: big.Mul(amount(1e10), big.NewInt(1e9)), MaxFeePerDay: big.Mul(amount(2e10), big.NewInt(1e9))}
		d := escalate.Decide(c, l)
		if d.Act != escalate.Replace {
			continue
		}
		raised++
		total := d.Price.Total()
		switch {
		case total.GreaterThan(l.MaxFee), big.Add(total, c.Spent).GreaterThan(l.MaxFeePerDay), total.GreaterThan(c.Balance):
			t.Fatalf("%+v under %+v: %s breaks a limit", c, l, d.Price)
		case d.Price.FeeCap.LessThan(c.BaseFee), d.Price.FeeCap.LessThan(d.Price.Premium):
			t.Fatalf("%+v: %s is in vain", c, d.Price)
		case d.Price.Premium.LessThan(c.Outcome.Price.Raised(message.Price{}).Premium):
			t.Fatalf("%+v: no mempool takes %s", c, d.Price)
		}
	}
	if raised < 500 {
		t.Errorf("only %d of the cases raise a price", raised)
	}
}

// x12, x13: the base fee doubles the configured cap and keeps rising at the
// fastest for ten epochs. The message is on chain before Close, for less than
// the default limit.
func TestBaseFeeSpikeIsOutbid(t *testing.T) {
	c := pending(104)
	c.BaseFee = nano(10)
	for c.Head = 104; c.Head < c.Expire; c.Head++ {
		if c.Outcome.Price.FeeCap.GreaterThanEqual(c.BaseFee) {
			paid := big.Mul(c.BaseFee, big.NewInt(gas))
			if c.Head > 115 || paid.GreaterThan(fil(5)) {
				t.Errorf("on chain at %d for %s attoFIL", c.Head, paid)
			}
			return
		}
		if d := escalate.Decide(c, escalate.Limits{}); d.Act == escalate.Replace {
			c.Outcome.Price, c.Priced = d.Price, c.Head
		}
		if c.Head < 114 {
			c.BaseFee = big.Add(c.BaseFee, big.Div(c.BaseFee, big.NewInt(8)))
		}
	}
	t.Error("never on chain")
}

func TestFirstPriceCoversTheBaseFee(t *testing.T) {
	guide := message.Fees{GasFeeCap: nano(5)}
	for name, tt := range map[string]struct {
		fees    message.Fees
		l       escalate.Limits
		base    big.Int
		feeCap  big.Int // least
		limited bool
	}{
		"as configured":      {guide, escalate.Limits{}, nano(1), nano(5), false},
		"above the cap":      {guide, escalate.Limits{}, nano(10), nano(10), true},
		"above, but off":     {guide, escalate.Limits{Off: true}, nano(10), nano(5), false},
		"no cap configured":  {message.Fees{}, escalate.Limits{}, nano(10), big.Zero(), false},
		"a limit of our own": {guide, escalate.Limits{MaxFee: fil(1)}, nano(1), nano(5), true},
		"nothing known":      {guide, escalate.Limits{}, big.Int{}, nano(5), false},
	} {
		got := escalate.First(tt.fees, tt.l, tt.base)
		if got.Cap().LessThan(tt.feeCap) || got.Validate() != nil || tt.limited != !got.MaxFee.Nil() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBudgetForgetsAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b escalate.Budget
		b.Book("a", fil(1))
		b.Book("b", fil(2))
		b.Book("b", fil(3)) // raised again: not counted twice
		if b.Spent("").String() != fil(4).String() || b.Spent("a").String() != fil(3).String() {
			t.Errorf("spent %s, without a %s", b.Spent(""), b.Spent("a"))
		}
		time.Sleep(24 * time.Hour)
		if b.Spent("").Sign() != 0 {
			t.Errorf("spent %s a day later", b.Spent(""))
		}
	})
}

func TestBaseFeeOfATipset(t *testing.T) {
	for _, tt := range []struct {
		ts   *lotus.TipSet
		want int64
	}{{nil, 0}, {&lotus.TipSet{}, 0}, {&lotus.TipSet{Blocks: []*lotus.BlockHeader{nil}}, 0}, {&lotus.TipSet{Blocks: []*lotus.BlockHeader{{ParentBaseFee: big.NewInt(7)}}}, 7}} {
		if got := escalate.BaseFee(tt.ts); got.Int64() != tt.want {
			t.Errorf("%+v: %s, want %d", tt.ts, got, tt.want)
		}
	}
}
