package messagetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/endpoint"
	"wdpost/internal/message"
)

func testReplace(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	old := find(t, s, h)
	again, err := s.Replace(t.Context(), h, message.Price{})
	if err != nil || again.ID != "a" || again.CID == "" || w.Sent() != 1 {
		t.Fatalf("handle %s, %v, %d sent", again, err, w.Sent())
	}
	if now := find(t, s, again); !old.Price.Below(now.Price) || now.Price.GasLimit != old.Price.GasLimit {
		t.Errorf("price %s after %s", now.Price, old.Price)
	}
	w.Execute(exitcode.Ok)
	for _, h := range []message.Handle{h, again} { // the old handle follows as well
		if got, err := s.Wait(t.Context(), h, 0); err != nil || !got.Landed(0) || got.Handle.CID != again.CID {
			t.Errorf("outcome %s of %s, %v", got, got.Handle, err)
		}
	}
}

func testReplacePrice(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	want := message.Price{FeeCap: big.NewInt(7e9), Premium: big.NewInt(5e8), GasLimit: 1500}
	if _, err := s.Replace(t.Context(), h, want); err != nil {
		t.Fatal(err)
	}
	if feeCap, premium, limit := w.Price(0); !feeCap.Equals(want.FeeCap) || !premium.Equals(want.Premium) || limit != want.GasLimit {
		t.Errorf("fee cap %s, premium %s, limit %d; want %s", feeCap, premium, limit, want)
	}
}

// The message that blocks is raised before the one that waits behind it, and
// keeps its own gas.
func testReplaceOlder(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	push(t, s, "a", 1)
	h := push(t, s, "b", 2)
	push(t, s, "c", 3)
	if got := find(t, s, h); got.Before != 1 {
		t.Errorf("%d messages before, want 1", got.Before)
	}
	if _, err := s.Replace(t.Context(), h, message.Price{FeeCap: big.NewInt(7e9), GasLimit: 1500}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		feeCap int64
		limit  int64
	}{{7e9, 1000}, {7e9, 1500}, {400, 1000}} {
		if feeCap, _, limit := w.Price(i); feeCap.Int64() != want.feeCap || limit != want.limit {
			t.Errorf("message %d: fee cap %s, limit %d; want %+v", i, feeCap, limit, want)
		}
	}
}

func testReplaceLanded(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	w.Execute(exitcode.Ok)
	for _, h := range []message.Handle{h, {ID: "never pushed"}} {
		if _, err := s.Replace(t.Context(), h, message.Price{}); !message.IsRefused(err) {
			t.Errorf("replacing %s: %v", h, err)
		}
	}
}

func testGiveUp(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	w.HoldOff("gas estimate: message execution failed")
	h := push(t, s, "a", 1)
	if !o.TakesBackSigned {
		if got := find(t, s, h); got.State != message.Pending || got.Signed || !strings.Contains(got.Reason, "gas estimate") {
			t.Errorf("unsigned: %+v", got)
		}
	}
	if err := s.GiveUp(t.Context(), h); err != nil || !w.TakenBack(0) {
		t.Fatalf("taking back: %v", err)
	}
	if err := s.GiveUp(t.Context(), h); err != nil {
		t.Errorf("taking back again: %v", err)
	}
	if got := find(t, s, h); got.State != message.Dropped || got.Reason == "" {
		t.Errorf("afterwards: %+v", got)
	}
	w.HoldOff("")
	h = push(t, s, "b", 2)
	switch err := s.GiveUp(t.Context(), h); {
	case o.TakesBackSigned && err != nil:
		t.Error(err)
	case !o.TakesBackSigned && !errors.Is(err, message.ErrCannotGiveUp):
		t.Errorf("taking back a signed message: %v", err)
	}
}

func testGiveUpExecuted(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	w.Execute(exitcode.Ok)
	time.Sleep(time.Minute)
	if err := s.GiveUp(t.Context(), h); !errors.Is(err, message.ErrCannotGiveUp) {
		t.Errorf("taking back an executed message: %v", err)
	}
}

func testKeys(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	if err := s.CanSign(t.Context(), Key(ID(100))); err != nil {
		t.Errorf("own key: %v", err)
	}
	if err := s.CanSign(t.Context(), Key(ID(101))); !errors.Is(err, message.ErrNoKey) {
		t.Errorf("other key: %v", err)
	}
	w.Away()
	if err := s.CanSign(t.Context(), Key(ID(100))); !errors.Is(err, endpoint.ErrUnreachable) || errors.Is(err, message.ErrNoKey) {
		t.Errorf("an outage reads as %v", err)
	}
	if w.Sent() != 0 {
		t.Errorf("asking sent %d messages", w.Sent())
	}
}

func testNoRight(t *testing.T, w *World, o Options) {
	w.Fault(func(method string) (bool, error) {
		if method == "push" || method == "replace" || method == "sign" {
			return false, &endpoint.CallError{Service: "fake", Method: method, Kind: endpoint.ErrPermission, Err: errors.New("missing permission to invoke 'X'  (need 'write')")}
		}
		return true, nil
	})
	s := o.Open(t, w)
	if err := s.CanSign(t.Context(), Key(ID(100))); !errors.Is(err, message.ErrNoRight) {
		t.Errorf("asked: %v", err)
	}
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{}); !message.IsRefused(err) {
		t.Errorf("pushed: %v", err)
	}
}
