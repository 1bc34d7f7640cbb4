package messagetest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/endpoint"
	"wdpost/internal/message"
)

// Options are what implementations differ in.
type Options struct {
	// Open returns a Sender of a new process over the world.
	Open func(t *testing.T, w *World) message.Sender
	// TakesBackSigned says that GiveUp takes back signed messages too.
	TakesBackSigned bool
}

// suite is the contract, rule by rule.
var suite = map[string]func(t *testing.T, w *World, o Options){
	"a message is pending, executed, then landed":  testLands,
	"an id is sent once":                           testSentOnce,
	"an id is sent once, pushed eight times":       testSentOnceTogether,
	"pushes of a sender follow one another":        testInARow,
	"a push that hangs holds nobody for long":      testInARowHangs,
	"the limit that the service is told":           testLimit,
	"a lost answer is no second message":           testLostAnswer,
	"a lost answer is no second message, restart":  testLostAnswerRestart,
	"a lost push is no message":                    testLostPush,
	"a refusal says so":                            testRefusal,
	"impossible fees are refused":                  testImpossibleFees,
	"a missing key is told":                        testMissingKey,
	"a failed receipt is told at once":             testFailedAtOnce,
	"a taken nonce is told at once":                testNonceTaken,
	"waiting outlives trouble":                     testWaitOutlivesTrouble,
	"waiting ends with its context":                testWaitEnds,
	"what nobody ever heard of is unknown at once": testUnheard,
	"an outage is not unknown":                     testOutage,
	"found after a restart":                        testRestart,
	"replaced for more":                            testReplace,
	"replaced for the price that was asked":        testReplacePrice,
	"older messages are raised first":              testReplaceOlder,
	"nothing pending, nothing replaced":            testReplaceLanded,
	"taken back":                                   testGiveUp,
	"what is executed is not taken back":           testGiveUpExecuted,
	"keys":                                         testKeys,
	"a token without the right is told":            testNoRight,
}

// Run holds an implementation to the contract, in simulated time.
func Run(t *testing.T, o Options) {
	for name, f := range suite {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, NewWorld(), o) })
		})
	}
}

func push(t *testing.T, s message.Sender, id string, n byte) message.Handle {
	t.Helper()
	h, err := s.Push(t.Context(), id, Post(n), message.Spec{})
	if err != nil {
		t.Fatalf("push %s: %v", id, err)
	}
	if h.ID != id {
		t.Fatalf("push %s: handle %s", id, h)
	}
	return h
}

func find(t *testing.T, s message.Sender, h message.Handle) message.Outcome {
	t.Helper()
	o, err := s.Find(t.Context(), h)
	if err != nil {
		t.Fatalf("find %s: %v", h, err)
	}
	return o
}

func testLands(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	got := find(t, s, h)
	if got.State != message.Pending || !got.Signed || got.Price.GasLimit != 1000 || got.Price.FeeCap.Sign() <= 0 || got.From != Key(ID(100)) || got.Since.IsZero() || got.Before != 0 {
		t.Errorf("pending: %+v", got)
	}
	start, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		got, err := s.Wait(t.Context(), h, 5)
		if err != nil || !got.Landed(5) || got.Height != 101 || got.GasUsed == 0 || got.Handle.CID == "" {
			t.Errorf("landed: %+v, %v", got, err)
		}
	}()
	time.Sleep(time.Minute)
	w.Execute(exitcode.Ok)
	if got := find(t, s, h); !got.Succeeded() || got.Depth != 0 || got.Landed(5) {
		t.Errorf("executed: %+v", got)
	}
	w.Advance(4)
	time.Sleep(time.Minute)
	select {
	case <-done:
		t.Fatal("the wait ended 4 epochs deep, want 5")
	default:
	}
	w.Advance(1)
	<-done
	if took := time.Since(start); took > 5*time.Minute {
		t.Errorf("the wait took %v", took)
	}
}

func testSentOnce(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	first := push(t, s, "a", 1)
	again := push(t, s, "a", 2) // other params under the same id
	if w.Sent() != 1 || first.CID != again.CID {
		t.Errorf("%d messages were sent, handles %s and %s", w.Sent(), first, again)
	}
	push(t, s, "b", 3)
	if w.Sent() != 2 {
		t.Errorf("%d messages for two ids", w.Sent())
	}
}

func testSentOnceTogether(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { push(t, s, "a", 1) })
	}
	wg.Wait()
	if w.Sent() != 1 {
		t.Errorf("%d messages were sent", w.Sent())
	}
}

// Messages of one sender are estimated and pushed one after the other (L5).
func testInARow(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	var busy, most atomic.Int32
	w.Fault(func(method string) (bool, error) {
		if method == "push" {
			if n := busy.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			busy.Add(-1)
		}
		return true, nil
	})
	var wg sync.WaitGroup
	for i := range byte(4) {
		wg.Go(func() { push(t, s, string('a'+rune(i)), i) })
	}
	wg.Wait()
	if most.Load() != 1 || w.Sent() != 4 {
		t.Errorf("%d pushes at the same time, %d sent", most.Load(), w.Sent())
	}
}

// A push that hangs costs the next ones their order, not their window.
func testInARowHangs(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	hang := make(chan struct{})
	var first atomic.Bool
	first.Store(true)
	w.Fault(func(method string) (bool, error) {
		if method == "push" && first.Swap(false) {
			<-hang
		}
		return true, nil
	})
	var wg sync.WaitGroup
	wg.Go(func() { push(t, s, "a", 1) })
	time.Sleep(time.Second)
	start := time.Now()
	push(t, s, "b", 2)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("held for %v", took)
	}
	close(hang)
	wg.Wait()
}

func testLimit(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	for i, c := range []struct {
		fees message.Fees
		want string
	}{
		{message.Fees{}, "5000000000000000000"},
		{message.Fees{GasFeeCap: big.NewInt(5e9)}, "50000000000000000000"}, // the cap in force is not cut (W4)
		{message.Fees{GasFeeCap: big.NewInt(5e9), MaxFee: big.NewInt(7)}, "7"},
	} {
		if _, err := s.Push(t.Context(), string('a'+rune(i)), Post(byte(i)), message.Spec{Fees: c.fees}); err != nil {
			t.Fatal(err)
		}
		if got := w.MaxFee(); got.String() != c.want {
			t.Errorf("%+v: the service was told %s attoFIL, want %s", c.fees, got, c.want)
		}
	}
}

// atPush answers pushes with err, after they took effect or not.
func atPush(happened bool, err error) func(string) (bool, error) {
	return func(method string) (bool, error) {
		if method == "push" {
			return happened, err
		}
		return true, nil
	}
}

func testLostAnswer(t *testing.T, w *World, o Options)        { lostAnswer(t, w, o, true, false) }
func testLostAnswerRestart(t *testing.T, w *World, o Options) { lostAnswer(t, w, o, true, true) }
func testLostPush(t *testing.T, w *World, o Options)          { lostAnswer(t, w, o, false, false) }

// lostAnswer is a push whose answer is lost, after it happened or not. Both
// ways, pushing again makes one message.
func lostAnswer(t *testing.T, w *World, o Options, happened, restart bool) {
	s := o.Open(t, w)
	w.Fault(atPush(happened, ErrLine))
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{}); !errors.Is(err, endpoint.ErrUnreachable) || errors.Is(err, message.ErrRefused) {
		t.Errorf("error %v; want an uncertain one", err)
	}
	w.Fault(nil)
	if restart {
		s = o.Open(t, w)
	}
	h := push(t, s, "a", 1)
	if w.Sent() != 1 {
		t.Errorf("%d messages were sent", w.Sent())
	}
	w.Execute(exitcode.Ok)
	if got, err := s.Wait(t.Context(), h, 0); err != nil || !got.Landed(0) {
		t.Errorf("outcome %s, %v", got, err)
	}
}

func testRefusal(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	w.Fault(atPush(false, ErrAnswer))
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{}); !message.IsRefused(err) || !strings.Contains(err.Error(), "exit=[16]") {
		t.Errorf("error %v", err)
	}
	w.Fault(atPush(false, answered("mpool push: not enough funds: 50000000000000000 < 155463435000000000")))
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{}); !errors.Is(err, message.ErrNoFunds) {
		t.Errorf("an empty sender: %v", err)
	}
	w.Fault(nil)
	push(t, s, "a", 1)
	if w.Sent() != 1 {
		t.Errorf("%d messages were sent", w.Sent())
	}
}

func testImpossibleFees(t *testing.T, w *World, o Options) {
	_, err := o.Open(t, w).Push(t.Context(), "a", Post(1), message.Spec{Fees: message.Fees{GasOverEstimation: 0.5}})
	if !message.IsRefused(err) || w.Sent() != 0 {
		t.Errorf("%v, %d sent", err, w.Sent())
	}
}

func testMissingKey(t *testing.T, w *World, o Options) {
	m := Post(1)
	m.From = ID(101)
	if _, err := o.Open(t, w).Push(t.Context(), "a", m, message.Spec{}); !errors.Is(err, message.ErrNoKey) {
		t.Errorf("error %v", err)
	}
}

func testFailedAtOnce(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	w.Execute(exitcode.SysErrOutOfGas)
	start := time.Now()
	got, err := s.Wait(t.Context(), h, 100)
	if err != nil || !got.Failed() || got.Final(100) || !message.OutOfGas(got.ExitCode) || got.Depth > 1 || time.Since(start) > time.Minute {
		t.Errorf("outcome %+v, %v, after %v", got, err, time.Since(start))
	}
	w.Advance(100)
	if got := find(t, s, h); !got.Final(100) || !strings.Contains(got.String(), "out of gas") {
		t.Errorf("later: %s", got)
	}
}

func testNonceTaken(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	w.TakeNonce()
	got, err := s.Wait(t.Context(), h, 100)
	if err != nil || got.State != message.Dropped || !strings.Contains(got.Reason, "nonce") {
		t.Errorf("outcome %+v, %v", got, err)
	}
}

func testWaitOutlivesTrouble(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	w.Away()
	go func() {
		time.Sleep(10 * time.Minute)
		w.Fault(nil)
		w.Execute(exitcode.Ok)
	}()
	if got, err := s.Wait(t.Context(), h, 0); err != nil || !got.Landed(0) {
		t.Errorf("outcome %s, %v", got, err)
	}
}

func testWaitEnds(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	h := push(t, s, "a", 1)
	closed := errors.New("the deadline is closed")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Minute, func() { cancel(closed) })
	w.Away()
	_, err := s.Wait(ctx, h, 0)
	if !errors.Is(err, closed) || !errors.Is(err, endpoint.ErrUnreachable) || !strings.Contains(err.Error(), "message a") {
		t.Errorf("error %v; want the cause, the message and the last failure", err)
	}
}

func testUnheard(t *testing.T, w *World, o Options) {
	s := o.Open(t, w)
	for _, h := range []message.Handle{{ID: "never pushed"}, {ID: "pushed to another node", CID: cidOf("x").String()}} {
		if got := find(t, s, h); got.State != message.Unknown {
			t.Errorf("%s: %+v", h, got)
		}
		if got, err := s.Wait(t.Context(), h, 5); err != nil || got.State != message.Unknown {
			t.Errorf("wait for %s: %+v, %v", h, got, err)
		}
	}
}

func testOutage(t *testing.T, w *World, o Options) {
	w.Away()
	if _, err := o.Open(t, w).Find(t.Context(), message.Handle{ID: "a", CID: cidOf("x").String()}); !errors.Is(err, endpoint.ErrUnreachable) {
		t.Errorf("an outage reads as %v", err)
	}
}

func testRestart(t *testing.T, w *World, o Options) {
	h := push(t, o.Open(t, w), "a", 1)
	if got := find(t, o.Open(t, w), h); got.State != message.Pending || !got.Signed {
		t.Errorf("pending: %+v", got)
	}
	w.Execute(exitcode.Ok)
	if got := find(t, o.Open(t, w), h); !got.Succeeded() {
		t.Errorf("executed: %+v", got)
	}
}

// TooLate holds an implementation to the clock: open returns one whose clock
// stands at epoch.
func TooLate(t *testing.T, open func(w *World, epoch func() abi.ChainEpoch) message.Sender) {
	w := NewWorld()
	s := open(w, func() abi.ChainEpoch { return 99 })
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{Expire: 100}); !errors.Is(err, message.ErrTooLate) || !message.IsRefused(err) {
		t.Errorf("pushed to be executed at 100, where it is worthless: %v", err)
	}
	if _, err := s.Push(t.Context(), "a", Post(1), message.Spec{Expire: 101}); err != nil || w.Sent() != 1 {
		t.Errorf("%v, %d sent", err, w.Sent())
	}
}
