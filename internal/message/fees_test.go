package message

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

func TestFeesValidate(t *testing.T) {
	for _, c := range []struct {
		fees  Fees
		words string
	}{
		{Fees{}, ""},
		{Fees{GasOverEstimation: 1.2, GasOverPremium: 0.5, GasFeeCap: big.NewInt(5)}, ""},
		{Fees{GasOverEstimation: 0.9}, "GasOverEstimation 0.9"},
		{Fees{GasOverPremium: -1}, "GasOverPremium -1"},
		{Fees{GasFeeCap: big.NewInt(-1)}, "GasFeeCap -1"},
		{Fees{MaxFeeCap: big.NewInt(-1)}, "MaxFeeCap -1"},
	} {
		err := c.fees.Validate()
		if (err == nil) != (c.words == "") || err != nil && !strings.Contains(err.Error(), c.words) {
			t.Errorf("%+v: %v, want %q", c.fees, err, c.words)
		}
	}
}

// What a node is asked to send carries the price that the config sets. The fake
// estimates 1000 gas and a premium of 200.
func TestNodePrice(t *testing.T) {
	nano := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e9)) }
	for name, c := range map[string]struct {
		fees             Fees
		limit            int64
		feeCap, premium  string
		estimatesMissing bool
	}{
		"nothing set":             {Fees{}, 0, "0", "0", false},
		"the guide's":             {Fees{GasOverEstimation: 1.2, GasFeeCap: nano(5)}, 1200, "5000000000", "200", false},
		"premium multiplied":      {Fees{GasOverPremium: 1.5}, 0, "0", "300", false},
		"cap below the premium":   {Fees{GasFeeCap: big.NewInt(150)}, 0, "150", "150", false},
		"MaxFeeCap as substitute": {Fees{MaxFeeCap: nano(2)}, 0, "2000000000", "200", false},
		"GasFeeCap goes first":    {Fees{GasFeeCap: nano(5), MaxFeeCap: nano(2)}, 0, "5000000000", "200", false},
		"estimates not known":     {Fees{GasOverEstimation: 1.2, GasOverPremium: 2}, 0, "0", "0", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			if c.estimatesMissing {
				w.fault = func(method string) (bool, error) {
					if method == "estimate" {
						return false, &endpoint.CallError{Kind: endpoint.ErrNoMethod}
					}
					return true, nil
				}
			}
			m := priced(post(1), c.fees)
			if err := NewNodeSender(fakeNode{w, true}, 0).price(t.Context(), m, c.fees); err != nil {
				t.Fatal(err)
			}
			if m.GasLimit != c.limit || m.GasFeeCap.String() != c.feeCap || m.GasPremium.String() != c.premium {
				t.Errorf("limit %d, cap %s, premium %s; want %d, %s, %s", m.GasLimit, m.GasFeeCap, m.GasPremium, c.limit, c.feeCap, c.premium)
			}
		})
	}
}

func TestMaxFee(t *testing.T) {
	fil := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }
	for _, c := range []struct {
		limit int64
		cap   big.Int
		want  big.Int
	}{
		{0, big.Zero(), fil(5)},
		{1e8, big.NewInt(5e9), fil(5)},
		{1e9, big.NewInt(20e9), fil(20)}, // the config's own price is not cut
	} {
		if got := maxFee(&lotus.Message{GasLimit: c.limit, GasFeeCap: c.cap}); !got.Equals(c.want) {
			t.Errorf("limit %d, cap %s: %s, want %s", c.limit, c.cap, got, c.want)
		}
	}
}

func TestScaleRoundsUp(t *testing.T) {
	for _, c := range []struct {
		x    int64
		f    float64
		want int64
	}{{1000, 1.25, 1250}, {1, 1.25, 2}, {0, 3, 0}, {10, 1, 10}} {
		if got := scale(big.NewInt(c.x), c.f); got.Int64() != c.want {
			t.Errorf("%d × %v = %s, want %d", c.x, c.f, got, c.want)
		}
	}
}
