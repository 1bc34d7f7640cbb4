package chain

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// Follow calls handle for every move of the chain's head until ctx ends, and
// then returns nil. Calls are made one after the other in one goroutine; while
// one lasts, later moves gather into the next event. The first event is a
// Reset to the head at that time.
//
// Follow outlives lost connections, nodes that go away and streams that fall
// silent: it connects again with growing pauses, asks for the head in between,
// fills the gap by walking the parents, and where that fails reports a Reset.
// Over http endpoints it asks for the head twice per epoch.
func (n *Node) Follow(ctx context.Context, handle func(context.Context, HeadEvent)) error {
	f := &follower{
		source:   nodeHeads{n},
		log:      n.cfg.Log,
		interval: n.cfg.EventInterval,
		box:      newMailbox(),
		track:    track{tipset: n.ChainGetTipSet},
	}
	return f.follow(ctx, handle)
}

func (f *follower) follow(ctx context.Context, handle func(context.Context, HeadEvent)) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	for {
		select {
		case <-ctx.Done():
			<-done
			return nil
		case <-f.box.filled:
			if e, ok := f.box.take(); ok {
				handle(ctx, e)
			}
		}
	}
}

// heads is where a follower learns about heads.
type heads interface {
	// Subscribe opens a stream of head changes, the current head first. The
	// channel is closed when the stream breaks. It returns errNoStream when
	// there is nothing to subscribe to.
	Subscribe(ctx context.Context) (subscription, error)
	// ChainHead asks for the head now.
	ChainHead(ctx context.Context) (*lotus.TipSet, error)
	// PollInterval is how often to ask where there is no stream.
	PollInterval(ctx context.Context) time.Duration
}

type subscription struct {
	name    string
	changes <-chan []*lotus.HeadChange
	lags    func() bool // a better node is known
	close   func()
}

var (
	errNoStream = errors.New("no endpoint of the node allows subscriptions")
	errClosed   = errors.New("the node closed the head stream")
	errSilent   = errors.New("the head stream is silent although the head moved")
	errLags     = errors.New("the node fell behind another one")
)

// Pauses between connections.
const (
	minPause = 500 * time.Millisecond
	maxPause = 15 * time.Second
)

type follower struct {
	source   heads
	log      *slog.Logger
	interval time.Duration
	box      *mailbox
	track    track
}

// run keeps one session after the other alive until ctx ends.
func (f *follower) run(ctx context.Context) {
	pause, failures := minPause, 0
	for {
		began := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNoStream) {
			f.poll(ctx)
			return
		}
		if time.Since(began) > 2*maxPause {
			pause, failures = minPause, 0
		}
		level := slog.LevelDebug // the first line tells of the outage
		if failures == 0 {
			level = slog.LevelWarn
		}
		failures++
		f.log.Log(ctx, level, "chain head stream ended, connecting again", "err", err, "in", pause)
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
		if err := f.ask(ctx); err != nil && ctx.Err() == nil {
			f.log.Log(ctx, level, "chain head not known", "err", err)
		}
	}
}

// session is one subscription from its opening to its end. It returns why it
// ended, never nil.
func (f *follower) session(ctx context.Context) error {
	sub, err := f.source.Subscribe(ctx)
	if err != nil {
		return err
	}
	defer sub.close()
	f.log.Info("following the chain", "node", sub.name)
	watchdog := time.NewTimer(f.interval)
	defer watchdog.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case changes, ok := <-sub.changes:
			if !ok {
				return errClosed
			}
			e, err := f.track.absorb(ctx, changes)
			f.deliver(e)
			if err != nil {
				return err
			}
			watchdog.Reset(f.interval)
		case <-watchdog.C:
			before := f.track.head()
			if err := f.ask(ctx); err != nil {
				return err
			}
			if f.track.head() != before {
				return errSilent
			}
			watchdog.Reset(f.interval)
		}
		if sub.lags() {
			return errLags
		}
	}
}

// ask learns the head by asking for it.
func (f *follower) ask(ctx context.Context) error {
	ts, err := f.source.ChainHead(ctx)
	if err != nil {
		return err
	}
	if old := f.track.head(); old == nil || !old.Key().Equals(ts.Key()) {
		f.deliver(f.track.moveTo(ctx, ts))
	}
	return nil
}

// poll asks for the head again and again until ctx ends.
func (f *follower) poll(ctx context.Context) {
	f.log.Info("following the chain by polling: the node's address is http")
	failing := false
	for {
		err := f.ask(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			f.log.Warn("chain head not known", "err", err)
		}
		failing = err != nil
		if !sleep(ctx, f.source.PollInterval(ctx)) {
			return
		}
	}
}

func (f *follower) deliver(e HeadEvent) {
	if e.Head != nil && !e.empty() {
		f.box.put(e)
	}
}

// sleep waits d and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// nodeHeads is a Node as a source of heads.
type nodeHeads struct{ n *Node }

func (h nodeHeads) ChainHead(ctx context.Context) (*lotus.TipSet, error) { return h.n.ChainHead(ctx) }

// PollInterval is half an epoch, within sensible bounds.
func (h nodeHeads) PollInterval(ctx context.Context) time.Duration {
	clock, err := h.n.Clock(ctx)
	if err != nil {
		return 5 * time.Second
	}
	return max(200*time.Millisecond, min(clock.BlockDelay/2, 15*time.Second))
}

// Subscribe opens ChainNotify on the healthiest endpoint that streams.
func (h nodeHeads) Subscribe(ctx context.Context) (subscription, error) {
	var m *member
	for _, candidate := range h.n.pool.order() {
		if candidate.ep.Streams() {
			m = candidate
			break
		}
	}
	if m == nil {
		return subscription{}, errNoStream
	}
	open, cancel := context.WithTimeout(ctx, h.n.cfg.CallTimeout)
	defer cancel()
	line, hangUp := context.WithCancel(ctx)
	sub, err := h.subscribe(open, line, m)
	if err != nil {
		hangUp()
		if ctx.Err() == nil {
			h.n.pool.report(m, err)
		}
		return subscription{}, err
	}
	sub.lags = func() bool { return h.n.pool.lags(m) }
	closeLine := sub.close
	sub.close = func() { hangUp(); closeLine() }
	return sub, nil
}

// subscribe bounds the opening by open; the stream itself lives on line.
func (h nodeHeads) subscribe(open, line context.Context, m *member) (subscription, error) {
	var s stream
	closed, err := m.ep.Stream(open, &s, h.n.http)
	if err != nil {
		return subscription{}, err
	}
	changes, err := endpoint.Await(open, func(context.Context) (<-chan []*lotus.HeadChange, error) {
		return s.ChainNotify(line)
	})
	if err == nil && changes == nil {
		err = errors.New("the answer has no channel")
	}
	if err != nil {
		closed()
		return subscription{}, m.ep.Explain("ChainNotify", err)
	}
	return subscription{name: m.ep.String(), changes: changes, close: closed}, nil
}
