package node_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/builtin"
	minertypes "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/proof"

	"wdpost/internal/chain"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	"wdpost/lab/devnet"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/serve"
)

type trusting struct{}

func (trusting) VerifyWindowPoSt(context.Context, actor.WindowPoSt) error   { return nil }
func (trusting) VerifyWinningPoSt(context.Context, actor.WinningPoSt) error { return nil }

// rig is a simulated network in the open window of a miner's deadline, with a
// sender of one of the two kinds.
type rig struct {
	*devnet.Network
	node  *chain.Node
	miner address.Address
	open  abi.ChainEpoch
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{open: 20}
	deadline := uint64(2)
	var err error
	r.Network, err = devnet.New(devnet.Config{
		Policy: actor.Scaled(8, 12), Verifier: trusting{}, Manual: true, SingleBlocks: true, FirstOpen: r.open,
		Miners: []devnet.Miner{{Sectors: []devnet.Sector{{Number: 1, CommR: [32]byte{1}, Deadline: &deadline}, {Number: 2, CommR: [32]byte{2}, Deadline: &deadline}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if r.node, err = chain.New(chain.Config{Endpoints: []string{r.Node().URL("ws")}, Token: r.Token()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.node.Close)
	if r.miner, err = address.NewIDAddress(1000); err != nil {
		t.Fatal(err)
	}
	r.step(t, int(r.open)+1)
	return r
}

func (r *rig) step(t *testing.T, epochs int) {
	t.Helper()
	if err := r.Step(t.Context(), epochs); err != nil {
		t.Fatal(err)
	}
}

// post is a SubmitWindowedPoSt for the one partition of a deadline.
func (r *rig) post(t *testing.T, deadline uint64) *lotus.Message {
	t.Helper()
	head, err := r.node.ChainHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rand, err := r.node.PoStCommitRandomness(t.Context(), head.Height-1, head.Key())
	if err != nil {
		t.Fatal(err)
	}
	p := minertypes.SubmitWindowedPoStParams{
		Deadline: deadline, ChainCommitEpoch: head.Height - 1, ChainCommitRand: rand,
		Partitions: []minertypes.PoStPartition{{Index: 0, Skipped: bitfield.New()}},
		Proofs:     []proof.PoStProof{{PoStProof: 10, ProofBytes: bytes.Repeat([]byte{7}, 192)}},
	}
	var b bytes.Buffer
	if err := p.MarshalCBOR(&b); err != nil {
		t.Fatal(err)
	}
	info, err := r.node.StateMinerInfo(t.Context(), r.miner, lotus.TipSetKey{})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := r.node.StateAccountKey(t.Context(), info.Worker, lotus.TipSetKey{})
	if err != nil {
		t.Fatal(err)
	}
	return &lotus.Message{To: r.miner, From: sender, Method: builtin.MethodsMiner.SubmitWindowedPoSt, Params: b.Bytes()}
}

var guideFees = message.Fees{GasOverEstimation: 1.2, GasFeeCap: big.NewInt(5e9)}

func newNode(r *rig) *node.Sender {
	return node.New(node.Config{API: r.node, PollInterval: 10 * time.Millisecond})
}

// overDevnet runs f over both kinds of sender.
func overDevnet(t *testing.T, f func(t *testing.T, r *rig, s message.Sender)) {
	t.Run("messager", func(t *testing.T) {
		r := newRig(t)
		m, err := messager.New(messager.Config{Address: r.Messager().URL("ws"), Token: r.Token(), PollInterval: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		f(t, r, m)
	})
	t.Run("node", func(t *testing.T) {
		r := newRig(t)
		f(t, r, newNode(r))
	})
}

func TestPostLandsOnTheDevnet(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		// The first push happens, but its answer is an error.
		for _, method := range []string{"Filecoin.MpoolPushMessage", "Message.PushMessageWithId"} {
			lift := r.Inject(serve.Fault{Method: method, Times: 1, Err: "connection reset", After: true})
			defer lift()
		}
		msg := r.post(t, 2)
		h, err := s.Push(t.Context(), "deadline 2", msg, message.Spec{Fees: guideFees, Expire: 40})
		if err != nil {
			h, err = s.Push(t.Context(), "deadline 2", msg, message.Spec{Fees: guideFees, Expire: 40})
		}
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan message.Outcome, 1)
		go func() {
			o, err := s.Wait(t.Context(), h, 2)
			if err != nil {
				t.Errorf("wait: %v", err)
			}
			done <- o
		}()
		for range 8 {
			r.step(t, 1)
		}
		o := <-done
		if !o.Succeeded() || o.Handle.CID == "" || o.GasUsed == 0 {
			t.Errorf("outcome %+v", o)
		}
		deadlines, err := r.node.StateMinerDeadlines(t.Context(), r.miner, lotus.TipSetKey{})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := deadlines[2].PostSubmissions.Count(); n != 1 || err != nil {
			t.Errorf("%d partitions proven, %v", n, err)
		}
		if again, err := s.Find(t.Context(), h); err != nil || !again.Landed(2) {
			t.Errorf("found %+v, %v", again, err)
		}
		r.step(t, 12)
		if err := r.Check(); err != nil {
			t.Errorf("the devnet complains: %v", err)
		}
	})
}

// What the actor would refuse is refused by the node at once; a messager takes
// it, says why it waits, for ever, and lets it be taken back.
func TestRefusedPostOnTheDevnet(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		h, err := s.Push(t.Context(), "wrong deadline", r.post(t, 3), message.Spec{Fees: guideFees, Expire: r.open + 4})
		if _, isNode := s.(*node.Sender); isNode {
			if !errors.Is(err, message.ErrRefused) || !strings.Contains(err.Error(), "invalid deadline") {
				t.Errorf("push: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r.step(t, 1)
		if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Pending || !strings.Contains(o.Reason, "invalid deadline") {
			t.Errorf("found %+v, %v", o, err)
		}
		r.step(t, 6)
		if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Pending || o.Signed {
			t.Errorf("found %+v, %v", o, err)
		}
		if err := s.GiveUp(t.Context(), h); err != nil {
			t.Error(err)
		}
		if o, err := s.Wait(t.Context(), h, 2); err != nil || o.State != message.Dropped || !strings.Contains(o.Reason, "invalid deadline") {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

func TestReplaceOnTheDevnet(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		r.HoldMessages(true)
		h, err := s.Push(t.Context(), "stuck", r.post(t, 2), message.Spec{Fees: guideFees})
		if err != nil {
			t.Fatal(err)
		}
		r.step(t, 2)
		again, err := s.Replace(t.Context(), h, message.Price{})
		if err != nil {
			t.Fatal(err)
		}
		r.HoldMessages(false)
		r.step(t, 5)
		if o, err := s.Wait(t.Context(), again, 1); err != nil || !o.Succeeded() || o.Handle.CID != again.CID {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}
