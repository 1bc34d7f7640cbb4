package attr

import (
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
)

func TestNumbers(t *testing.T) {
	for want, list := range map[string][]uint64{
		"none": nil, "7": {7}, "0-2": {0, 1, 2}, "0-2,5,7-8": {0, 1, 2, 5, 7, 8},
	} {
		if got := numbers(list); got != want {
			t.Errorf("%v: %q, want %q", list, got, want)
		}
	}
	if got := someNumbers([]uint64{1, 2, 3, 9}, 3); got != "1-3,…+1" {
		t.Errorf("cut off: %q", got)
	}
}

func TestAMinerIsWrittenInOneWay(t *testing.T) {
	a, err := address.NewIDAddress(1008)
	if err != nil {
		t.Fatal(err)
	}
	byID, byAddress := Miner(abi.ActorID(1008)), Miner(a)
	if !byID.Equal(byAddress) || byID.String() != "miner="+a.String() {
		t.Fatalf("%v and %v", byID, byAddress)
	}
}
