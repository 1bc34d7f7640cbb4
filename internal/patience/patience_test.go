package patience

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Fatalf("Sleep: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start = time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Fatalf("Sleep past its context: %v after %v", err, time.Since(start))
		}
		if err := Sleep(ctx, 0); err == nil {
			t.Fatal("Sleep of nothing does not ask the context")
		}
	})
}

func TestBackoffDoublesToMax(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 10 * time.Second}
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10, 10} {
		want *= time.Second
		if got := b.Next(); got > want || got < want-want/4 {
			t.Errorf("pause %d: %v, want %v less a quarter at the most", i, got, want)
		}
	}
	b.Reset()
	if got := b.Next(); got > time.Second {
		t.Errorf("after Reset: %v", got)
	}
	for range 100_000 { // never overflows
		if b.Next() <= 0 {
			t.Fatal("a pause of nothing")
		}
	}
	if zero := (&Backoff{}).Next(); zero > time.Second || zero < 750*time.Millisecond {
		t.Errorf("zero value: %v", zero)
	}
}

func TestOutageTellsOnceAgainAndTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := slog.New(slog.NewTextHandler(&b, nil))
		var o Outage
		lines := func() int { return strings.Count(b.String(), "\n") }

		if o.Over(log, "works"); lines() != 0 {
			t.Fatal("an end without an outage")
		}
		for range 60 * 25 { // 25 minutes, one failure a second
			o.Failed(log, "away", "refused")
			time.Sleep(time.Second)
		}
		if lines() != 3 { // at once, after 10 and 20 minutes
			t.Fatalf("%d lines in 25 minutes:\n%s", lines(), b.String())
		}
		o.Failed(log, "away", "timed out")
		if lines() != 4 {
			t.Fatal("a changed cause is not told at once")
		}
		o.Over(log, "works again")
		o.Over(log, "works again")
		if lines() != 5 || !strings.Contains(b.String(), "works again") || !strings.Contains(b.String(), "after=25m0s") {
			t.Fatalf("the end:\n%s", b.String())
		}
	})
}
