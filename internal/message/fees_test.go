package message_test

import (
	"math"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/message"
)

func TestFeesProblems(t *testing.T) {
	for _, c := range []struct {
		fees message.Fees
		key  string
	}{
		{message.Fees{}, ""},
		{message.Fees{GasOverEstimation: 1.2, GasOverPremium: 0.5, GasFeeCap: big.NewInt(100), MaxFee: big.NewInt(1)}, ""},
		{message.Fees{GasOverEstimation: 0.9}, "GasOverEstimation"},
		{message.Fees{GasOverEstimation: -1}, "GasOverEstimation"},
		{message.Fees{GasOverEstimation: math.NaN()}, "GasOverEstimation"},
		{message.Fees{GasOverPremium: -1}, "GasOverPremium"},
		{message.Fees{GasOverPremium: math.Inf(1)}, "GasOverPremium"},
		{message.Fees{GasFeeCap: big.NewInt(-1)}, "GasFeeCap"},
		{message.Fees{GasFeeCap: big.NewInt(5)}, "GasFeeCap"},    // a forgotten unit
		{message.Fees{GasFeeCap: big.NewInt(5e18)}, "GasFeeCap"}, // another one
		{message.Fees{MaxFeeCap: big.NewInt(-1)}, "MaxFeeCap"},
		{message.Fees{MaxFee: big.NewInt(-1)}, "MaxFee"},
	} {
		problems, err := c.fees.Problems(), c.fees.Validate()
		switch {
		case c.key == "":
			if len(problems) > 0 || err != nil {
				t.Errorf("%+v: %v", c.fees, err)
			}
		case len(problems) != 1 || problems[0].Key != c.key || err == nil || !strings.Contains(err.Error(), c.key+": "+problems[0].Reason):
			t.Errorf("%+v: %v, %v, want %s", c.fees, problems, err, c.key)
		}
	}
}

// The cap that the operator wrote is the cap in force: no service cuts it (W4).
func TestLimitDoesNotCutTheCap(t *testing.T) {
	nano := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e9)) }
	fil := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }
	for _, c := range []struct {
		fees message.Fees
		want big.Int
	}{
		{message.Fees{}, fil(5)},
		{message.Fees{GasFeeCap: big.NewInt(1e8)}, fil(5)},
		{message.Fees{GasFeeCap: nano(5)}, fil(50)},
		{message.Fees{GasFeeCap: nano(5), MaxFee: fil(1)}, fil(1)},
	} {
		if got := c.fees.Limit(); !got.Equals(c.want) {
			t.Errorf("%+v: %s, want %s", c.fees, got, c.want)
		}
	}
}

func TestScaleRoundsUp(t *testing.T) {
	for _, c := range []struct {
		x    int64
		f    float64
		want int64
	}{{1000, 1.25, 1250}, {1, 1.25, 2}, {0, 3, 0}, {10, 1, 10}} {
		if got := message.Scale(big.NewInt(c.x), c.f); got.Int64() != c.want {
			t.Errorf("%d × %v = %s, want %d", c.x, c.f, got, c.want)
		}
	}
}

func TestNeed(t *testing.T) {
	if got := (message.Fees{GasFeeCap: big.NewInt(5e9)}).Need(2); got.String() != "400000000000000000" {
		t.Errorf("two messages at 5 nanoFIL need %s attoFIL", got)
	}
	if got := (message.Fees{}).Need(2); got.Sign() != 0 {
		t.Errorf("without a cap: %s", got)
	}
}
