// Package ledgertest holds every implementation of ledger.Ledger to its
// contract. Each driver's tests call Exercise.
package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"wdpost/internal/ledger"
)

// Opener opens the store of one test: the same rows at each call, tied to the
// given network. It registers what must be cleaned up with t.
type Opener func(t *testing.T, network string) (ledger.Ledger, error)

// Exercise runs the suite. newStore makes an empty store for each test.
func Exercise(t *testing.T, newStore func(t *testing.T) Opener) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, b *bundle)
	}{
		{"Runs", testRuns},
		{"RunsAreOpenedAgain", testReopen},
		{"Proofs", testProofs},
		{"Messages", testMessages},
		{"SurvivesReopening", testSurvives},
		{"RefusesAnotherNetwork", testNetwork},
		{"Prune", testPrune},
		{"CancelledContext", testCancelled},
		{"ConcurrentWriters", testConcurrent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bundle{t: t, open: newStore(t)}
			b.reopen()
			tt.run(t, b)
		})
	}
}

type bundle struct {
	t    *testing.T
	open Opener
	l    ledger.Ledger
}

// reopen closes the ledger, if one is open, and opens it again.
func (b *bundle) reopen() {
	b.t.Helper()
	if b.l != nil {
		if err := b.l.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	l, err := b.open(b.t, "testnet")
	if err != nil {
		b.t.Fatal(err)
	}
	b.l = l
	b.t.Cleanup(func() { _ = l.Close() }) // closed twice after a reopen, which is harmless
}

func (b *bundle) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %#v\nwant %#v", what, got, want)
	}
}

func at(seconds int64) time.Time { return time.Unix(1_700_000_000+seconds, 123_000_000).UTC() }

func key(miner uint64, deadline uint64) ledger.RunKey {
	return ledger.RunKey{Miner: miner, PeriodStart: -20, Deadline: deadline}
}

func run(miner uint64, deadline uint64) ledger.Run {
	open := -20 + 60*int64(deadline)
	return ledger.Run{RunKey: key(miner, deadline), Open: open, Close: open + 60, ClosesAt: at(open + 60), StartedAt: at(open - 10)}
}

func proof(k ledger.RunKey, partitions ...uint64) ledger.Proof {
	return ledger.Proof{
		RunKey: k, Partitions: partitions, ProofType: 13, Randomness: [32]byte{1, 31: 63},
		Sectors: []uint64{1, 2, 3, 9}, Skipped: []uint64{5}, Proof: []byte("proof"), CreatedAt: at(1),
	}
}

func message(k ledger.RunKey, id string, second int64) ledger.Message {
	return ledger.Message{
		ID: id, RunKey: k, Kind: ledger.KindPoSt, Partitions: ledger.Partitions{0, 1}, Attempt: 1,
		State: ledger.Sending, CreatedAt: at(second), UpdatedAt: at(second),
	}
}

func testRuns(t *testing.T, b *bundle) {
	ctx := t.Context()
	for _, r := range []ledger.Run{run(1008, 0), run(1008, 2), run(1000, 1)} {
		b.must(b.l.OpenRun(ctx, r))
	}
	end := ledger.RunEnd{Verdict: "missed", Reason: "no reader", Proven: 2, Skipped: 7, At: at(60)}
	b.must(b.l.EndRun(ctx, key(1008, 0), end))
	ended := run(1008, 0)
	ended.Ended = &end

	miner := uint64(1008)
	for _, tt := range []struct {
		name string
		q    ledger.RunQuery
		want []ledger.Run
	}{
		{"all", ledger.RunQuery{}, []ledger.Run{run(1008, 2), run(1000, 1), ended}},
		{"one miner", ledger.RunQuery{Miner: &miner}, []ledger.Run{run(1008, 2), ended}},
		{"unfinished", ledger.RunQuery{Miner: &miner, Unfinished: true}, []ledger.Run{run(1008, 2)}},
		{"latest", ledger.RunQuery{Limit: 1}, []ledger.Run{run(1008, 2)}},
	} {
		got, err := b.l.Runs(ctx, tt.q)
		b.must(err)
		equal(t, tt.name, got, tt.want)
	}
	if err := b.l.EndRun(ctx, key(1008, 40), end); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("ending an unknown run: %v", err)
	}
}

func testReopen(t *testing.T, b *bundle) {
	ctx := t.Context()
	r := run(1008, 3)
	b.must(b.l.OpenRun(ctx, r))
	b.must(b.l.EndRun(ctx, r.RunKey, ledger.RunEnd{Verdict: "proven", At: at(5)}))
	again := r
	again.StartedAt = at(500)
	again.Partitions = ledger.Partitions{0, 4}
	b.must(b.l.OpenRun(ctx, again))
	r.Partitions = again.Partitions
	got, err := b.l.Runs(ctx, ledger.RunQuery{})
	b.must(err)
	equal(t, "the run keeps its start and loses its end", got, []ledger.Run{r})
}

func testProofs(t *testing.T, b *bundle) {
	ctx := t.Context()
	k := key(1008, 1)
	p0, p1 := proof(k, 0, 1, 2), proof(k, 3)
	p1.Skipped = nil
	b.must(b.l.PutProof(ctx, p1))
	b.must(b.l.PutProof(ctx, p0))
	b.must(b.l.PutProof(ctx, proof(key(1008, 2), 0)))
	got, err := b.l.Proofs(ctx, k)
	b.must(err)
	equal(t, "proofs", got, []ledger.Proof{p0, p1})

	p0.Proof, p0.Randomness = []byte{0, 255, 1}, [32]byte{9}
	b.must(b.l.PutProof(ctx, p0))
	b.must(b.l.DropProof(ctx, k, p1.Partitions))
	b.must(b.l.DropProof(ctx, k, p1.Partitions)) // gone already
	got, err = b.l.Proofs(ctx, k)
	b.must(err)
	equal(t, "replaced and dropped", got, []ledger.Proof{p0})
}

func testMessages(t *testing.T, b *bundle) {
	ctx := t.Context()
	k := key(1008, 1)
	first, second := message(k, "1008--20-1-0,1-1", 10), message(k, "1008--20-1-0,1-2", 20)
	second.Attempt = 2
	recovery := message(k, "recover-1008", 15)
	recovery.Kind, recovery.Sectors = ledger.KindRecovery, []uint64{4, 5, 6}
	for _, m := range []ledger.Message{second, first, recovery, message(key(1008, 5), "other", 1)} {
		b.must(b.l.PutMessage(ctx, m))
	}
	got, err := b.l.Messages(ctx, k)
	b.must(err)
	equal(t, "messages", got, []ledger.Message{first, recovery, second})

	update := first
	update.State, update.Handle, update.Epoch, update.ExitCode, update.Error = ledger.Failed, "bafy", 1234, 16, "out of gas"
	update.UpdatedAt, update.CreatedAt = at(30), at(30)
	b.must(b.l.PutMessage(ctx, update))
	update.CreatedAt = first.CreatedAt
	got, err = b.l.Messages(ctx, k)
	b.must(err)
	equal(t, "updated", got, []ledger.Message{update, recovery, second})
}

func testSurvives(t *testing.T, b *bundle) {
	ctx := t.Context()
	r := run(1008, 3)
	p, m := proof(r.RunKey, 0), message(r.RunKey, "id", 3)
	b.must(b.l.OpenRun(ctx, r))
	b.must(b.l.PutProof(ctx, p))
	b.must(b.l.PutMessage(ctx, m))
	b.reopen()
	runs, err := b.l.Runs(ctx, ledger.RunQuery{Unfinished: true})
	b.must(err)
	equal(t, "runs", runs, []ledger.Run{r})
	proofs, err := b.l.Proofs(ctx, r.RunKey)
	b.must(err)
	equal(t, "proofs", proofs, []ledger.Proof{p})
	messages, err := b.l.Messages(ctx, r.RunKey)
	b.must(err)
	equal(t, "messages", messages, []ledger.Message{m})
	b.must(b.l.Check(ctx))
}

func testNetwork(t *testing.T, b *bundle) {
	b.must(b.l.Close())
	if l, err := b.open(t, "mainnet"); !errors.Is(err, ledger.ErrForeign) {
		if err == nil {
			_ = l.Close()
		}
		t.Errorf("opened for another network: %v", err)
	}
	b.l = nil
	b.reopen()
}

func testPrune(t *testing.T, b *bundle) {
	ctx := t.Context()
	old, going, recent := run(1008, 1), run(1008, 2), run(1008, 3)
	for _, r := range []ledger.Run{old, going, recent} {
		b.must(b.l.OpenRun(ctx, r))
		b.must(b.l.PutProof(ctx, proof(r.RunKey, 0)))
		b.must(b.l.PutMessage(ctx, message(r.RunKey, r.RunKey.String(), 1)))
	}
	end := ledger.RunEnd{Verdict: "proven", At: at(1)}
	b.must(b.l.EndRun(ctx, old.RunKey, end))
	b.must(b.l.EndRun(ctx, recent.RunKey, end))
	n, err := b.l.Prune(ctx, recent.ClosesAt)
	b.must(err)
	equal(t, "pruned", n, 1)
	for _, tt := range []struct {
		r    ledger.Run
		want int
	}{{old, 0}, {going, 1}, {recent, 1}} {
		proofs, err := b.l.Proofs(ctx, tt.r.RunKey)
		b.must(err)
		messages, err := b.l.Messages(ctx, tt.r.RunKey)
		b.must(err)
		if len(proofs) != tt.want || len(messages) != tt.want {
			t.Errorf("run %s has %d proofs and %d messages, want %d", tt.r.RunKey, len(proofs), len(messages), tt.want)
		}
	}
}

func testCancelled(t *testing.T, b *bundle) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.l.OpenRun(ctx, run(1, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("OpenRun with a cancelled context: %v", err)
	}
	if _, err := b.l.Runs(ctx, ledger.RunQuery{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Runs with a cancelled context: %v", err)
	}
}

func testConcurrent(t *testing.T, b *bundle) {
	const writers, each = 8, 10
	errs := make(chan error, writers*each)
	var wg sync.WaitGroup
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := range each {
				errs <- b.l.PutMessage(t.Context(), message(key(w, 0), fmt.Sprint(w, i), int64(i)))
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		b.must(err)
	}
	for w := range uint64(writers) {
		got, err := b.l.Messages(t.Context(), key(w, 0))
		b.must(err)
		equal(t, "messages of one writer", len(got), each)
	}
}
