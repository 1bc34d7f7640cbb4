// Package patience holds the ways to wait: a sleep that a context ends, a
// backoff with jitter, and the log of an outage that is told at once, told again
// while it stands, and told once more when it is over.
//
// Waits are part of how the programs behave when a peer is away, so all of them
// are written with these three. Under testing/synctest they cost no real time.
package patience

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Sleep waits for d. It returns nil after d, or the context's error as soon as
// ctx ends. A d of zero or less only asks whether ctx has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Backoff is a pause that doubles from Min to Max, with a jitter of a quarter,
// so that many who lost the same peer do not come back in one instant. The zero
// value pauses for a second and stays there. It is not safe for concurrent use.
type Backoff struct {
	Min, Max time.Duration // Min defaults to a second, Max to Min
	tries    int
}

// Next returns the pause before the next try and counts it.
func (b *Backoff) Next() time.Duration {
	d := b.Min
	if d <= 0 {
		d = time.Second
	}
	most := max(b.Max, d)
	for range b.tries {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	b.tries++
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

// Tries is the number of pauses since the start or the last Reset.
func (b *Backoff) Tries() int { return b.tries }

// Reset starts again at Min: the peer has answered.
func (b *Backoff) Reset() { b.tries = 0 }

// Wait sleeps for Next. It returns the context's error if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// repeatAfter is how often an outage that stands is told again.
const repeatAfter = 10 * time.Minute

// Outage logs one thing that fails again and again: a warning at once, one more
// every ten minutes while it stands, and whenever its cause changes, and a line
// when it is over. The rest goes to debug. The zero value is ready, and its
// methods are safe for concurrent use.
type Outage struct {
	mu    sync.Mutex
	since time.Time // zero while all is well
	told  time.Time
	cause string
	count int
}

// Failed tells that the thing failed once more. cause is what is compared to
// see a changed reason; it is not logged by itself, attrs carry it. It reports
// whether the line was a warning.
func (o *Outage) Failed(log *slog.Logger, msg, cause string, attrs ...slog.Attr) bool {
	now := time.Now()
	o.mu.Lock()
	if o.since.IsZero() {
		o.since = now
	}
	o.count++
	loud := o.told.IsZero() || now.Sub(o.told) >= repeatAfter || cause != o.cause
	if loud {
		o.told, o.cause = now, cause
	}
	since, count := o.since, o.count
	o.mu.Unlock()

	level := slog.LevelDebug
	if loud {
		level = slog.LevelWarn
	}
	if count > 1 {
		attrs = append(attrs, slog.Int("failures", count), slog.Duration("for", now.Sub(since).Round(time.Second)))
	}
	log.LogAttrs(context.Background(), level, msg, attrs...)
	return loud
}

// Over tells that the thing works. It logs msg at info if it was failing, and
// nothing otherwise. It reports whether there was an outage.
func (o *Outage) Over(log *slog.Logger, msg string, attrs ...slog.Attr) bool {
	o.mu.Lock()
	since, count := o.since, o.count
	o.since, o.told, o.cause, o.count = time.Time{}, time.Time{}, "", 0
	o.mu.Unlock()
	if since.IsZero() {
		return false
	}
	attrs = append(attrs, slog.Int("failures", count), slog.Duration("after", time.Since(since).Round(time.Second)))
	log.LogAttrs(context.Background(), slog.LevelInfo, msg, attrs...)
	return true
}

// Since is when the outage began; zero while there is none.
func (o *Outage) Since() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since
}
