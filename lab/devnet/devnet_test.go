package devnet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-jsonrpc"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/filecoin-project/go-state-types/dline"
	"github.com/filecoin-project/go-state-types/proof"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
)

func TestMain(m *testing.M) {
	lotus.UseNetwork(devnet.NetworkName)
	goleak.VerifyTestMain(m,
		// The metrics library of go-jsonrpc starts a worker for ever.
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		// go-jsonrpc leaves a reader behind when a frame arrives while a websocket closes.
		goleak.IgnoreAnyFunction("github.com/filecoin-project/go-jsonrpc.(*wsConn).nextMessage"))
}

// nodeAPI is the part of a node's API that the tests call, in the form in which
// go-jsonrpc clients declare it.
type nodeAPI struct {
	ChainHead                     func(context.Context) (*lotus.TipSet, error)
	ChainNotify                   func(context.Context) (<-chan []*lotus.HeadChange, error)
	StateMinerInfo                func(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateMinerProvingDeadline     func(context.Context, address.Address, lotus.TipSetKey) (*dline.Info, error)
	StateMinerPartitions          func(context.Context, address.Address, uint64, lotus.TipSetKey) ([]lotus.Partition, error)
	StateMinerDeadlines           func(context.Context, address.Address, lotus.TipSetKey) ([]lotus.Deadline, error)
	StateMinerFaults              func(context.Context, address.Address, lotus.TipSetKey) (bitfield.BitField, error)
	StateGetRandomnessFromTickets func(context.Context, crypto.DomainSeparationTag, abi.ChainEpoch, []byte, lotus.TipSetKey) (abi.Randomness, error)
	StateSearchMsg                func(context.Context, lotus.TipSetKey, cid.Cid, abi.ChainEpoch, bool) (*lotus.MsgLookup, error)
	StateWaitMsg                  func(context.Context, cid.Cid, uint64, abi.ChainEpoch, bool) (*lotus.MsgLookup, error)
	MpoolPending                  func(context.Context, lotus.TipSetKey) ([]*lotus.SignedMessage, error)
	MpoolPush                     func(context.Context, *lotus.SignedMessage) (cid.Cid, error)
	MpoolPushMessage              func(context.Context, *lotus.Message, *lotus.MessageSendSpec) (*lotus.SignedMessage, error)
	WalletSignMessage             func(context.Context, address.Address, *lotus.Message) (*lotus.SignedMessage, error)
}

// window of the test policy: 8 deadlines of 12 epochs, lookback 4, cut-off 14.
var testPolicy = actor.Scaled(8, 12)

const firstOpen = 20

var goodProof = bytes.Repeat([]byte{7}, 192)

// fakeVerifier takes proofs that are all sevens, 192 bytes for each two sectors.
type fakeVerifier struct{}

func (fakeVerifier) VerifyWindowPoSt(_ context.Context, q actor.WindowPoSt) error {
	parts := (len(q.Sectors) + int(q.PartitionSectors) - 1) / int(q.PartitionSectors)
	if !bytes.Equal(q.Proof, bytes.Repeat(goodProof, parts)) {
		return errors.New("not all sevens")
	}
	return nil
}

func (fakeVerifier) VerifyWinningPoSt(_ context.Context, q actor.WinningPoSt) error {
	if !bytes.Equal(q.Proof, goodProof) {
		return errors.New("not all sevens")
	}
	return nil
}

func sectors(n int, deadline ...uint64) []devnet.Sector {
	var out []devnet.Sector
	for i := range n {
		s := devnet.Sector{Number: uint64(i), CommR: [32]byte{1, byte(i)}}
		if len(deadline) != 0 {
			s.Deadline = &deadline[0]
		}
		out = append(out, s)
	}
	return out
}

// rig is a manual network with a client of its node.
type rig struct {
	*devnet.Network
	t     *testing.T
	api   nodeAPI
	miner address.Address
}

func newRig(t *testing.T, change func(*devnet.Config)) *rig {
	t.Helper()
	cfg := devnet.Config{
		EpochDuration: time.Second, Policy: testPolicy, Verifier: fakeVerifier{}, FirstOpen: firstOpen,
		Miners: []devnet.Miner{{Sectors: sectors(6, 2)}}, Manual: true, SingleBlocks: true,
	}
	if change != nil {
		change(&cfg)
	}
	n, err := devnet.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	r := &rig{Network: n, t: t}
	if r.miner, err = address.NewIDAddress(1000); err != nil {
		t.Fatal(err)
	}
	dial(t, n.Node().URL("ws"), "Filecoin", n.Token(), &r.api)
	return r
}

func dial(t *testing.T, url, namespace, token string, api any) {
	t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	closer, err := jsonrpc.NewMergeClient(t.Context(), url, namespace, []any{api}, h, jsonrpc.WithNoReconnect())
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(closer)
}

func (r *rig) to(e abi.ChainEpoch) {
	r.t.Helper()
	if err := r.StepTo(r.t.Context(), e); err != nil {
		r.t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// post is a SubmitWindowedPoSt with valid proofs for the given partitions of
// two sectors each.
func (r *rig) post(deadline uint64, partitions ...uint64) *lotus.Message {
	r.t.Helper()
	ctx := r.t.Context()
	head := must[*lotus.TipSet](r.t)(r.api.ChainHead(ctx))
	commit := head.Height - 1
	rand := must[abi.Randomness](r.t)(r.api.StateGetRandomnessFromTickets(ctx, crypto.DomainSeparationTag_PoStChainCommit, commit, nil, head.Key()))
	p := minertypes.SubmitWindowedPoStParams{
		Deadline: deadline, ChainCommitEpoch: commit, ChainCommitRand: rand,
		Proofs: []proof.PoStProof{{PoStProof: 10, ProofBytes: bytes.Repeat(goodProof, len(partitions))}},
	}
	for _, i := range partitions {
		p.Partitions = append(p.Partitions, minertypes.PoStPartition{Index: i, Skipped: bitfield.New()})
	}
	var b bytes.Buffer
	if err := p.MarshalCBOR(&b); err != nil {
		r.t.Fatal(err)
	}
	return &lotus.Message{
		To: r.miner, From: mustID(r.t, 101), Value: big.Zero(), Method: builtin.MethodsMiner.SubmitWindowedPoSt,
		GasFeeCap: big.Zero(), GasPremium: big.Zero(), Params: b.Bytes(),
	}
}

func mustID(t *testing.T, id uint64) address.Address {
	t.Helper()
	return must[address.Address](t)(address.NewIDAddress(id))
}

// TestDeadline drives one deadline through the node from challenge to close.
func TestDeadline(t *testing.T) {
	ctx := t.Context()
	r := newRig(t, nil)
	r.to(firstOpen - 1)
	_, err := r.api.MpoolPushMessage(ctx, r.post(2, 0, 1, 2), nil)
	want := fmt.Sprintf("GasEstimateMessageGas error: message execution failed (exit=[ErrIllegalArgument(16)], vm error=[message failed with backtrace:\n00: f01000 (method 5) -- invalid deadline 2 at epoch %d, expected 1 (16)\n (RetCode=16)])", firstOpen-1)
	if err == nil || err.Error() != want {
		t.Fatalf("before open:\n got %v\nwant %s", err, want)
	}

	r.to(firstOpen + 1)
	di := must[*dline.Info](t)(r.api.StateMinerProvingDeadline(ctx, r.miner, lotus.TipSetKey{}))
	if di.Index != 2 || di.Open != firstOpen || di.Close != firstOpen+12 || di.Challenge != firstOpen-4 || di.FaultCutoff != firstOpen-14 {
		t.Fatalf("deadline info %+v", di)
	}
	signed := must[*lotus.SignedMessage](t)(r.api.MpoolPushMessage(ctx, r.post(2, 0, 1, 2), nil))
	if signed.Message.From.Protocol() != address.BLS || signed.Message.GasLimit == 0 {
		t.Fatalf("signed message %+v", signed.Message)
	}
	found := must[*lotus.MsgLookup](t)(r.api.StateSearchMsg(ctx, lotus.TipSetKey{}, *signed.CID, 100, true))
	if found != nil {
		t.Fatalf("found before it was mined: %+v", found)
	}
	r.to(firstOpen + 2)
	before := must[[]lotus.Deadline](t)(r.api.StateMinerDeadlines(ctx, r.miner, lotus.TipSetKey{}))
	if n, _ := before[2].PostSubmissions.Count(); n != 0 {
		t.Fatal("the state of a tipset shows its own messages")
	}
	oldHead := must[*lotus.TipSet](t)(r.api.ChainHead(ctx))
	r.to(firstOpen + 3)
	after := must[[]lotus.Deadline](t)(r.api.StateMinerDeadlines(ctx, r.miner, lotus.TipSetKey{}))
	if n, _ := after[2].PostSubmissions.Count(); n != 3 {
		t.Fatalf("%d partitions posted, want 3", n)
	}
	again := must[[]lotus.Deadline](t)(r.api.StateMinerDeadlines(ctx, r.miner, oldHead.Key()))
	if n, _ := again[2].PostSubmissions.Count(); n != 0 {
		t.Fatal("an older tipset answers with the newer state")
	}
	found = must[*lotus.MsgLookup](t)(r.api.StateSearchMsg(ctx, lotus.TipSetKey{}, *signed.CID, 100, true))
	if found == nil || found.Receipt.ExitCode != 0 || found.Height != firstOpen+3 {
		t.Fatalf("lookup %+v", found)
	}
	_, err = r.api.MpoolPushMessage(ctx, r.post(2, 1), nil)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("failed to process post submission for deadline 2: partition already proven: BitField { ranges: [1..2], set: {}, unset: {} } (16)")) {
		t.Fatalf("second proof: %v", err)
	}

	r.to(firstOpen + 13)
	rep := r.Report()
	if len(rep.Outcomes) != 1 || rep.Count(actor.Proven) != 3 || len(rep.Missed()) != 0 {
		t.Fatalf("report %+v", rep)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	// The same deadline a period later is not proven.
	r.to(firstOpen + testPolicy.ProvingPeriod() + 12)
	rep = r.Report()
	if rep.Count(actor.Missed) != 3 || len(rep.Missed()) != 1 {
		t.Fatalf("report after a missed window: %v", rep.Missed())
	}
	faults := must[bitfield.BitField](t)(r.api.StateMinerFaults(ctx, r.miner, lotus.TipSetKey{}))
	if n, _ := faults.Count(); n != 6 {
		t.Fatalf("%d faults after a missed window, want 6", n)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
}
