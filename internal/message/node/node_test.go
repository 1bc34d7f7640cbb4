package node_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"
	"go.uber.org/goleak"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messagetest"
	"wdpost/internal/message/node"
	"wdpost/internal/patience"
)

// go-jsonrpc brings a background worker of opencensus.
func TestMain(m *testing.M) {
	lotus.UseNetwork("rig")
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func TestContract(t *testing.T) {
	for name, uuids := range map[string]bool{"lotus": true, "other node": false} {
		t.Run(name, func(t *testing.T) {
			messagetest.Run(t, messagetest.Options{TakesBackSigned: true, Open: func(_ *testing.T, w *messagetest.World) message.Sender {
				return node.New(node.Config{API: w.Node(uuids)})
			}})
		})
	}
}

func TestNothingIsPushedTooLate(t *testing.T) {
	messagetest.TooLate(t, func(w *messagetest.World, epoch func() abi.ChainEpoch) message.Sender {
		return node.New(node.Config{API: w.Node(true), Epoch: epoch})
	})
}

// A node that loses a message from its mempool gets it again, as it was signed.
// A process that does not have it any more says so instead of waiting for ever.
func TestMempoolLosesAMessage(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := messagetest.NewWorld()
			s := node.New(node.Config{API: w.Node(true)})
			h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
			if err != nil {
				t.Fatal(err)
			}
			if restart {
				s = node.New(node.Config{API: w.Node(true)})
			}
			w.Drop("gone")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go func() { // the chain goes on
				for patience.Sleep(ctx, 30*time.Second) == nil {
					w.Advance(1)
				}
			}()
			time.Sleep(time.Minute)
			switch o, err := s.Find(t.Context(), h); {
			case err != nil:
				t.Fatal(err)
			case restart && o.Signed || o.State != message.Pending:
				t.Errorf("restart %v: %+v", restart, o)
			}
			if !restart {
				w.Execute(exitcode.Ok)
			}
			o, err := s.Wait(t.Context(), h, 2)
			if restart && o.State != message.Unknown || !restart && !o.Landed(2) || err != nil {
				t.Errorf("restart %v: outcome %s, %v", restart, o, err)
			}
		})
	}
}

// A sender that is empty pays for nothing: what it has pending is as good as
// taken back, and another may send in its place (x14).
func TestEmptySenderIsNoReasonToWait(t *testing.T) {
	w := messagetest.NewWorld()
	s := node.New(node.Config{API: w.Node(true)})
	h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	w.Fault(func(method string) (bool, error) {
		if method == "replace" {
			return false, &endpoint.CallError{Service: "node", Kind: endpoint.ErrAnswered, Err: errors.New("mpool push: not enough funds (required: 5, balance: 0): not enough funds to execute transaction")}
		}
		return true, nil
	})
	if err := s.GiveUp(t.Context(), h); err != nil {
		t.Error(err)
	}
	w.Fault(nil)
	w.Drop("evicted")
	if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Dropped {
		t.Errorf("it was put back: %+v, %v", o, err)
	}
}

// A message that is not in the mempool at this moment is not taken back by that:
// it may be in a block whose receipts are not there yet, and the look for it puts
// it back. Another sender's message beside it would be a second one.
func TestWhatHasLeftTheMempoolIsNotTakenBack(t *testing.T) {
	for name, refused := range map[string]bool{"put back": false, "in a block": true} {
		t.Run(name, func(t *testing.T) {
			w := messagetest.NewWorld()
			s := node.New(node.Config{API: w.Node(true)})
			h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
			if err != nil {
				t.Fatal(err)
			}
			w.Drop("gone")
			w.Fault(func(method string) (bool, error) {
				if refused && method == "replace" {
					return false, &endpoint.CallError{Service: "node", Kind: endpoint.ErrAnswered, Err: errors.New("mpool push: minimum expected nonce is 1: message nonce too low")}
				}
				return true, nil
			})
			if err := s.GiveUp(t.Context(), h); !errors.Is(err, message.ErrCannotGiveUp) {
				t.Errorf("give up: %v", err)
			}
			if !refused {
				return
			}
			w.Advance(4) // no receipt came: it is lost
			if err := s.GiveUp(t.Context(), h); err != nil {
				t.Errorf("give up: %v", err)
			}
		})
	}
}

// What the mempool lost and does not take back was unknown, and a push of its id
// came to the same message: nothing was sent any more, from nobody.
func TestWhatTheMempoolDoesNotTakeBackIsDropped(t *testing.T) {
	w := messagetest.NewWorld()
	s := node.New(node.Config{API: w.Node(true), PollInterval: time.Nanosecond})
	h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	w.Drop("pruned")
	w.Fault(func(method string) (bool, error) {
		if method == "replace" {
			return false, &endpoint.CallError{Service: "node", Kind: endpoint.ErrAnswered, Err: errors.New("mpool push: not enough funds (required: 5, balance: 0): not enough funds to execute transaction")}
		}
		return true, nil
	})
	if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Pending {
		t.Errorf("at once: %+v, %v", o, err)
	}
	w.Advance(4)
	if o, err := s.Find(t.Context(), h); err != nil || o.State != message.Dropped || !message.LacksFunds(o.Reason) {
		t.Errorf("later: %+v, %v", o, err)
	}
}
