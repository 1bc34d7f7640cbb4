package manager

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/deadline"
	"wdpost/internal/notify"
	"wdpost/internal/patience"
	"wdpost/internal/poster"
)

// notifyConfig are the [[Common.Notify]] in the notifier's words.
func notifyConfig(list []config.Notify, board *condition.Board, log *slog.Logger) notify.Config {
	host, err := os.Hostname()
	if err != nil {
		host = "manager"
	}
	c := notify.Config{Host: host, Board: board, Log: log}
	for _, n := range list {
		c.Receivers = append(c.Receivers, notify.Receiver{
			Kind: n.Kind, URL: n.URL, Secret: n.Secret, Chat: n.Chat, Least: condition.Cost(n.Least), Repeat: n.Repeat.D(), Daily: n.Daily != "",
		})
	}
	return c
}

// TestNotifications sends a test message to every receiver of the configuration
// in dir, and says for each whether it was taken.
func TestNotifications(ctx context.Context, dir string, log *slog.Logger) (map[string]error, error) {
	s, _, err := loadSettings(dir, false)
	if err != nil {
		return nil, err
	}
	n, err := notify.New(notifyConfig(s.manager.Common.Notify, nil, log))
	if err != nil {
		return nil, err
	}
	return n.Test(ctx), nil
}

// outcome takes in what a poster tells: it is counted, noted in the history, and
// a missed deadline is told to people.
func (m *Manager) outcome(o poster.Outcome) {
	m.figures.outcome(o)
	m.note(o)
	if o.What != poster.RunEnded || o.Kind != deadline.PoSt {
		return
	}
	m.today.ended(o)
	if o.Verdict == deadline.Missed {
		name := subject(uint64(o.Miner))
		m.notifier.Event(notify.Event{
			Name: "deadline_missed", At: time.Now(), Labels: map[string]string{"miner": name, "deadline": fmt.Sprint(o.Deadline.Index)},
			Text: fmt.Sprintf("✗ deadline %d of %s missed: %s", o.Deadline.Index, name, o.Reason),
		})
	}
}

// tally gathers the outcomes since the last summary.
type tally struct {
	mu      sync.Mutex
	count   map[deadline.Verdict]int
	skipped int
}

func (d *tally) ended(o poster.Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count == nil {
		d.count = map[deadline.Verdict]int{}
	}
	d.count[o.Verdict]++
	d.skipped += o.Skipped
}

// take is the summary, which begins anew.
func (d *tally) take(standing []condition.Condition) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var words []string
	for _, v := range postVerdicts {
		words = append(words, fmt.Sprintf("%d %s", d.count[v], v))
	}
	text := fmt.Sprintf("Deadlines since the last summary: %s; %d sectors skipped; %d conditions stand", strings.Join(words, ", "), d.skipped, len(standing))
	for _, c := range standing {
		text += "\n  " + string(c.Kind) + " " + c.Subject
	}
	d.count, d.skipped = nil, 0
	return text
}

// summaries sends the summary every day at the time of the first receiver that
// wants one.
func (m *Manager) summaries(ctx context.Context) error {
	at := ""
	for _, n := range m.settings.Load().manager.Common.Notify {
		if at == "" {
			at = n.Daily
		}
	}
	if at == "" {
		return nil
	}
	for patience.Sleep(ctx, time.Until(nextAt(time.Now(), at))) == nil {
		m.notifier.Event(notify.Event{Name: notify.DailySummary, At: time.Now(), Text: m.today.take(m.board.List())})
	}
	return nil
}

// nextAt is the next moment after now at a time of day, as 09:00.
func nextAt(now time.Time, clock string) time.Time {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return now.Add(24 * time.Hour) // the configuration was validated
	}
	next := time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, now.Location())
	if !next.After(now) {
		next = next.AddDate(0, 0, 1)
	}
	return next
}
