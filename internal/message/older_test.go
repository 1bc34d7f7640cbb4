package message

import (
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
)

// TestOlderMessagesAreRaisedWithinTheLimit: one with very much gas, which goes
// before, is not raised to a price that costs many times MaxFee.
func TestOlderMessagesAreRaisedWithinTheLimit(t *testing.T) {
	nano := func(n int64) big.Int { return big.NewInt(n * 1e9) }
	to := Price{FeeCap: nano(50), Premium: nano(1), GasLimit: 30_000_000, OlderMost: big.Mul(big.NewInt(5), big.NewInt(1e18))}
	small := Price{FeeCap: nano(5), Premium: nano(1), GasLimit: 40_000_000}
	large := Price{FeeCap: nano(5), Premium: nano(1), GasLimit: 900_000_000}

	if got, err := to.Older(small); err != nil || !got.FeeCap.Equals(to.FeeCap) || got.GasLimit != 0 {
		t.Errorf("40M gas at 50 nanoFIL is 2 FIL: %+v, %v", got, err)
	}
	if _, err := to.Older(large); !errors.Is(err, ErrRefused) {
		t.Errorf("900M gas at 50 nanoFIL is 45 FIL: %v", err)
	}
	to.OlderMost = big.Int{}
	if _, err := to.Older(large); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}
