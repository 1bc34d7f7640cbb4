package simchain

import (
	"errors"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// FuzzParams calls the miner's methods with any parameters: the answer is a new
// state or a refusal, and the old state stays as it was.
func FuzzParams(f *testing.F) {
	c, _ := newChain(f, nil)
	advance(f, c, open+2)
	good := post(f, c, 0)
	f.Add(uint64(5), good.Params)
	f.Add(uint64(11), []byte{0x81, 0x81, 0x83, 0, 0, 0x41, 0x50})
	f.Add(uint64(24), []byte{0x82, 0, 0})
	head := c.head()
	before, _ := head.mid.Miner(1000)
	f.Fuzz(func(t *testing.T, method uint64, params []byte) {
		rt := &actor.Runtime{
			Epoch: head.ts.Height, Caller: 100, Randomness: view{c.cfg.Seed, head},
			Verify: func(actor.WindowPoSt) error { return nil },
		}
		after, _, err := callMiner(before, rt, &lotus.Message{Method: abi.MethodNum(method), Params: params})
		var refusal *actor.Error
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("neither state nor refusal: %v", err)
		}
		if err == nil && after == nil {
			t.Fatal("no state and no error")
		}
		if len(before.Deadlines[0].Posted) != 0 {
			t.Fatal("the old state changed")
		}
	})
}
