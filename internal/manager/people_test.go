package manager

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/deadline"
	"wdpost/internal/notify"
	"wdpost/internal/poster"
)

// TestMissedDeadlineIsTold: at once, with its reason; proven ones are not.
func TestMissedDeadlineIsTold(t *testing.T) {
	w := build(t, "", "")
	w.poster.Outcomes(poster.Outcome{What: poster.RunEnded, Miner: 1008, Verdict: deadline.Proven})
	w.poster.Outcomes(poster.Outcome{What: poster.RunEnded, Miner: 1008, Kind: deadline.Recovery, Verdict: deadline.NotDeclared})
	w.poster.Outcomes(poster.Outcome{What: poster.RunEnded, Miner: 1008, Verdict: deadline.Missed, Deadline: deadline.Key{Index: 7}, Reason: "no slave"})
	if len(w.events) != 1 || w.events[0].Name != "deadline_missed" || !strings.Contains(w.events[0].Text, "deadline 7 of "+subject(1008)+" missed: no slave") {
		t.Errorf("told %+v", w.events)
	}
}

// TestDailySummary: once a day, at the time given, over the day.
func TestDailySummary(t *testing.T) {
	w := build(t, "Common.Notify[].Daily", `"07:30"`)
	w.poster.Outcomes(poster.Outcome{What: poster.RunEnded, Miner: 1008, Verdict: deadline.Proven, Skipped: 3})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
		defer cancel()
		start := time.Now()
		if err := w.summaries(ctx); err != nil {
			t.Fatal(err)
		}
		if first, second := w.events[0], w.events[1]; first.Name != notify.DailySummary || !strings.Contains(first.Text, "1 proven") ||
			!strings.Contains(first.Text, "3 sectors") || !strings.Contains(second.Text, "0 proven") || second.At.Sub(start) > 48*time.Hour {
			t.Errorf("told %+v", w.events)
		}
		if at := w.events[0].At; at.Hour() != 7 || at.Minute() != 30 {
			t.Errorf("told at %s", at)
		}
	})
}

// TestNotifyKinds: what the configuration accepts is what the notifier can do.
func TestNotifyKinds(t *testing.T) {
	for _, kind := range notify.Kinds {
		c := notifyConfig([]config.Notify{{Kind: kind, URL: "https://h/x", Chat: "1", Least: "money"}}, nil, nil)
		if _, err := notify.New(c); err != nil {
			t.Error(err)
		}
		build(t, "Common.Notify[].Kind", `"`+kind+`"`)
	}
}
