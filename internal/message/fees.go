package message

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	filbig "github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// Constants of the network.
const (
	// BlockGasLimit is the gas that one block takes: no message needs more.
	BlockGasLimit = 10_000_000_000
	// MinBaseFee is the least base fee, in attoFIL: a lower fee cap never pays.
	MinBaseFee = 100
	// maxGasPrice is a price of a unit of gas, in attoFIL, that nobody means: a
	// message of twenty million units would cost 20,000 FIL.
	maxGasPrice = 1e15
)

// Fees is what a message may cost, in the words of [Miners.PoSt]. Zero values
// leave the decision to the messager or the node.
type Fees struct {
	// GasOverEstimation multiplies the estimated gas to get the limit; 1.2
	// leaves a fifth for what changes until the message is executed.
	GasOverEstimation float64
	// GasOverPremium multiplies the estimated premium.
	GasOverPremium float64
	// GasFeeCap is the most paid for a unit of gas, in attoFIL.
	GasFeeCap filbig.Int
	// MaxFeeCap stands in for GasFeeCap where that is zero. It is a price of a
	// unit of gas as well.
	MaxFeeCap filbig.Int
	// MaxFee is the most that one message may cost in all, in attoFIL.
	MaxFee filbig.Int
}

// FeeProblem is a value that can never work.
type FeeProblem struct {
	Key    string // as in the config file
	Reason string // "0.9 would set …: use …"
}

// Problems lists the values that can never work, by key. The configuration
// refuses them at the start and a Sender refuses to push with them: it is the
// one rule of both.
func (f Fees) Problems() []FeeProblem {
	var out []FeeProblem
	add := func(key, format string, args ...any) {
		out = append(out, FeeProblem{Key: key, Reason: fmt.Sprintf(format, args...)})
	}
	factor := func(v float64) bool { return v >= 0 && !math.IsInf(v, 0) }
	switch {
	case !factor(f.GasOverEstimation):
		add("GasOverEstimation", "%v is not a factor: use 1 or more, or 0 to leave it out", f.GasOverEstimation)
	case f.GasOverEstimation != 0 && f.GasOverEstimation < 1:
		add("GasOverEstimation", "%v would set less gas than the message needs, so that every message fails: use 1 or more, or 0 to leave it out", f.GasOverEstimation)
	}
	if !factor(f.GasOverPremium) {
		add("GasOverPremium", "%v is not a factor: use a positive number, or 0 to leave it out", f.GasOverPremium)
	}
	for _, c := range []struct {
		key string
		v   filbig.Int
	}{{"GasFeeCap", f.GasFeeCap}, {"MaxFeeCap", f.MaxFeeCap}} {
		switch v := orZero(c.v); {
		case v.Sign() < 0:
			add(c.key, "%s is negative", v)
		case v.Sign() > 0 && v.LessThan(filbig.NewInt(MinBaseFee)):
			add(c.key, `%s attoFIL is below the network's least base fee of %d attoFIL, so that no message is ever executed: write a unit, like "5 nanoFIL"`, v, MinBaseFee)
		case v.GreaterThan(filbig.NewInt(maxGasPrice)):
			add(c.key, `%s attoFIL for a unit of gas is more than any sender can pay: write a unit, like "5 nanoFIL"`, v)
		}
	}
	if orZero(f.MaxFee).Sign() < 0 {
		add("MaxFee", "%s is negative", f.MaxFee)
	}
	return out
}

// Validate is Problems as an error, nil if there are none.
func (f Fees) Validate() error {
	var errs []error
	for _, p := range f.Problems() {
		errs = append(errs, fmt.Errorf("%s: %s", p.Key, p.Reason))
	}
	return errors.Join(errs...)
}

// Cap is the limit in force for the price of a unit of gas, in attoFIL; zero
// means none.
func (f Fees) Cap() filbig.Int {
	for _, v := range []filbig.Int{f.GasFeeCap, f.MaxFeeCap} {
		if orZero(v).Sign() > 0 {
			return v
		}
	}
	return filbig.Zero()
}

// defaultMaxFee bounds what one message may cost where nothing is configured:
// 5 FIL, as Lotus does for window posts. Without it services take a general
// limit of 0.07 FIL, too little for a full partition in busy times.
var defaultMaxFee = filbig.Mul(filbig.NewInt(5), filbig.NewInt(1e18))

// Limit is the bound on the whole price of a message that is told to the
// service, in attoFIL, never zero. Services cut the fee cap to Limit divided
// by the gas limit; so without a MaxFee it is as large as the fee cap could
// ever need, and the cap that the operator wrote stays in force.
func (f Fees) Limit() filbig.Int {
	if limit := orZero(f.MaxFee); limit.Sign() > 0 {
		return limit
	}
	return filbig.Max(defaultMaxFee, filbig.Mul(f.Cap(), filbig.NewInt(BlockGasLimit)))
}

// fullGas is what a message of three full partitions uses, rounded up.
const fullGas = 40_000_000

// Need is what a sender should have, in attoFIL, to pay for that many messages
// at the configured cap; zero where no cap is configured.
func (f Fees) Need(messages int) filbig.Int {
	return filbig.Mul(f.Cap(), filbig.NewInt(fullGas*int64(messages)))
}

// Scale multiplies x by f, rounded up.
func Scale(x filbig.Int, f float64) filbig.Int {
	r := new(big.Rat)
	if r.SetFloat64(f) == nil {
		return x
	}
	r.Mul(r, new(big.Rat).SetInt(orZero(x).Int))
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if m.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return filbig.NewFromGo(q)
}

// Priced returns a copy of msg with empty amounts made explicit and the fee cap
// set, so that services that do not accept null get zeros.
func Priced(msg *lotus.Message, fees Fees) *lotus.Message {
	m := *msg
	for _, v := range []*filbig.Int{&m.Value, &m.GasFeeCap, &m.GasPremium} {
		*v = orZero(*v)
	}
	if m.GasFeeCap.IsZero() {
		m.GasFeeCap = fees.Cap()
	}
	m.CID = nil
	return &m
}
