package chain

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/lotus"
)

// fakeHeads is a source of heads in simulated time.
type fakeHeads struct {
	mu       sync.Mutex
	head     *lotus.TipSet
	down     error // Subscribe and ChainHead fail
	noStream bool
	mute     bool // streams bring nothing
	lagging  bool
	live     chan []*lotus.HeadChange // of the open subscription
	opened   []time.Duration          // since start
	closed   int
	start    time.Time
}

func (f *fakeHeads) Subscribe(context.Context) (subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened = append(f.opened, time.Since(f.start))
	switch {
	case f.noStream:
		return subscription{}, errNoStream
	case f.down != nil:
		return subscription{}, f.down
	}
	f.live = make(chan []*lotus.HeadChange, 100)
	if !f.mute {
		f.live <- changes(lotus.HCCurrent, f.head)
	}
	return subscription{
		name:    "fake",
		changes: f.live,
		lags: func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.lagging
		},
		close: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed++
		},
	}, nil
}

func (f *fakeHeads) ChainHead(context.Context) (*lotus.TipSet, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head, f.down
}

func (f *fakeHeads) Patience(_ *lotus.TipSet, streams bool) (quiet, every time.Duration) {
	if streams {
		return time.Minute, 5 * time.Second
	}
	return 15 * time.Second, 15 * time.Second
}

func (f *fakeHeads) set(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	set()
}

// move makes ts the head; an open stream tells, unless it is mute.
func (f *fakeHeads) move(tss ...*lotus.TipSet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = tss[len(tss)-1]
	if f.live != nil && !f.mute {
		f.live <- changes(lotus.HCApply, tss...)
	}
}

// rig runs a follower over a fake source and collects its events as words.
type rig struct {
	*fakeHeads
	*store
	main   []*lotus.TipSet
	events []string
	stop   func()
}

func newRig(t *testing.T, set func(*fakeHeads)) *rig {
	r := &rig{store: newStore()}
	r.main = r.add("", grow(nil, "main", span(1, 60)...))
	r.fakeHeads = &fakeHeads{head: r.main[0], start: time.Now()}
	if set != nil {
		set(r.fakeHeads)
	}
	f := &follower{source: r.fakeHeads, log: slog.New(slog.NewTextHandler(io.Discard, nil)), box: newMailbox(), track: track{tipset: r.tipset}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- f.follow(ctx, func(_ context.Context, e HeadEvent) { r.events = append(r.events, show(e, r.name)) })
	}()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	}
	return r
}

func (r *rig) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(r.events, want) {
		t.Errorf("events %q, want %q", r.events, want)
	}
}

func TestFollowStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.expect(t, "reset 1")
		r.move(r.main[1])
		r.expect(t, "reset 1", "+2")
		r.move(r.main[2], r.main[3])
		r.expect(t, "reset 1", "+2", "+3 +4")
		r.stop()
		if r.closed != 1 {
			t.Errorf("%d subscriptions closed, want 1", r.closed)
		}
	})
}

func TestFollowReconnectsAndFillsTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.expect(t, "reset 1")
		r.set(func() {
			r.down = errors.New("connection refused")
			close(r.live)
			r.live = nil
		})
		time.Sleep(5 * time.Minute)
		r.move(r.main[1], r.main[2], r.main[3])
		r.set(func() { r.down = nil })
		time.Sleep(maxPause)
		r.expect(t, "reset 1", "+2 +3 +4")
		r.stop()
		for i, at := range r.opened[1:] {
			if gap := at - r.opened[i]; gap > maxPause || gap < minPause/2 {
				t.Errorf("connection %d came %v after the one before", i+1, gap)
			}
		}
		if n := len(r.opened); n < 15 || n > 40 {
			t.Errorf("%d connections tried in 5 minutes", n)
		}
	})
}

// A stream that is open and brings nothing is noticed by asking for the head.
func TestFollowNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.expect(t, "reset 1")
		time.Sleep(10 * time.Minute) // silence without news is no fault
		r.expect(t, "reset 1")
		if len(r.opened) != 1 {
			t.Errorf("%d connections although the head stood still", len(r.opened))
		}
		r.set(func() { r.mute = true })
		r.move(r.main[1])
		time.Sleep(6 * time.Second)
		r.expect(t, "reset 1", "+2")
		r.move(r.main[2])
		time.Sleep(6 * time.Second)
		r.expect(t, "reset 1", "+2", "+3")
		if len(r.opened) != 2 {
			t.Errorf("%d connections, want a second one after the silence", len(r.opened))
		}
		// While it stays silent every head comes within a few seconds (x05, x06).
		for i := 3; i < 20; i++ {
			r.move(r.main[i])
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if len(r.events) != 20 {
			t.Errorf("%d events of 20 heads: %q", len(r.events), r.events)
		}
		r.stop()
	})
}

func TestFollowPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(f *fakeHeads) { f.noStream = true })
		r.expect(t, "reset 1")
		r.move(r.main[1])
		time.Sleep(16 * time.Second)
		r.expect(t, "reset 1", "+2")
		r.set(func() { r.down = errors.New("away") })
		time.Sleep(time.Minute)
		r.set(func() { r.down = nil })
		r.move(r.main[2], r.main[3])
		time.Sleep(16 * time.Second)
		r.expect(t, "reset 1", "+2", "+3 +4")
		r.stop()
	})
}

func TestFollowLeavesANodeThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.expect(t, "reset 1")
		r.set(func() { r.lagging = true })
		r.move(r.main[1])
		time.Sleep(time.Second)
		r.stop()
		if r.closed == 0 || len(r.opened) < 2 {
			t.Errorf("%d opened, %d closed: the lagging node was kept", len(r.opened), r.closed)
		}
	})
}

// A handler that is busy gets what it missed as one event.
func TestFollowCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		main := s.add("", grow(nil, "main", span(1, 9)...))
		src := &fakeHeads{head: main[0], start: time.Now()}
		f := &follower{source: src, log: slog.New(slog.DiscardHandler), box: newMailbox(), track: track{tipset: s.tipset}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		go f.follow(ctx, func(_ context.Context, e HeadEvent) {
			got = append(got, show(e, s.name))
			time.Sleep(time.Minute)
		})
		for _, ts := range main[1:] {
			time.Sleep(time.Second)
			src.move(ts)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if want := "reset 1|+2 +3 +4 +5 +6 +7 +8 +9"; strings.Join(got, "|") != want {
			t.Errorf("events %q, want %q", got, want)
		}
	})
}
