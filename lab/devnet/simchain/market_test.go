package simchain

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/lotus"
)

// TestNextBaseFee holds the rule against values worked out by hand.
func TestNextBaseFee(t *testing.T) {
	for _, c := range []struct {
		fee, gas int64
		blocks   int
		want     int64
	}{
		{1_000_000, 4_000_000_000, 1, 1_000_000},   // 4/5 of the target: as it is
		{1_000_000, 8_000_000_000, 1, 1_125_000},   // twice that: an eighth more
		{1_000_000, 10_000_000_000, 1, 1_125_000},  // no more than an eighth
		{1_000_000, 0, 1, 875_000},                 // nothing: an eighth less
		{1_000_000, 16_000_000_000, 2, 1_125_000},  // two blocks
		{1_000_000, 6_000_000_000, 1, 1_062_500},   // half the way
		{110, 0, 1, 100},                           // never under the least
		{8_000_000_000, 8_000_000_000, 1, 9 * 1e9}, // a busy day
	} {
		if got := nextBaseFee(big.NewInt(c.fee), c.gas, c.blocks); got.Int64() != c.want {
			t.Errorf("fee %d, gas %d in %d blocks: %s, want %d", c.fee, c.gas, c.blocks, got, c.want)
		}
	}
}

// TestDemandMovesTheFee lets a message wait until the fee has fallen under its cap.
func TestDemandMovesTheFee(t *testing.T) {
	c, _ := newChain(t, func(c *Config) { c.BaseFee = big.NewInt(1_000_000) })
	advance(t, c, open+2)
	if c.BaseFee().Int64() != 1_000_000 {
		t.Fatalf("fee %s without demand", c.BaseFee())
	}
	m := post(t, c, 0)
	m.GasFeeCap, m.GasPremium = big.NewInt(1_200_000), big.NewInt(1)
	c.SetDemand(Demand{Gas: 9_000_000_000})
	advance(t, c, open+4) // 1.125, 1.266 million
	if fee := c.Head().Blocks[0].ParentBaseFee.Int64(); fee != 1_125_000 {
		t.Errorf("the fee of the second busy epoch is %d", fee)
	}
	signed := push(t, c, m)
	c.SetDemand(Demand{Gas: 1})
	advance(t, c, open+5)
	if r, _ := c.Record(*signed.CID); r.Height != 0 {
		t.Error("executed below the base fee")
	}
	advance(t, c, open+6)
	if r, _ := c.Record(*signed.CID); r.Height != open+6 {
		t.Errorf("not executed once the fee fell: %+v, fee %s", r, c.BaseFee())
	}
}

// TestFullBlocks keeps a message with too low a premium out until it is replaced.
func TestFullBlocks(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	c.SetBaseFee(big.NewInt(100), 0)
	c.SetDemand(Demand{Gas: blockGasLimit, Premium: big.NewInt(200_000)})
	low := post(t, c, 0)
	low.GasPremium, low.GasFeeCap = big.NewInt(150_000), big.NewInt(10_000_000)
	m := push(t, c, low)
	advance(t, c, open+4)
	if r, _ := c.Record(*m.CID); r.Height != 0 {
		t.Fatal("executed although better messages fill the blocks")
	}
	if p := c.GasPremium(); !p.GreaterThan(big.NewInt(200_000)) {
		t.Errorf("premium %s is recommended", p)
	}
	next := m.Message
	next.GasPremium = minReplacement(m.Message.GasPremium)
	if next.GasPremium.Int64() != 187_501 {
		t.Fatalf("least premium of a replacement is %s", next.GasPremium)
	}
	next.GasPremium = big.NewInt(250_000)
	signed, err := c.Sign(next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PushSigned(signed, "test"); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+5)
	if r, _ := c.Record(*signed.CID); r.Height != open+5 || r.Fee.IsZero() {
		t.Errorf("replacement: %+v", r)
	}
}

// TestGasGrows prices three proofs of one deadline at once and one after the
// other, as a messager and a careful sender do.
func TestGasGrows(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	first := gasOf(c.LatestState(), ptr(post(t, c, 0)))
	st := c.LatestState()
	m, _ := st.Miner(1000)
	posted := *m
	posted.Deadlines = append(posted.Deadlines[:0:0], posted.Deadlines...)
	posted.Deadlines[0].Posted = append(posted.Deadlines[0].Posted, 1, 2, 3, 4, 5, 6)
	if later := gasOf(st.withMiner(&posted), ptr(post(t, c, 0))); later != first+3*gasGrowth {
		t.Errorf("gas %d with nothing proven, %d with six partitions", first, later)
	}
	low := post(t, c, 0)
	low.GasLimit = first - 1
	signed := push(t, c, low)
	before := c.LatestState().Balance(100)
	advance(t, c, open+3)
	r, _ := c.Record(*signed.CID)
	if r.ExitCode != exitcode.SysErrOutOfGas || r.GasUsed != low.GasLimit {
		t.Errorf("out of gas: %+v", r)
	}
	if paid := big.Sub(before, c.LatestState().Balance(100)); !paid.Equals(r.Fee) || paid.IsZero() {
		t.Errorf("paid %s, recorded %s", paid, r.Fee)
	}
}

func ptr(m lotus.Message) *lotus.Message { return &m }

// TestOverestimationBurn follows the rule of the virtual machine.
func TestOverestimationBurn(t *testing.T) {
	for _, c := range []struct{ used, limit, burn int64 }{
		{100, 110, 0}, {100, 100, 0}, {100, 200, 90}, {100, 1000, 900}, {0, 50, 50},
	} {
		if got := overestimation(c.used, c.limit); got != c.burn {
			t.Errorf("used %d of %d: burns %d, want %d", c.used, c.limit, got, c.burn)
		}
	}
}

// TestPoolRules refuses what a real pool refuses, in its words.
func TestPoolRules(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	base := post(t, c, 0)
	base.GasLimit, base.GasPremium, base.GasFeeCap, base.Value = 50_000_000, big.NewInt(100_000), big.NewInt(1_000_000), big.Zero()
	at := func(nonce uint64, change func(*lotus.Message)) error {
		m := base
		m.Nonce = nonce
		if change != nil {
			change(&m)
		}
		signed, err := c.Sign(m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.PushSigned(signed, "test")
		return err
	}
	if err := at(0, nil); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		nonce  uint64
		change func(*lotus.Message)
		want   string
	}{
		{"gap", 20, nil, "unfulfilled nonce gap"},
		{"premium", 0, func(m *lotus.Message) { m.GasPremium = big.NewInt(125_000) }, "increase GasPremium to 125001 from 100000"},
		{"cap", 1, func(m *lotus.Message) { m.GasFeeCap = big.NewInt(99) }, "gas fee cap too low"},
		{"funds", 1, func(m *lotus.Message) { m.GasFeeCap = big.NewInt(1e11) }, "not enough funds (required: "},
		{"pending funds", 1, func(m *lotus.Message) { m.GasFeeCap = big.NewInt(19_999_500_000) }, "not enough funds including pending messages"},
		{"gas", 1, func(m *lotus.Message) { m.GasLimit = blockGasLimit + 1 }, "cannot be greater than a block's gas limit"},
	} {
		if err := at(tc.nonce, tc.change); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if err := at(0, func(m *lotus.Message) { m.GasPremium = big.NewInt(125_001) }); err != nil {
		t.Errorf("replacement at the least premium: %v", err)
	}
	advance(t, c, open+3)
	if err := at(0, nil); err == nil || !strings.Contains(err.Error(), "minimum expected nonce is 1: message nonce too low") {
		t.Errorf("used nonce: %v", err)
	}
}

// TestPrune puts the cheapest messages of others out of a pool that is too full,
// never those that were pushed to it.
func TestPrune(t *testing.T) {
	p := newMempool(3)
	mk := func(nonce uint64, premium int64, local bool) *pooled {
		m := lotus.Message{To: mustID(1), From: mustID(100), Nonce: nonce, Value: big.Zero(), GasFeeCap: big.NewInt(1), GasPremium: big.NewInt(premium)}
		s, err := sign(m)
		if err != nil {
			t.Fatal(err)
		}
		return &pooled{msg: s, local: local}
	}
	p.put(1, mk(0, 5, true))
	p.put(2, mk(0, 1, false))
	p.put(2, mk(1, 90, false))
	if out := p.prune(); out != nil {
		t.Fatal("pruned at the limit")
	}
	p.put(3, mk(0, 50, false))
	out := p.prune()
	if len(out) != 2 || p.size != 2 || p.pending[1][0] == nil || p.pending[3][0] == nil {
		t.Errorf("%d put out, %d left: %v", len(out), p.size, p.pending)
	}
}
