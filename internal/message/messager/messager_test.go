package messager_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/filecoin-project/go-state-types/abi"
	"go.uber.org/goleak"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/messagetest"
)

// go-jsonrpc brings a background worker of opencensus.
func TestMain(m *testing.M) {
	lotus.UseNetwork("rig")
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func open(t *testing.T, w *messagetest.World) message.Sender {
	s, err := messager.Over(messager.Config{}, w.Messager())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	messagetest.Run(t, messagetest.Options{Open: open})
}

func TestNothingIsPushedTooLate(t *testing.T) {
	messagetest.TooLate(t, func(w *messagetest.World, epoch func() abi.ChainEpoch) message.Sender {
		s, err := messager.Over(messager.Config{Epoch: epoch}, w.Messager())
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// The reason why a message waits is in its outcome (W3, F1, x14m).
func TestReasonOfAWaitingMessage(t *testing.T) {
	w := messagetest.NewWorld()
	s := open(t, w)
	w.HoldOff("sign message failed: can't find a wallet")
	h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Find(t.Context(), h)
	if err != nil || o.State != message.Pending || o.Signed || !message.LacksKey(o.Reason) {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := s.Replace(t.Context(), h, message.Price{}); !message.IsRefused(err) {
		t.Errorf("replacing an unsigned message, which the messager would sign with nonce 0: %v", err)
	}
}

func TestMarkedAsFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := messagetest.NewWorld()
		s := open(t, w)
		h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		w.Drop("estimate gas: actor not found")
		o, err := s.Wait(t.Context(), h, 5)
		if err != nil || o.State != message.Dropped || !strings.Contains(o.Reason, "actor not found") {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

// A messager that lost a message says so, and it is sent again.
func TestMessagerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := messagetest.NewWorld()
		s := open(t, w)
		h, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		w.Forget()
		if o, err := s.Wait(t.Context(), h, 5); err != nil || o.State != message.Unknown {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}
