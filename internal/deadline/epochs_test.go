package deadline_test

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
)

// network is a set of PoSt parameters; mainnet and a small development one.
type network struct {
	deadlines                        uint64
	period, window, lookback, cutoff abi.ChainEpoch
}

var (
	mainnet = network{deadlines: 48, period: 2880, window: 60, lookback: 20, cutoff: 70}
	tiny    = network{deadlines: 4, period: 40, window: 10, lookback: 6, cutoff: 12}
)

// at is what a node answers for a head at epoch, for a miner whose period
// began at start.
func (n network) at(start, epoch abi.ChainEpoch) dline.Info {
	for epoch >= start+n.period {
		start += n.period
	}
	index := uint64(0)
	if epoch > start {
		index = uint64((epoch - start) / n.window)
	}
	return *dline.NewInfo(start, index, epoch, n.deadlines, n.period, n.window, n.lookback, n.cutoff)
}

func TestPredicatesAtEachBoundary(t *testing.T) {
	di := mainnet.at(1000, 1000+5*60) // Open 1300, Challenge 1280, Close 1360
	var def deadline.Confidence
	for _, tt := range []struct {
		epoch       abi.ChainEpoch
		run, submit bool
	}{
		{1279, false, false},
		{1280, false, false},
		{1289, false, false},
		{1290, true, false}, // Challenge + 10
		{1299, true, false},
		{1300, true, false}, // Open
		{1303, true, false},
		{1304, true, true}, // Open + 4
		{1358, true, true},
		{1359, true, false}, // a message sent now is executed at Close
		{1360, false, false},
	} {
		if got := def.ShouldRun(di, tt.epoch); got != tt.run {
			t.Errorf("ShouldRun at %d = %v", tt.epoch, got)
		}
		if got := def.CanSubmit(di, tt.epoch); got != tt.submit {
			t.Errorf("CanSubmit at %d = %v", tt.epoch, got)
		}
	}
	for from, want := range map[abi.ChainEpoch]bool{1279: true, 1280: true, 1281: false} {
		if got := deadline.MustAbort(di, from); got != want {
			t.Errorf("MustAbort from %d = %v", from, got)
		}
	}
}

func TestConfidences(t *testing.T) {
	di := mainnet.at(0, 300) // Open 300
	small := tiny.at(0, 20)  // Open 20, Challenge 14, Close 30
	for _, tt := range []struct {
		name          string
		conf          deadline.Confidence
		di            dline.Info
		start, submit abi.ChainEpoch
	}{
		{"defaults", deadline.Confidence{}, di, 290, 304},
		{"explicit", deadline.Confidence{Challenge: 1, Submit: 9}, di, 281, 309},
		{"start inside the window", deadline.Confidence{Challenge: 30, Submit: 1}, di, 310, 301},
		{"past the window", deadline.Confidence{Challenge: 500, Submit: 500}, di, 358, 330},
		{"defaults shrink", deadline.Confidence{}, small, 17, 22},
	} {
		if got := tt.conf.StartAt(tt.di); got != tt.start {
			t.Errorf("%s: StartAt = %d, want %d", tt.name, got, tt.start)
		}
		if got := tt.conf.SubmitAt(tt.di); got != tt.submit {
			t.Errorf("%s: SubmitAt = %d, want %d", tt.name, got, tt.submit)
		}
	}
}

func TestAheadCrossesPeriods(t *testing.T) {
	di := mainnet.at(-700, -700+46*60)
	for n, want := range map[uint64]deadline.Key{
		0:  {PeriodStart: -700, Index: 46},
		1:  {PeriodStart: -700, Index: 47},
		2:  {PeriodStart: 2180, Index: 0},
		50: {PeriodStart: 5060, Index: 0},
	} {
		if got := deadline.Ahead(di, n); deadline.KeyOf(got) != want {
			t.Errorf("Ahead(%d) = %v, want %v", n, deadline.KeyOf(got), want)
		} else if got.Open != want.PeriodStart+abi.ChainEpoch(want.Index)*60 {
			t.Errorf("Ahead(%d) opens at %d", n, got.Open)
		}
	}
}

func TestRecoveryTarget(t *testing.T) {
	for _, tt := range []struct {
		name string
		net  network
		want uint64
	}{
		{"mainnet", mainnet, 7},
		{"tiny", tiny, 7 % 4},
		{"cut-off of four windows", network{deadlines: 48, period: 480, window: 10, lookback: 5, cutoff: 40}, 10},
		{"cut-off beyond the period", network{deadlines: 4, period: 40, window: 10, lookback: 5, cutoff: 400}, 3},
	} {
		di := tt.net.at(0, 5*tt.net.window)
		if got := deadline.RecoveryTarget(di).Index; got != tt.want {
			t.Errorf("%s: target %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestCurrentAgreesWithTheNode(t *testing.T) {
	for _, net := range []network{mainnet, tiny} {
		di := net.at(-17, 100)
		for epoch := abi.ChainEpoch(-17); epoch < 3*net.period; epoch++ {
			if got, want := deadline.Current(di, epoch), net.at(-17, epoch); got != want {
				t.Fatalf("at %d: %+v, want %+v", epoch, got, want)
			}
		}
	}
}
