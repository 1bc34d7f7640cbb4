package ledger_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/ledger"
)

// fake is a ledger that notes what is written, and hangs or fails on demand.
type fake struct {
	ledger.Ledger
	mu    sync.Mutex
	wrote []string
	reads int
	err   error
	hang  chan struct{}
}

func (f *fake) do(what string) error {
	f.mu.Lock()
	hang, err := f.hang, f.err
	f.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrote = append(f.wrote, what)
	return nil
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fake) writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.wrote)
}

func (f *fake) OpenRun(_ context.Context, r ledger.Run) error { return f.do("open") }

func (f *fake) EndRun(_ context.Context, _ ledger.RunKey, e ledger.RunEnd) error {
	return f.do("end " + e.Verdict)
}

func (f *fake) PutProof(_ context.Context, p ledger.Proof) error {
	return f.do("proof " + p.Partitions.String())
}

func (f *fake) PutMessage(_ context.Context, m ledger.Message) error {
	return f.do("message " + m.ID + " " + m.State)
}

func (f *fake) Proofs(context.Context, ledger.RunKey) ([]ledger.Proof, error) {
	if err := f.do("read"); err != nil {
		return nil, err
	}
	f.set(func(f *fake) { f.reads++ })
	return []ledger.Proof{{Partitions: ledger.Partitions{0}}, {Partitions: ledger.Partitions{5}}}, nil
}

func (f *fake) Messages(context.Context, ledger.RunKey) ([]ledger.Message, error) {
	return []ledger.Message{{ID: "a", State: ledger.Sending}, {ID: "b", State: ledger.Sent}}, nil
}

// run runs a book over f for the length of test.
func run(t *testing.T, f *fake, board *condition.Board, test func(t *testing.T, b *ledger.Book, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		b := ledger.NewBook(f, nil, board, "")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		stop := sync.OnceFunc(func() { cancel(); <-done })
		defer stop()
		test(t, b, stop)
	})
}

func TestBookWritesInOrder(t *testing.T) {
	f := &fake{}
	run(t, f, nil, func(t *testing.T, b *ledger.Book, stop func()) {
		b.OpenRun(ledger.Run{})
		b.PutProof(ledger.Proof{Partitions: ledger.Partitions{0, 1}})
		b.PutMessage(ledger.Message{ID: "m", State: ledger.Sending})
		b.PutMessage(ledger.Message{ID: "m", State: ledger.Sent})
		b.EndRun(ledger.Run{}, ledger.RunEnd{Verdict: "proven"})
		if !b.Settle(t.Context(), time.Second) {
			t.Error("nothing was written in a second")
		}
		want := []string{"open", "proof 0,1", "message m sending", "message m sent", "end proven"}
		if got := f.writes(); !slices.Equal(got, want) {
			t.Errorf("wrote %q", got)
		}
		if got := b.Messages(ledger.RunKey{}); len(got) != 1 || got[0].State != ledger.Sent {
			t.Errorf("memory has %+v", got)
		}
	})
}

// TestBookReadsOnce: what this process wrote is newer than what is read.
func TestBookReadsOnce(t *testing.T) {
	f := &fake{}
	run(t, f, nil, func(t *testing.T, b *ledger.Book, stop func()) {
		b.PutMessage(ledger.Message{ID: "a", State: ledger.Landed})
		b.PutProof(ledger.Proof{Partitions: ledger.Partitions{5}, ProofType: 3})
		for range 3 {
			if err := b.Read(t.Context(), ledger.RunKey{}, time.Second); err != nil {
				t.Error(err)
			}
		}
		if f.reads != 1 {
			t.Errorf("read %d times", f.reads)
		}
		if got := b.Messages(ledger.RunKey{}); len(got) != 2 || got[0].State != ledger.Landed {
			t.Errorf("messages %+v", got)
		}
		if got := b.Proofs(ledger.RunKey{}); len(got) != 2 || got[1].ProofType != 3 {
			t.Errorf("proofs %+v", got)
		}
	})
}

// TestBookOverALedgerThatHangs: nobody waits for longer than he allows, and the
// stop neither.
func TestBookOverALedgerThatHangs(t *testing.T) {
	f, board := &fake{}, condition.NewBoard()
	run(t, f, board, func(t *testing.T, b *ledger.Book, stop func()) {
		hang := make(chan struct{}) // of this bubble
		f.set(func(f *fake) { f.hang = hang })
		defer close(hang)
		began := time.Now()
		b.OpenRun(ledger.Run{})
		if b.Settle(t.Context(), time.Second) || time.Since(began) != time.Second {
			t.Errorf("settled after %v", time.Since(began))
		}
		if err := b.Read(t.Context(), ledger.RunKey{}, 2*time.Second); !errors.Is(err, ledger.ErrAway) || time.Since(began) > 4*time.Second {
			t.Errorf("read: %v after %v", err, time.Since(began))
		}
		time.Sleep(time.Minute)
		if list := board.List(); len(list) != 1 || list[0].Kind != condition.LedgerBehind {
			t.Errorf("conditions %+v", list)
		}
		began = time.Now()
		stop()
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// TestBookCatchesUp: what waited is written when the ledger is back, in order.
func TestBookCatchesUp(t *testing.T) {
	f, board := &fake{err: errors.New("database is locked")}, condition.NewBoard()
	run(t, f, board, func(t *testing.T, b *ledger.Book, stop func()) {
		for _, id := range []string{"1", "2", "3"} {
			b.PutMessage(ledger.Message{ID: id})
		}
		time.Sleep(5 * time.Minute)
		if b.Queued() != 3 || len(board.List()) != 1 {
			t.Errorf("%d wait, conditions %+v", b.Queued(), board.List())
		}
		f.set(func(f *fake) { f.err = nil })
		if !b.Settle(t.Context(), time.Minute) {
			t.Error("not written though the ledger is back")
		}
		synctest.Wait()
		if got := f.writes(); !slices.Equal(got, []string{"message 1 ", "message 2 ", "message 3 "}) || len(board.List()) != 0 {
			t.Errorf("wrote %q, conditions %+v", got, board.List())
		}
	})
}

// TestBookIsWrittenAtTheStop: what was put just before the stop is kept.
func TestBookIsWrittenAtTheStop(t *testing.T) {
	f := &fake{}
	run(t, f, nil, func(t *testing.T, b *ledger.Book, stop func()) {
		for range 20 {
			b.OpenRun(ledger.Run{})
		}
		stop()
		if n := len(f.writes()); n != 20 {
			t.Errorf("%d of 20 written", n)
		}
	})
}

// TestPagesOfThePastAreForgotten: recoveries read the runs of the last days, again
// and again, and what was read stayed in memory for ever.
func TestPagesOfThePastAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := ledger.NewBook(f, nil, nil, "")
		past := ledger.RunKey{Miner: 1008, PeriodStart: 2880}
		read := func() int {
			if err := b.Read(t.Context(), past, time.Second); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.reads
		}
		first := read()
		if again := read(); again != first {
			t.Errorf("%d reads, then %d", first, again)
		}
		time.Sleep(4 * 24 * time.Hour)
		b.OpenRun(ledger.Run{RunKey: ledger.RunKey{Miner: 1008, PeriodStart: 28800}, ClosesAt: time.Now()})
		if again := read(); again == first {
			t.Error("it is in memory still")
		}
	})
}
