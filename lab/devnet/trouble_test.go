package devnet_test

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/lab/devnet"
)

func TestParseTroubleRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "no meaning here",
		"from=4":                     "does not say what goes wrong",
		"from=x,freeze":              "not a whole number",
		"from=1,from=2,freeze":       "from is given twice",
		"freeze,colour=red":          `"colour" has no meaning`,
		"delay=soon":                 "not a time",
		"method=ChainHead":           "does not say what goes wrong",
		"lag=1.5":                    "not a whole number",
		"from=1,for=2,freeze,lag=-1": "not a whole number",
	} {
		if _, err := devnet.ParseTrouble(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestTroubles lets each kind of trouble begin and end on a chain of two nodes.
func TestTroubles(t *testing.T) {
	for _, text := range []string{
		"from=3,for=4,node=2,freeze", "from=3,for=4,lag=2", "from=3,for=4,old-heads", "from=3,for=4,node=1,cut-off",
		"from=3,for=4,mute", "from=3,for=4,no-key", "from=3,restart", "from=3,for=4,delay=1ms,method=Filecoin.ChainHead",
		"from=3,for=4,hang,method=Message.*", "from=3,for=4,error=no state,every=2", "from=3,for=4,status=500,body=out of order",
		"from=3,for=4,retry-after=2s,every=3,node=2", "from=3,for=4,cut", "from=3,for=4,base-fee=5e9",
		"from=3,for=4,demand=9e9,premium=100000", "from=3,evict", "from=3,for=4,hold", "from=3,reorg=2", "from=3,drop=2", "from=3,for=4,error=x,after",
	} {
		tr, err := devnet.ParseTrouble(text)
		if err != nil {
			t.Error(err)
			continue
		}
		n, err := devnet.New(devnet.Config{
			Policy: testPolicy, Verifier: fakeVerifier{}, Miners: []devnet.Miner{{Sectors: sectors(2)}},
			Nodes: 2, Troubles: []devnet.Trouble{tr}, Manual: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		events, stop := n.Events()
		if err := n.StepTo(t.Context(), 10); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		stop()
		began, ended := abi.ChainEpoch(0), abi.ChainEpoch(0)
		for e := range events {
			switch e.Kind {
			case devnet.TroubleBegins:
				began = e.Epoch + 1
			case devnet.TroubleEnds:
				ended = e.Epoch + 1
			}
		}
		wantEnd := abi.ChainEpoch(0)
		if strings.Contains(text, "for=") {
			wantEnd = 7
		}
		if began != 3 || ended != wantEnd {
			t.Errorf("%s: began at %d, ended at %d", text, began, ended)
		}
	}
}
