package config

import (
	"slices"
	"testing"
)

func TestKeys(t *testing.T) {
	keys := Keys(Manager{})
	for _, want := range []string{"Common.API.Chain", "Common.PersistStores[].AllowMiners", "Miners[].PoSt.GasFeeCap", "Miners[].PoSt.Senders"} {
		if !slices.Contains(keys, want) {
			t.Errorf("%s is not among %q", want, keys)
		}
	}
	for _, inert := range []string{"Common.API.Market", "Miners[].Sealing.SealingEpochDuration"} {
		if slices.Contains(keys, inert) {
			t.Errorf("%s has no effect", inert)
		}
	}
	if master := Keys(Master{}); !slices.Contains(master, "server.tls.cert") || !slices.Contains(master, "db.url") {
		t.Errorf("got %q", master)
	}
}

func TestChanged(t *testing.T) {
	a, b := DefaultManager(), DefaultManager()
	if got := Changed(a, b); got != nil {
		t.Errorf("got %q", got)
	}
	b.Common.API.Token, b.Common.API.Market = "x", "y"
	b.Common.Proving.MaxStuck++
	b.Miners = []Miner{{Actor: 1}}
	if got := Changed(a, b); !slices.Equal(got, []string{"Common.API.Token", "Common.Proving.MaxStuck", "Miners"}) {
		t.Errorf("got %q", got)
	}
}
