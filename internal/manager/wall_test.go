package manager

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/deadline"
	"wdpost/internal/history"
	"wdpost/internal/message"
	"wdpost/internal/poster"
)

// TestTheWayOfADeadlineIsKept: what the poster tells is found again by the page
// and the commands, and the end sums it up.
func TestTheWayOfADeadlineIsKept(t *testing.T) {
	m := &Manager{book: history.New(t.TempDir(), slog.Default()), diary: newDiary(), viewers: viewers{now: make(chan struct{})}}
	change := wall{m}.Changed()
	key := deadline.Key{PeriodStart: 2880, Index: 3}
	for _, o := range []poster.Outcome{
		{What: poster.ProofMade, Partitions: []uint64{0, 1, 2}, Proven: 90, Skipped: 1, Took: 4 * time.Minute, Margin: 20 * time.Minute},
		{What: poster.ProofMade, Partitions: []uint64{3}, Proven: 30, Took: 2 * time.Minute, Margin: 19 * time.Minute},
		{What: poster.MessagePushed, Margin: 19 * time.Minute},
		{What: poster.MessageEnded, Margin: 18 * time.Minute, Message: message.Outcome{State: message.Executed, GasUsed: 25_000_000, Height: 2900, Handle: message.Handle{CID: "bafy1"}}},
		{What: poster.RunEnded, Verdict: deadline.Proven, Proven: 4, Skipped: 1, Margin: -time.Minute},
	} {
		o.Miner, o.Deadline = abi.ActorID(1000), key
		m.note(o)
	}
	select {
	case <-change:
	default:
		t.Error("viewers are not told")
	}
	stopped, stop := contextThatEnded(t)
	defer stop()
	if err := m.book.Run(stopped); err != nil {
		t.Fatal(err)
	}

	past, err := wall{m}.History(t.Context(), subject(1000), time.Now().Add(-time.Hour))
	if err != nil || len(past) != 1 {
		t.Fatalf("%+v, %v", past, err)
	}
	p := past[0]
	if p.Verdict != "proven" || p.Partitions != 4 || p.Skipped != 1 || p.Proving != 4*time.Minute || p.Margin != 18*time.Minute || p.Gas != 25_000_000 {
		t.Errorf("the end: %+v", p)
	}
	way, err := wall{m}.Timeline(t.Context(), subject(1000), 2880, 3)
	if err != nil || len(way.Events) != 5 || way.Verdict != "proven" {
		t.Fatalf("%+v, %v", way, err)
	}
	if !strings.Contains(way.Events[0].Text, "[0,1,2] 4m0s") || way.Events[3].CID != "bafy1" || way.Events[3].Epoch != 2900 {
		t.Errorf("the way: %+v", way.Events)
	}
	for _, bad := range []string{"", "x", "t3zzz"} {
		if _, err := (wall{m}).Timeline(t.Context(), bad, 2880, 3); err == nil {
			t.Errorf("miner %q has a timeline", bad)
		}
	}
}

func contextThatEnded(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// TestTheOpenWindowIsShownToItsClose: also when the work on it is over.
func TestTheOpenWindowIsShownToItsClose(t *testing.T) {
	index := uint64(3)
	at := func(e abi.ChainEpoch) time.Time { return time.Unix(int64(e)*30, 0) }
	s := MinerStatus{Deadline: &index, Open: 3060, Close: 3120, Recent: []RunStatus{{Deadline: 3, PeriodStart: 2880, Open: 3060, Partitions: "0,1", Verdict: "proven", Skipped: 2}}}
	w, open := openWindow("t01000", s, at)
	if !open || w.Verdict != "proven" || w.PeriodStart != 2880 || len(w.Batches) != 1 || w.Batches[0].Skipped != 2 || !w.ClosesAt.Equal(at(3120)) {
		t.Errorf("%t %+v", open, w)
	}
	s.Running = []RunningDeadline{{Kind: "post", Deadline: 3, Open: 3060}}
	if _, open := openWindow("t01000", s, at); open {
		t.Error("a deadline that is worked on stands twice")
	}
}

// TestTheLastDayIsReadOnce: what the book had, then what ended since, without a
// day of before.
func TestTheLastDayIsReadOnce(t *testing.T) {
	now := time.Now()
	book, d := history.New(t.TempDir(), slog.Default()), newDiary()
	stopped, stop := contextThatEnded(t)
	defer stop()
	for index, at := range []time.Time{now.Add(-3 * aDay), now.Add(-time.Hour)} {
		book.Note(history.Step{At: at, Miner: 1000, Deadline: uint64(index), Kind: "post", What: history.Ended})
	}
	if err := book.Run(stopped); err != nil {
		t.Fatal(err)
	}
	d.sum(history.Step{At: now, Miner: 1000, Deadline: 2, Kind: "post", What: history.Ended})
	for range 2 {
		ends := d.lastDay(t.Context(), book, now)
		if len(ends) != 2 || ends[0].Deadline != 1 || ends[1].Deadline != 2 {
			t.Fatalf("%+v", ends)
		}
		book = history.New(t.TempDir(), slog.Default()) // it is not asked again
	}
	if ends := d.lastDay(t.Context(), book, now.Add(aDay)); len(ends) != 0 {
		t.Errorf("a day later: %+v", ends)
	}
}
