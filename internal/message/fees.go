package message

import (
	"fmt"
	"math/big"

	filbig "github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// Fees is the price of a message, in the words of the config file. Zero values
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
}

// feeCap is the price limit in force, nil-safe; zero means none.
func (f Fees) feeCap() filbig.Int {
	for _, v := range []filbig.Int{f.GasFeeCap, f.MaxFeeCap} {
		if !v.Nil() && v.Sign() > 0 {
			return v
		}
	}
	return filbig.Zero()
}

// Validate refuses what cannot be meant.
func (f Fees) Validate() error {
	switch {
	case f.GasOverEstimation != 0 && f.GasOverEstimation < 1:
		return fmt.Errorf("GasOverEstimation %v would set less gas than the message needs: use 1 or more, or 0 to leave it out", f.GasOverEstimation)
	case f.GasOverPremium < 0:
		return fmt.Errorf("GasOverPremium %v is negative", f.GasOverPremium)
	}
	for name, v := range map[string]filbig.Int{"GasFeeCap": f.GasFeeCap, "MaxFeeCap": f.MaxFeeCap} {
		if !v.Nil() && v.Sign() < 0 {
			return fmt.Errorf("%s %s is negative", name, v)
		}
	}
	return nil
}

// scale multiplies x by f, rounded up.
func scale(x filbig.Int, f float64) filbig.Int {
	r := new(big.Rat)
	if r.SetFloat64(f) == nil {
		return x
	}
	r.Mul(r, new(big.Rat).SetInt(x.Int))
	q, m := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int))
	if m.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return filbig.NewFromGo(q)
}

// priced returns a copy of msg with empty amounts made explicit and the fee cap
// set, so that services that do not accept null get zeros.
func priced(msg *lotus.Message, fees Fees) *lotus.Message {
	m := *msg
	for _, v := range []*filbig.Int{&m.Value, &m.GasFeeCap, &m.GasPremium} {
		if v.Nil() {
			*v = filbig.Zero()
		}
	}
	if m.GasFeeCap.IsZero() {
		m.GasFeeCap = fees.feeCap()
	}
	m.CID = nil
	return &m
}
