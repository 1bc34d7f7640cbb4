package message

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

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

// filUnits are the units of an amount, as exponents of ten attoFIL.
var filUnits = map[string]int64{
	"fil": 18, "millifil": 15, "microfil": 12, "nanofil": 9, "picofil": 6, "femtofil": 3, "attofil": 0, "afil": 0,
}

// ParseFIL reads an amount like "5 nanoFIL", "0.1 FIL" or "100attoFIL" into
// attoFIL. Without a unit it is FIL; the empty string is zero.
func ParseFIL(s string) (filbig.Int, error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return filbig.Zero(), nil
	}
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t")
	unit := strings.ToLower(strings.TrimSpace(text[len(number):]))
	if unit == "" {
		unit = "fil"
	}
	exp, ok := filUnits[unit]
	if !ok {
		return filbig.Zero(), fmt.Errorf("amount %q: unit %q is not one of %s", s, unit, unitNames())
	}
	if len(number) > 64 || strings.ContainsAny(number, "/eExX_") {
		return filbig.Zero(), fmt.Errorf("amount %q: %q is not a number", s, number)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return filbig.Zero(), fmt.Errorf("amount %q: %q is not a number; write it like \"5 nanoFIL\"", s, number)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(exp), nil)))
	if !r.IsInt() {
		return filbig.Zero(), fmt.Errorf("amount %q is not a whole number of attoFIL", s)
	}
	return filbig.NewFromGo(r.Num()), nil
}

func unitNames() string {
	names := make([]string, 0, len(filUnits))
	for n := range filUnits {
		names = append(names, strings.Replace(n, "fil", "FIL", 1))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
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
