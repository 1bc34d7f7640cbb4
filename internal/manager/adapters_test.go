package manager

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/chain"
	"wdpost/internal/lotus"
)

func TestHeadOf(t *testing.T) {
	ts := func(h abi.ChainEpoch) *lotus.TipSet { return &lotus.TipSet{Height: h} }
	got := headOf(chain.HeadEvent{Head: ts(12), Revert: []*lotus.TipSet{ts(11), ts(9), ts(10)}, Apply: []*lotus.TipSet{ts(12)}})
	if got.RevertedFrom != 9 || got.TipSet.Height != 12 {
		t.Errorf("got %+v", got)
	}
	if got := headOf(chain.HeadEvent{Head: ts(5), Reset: true}); got.RevertedFrom != 0 {
		t.Errorf("got %+v", got)
	}
}
