package config

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	fbig "github.com/filecoin-project/go-state-types/big"
)

// valueSetter is a type that takes a decoded TOML value (string, int64,
// float64, bool, []any) and checks it by itself.
type valueSetter interface {
	setTOML(v any) error
}

// FIL is an amount of FIL, written like "5 nanoFIL", "0.1 FIL", "100 attoFIL".
// A bare number is in FIL; the empty text is zero.
type FIL struct {
	atto fbig.Int
}

// Amount returns the amount in attoFIL; never nil.
func (f FIL) Amount() abi.TokenAmount {
	if f.atto.Int == nil {
		return fbig.Zero()
	}
	return f.atto
}

// IsZero reports whether the amount is absent or zero.
func (f FIL) IsZero() bool { return f.Amount().Sign() == 0 }

// String is the shortest exact form: nanoFIL when whole, FIL when whole, or attoFIL.
func (f FIL) String() string {
	a := f.Amount()
	if a.Sign() == 0 {
		return "0 FIL"
	}
	for _, u := range []struct {
		exp  int64
		name string
	}{{18, "FIL"}, {9, "nanoFIL"}} {
		q, r := new(big.Int).QuoRem(a.Int, pow10(u.exp), new(big.Int))
		if r.Sign() == 0 {
			return q.String() + " " + u.name
		}
	}
	return a.String() + " attoFIL"
}

// NanoFIL returns n nanoFIL.
func NanoFIL(n int64) FIL {
	return FIL{atto: fbig.Mul(fbig.NewInt(n), fbig.NewInt(1_000_000_000))}
}

// filUnits are the exponents of ten of one unit, in attoFIL.
var filUnits = map[string]int64{
	"":  18,
	"m": 15, "milli": 15,
	"u": 12, "µ": 12, "micro": 12,
	"n": 9, "nano": 9,
	"p": 6, "pico": 6,
	"f": 3, "femto": 3,
	"a": 0, "atto": 0,
}

// ParseFIL reads an amount of FIL as described at the type.
func ParseFIL(s string) (FIL, error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return FIL{}, nil
	}
	unitAt := strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789.", r) })
	number, unit := text, ""
	if unitAt >= 0 {
		number, unit = text[:unitAt], strings.ToLower(strings.TrimSpace(text[unitAt:]))
	}
	exp, ok := filUnits[strings.TrimSuffix(unit, "fil")]
	if !ok || number == "" || len(number) > 64 {
		return FIL{}, fmt.Errorf(`%q is not an amount: write it like "5 nanoFIL" or "0.1 FIL"`, s)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return FIL{}, fmt.Errorf(`%q is not an amount: write it like "5 nanoFIL" or "0.1 FIL"`, s)
	}
	r.Mul(r, new(big.Rat).SetInt(pow10(exp)))
	if !r.IsInt() {
		return FIL{}, fmt.Errorf("%q is finer than one attoFIL", s)
	}
	return FIL{atto: fbig.NewFromGo(r.Num())}, nil
}

func pow10(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil) }

func (f *FIL) setTOML(v any) error {
	s, err := wantText(v, `an amount like "5 nanoFIL"`)
	if err != nil {
		return err
	}
	*f, err = ParseFIL(s)
	return err
}

// Bytes is a size in bytes, written like "16GiB", "512 MiB", "64KB" or a bare
// number of bytes.
type Bytes uint64

var byteUnits = []struct {
	name string
	size uint64
}{
	{"tib", 1 << 40}, {"gib", 1 << 30}, {"mib", 1 << 20}, {"kib", 1 << 10},
	{"tb", 1e12}, {"gb", 1e9}, {"mb", 1e6}, {"kb", 1e3}, {"b", 1}, {"", 1},
}

// ParseBytes reads a size as described at the type.
func ParseBytes(s string) (Bytes, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	for _, u := range byteUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
		if err != nil {
			break
		}
		if n > math.MaxUint64/u.size {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return Bytes(n * u.size), nil
	}
	return 0, fmt.Errorf(`%q is not a size: write it like "16GiB"`, s)
}

// String is the largest binary unit that divides the size.
func (b Bytes) String() string {
	for _, u := range []struct {
		name string
		size Bytes
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatUint(uint64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatUint(uint64(b), 10)
}

func (b *Bytes) setTOML(v any) error {
	if n, ok := v.(int64); ok {
		if n < 0 {
			return fmt.Errorf("%d is negative", n)
		}
		*b = Bytes(n)
		return nil
	}
	s, err := wantText(v, `a size like "16GiB"`)
	if err != nil {
		return err
	}
	*b, err = ParseBytes(s)
	return err
}

// Strings is a list that may also be written as one text.
type Strings []string

func (l *Strings) setTOML(v any) error {
	switch v := v.(type) {
	case string:
		*l = Strings{v}
		return nil
	case []any:
		out := make(Strings, 0, len(v))
		for _, e := range v {
			s, err := wantText(e, "a text in quotes")
			if err != nil {
				return err
			}
			out = append(out, s)
		}
		*l = out
		return nil
	}
	return fmt.Errorf("expected a text in quotes or a list of them, found %s", tomlName(v))
}

// Address is a Filecoin address, empty when not set.
type Address struct {
	address.Address
}

// IsSet reports whether an address was given.
func (a Address) IsSet() bool { return a.Address != address.Undef }

func (a *Address) setTOML(v any) error {
	s, err := wantText(v, "an address in quotes")
	if err != nil {
		return err
	}
	if s == "" {
		*a = Address{}
		return nil
	}
	parsed, err := address.NewFromString(s)
	if err != nil {
		return fmt.Errorf("%q is not an address: %w", s, err)
	}
	*a = Address{parsed}
	return nil
}

func wantText(v any, what string) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("expected %s, found %s", what, tomlName(v))
	}
	return s, nil
}
