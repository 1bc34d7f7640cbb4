package simchain

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"wdpost/internal/lotus"
)

// TestHeaderCid computes the CIDs of blocks that a real node named.
func TestHeaderCid(t *testing.T) {
	for _, name := range []string{"ChainHead", "ChainGetGenesis", "ChainGetTipSetByHeight", "ChainGetTipSet"} {
		b, err := os.ReadFile(filepath.Join("../../../internal/lotus/testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var rec struct{ Response struct{ Result lotus.TipSet } }
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(err)
		}
		for i, h := range rec.Response.Result.Blocks {
			got, err := HeaderCid(h)
			if want := rec.Response.Result.Cids[i]; err != nil || got != want {
				t.Errorf("%s block %d: CID %s, %v; the node computed %s", name, i, got, err, want)
			}
		}
	}
}
