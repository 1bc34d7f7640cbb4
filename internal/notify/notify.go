package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/patience"
)

// Receiver is whom to tell.
type Receiver struct {
	Kind   string // webhook, dingtalk, feishu, wecom, telegram or slack
	URL    string // of the robot or the webhook; for telegram https://api.telegram.org/botTOKEN
	Secret string // with which DingTalk and Feishu robots want messages signed; may be empty
	Chat   string // of telegram: the chat's id
	// Least is the mildest cost that is told. Empty: money.
	Least condition.Cost
	// Repeat is how often what stands is told again. 0: every 6 hours.
	Repeat time.Duration
	Daily  bool // wants the summary of each day
}

// DailySummary names the event that only receivers with Daily are told.
const DailySummary = "daily_summary"

// Config is what a Notifier is made of.
type Config struct {
	Receivers []Receiver
	Host      string // names the manager in messages
	Board     *condition.Board
	Log       *slog.Logger
}

// gather is how long changes are gathered into one message.
const gather = 3 * time.Second

// Notifier keeps the receivers informed.
type Notifier struct {
	cfg   Config
	desks []*desk
}

// New checks the receivers.
func New(cfg Config) (*Notifier, error) {
	n := &Notifier{cfg: cfg}
	client := &http.Client{Timeout: 20 * time.Second}
	for i, r := range cfg.Receivers {
		post, err := posterOf(r, client)
		if err != nil {
			return nil, fmt.Errorf("receiver %d of notifications: %w", i, err)
		}
		if r.Repeat <= 0 {
			r.Repeat = 6 * time.Hour
		}
		if r.Least == "" {
			r.Least = condition.Money
		}
		n.desks = append(n.desks, &desk{
			cfg: &n.cfg, receiver: r, name: fmt.Sprintf("%s %d", r.Kind, i), post: post,
			wake: make(chan struct{}, 1), told: map[string]told{},
		})
	}
	return n, nil
}

// Changed takes in a beginning or an end; for condition.Board.Watch.
func (n *Notifier) Changed(c condition.Change) {
	if c.Condition.Kind == condition.NotificationsFail {
		return // not by the way that fails
	}
	for _, d := range n.desks {
		d.changed(c)
	}
}

// Event tells of something that happened and does not stand: a missed deadline,
// the summary of a day.
func (n *Notifier) Event(e Event) {
	for _, d := range n.desks {
		if e.Name != DailySummary || d.receiver.Daily {
			d.event(e)
		}
	}
}

// Event is something that happened.
type Event struct {
	Name   string // for the label alertname, e.g. deadline_missed
	Text   string
	Labels map[string]string
	At     time.Time
}

// Run delivers until ctx ends.
func (n *Notifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, d := range n.desks {
		wg.Go(func() { d.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Test sends a message to every receiver and says for each whether it took it.
func (n *Notifier) Test(ctx context.Context) map[string]error {
	out := map[string]error{}
	for _, d := range n.desks {
		e := Event{Name: "test", Text: "This is a test message. If you can read it, notifications work.", At: time.Now()}
		out[d.name] = d.post(ctx, Message{Host: n.cfg.Host, Events: []Event{e}})
	}
	return out
}

// Message is what a receiver is told at once.
type Message struct {
	Host   string
	Began  []condition.Condition
	Stands []condition.Condition // told again
	Ended  []Ended
	Events []Event
}

// Ended is a condition that is over.
type Ended struct {
	condition.Condition
	At time.Time
}

func (m Message) empty() bool {
	return len(m.Began)+len(m.Stands)+len(m.Ended)+len(m.Events) == 0
}

// told is a condition that the receiver knows.
type told struct {
	condition.Condition
	last time.Time
}

// desk is one receiver's.
type desk struct {
	cfg      *Config
	receiver Receiver
	name     string
	post     func(context.Context, Message) error
	wake     chan struct{}

	mu      sync.Mutex
	pending Message
	told    map[string]told
}

func keyOf(c condition.Condition) string {
	return string(c.Kind) + "\x00" + c.Subject + "\x00" + c.Source
}

// costs in the order of their weight.
var costs = []condition.Cost{condition.Window, condition.Sectors, condition.Money, condition.None}

func (d *desk) heeds(c condition.Condition) bool {
	return slices.Index(costs, c.Cost) <= slices.Index(costs, d.receiver.Least)
}

func (d *desk) changed(c condition.Change) {
	if !d.heeds(c.Condition) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := keyOf(c.Condition)
	same := func(o condition.Condition) bool { return keyOf(o) == key }
	switch _, known := d.told[key]; {
	case c.Began && known: // over and back before the end was told
		d.pending.Ended = slices.DeleteFunc(d.pending.Ended, func(e Ended) bool { return same(e.Condition) })
	case c.Began:
		d.pending.Began = append(d.pending.Began, c.Condition)
	case known:
		d.pending.Ended = append(d.pending.Ended, Ended{c.Condition, time.Now()})
	default: // not worth a word any more
		d.pending.Began = slices.DeleteFunc(d.pending.Began, same)
	}
	d.nudge()
}

// mostEvents bounds what waits for a receiver that does not answer.
const mostEvents = 200

func (d *desk) event(e Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending.Events) < mostEvents {
		d.pending.Events = append(d.pending.Events, e)
	}
	d.nudge()
}

func (d *desk) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run delivers what is pending, a few seconds after it came, and again until it
// is taken.
func (d *desk) run(ctx context.Context) {
	pause := patience.Backoff{Min: 5 * time.Second, Max: 5 * time.Minute}
	var outage patience.Outage
	for {
		again := time.NewTimer(time.Minute)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-d.wake:
		case <-again.C:
		}
		again.Stop()
		if patience.Sleep(ctx, gather) != nil {
			return
		}
		m := d.take(time.Now())
		if m.empty() {
			continue
		}
		if err := d.post(ctx, m); err != nil {
			if ctx.Err() != nil {
				return
			}
			d.putBack(m)
			outage.Failed(d.cfg.Log, "notification not delivered, retrying", err.Error(), attr.Receiver(d.name), attr.Err(err))
			d.cfg.Board.Set(condition.Condition{Kind: condition.NotificationsFail, Subject: d.name, Detail: err.Error()})
			if pause.Wait(ctx) != nil {
				return
			}
			d.nudge()
			continue
		}
		pause.Reset()
		outage.Over(d.cfg.Log, "notifications are delivered again", attr.Receiver(d.name))
		d.cfg.Board.Clear(condition.NotificationsFail, d.name)
	}
}

// take takes what is to be told now, what stands for long included.
func (d *desk) take(now time.Time) Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.pending
	m.Host = d.cfg.Host
	d.pending = Message{}
	for _, c := range m.Began {
		d.told[keyOf(c)] = told{c, now}
	}
	for _, e := range m.Ended {
		delete(d.told, keyOf(e.Condition))
	}
	for key, t := range d.told {
		if now.Sub(t.last) >= d.receiver.Repeat {
			d.told[key] = told{t.Condition, now}
			m.Stands = append(m.Stands, t.Condition)
		}
	}
	return m
}

// putBack makes a message that was not taken part of the next.
func (d *desk) putBack(m Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	newer := d.pending
	d.pending = Message{Ended: append(m.Ended, newer.Ended...), Events: append(m.Events, newer.Events...)}
	over := map[string]bool{}
	for _, e := range newer.Ended {
		over[keyOf(e.Condition)] = true
	}
	for _, c := range append(m.Began, newer.Began...) {
		delete(d.told, keyOf(c))
		if over[keyOf(c)] { // begun and over, and nobody heard of it
			d.pending.Ended = slices.DeleteFunc(d.pending.Ended, func(e Ended) bool { return keyOf(e.Condition) == keyOf(c) })
			continue
		}
		d.pending.Began = append(d.pending.Began, c)
	}
}

// Text is the message in words, for the robots.
func (m Message) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[wdpost %s]", m.Host)
	for _, c := range m.Began {
		fmt.Fprintf(&b, "\n▲ %s\n  %s", title(c), c.Detail)
		if c.Remedy != "" {
			fmt.Fprintf(&b, "\n  → %s", c.Remedy)
		}
	}
	for _, c := range m.Stands {
		fmt.Fprintf(&b, "\n△ still, since %s: %s\n  %s", c.Since.Format(time.DateTime), title(c), c.Detail)
	}
	for _, e := range m.Ended {
		fmt.Fprintf(&b, "\n✓ over after %s: %s", e.At.Sub(e.Since).Round(time.Second), title(e.Condition))
	}
	for _, e := range m.Events {
		fmt.Fprintf(&b, "\n%s", e.Text)
	}
	return b.String()
}

func title(c condition.Condition) string {
	words := []string{string(c.Kind)}
	if c.Subject != "" {
		words = append(words, c.Subject)
	}
	if c.Cost != condition.None {
		words = append(words, "(costs "+string(c.Cost)+")")
	}
	return strings.Join(words, " ")
}

// errRefused is wrapped where a receiver took the call and not the message.
var errRefused = errors.New("the receiver refuses the message")
