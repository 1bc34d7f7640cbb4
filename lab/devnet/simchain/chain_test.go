package simchain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

const open = 30

// counting takes proofs that begin with 7 and counts the questions.
type counting struct{ asked int }

func (c *counting) VerifyWindowPoSt(ctx context.Context, q actor.WindowPoSt) error {
	c.asked++
	if ctx.Err() == nil && q.Proof[0] == 7 {
		return nil
	}
	return errors.New("no")
}

func (*counting) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

func newChain(t testing.TB, change func(*Config)) (*Chain, *counting) {
	t.Helper()
	policy := actor.Scaled(8, 12)
	var zero uint64
	var ps []actor.Placement
	for i := range 6 {
		ps = append(ps, actor.Placement{Sector: actor.Sector{Number: abi.SectorNumber(i)}, Deadline: &zero})
	}
	m, err := actor.NewMiner(actor.Info{
		ID: 1000, Owner: 100, Worker: 100, SectorSize: 2048, WindowProof: 10, PartitionSectors: 2,
		ProvingStart: open, PeriodOffset: open,
	}, &policy, ps)
	if err != nil {
		t.Fatal(err)
	}
	key, err := address.NewBLSAddress(pseudo(48, "key"))
	if err != nil {
		t.Fatal(err)
	}
	v := &counting{}
	cfg := Config{
		GenesisTime: time.Unix(1_700_000_000, 0), EpochDuration: time.Second,
		Miners: []*actor.Miner{m}, Verifier: v,
		Accounts: []Account{{ID: 100, Key: key, Balance: big.NewInt(1e18)}},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, v
}

func advance(t testing.TB, c *Chain, to abi.ChainEpoch) {
	t.Helper()
	for c.Epoch() < to {
		if _, err := c.Advance(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
}

// post is a proof of a partition, bound to the tipset before the head.
func post(t testing.TB, c *Chain, partition uint64) lotus.Message {
	t.Helper()
	head := c.Head()
	rand, err := c.TicketRandomness(crypto.DomainSeparationTag_PoStChainCommit, head.Height-1, nil, head.Key())
	if err != nil {
		t.Fatal(err)
	}
	p := minertypes.SubmitWindowedPoStParams{
		Partitions:       []minertypes.PoStPartition{{Index: partition, Skipped: bitfield.New()}},
		Proofs:           []proof.PoStProof{{PoStProof: 10, ProofBytes: bytes.Repeat([]byte{7}, 192)}},
		ChainCommitEpoch: head.Height - 1, ChainCommitRand: rand[:],
	}
	var b bytes.Buffer
	if err := p.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	return lotus.Message{To: mustID(1000), From: mustID(100), Method: builtin.MethodsMiner.SubmitWindowedPoSt, Params: b.Bytes()}
}

func push(t *testing.T, c *Chain, m lotus.Message) *lotus.SignedMessage {
	t.Helper()
	s, err := c.Push(t.Context(), m, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestMessageCid computes the CID of a message that a real node accepted.
func TestMessageCid(t *testing.T) {
	b, err := os.ReadFile("../../../internal/lotus/testdata/MpoolPushMessage-SubmitWindowedPoSt.json")
	if err != nil {
		t.Fatal(err)
	}
	var rec struct {
		Response struct{ Result lotus.SignedMessage }
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	got, err := MessageCid(&rec.Response.Result.Message)
	if err != nil || got != *rec.Response.Result.CID {
		t.Errorf("CID %s, %v; the node computed %s", got, err, rec.Response.Result.CID)
	}
}

// TestTicketOrder sorts the blocks of recorded tipsets as the real node did.
func TestTicketOrder(t *testing.T) {
	for _, name := range []string{"ChainHead", "ChainGetTipSetByHeight"} {
		b, err := os.ReadFile("../../../internal/lotus/testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var rec struct{ Response struct{ Result lotus.TipSet } }
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(err)
		}
		want := rec.Response.Result.Blocks
		shuffled := []*lotus.BlockHeader{want[1], want[0]}
		ts, err := makeTipSet(want[0].Height, shuffled)
		if err != nil {
			t.Fatal(err)
		}
		if ts.Blocks[0] != want[0] {
			t.Errorf("%s: block of %s first, want %s", name, ts.Blocks[0].Miner, want[0].Miner)
		}
	}
}

// TestDeterministic plays twice and compares.
func TestDeterministic(t *testing.T) {
	var keys []string
	two := false
	for range 2 {
		c, _ := newChain(t, func(c *Config) { c.Seed = "s" })
		advance(t, c, 20)
		keys = append(keys, c.Head().Key().String())
		for h := range abi.ChainEpoch(20) {
			ts, err := c.TipSetByHeight(h, lotus.TipSetKey{})
			if err != nil {
				t.Fatal(err)
			}
			two = two || len(ts.Blocks) == 2
		}
	}
	if keys[0] != keys[1] {
		t.Error("same seed, other chain")
	}
	if !two {
		t.Error("no tipset of two blocks in 20 epochs")
	}
	other, _ := newChain(t, func(c *Config) { c.Seed = "r" })
	advance(t, other, 20)
	if other.Head().Key().String() == keys[0] {
		t.Error("other seed, same chain")
	}
}

// TestNullRounds draws randomness around a null round and closes a window in one.
func TestNullRounds(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, 9)
	if _, err := c.Advance(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	advance(t, c, 11)
	head := c.Head().Key()
	at := func(round abi.ChainEpoch) [32]byte {
		r, err := c.TicketRandomness(9, round, nil, head)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The ticket of a null round is that of the next tipset.
	ts, _ := c.TipSetByHeight(11, head)
	if at(10) != DrawRandomness(ts.Blocks[0].Ticket.VRFProof, 9, 10, nil) {
		t.Error("the null round draws from another ticket")
	}
	if n := len(c.Head().Blocks[0].BeaconEntries); n != 2 {
		t.Errorf("%d beacon entries after a null round, want 2", n)
	}
	if _, err := c.TicketRandomness(9, 12, nil, head); err == nil || err.Error() != "cannot draw randomness from the future" {
		t.Errorf("future: %v", err)
	}
	advance(t, c, open+10)
	for range 2 { // the last epoch of the window is null
		if _, err := c.Advance(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	advance(t, c, open+13)
	if n := len(c.LatestState().Outcomes()); n != 1 {
		t.Errorf("%d outcomes after a window that ended in a null round", n)
	}
}

// TestReorgRemines reverts a message and mines it again on the new branch.
func TestReorgRemines(t *testing.T) {
	c, v := newChain(t, nil)
	advance(t, c, open+3)
	m := push(t, c, post(t, c, 0)) // bound to open+2
	advance(t, c, open+4)
	if err := c.Reorg(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+5)
	found, err := c.Search(*m.CID, true)
	if err != nil || found == nil || found.Receipt.ExitCode != 0 || found.Height != open+5 {
		t.Fatalf("after the reorganisation: %+v, %v", found, err)
	}
	if v.asked != 1 {
		t.Errorf("verified %d times, want once", v.asked)
	}
	if r, _ := c.Record(*m.CID); r.Height != open+4 || r.Dropped {
		t.Errorf("record %+v", r)
	}
}

// TestReorgBelowCommit replaces the tipset that a message is bound to: it fails
// on the new branch with the actor's words, and another can follow.
func TestReorgBelowCommit(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+3)
	m := push(t, c, post(t, c, 0))
	advance(t, c, open+4)
	if err := c.Reorg(t.Context(), 3, false); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+5)
	r, _ := c.Record(*m.CID)
	if r.ExitCode != exitcode.ErrIllegalArgument || r.Failure != "post commit randomness mismatched" {
		t.Fatalf("record %+v", r)
	}
	if st := c.LatestState(); len(st.miners[1000].Deadlines[0].Posted) != 0 {
		t.Error("the refused proof counts")
	}
	again := push(t, c, post(t, c, 0))
	advance(t, c, open+6)
	if r, _ := c.Record(*again.CID); r.ExitCode != 0 || r.Height != open+6 {
		t.Errorf("second message %+v", r)
	}
}

// TestReorgDrops loses a message; its nonce is free again.
func TestReorgDrops(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+3)
	m := push(t, c, post(t, c, 0))
	advance(t, c, open+4)
	if err := c.Reorg(t.Context(), 1, true); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+5)
	if found, _ := c.Search(*m.CID, true); found != nil {
		t.Error("the lost message is found")
	}
	again := push(t, c, post(t, c, 0))
	if again.Message.Nonce != m.Message.Nonce {
		t.Errorf("nonce %d, want the lost one's %d", again.Message.Nonce, m.Message.Nonce)
	}
}

// TestReorgLimits refuses to replace genesis.
func TestReorgLimits(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, 2)
	for _, depth := range []int{0, 3, -1} {
		if err := c.Reorg(t.Context(), depth, false); err == nil {
			t.Errorf("depth %d accepted", depth)
		}
	}
	if err := c.Reorg(t.Context(), 2, false); err != nil {
		t.Error(err)
	}
}

// TestStuck holds a message back until it is replaced at a higher price.
func TestStuck(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	c.Hold(func(*lotus.Message) bool { return true })
	m := push(t, c, post(t, c, 0))
	advance(t, c, open+4)
	if found, _ := c.Search(*m.CID, true); found != nil || len(c.Pending()) != 1 {
		t.Fatal("a held message was mined")
	}
	// A second push of the same proof is refused in estimation: the first waits.
	if _, err := c.Push(t.Context(), post(t, c, 0), nil, "test"); err == nil || !strings.Contains(err.Error(), "partition already proven") {
		t.Errorf("second push: %v", err)
	}
	dearer := m.Message
	dearer.GasPremium = big.Add(dearer.GasPremium, big.NewInt(1))
	low, err := c.Sign(dearer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PushSigned(low, "test"); err == nil || !strings.Contains(err.Error(), "replace by fee has too low GasPremium") {
		t.Errorf("cheap replacement: %v", err)
	}
	dearer.GasPremium = big.Mul(m.Message.GasPremium, big.NewInt(2))
	dearer.GasFeeCap = big.Mul(m.Message.GasFeeCap, big.NewInt(2))
	signed, err := c.Sign(dearer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PushSigned(signed, "test"); err != nil {
		t.Fatal(err)
	}
	advance(t, c, open+6)
	found, err := c.Search(*m.CID, true)
	if err != nil || found == nil || found.Message != *signed.CID {
		t.Fatalf("the replaced message leads to %+v, %v", found, err)
	}
	if _, err := c.Search(*m.CID, false); err == nil {
		t.Error("found although replacements were not wanted")
	}
	if r, _ := c.Record(*m.CID); r.ReplacedBy == nil || *r.ReplacedBy != *signed.CID {
		t.Errorf("record %+v", r)
	}
}

// TestFeeSpike keeps a message waiting while the base fee is above its cap.
func TestFeeSpike(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	m := push(t, c, post(t, c, 0))
	c.SetBaseFee(big.Add(m.Message.GasFeeCap, big.NewInt(1)), 3)
	advance(t, c, open+4)
	if len(c.Pending()) != 1 {
		t.Fatal("mined below the base fee")
	}
	advance(t, c, open+6)
	if len(c.Pending()) != 0 {
		t.Error("still waiting after the spike")
	}
}

// TestUUID pushes twice and gets one message.
func TestUUID(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	id := "a-b"
	spec := &lotus.MessageSendSpec{MsgUuid: &id}
	first, err := c.Push(t.Context(), post(t, c, 0), spec, "test")
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Push(t.Context(), post(t, c, 0), spec, "test")
	if err != nil || second != first || len(c.Records()) != 1 {
		t.Errorf("second push %v, %v; %d messages", second.CID, err, len(c.Records()))
	}
}

// TestFees caps what a message may cost.
func TestFees(t *testing.T) {
	for _, c := range []struct {
		name     string
		spec     lotus.MessageSendSpec
		cap, tip int64 // 0: left as estimated
	}{
		{"plenty", lotus.MessageSendSpec{MaxFee: big.NewInt(1_000_000_000)}, 500, 50},
		{"little", lotus.MessageSendSpec{MaxFee: big.NewInt(30_000)}, 30, 30},
		{"maximise", lotus.MessageSendSpec{MaxFee: big.NewInt(900_000), MaximizeFeeCap: true}, 900, 50},
	} {
		m := lotus.Message{GasLimit: 1000, GasFeeCap: big.NewInt(500), GasPremium: big.NewInt(50)}
		capFee(&m, &c.spec)
		if m.GasFeeCap.Int64() != c.cap || m.GasPremium.Int64() != c.tip {
			t.Errorf("%s: cap %s, premium %s", c.name, m.GasFeeCap, m.GasPremium)
		}
	}
}

// TestFailures turns broken messages into exit codes.
func TestFailures(t *testing.T) {
	c, _ := newChain(t, nil)
	advance(t, c, open+2)
	for _, tc := range []struct {
		name   string
		change func(*lotus.Message)
		want   string
	}{
		{"parameters", func(m *lotus.Message) { m.Params = m.Params[:20] }, "ErrSerialization(21)"},
		{"trailing", func(m *lotus.Message) { m.Params = append(slices.Clone(m.Params), 0) }, "1 trailing bytes"},
		{"method", func(m *lotus.Message) { m.Method = 99 }, "ErrUnhandledMessage(22)"},
		{"receiver", func(m *lotus.Message) { m.To = mustID(77) }, "does not exist"},
		{"sender", func(m *lotus.Message) { m.From = mustID(77) }, "failed to find account"},
		{"money", func(m *lotus.Message) { m.Method, m.Value = 0, big.NewInt(2e18) }, "SysErrInsufficientFunds(6)"},
	} {
		m := post(t, c, 0)
		tc.change(&m)
		if _, err := c.Push(t.Context(), m, nil, "test"); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
	}
	low := post(t, c, 0)
	low.GasLimit = 1000
	m := push(t, c, low)
	advance(t, c, open+3)
	if r, _ := c.Record(*m.CID); r.ExitCode != exitcode.SysErrOutOfGas {
		t.Errorf("too little gas: %+v", r)
	}
}

// TestCancelledVerification is no verdict about the proof.
func TestCancelledVerification(t *testing.T) {
	c, v := newChain(t, nil)
	advance(t, c, open+2)
	m := post(t, c, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Push(ctx, m, nil, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("push: %v", err)
	}
	push(t, c, m)
	if v.asked != 2 {
		t.Errorf("asked %d times", v.asked)
	}
}

// TestHistory forgets what is old and says so.
func TestHistory(t *testing.T) {
	c, _ := newChain(t, func(c *Config) { c.History = 10 })
	advance(t, c, 5)
	old := c.Head().Key()
	advance(t, c, 30)
	if _, err := c.TipSet(old); err == nil {
		t.Error("an old tipset is still there")
	}
	if _, err := c.TipSetByHeight(5, lotus.TipSetKey{}); err == nil || !strings.Contains(err.Error(), "older than this node's history") {
		t.Errorf("old height: %v", err)
	}
	if len(c.entries) > 12 {
		t.Errorf("%d tipsets kept", len(c.entries))
	}
	if _, err := c.TipSet(c.Genesis().Key()); err != nil {
		t.Errorf("genesis: %v", err)
	}
}

// TestSlowFollower loses its stream instead of holding up the chain.
func TestSlowFollower(t *testing.T) {
	c, _ := newChain(t, nil)
	slow, cancel := c.Subscribe()
	defer cancel()
	advance(t, c, subscriptionBuffer+10)
	n := 0
	for range slow {
		n++
	}
	if n != subscriptionBuffer {
		t.Errorf("%d notifications before the end, want %d", n, subscriptionBuffer)
	}
}

// TestWinningSector follows the proof system: SHA-256 over prover, randomness
// and challenge number.
func TestWinningSector(t *testing.T) {
	var r [32]byte
	masked := r
	masked[31] = 0xc0
	if WinningSector(1000, r, 7) != WinningSector(1000, masked, 7) {
		t.Error("the randomness is not masked")
	}
	seen := map[int]bool{}
	for i := range byte(100) {
		r[0] = i
		n := WinningSector(1000, r, 3)
		if n < 0 || n > 2 {
			t.Fatalf("index %d", n)
		}
		seen[n] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %d of 3 sectors are ever chosen", len(seen))
	}
}
