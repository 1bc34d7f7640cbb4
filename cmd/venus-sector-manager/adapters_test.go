package main

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/chain"
	"wdpost/internal/config"
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

func TestOddPartition(t *testing.T) {
	info := func(n uint64) *lotus.MinerInfo {
		return &lotus.MinerInfo{WindowPoStProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1, WindowPoStPartitionSectors: n}
	}
	for _, tt := range []struct {
		infos map[uint64]*lotus.MinerInfo
		want  int
		fails bool
	}{
		{map[uint64]*lotus.MinerInfo{}, 0, false},
		{map[uint64]*lotus.MinerInfo{1: info(2), 2: info(0)}, 0, false},
		{map[uint64]*lotus.MinerInfo{1: info(1), 2: info(1)}, 1, false},
		{map[uint64]*lotus.MinerInfo{1: info(1), 2: info(3)}, 0, true},
		{map[uint64]*lotus.MinerInfo{1: info(1), 2: info(2)}, 0, true},
	} {
		got, err := oddPartition(tt.infos)
		if got != tt.want && !tt.fails || (err != nil) != tt.fails {
			t.Errorf("%d miners: %d, %v", len(tt.infos), got, err)
		}
	}
}

// TestGuideMiner: every setting of the guide's [Miners.PoSt] reaches the poster.
func TestGuideMiner(t *testing.T) {
	cfg, _, err := config.LoadManager("../../internal/config/testdata/guide/sector-manager.cfg")
	if err != nil {
		t.Fatal(err)
	}
	got := posterMiner(cfg.Miners[0])
	if len(got.Senders) != 1 || got.Senders[0].String()[1:10] != "3sc7rocif" || got.Confidence != 6 ||
		got.Fees.GasOverEstimation != 1.2 || got.Fees.GasFeeCap.String() != "5000000000" || !got.Fees.MaxFeeCap.IsZero() {
		t.Errorf("got %+v", got)
	}
}
