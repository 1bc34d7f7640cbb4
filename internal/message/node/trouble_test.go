package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	"wdpost/lab/devnet/serve"
)

// escort carries a message to the chain as the poster does: at every head it is
// looked at and what the policy says is done. It returns how it ended.
func escort(t *testing.T, r *rig, s message.Sender, h message.Handle, expire abi.ChainEpoch) (message.Outcome, []escalate.Act) {
	t.Helper()
	var acts []escalate.Act
	var priced abi.ChainEpoch
	sent := r.Chain().Head().Height
	for {
		head, err := r.node.ChainHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Find(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if o.State == message.Executed || head.Height >= expire {
			return o, acts
		}
		d := escalate.Decide(escalate.Case{
			Outcome: o, Fees: guideFees, Sent: sent, Priced: priced, Head: head.Height, Expire: expire, BaseFee: escalate.BaseFee(head),
		}, escalate.Limits{})
		switch d.Act {
		case escalate.Replace:
			acts, priced = append(acts, d.Act), head.Height
			if h, err = s.Replace(t.Context(), h, d.Price); err != nil {
				t.Fatalf("%s: %v", d.Why, err)
			}
		case escalate.GiveUp:
			acts = append(acts, d.Act)
			_ = s.GiveUp(t.Context(), h) // as far as it goes
		}
		r.step(t, 1)
	}
}

// x12, x13: the base fee is twice the fee cap for the whole window.
func TestRisenBaseFeeCostsNoWindow(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		r.Chain().SetBaseFee(big.NewInt(10e9), 60)
		r.step(t, 1)
		close := r.open + 12
		h, err := s.Push(t.Context(), "deadline 2", r.post(t, 2), message.Spec{Fees: guideFees, Expire: close})
		if err != nil {
			t.Fatal(err)
		}
		o, acts := escort(t, r, s, h, close)
		if !o.Succeeded() || o.Height >= close || len(acts) == 0 {
			t.Errorf("%s after %v", o, acts)
		}
	})
}

// x13b: a message of an earlier window, dead and cheap, goes before: it is
// raised as well, and both nonces move.
func TestDeadMessageOfTheSenderDoesNotBlock(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		r.Chain().SetBaseFee(big.NewInt(10e9), 60)
		r.step(t, 1)
		close := r.open + 12
		msg := r.post(t, 2)
		dead := &lotus.Message{From: msg.From, To: msg.From, Method: 0, Value: big.NewInt(1)}
		if _, err := s.Push(t.Context(), "dead", dead, message.Spec{Fees: guideFees}); err != nil {
			t.Fatal(err)
		}
		r.step(t, 1)
		dear := guideFees
		dear.GasFeeCap = big.NewInt(50e9)
		h, err := s.Push(t.Context(), "deadline 2", r.post(t, 2), message.Spec{Fees: dear, Expire: close})
		if err != nil {
			t.Fatal(err)
		}
		r.step(t, 1)
		if o, err := s.Find(t.Context(), h); err != nil || o.Before != 1 {
			t.Errorf("%+v, %v; want one older message", o, err)
		}
		o, acts := escort(t, r, s, h, close)
		if !o.Succeeded() || len(acts) == 0 {
			t.Errorf("%s after %v", o, acts)
		}
	})
}

// x14, x14m: the sender is drained before its message is sent. A node refuses
// it, a messager signs it and says what the node says; both name the funds, and
// another sender may take its place.
func TestDrainedSenderIsNamed(t *testing.T) {
	overDevnet(t, func(t *testing.T, r *rig, s message.Sender) {
		msg := r.post(t, 2)
		if err := r.Chain().SetBalance(msg.From, big.Zero()); err != nil {
			t.Fatal(err)
		}
		r.step(t, 1)
		h, err := s.Push(t.Context(), "deadline 2", msg, message.Spec{Fees: guideFees})
		if _, isNode := s.(*node.Sender); isNode {
			if !errors.Is(err, message.ErrNoFunds) {
				t.Errorf("push: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r.step(t, 2)
		o, err := s.Find(t.Context(), h)
		if err != nil || !message.LacksFunds(o.Reason) {
			t.Errorf("%+v, %v", o, err)
		}
		d := escalate.Decide(escalate.Case{Outcome: o, Fees: guideFees, Sent: r.open, Head: r.open + 3, Expire: r.open + 12, Others: true}, escalate.Limits{})
		if d.Act != escalate.OtherSender {
			t.Errorf("%s: %s", d.Act, d.Why)
		}
		if err := s.GiveUp(t.Context(), h); err != nil {
			t.Error(err)
		}
	})
}

// M1, x12: what can no longer be executed in time is taken back, so that it does
// not cost a proof's gas after the window, nor block.
func TestWhatIsTooLateIsTakenBack(t *testing.T) {
	r := newRig(t)
	s := newNode(r)
	r.Chain().SetBaseFee(big.NewInt(10e9), 14)
	r.step(t, 1)
	h, err := s.Push(t.Context(), "deadline 2", r.post(t, 2), message.Spec{Fees: guideFees, Expire: r.open + 12})
	if err != nil {
		t.Fatal(err)
	}
	r.step(t, 11)
	if err := s.GiveUp(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	r.step(t, 25)
	if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Dropped {
		t.Errorf("%+v, %v", o, err)
	}
	if n := len(r.Chain().Pending()); n != 0 {
		t.Errorf("%d messages wait", n)
	}
	for _, rec := range r.Chain().Records() {
		if rec.Height != 0 && rec.Signed.Message.Method != 0 {
			t.Errorf("the proof was executed at %d", rec.Height)
		}
	}
}

// L5: messages of one sender pushed at the same time are estimated one on top of
// the other, so that the last does not run out of gas.
func TestPushedTogetherEstimatedInARow(t *testing.T) {
	r := newRig(t)
	s := newNode(r)
	done := make(chan error, 4)
	msg := r.post(t, 2)
	for i := range 4 {
		go func() {
			_, err := s.Push(t.Context(), string(rune('a'+i)), &lotus.Message{From: msg.From, To: msg.From, Value: big.NewInt(int64(i + 1))}, message.Spec{Fees: guideFees})
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	nonces := map[uint64]bool{}
	for _, p := range r.Chain().Pending() {
		nonces[p.Message.Nonce] = true
	}
	if len(nonces) != 4 {
		t.Errorf("nonces %v", nonces)
	}
}

// W2: while the auth service is away a messager refuses valid tokens. That is
// neither a refusal of the message nor a missing right: it is asked again.
func TestAuthServiceAway(t *testing.T) {
	r := newRig(t)
	s, err := messager.New(messager.Config{Address: r.Messager().URL("ws"), Token: r.Token(), PollInterval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	msg := r.post(t, 2)
	r.Messager().SetAuthAway(true)
	if _, err := s.Push(t.Context(), "deadline 2", msg, message.Spec{Fees: guideFees}); !errors.Is(err, endpoint.ErrToken) || message.IsRefused(err) {
		t.Errorf("push: %v", err)
	}
	if err := s.CanSign(t.Context(), msg.From); err == nil || errors.Is(err, message.ErrNoKey) || errors.Is(err, message.ErrNoRight) {
		t.Errorf("asked for the key: %v", err)
	}
	r.Messager().SetAuthAway(false)
	h, err := s.Push(t.Context(), "deadline 2", msg, message.Spec{Fees: guideFees})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CanSign(t.Context(), msg.From); err != nil {
		t.Error(err)
	}
	r.Messager().SetAuthAway(true)
	done := make(chan message.Outcome, 1)
	go func() {
		o, err := s.Wait(t.Context(), h, 1)
		if err != nil {
			t.Error(err)
		}
		done <- o
	}()
	r.step(t, 4)
	r.Messager().SetAuthAway(false)
	if o := <-done; !o.Landed(1) {
		t.Errorf("%s", o)
	}
}

// The answer to a replacement is lost: the message goes by a CID that nobody was
// told. It was taken for lost after three epochs, and never raised again.
func TestReplacementWhoseAnswerIsLost(t *testing.T) {
	r := newRig(t)
	s := newNode(r)
	r.Chain().SetBaseFee(big.NewInt(10e9), 30)
	r.step(t, 1)
	h, err := s.Push(t.Context(), "stuck", r.post(t, 2), message.Spec{Fees: guideFees})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Find(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	lift := r.Inject(serve.Fault{Method: "Filecoin.MpoolPush", Times: 1, Err: "connection reset", After: true})
	if _, err := s.Replace(t.Context(), h, message.Price{}); err == nil {
		t.Fatal("the answer was not lost")
	}
	lift()
	var o message.Outcome
	for range 5 {
		r.step(t, 1)
		time.Sleep(10 * time.Millisecond) // the age of a look into the mempool
		if o, err = s.Find(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	if o.State != message.Pending || !before.Price.Below(o.Price) {
		t.Errorf("%s at %s, before %s", o, o.Price, before.Price)
	}
	if _, err := s.Replace(t.Context(), h, message.Price{FeeCap: big.NewInt(20e9)}); err != nil {
		t.Errorf("raised again: %v", err)
	}
	r.step(t, 2)
	if o, err := s.Find(t.Context(), h); err != nil || !o.Succeeded() {
		t.Errorf("%s, %v", o, err)
	}
}
