package chain

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/patience"
)

// Follow calls handle for every move of the chain's head until ctx ends, and
// then returns nil. Calls are made one after the other in one goroutine; while
// one lasts, later moves gather into the next event. The first event is a
// Reset to the head at that time. A panic in handle is logged and costs that
// event.
//
// Follow outlives lost connections, nodes that go away and streams that fall
// silent: while a new head is due and the stream brings none, it asks for the
// head every few seconds, beside connecting again with growing pauses; it fills
// gaps by walking the parents, and where that fails reports a Reset. Over http
// endpoints it asks only.
func (n *Node) Follow(ctx context.Context, handle func(context.Context, HeadEvent)) error {
	f := &follower{
		source: nodeHeads{n},
		log:    n.cfg.Log,
		box:    newMailbox(),
		track:  track{tipset: n.ChainGetTipSet},
		note: func(e HeadEvent) {
			n.heads.set(e.Head)
			n.grids.moved(e)
		},
	}
	return f.follow(ctx, handle)
}

// heads is where a follower learns about heads.
type heads interface {
	// Subscribe opens a stream of head changes, the current head first. The
	// channel is closed when the stream breaks. It returns errNoStream when
	// there is nothing to subscribe to.
	Subscribe(ctx context.Context) (subscription, error)
	// ChainHead asks for the head now.
	ChainHead(ctx context.Context) (*lotus.TipSet, error)
	// Patience is how long to wait after news of head (nil before the first)
	// until the head is asked for, and how often it is asked for from then on.
	Patience(head *lotus.TipSet, streams bool) (quiet, every time.Duration)
}

type subscription struct {
	name    string
	changes <-chan []*lotus.HeadChange
	lags    func() bool         // a better node is known
	saw     func(*lotus.TipSet) // told of the heads that the stream brings
	close   func()
}

var (
	errNoStream = errors.New("no endpoint of the node allows subscriptions")
	errClosed   = errors.New("the node closed the head stream")
	errSilent   = errors.New("the head stream is silent although the head moved")
	errLags     = errors.New("the node fell behind another one")
)

// Pauses between connections, and how often a stream's node is held against the
// others.
const (
	minPause  = 500 * time.Millisecond
	maxPause  = 15 * time.Second
	lookEvery = 3 * time.Second
	// silentHeads is how many heads in a row a stream may fail to bring in time
	// before it is opened again.
	silentHeads = 2
	// askLimit bounds one question for the head or for the way to it.
	askLimit = 20 * time.Second
)

type follower struct {
	source heads
	log    *slog.Logger
	box    *mailbox
	track  track           // of the goroutine in run
	note   func(HeadEvent) // told of every move before it is delivered; may be nil

	unknown patience.Outage // of asking for the head
	streams patience.Outage
}

func (f *follower) follow(ctx context.Context, handle func(context.Context, HeadEvent)) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := patience.Backoff{Min: minPause, Max: maxPause}
		for f.safely("following the chain", func() { f.run(ctx) }) {
			f.track.path = nil // what is known may be half done: the next event is a Reset
			if again.Wait(ctx) != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			<-done
			return nil
		case <-f.box.filled:
			if e, ok := f.box.take(); ok {
				f.safely("handling a new head", func() { handle(ctx, e) })
			}
		}
	}
}

// safely runs what, and reports whether it panicked.
func (f *follower) safely(doing string, what func()) (panicked bool) {
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			f.log.LogAttrs(context.Background(), slog.LevelError, "panic while "+doing, attr.Panic(p), attr.Stack(debug.Stack()))
		}
	}()
	what()
	return false
}

// answer is what came of asking for the head.
type answer struct {
	ts  *lotus.TipSet
	err error
}

// run listens to the streams and asks for the head where they are silent, until
// ctx ends.
func (f *follower) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	s := &streams{f: f, batches: make(chan batch), leave: make(chan error, 1), polling: make(chan struct{}), done: make(chan struct{})}
	go s.run(ctx)
	defer func() { cancel(); <-s.done }()
	streaming, asking, missed := true, false, 0
	answers := make(chan answer, 1)
	due := time.NewTimer(f.quiet(streaming))
	defer due.Stop()
	polling := s.polling
	for {
		select {
		case <-ctx.Done():
			if asking {
				<-answers
			}
			return
		case <-polling:
			streaming, polling = false, nil
			due.Reset(0)
		case b := <-s.batches:
			if f.absorb(ctx, s, b) {
				missed = 0
				due.Reset(f.quiet(streaming))
			}
		case <-due.C:
			if !asking {
				asking = true
				go func() { answers <- f.ask(ctx) }()
			}
			_, every := f.source.Patience(f.track.head(), streaming)
			due.Reset(every)
		case a := <-answers:
			asking = false
			switch news := f.learn(ctx, a); {
			case news && !streaming:
				due.Reset(f.quiet(streaming))
			case news: // the head is asked for until the stream brings news again
				if missed++; missed >= silentHeads {
					missed = 0
					s.tell(errSilent)
				}
			}
		}
	}
}

func (f *follower) quiet(streaming bool) time.Duration {
	quiet, _ := f.source.Patience(f.track.head(), streaming)
	return quiet
}

// absorb follows what the stream brought. It reports whether that was news.
func (f *follower) absorb(ctx context.Context, s *streams, b batch) bool {
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	e, err := f.track.absorb(limit, b.changes)
	news := f.deliver(e)
	if b.saw != nil && f.track.head() != nil {
		b.saw(f.track.head())
	}
	if err != nil {
		s.tell(err)
	}
	return news
}

// ask asks for the head.
func (f *follower) ask(ctx context.Context) (a answer) {
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if f.safely("asking for the head", func() { a.ts, a.err = f.source.ChainHead(limit) }) {
		a.err = errors.New("the answer could not be read")
	}
	return a
}

// learn moves to an answered head. It reports whether that was news.
func (f *follower) learn(ctx context.Context, a answer) bool {
	if a.err != nil {
		if ctx.Err() == nil {
			f.unknown.Failed(f.log, "chain head not known", string(endpoint.CategoryOf(a.err)), attr.Err(a.err))
		}
		return false
	}
	f.unknown.Over(f.log, "chain head known again")
	if old := f.track.head(); old != nil && old.Key().Equals(a.ts.Key()) {
		return false
	}
	limit, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	return f.deliver(f.track.moveTo(limit, a.ts))
}

// deliver hands a move on. It reports whether there was one.
func (f *follower) deliver(e HeadEvent) bool {
	if e.Head == nil || e.empty() {
		return false
	}
	if f.note != nil {
		f.note(e)
	}
	f.box.put(e)
	return true
}

// batch is what a stream brought at once.
type batch struct {
	changes []*lotus.HeadChange
	saw     func(*lotus.TipSet)
}

// streams keeps one subscription after the other open.
type streams struct {
	f       *follower
	batches chan batch
	leave   chan error    // why the present stream must be left
	polling chan struct{} // closed when there is nothing to subscribe to
	done    chan struct{}
}

// tell has the present stream left, without waiting.
func (s *streams) tell(why error) {
	select {
	case s.leave <- why:
	default:
	}
}

func (s *streams) run(ctx context.Context) {
	defer close(s.done)
	again := patience.Backoff{Min: minPause, Max: maxPause}
	for {
		began := time.Now()
		var err error
		if s.f.safely("reading the head stream", func() { err = s.session(ctx) }) {
			err = errors.New("the stream could not be read")
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNoStream) {
			s.f.log.LogAttrs(ctx, slog.LevelInfo, "following the chain by polling: the node's address is http")
			close(s.polling)
			return
		}
		if time.Since(began) > 2*maxPause {
			again.Reset()
		}
		s.f.streams.Failed(s.f.log, "chain head stream ended, retrying", err.Error(), attr.Err(err))
		if again.Wait(ctx) != nil {
			return
		}
	}
}

// session is one subscription from its opening to its end. It returns why it
// ended, never nil.
func (s *streams) session(ctx context.Context) error {
	select {
	case <-s.leave: // it was about the stream before
	default:
	}
	sub, err := s.f.source.Subscribe(ctx)
	if err != nil {
		return err
	}
	defer sub.close()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	first := true
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-s.leave:
			return err
		case changes, ok := <-sub.changes:
			if !ok {
				return errClosed
			}
			if first {
				first = false
				s.f.streams.Over(s.f.log, "chain head stream works again")
				s.f.log.LogAttrs(ctx, slog.LevelInfo, "following the chain", attr.Endpoint(sub.name))
			}
			select {
			case s.batches <- batch{changes, sub.saw}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case <-look.C:
		}
		if sub.lags() {
			return errLags
		}
	}
}
