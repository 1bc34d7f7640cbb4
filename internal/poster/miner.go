package poster

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/patience"
)

// Causes of a cancelled context.
var (
	errStopping     = errors.New("the manager is stopping")
	errWindowClosed = errors.New("the window has closed")
	errAborted      = errors.New("the run was aborted")
)

// miner carries the deadlines of one miner: a loop that owns the machine, and
// the goroutines that carry out its actions.
type miner struct {
	cfg   *Config
	conf  MinerConfig
	addr  address.Address
	log   *slog.Logger
	heads *mailbox
	clock *clock
	// events are what the goroutines report; only the loop receives.
	events   chan deadline.Event
	work     sync.WaitGroup
	warned   sync.Once     // of a cap on the partitions of a message
	past     chan struct{} // closed when the past was told, or is not waited for
	troubles *troubles
	stamps   stamps
	purse    purse

	// The loop's own.
	machine *deadline.Machine
	runs    map[deadline.Ref]*run

	mu     sync.Mutex // guards the rest, which Status reads
	states []deadline.State
	last   dline.Info // of the last head; CurrentEpoch is its height
	lastAt time.Time
	seen   bool
}

func newMiner(cfg *Config, conf MinerConfig, addr address.Address) *miner {
	log := cfg.Log.With(attr.Miner(addr))
	m := &miner{
		cfg: cfg, conf: conf, addr: addr, log: log,
		heads:    newMailbox(),
		clock:    &clock{genesis: cfg.Genesis, delay: cfg.BlockDelay},
		events:   make(chan deadline.Event),
		past:     make(chan struct{}),
		troubles: newTroubles(cfg.Board, addr),
		runs:     map[deadline.Ref]*run{},
	}
	m.machine = deadline.New(conf.timing(), m.policy)
	return m
}

// run is the loop. It ends with ctx, after everything it started.
func (m *miner) run(parent context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	defer m.troubles.clear()
	defer m.work.Wait()
	defer cancel(errStopping)
	m.guard(func() { m.readPast(ctx) })
	m.guard(func() { m.followHeads(ctx) })
	ticks := time.NewTicker(max(m.cfg.BlockDelay/2, time.Millisecond))
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-m.events:
			m.step(ctx, ev)
		case <-ticks.C:
			m.step(ctx, deadline.Tick{Epoch: m.clock.epoch()})
		}
	}
}

// step feeds one event to the machine and carries out what it answers. A panic
// costs that event.
func (m *miner) step(ctx context.Context, ev deadline.Event) {
	defer m.caught()
	if h, ok := ev.(deadline.Head); ok {
		m.mu.Lock()
		m.last, m.lastAt, m.seen = h.Info, time.Now(), true
		m.mu.Unlock()
	}
	for _, a := range m.machine.Step(ev) {
		m.perform(ctx, a)
	}
	states := m.machine.Snapshot()
	m.mu.Lock()
	m.states = states
	m.mu.Unlock()
	m.troubles.look(m, states)
}

// perform carries out one action.
func (m *miner) perform(ctx context.Context, a deadline.Action) {
	switch a := a.(type) {
	case deadline.Start:
		m.start(ctx, a)
	case deadline.Prove:
		r := m.runOf(ctx, a.Ref)
		m.spawn(r.working, r.all, func(ctx context.Context) deadline.Event { return r.prove(ctx, a) },
			func(why deadline.Failure) deadline.Event {
				return deadline.ProveFailed{Ref: a.Ref, Batch: a.Batch, Why: why}
			})
	case deadline.Submit:
		r := m.runOf(ctx, a.Ref)
		m.spawn(r.working, r.all, func(ctx context.Context) deadline.Event { return r.submit(ctx, a) },
			func(why deadline.Failure) deadline.Event {
				return deadline.SubmitFailed{Ref: a.Ref, Batch: a.Batch, Why: why}
			})
	case deadline.AskChain:
		r := m.runOf(ctx, a.Ref)
		m.spawn(r.all, r.all, func(ctx context.Context) deadline.Event { return r.askChain(ctx, a) },
			func(why deadline.Failure) deadline.Event { return deadline.AskFailed{Ref: a.Ref, Why: why} })
	case deadline.Abort:
		m.log.Warn("run aborted", attr.Deadline(a.Key.Index), attr.PeriodStart(a.Key.PeriodStart), attr.Reason(a.Reason))
		m.drop(a.Ref)
	case deadline.Stop:
		if r := m.runs[a.Ref]; r != nil {
			r.stop(errWindowClosed)
		}
	case deadline.End:
		m.finish(a)
	case deadline.Silent:
		m.log.Warn("no new head for a while; nothing can be started or sent until the node tells of one", attr.Epoch(a.Head), attr.Count(int(a.Epochs)))
		m.troubles.silent(a)
	case deadline.Heard:
		m.log.Info("the node tells of new heads again", attr.Count(int(a.Epochs)))
		m.troubles.heard()
	default:
		m.performMessage(ctx, a)
	}
}

// performMessage carries out what is asked for a message that was handed over.
func (m *miner) performMessage(ctx context.Context, a deadline.Action) {
	switch a := a.(type) {
	case deadline.Watch:
		r := m.runOf(ctx, a.Ref)
		watch := r.rewatch(a.Batch)
		m.spawn(watch, r.all, func(ctx context.Context) deadline.Event { return r.watch(ctx, a) },
			func(deadline.Failure) deadline.Event { return nil })
	case deadline.Replace:
		r := m.runOf(ctx, a.Ref)
		m.spawn(r.working, r.all, func(ctx context.Context) deadline.Event { return r.replace(ctx, a) },
			func(why deadline.Failure) deadline.Event {
				return deadline.Replaced{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt, Why: why}
			})
	case deadline.GiveUp:
		r := m.runOf(ctx, a.Ref)
		m.spawn(r.all, r.all, func(ctx context.Context) deadline.Event { return r.giveUp(ctx, a) },
			func(why deadline.Failure) deadline.Event {
				return deadline.GaveUp{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt, Why: why}
			})
	}
}

func (m *miner) start(ctx context.Context, a deadline.Start) {
	r := m.runs[a.Ref]
	if r == nil {
		r = newRun(ctx, m, a.Ref, a.Info)
		m.runs[a.Ref] = r
	}
	plan := r.plan
	if a.Kind == deadline.Recovery {
		plan = r.look
	}
	m.spawn(r.working, r.all, func(ctx context.Context) deadline.Event { return plan(ctx, a.Try) },
		func(why deadline.Failure) deadline.Event { return deadline.PlanFailed{Ref: a.Ref, Why: why} })
}

// runOf returns the run of ref; one that begins after its window closed has
// none yet.
func (m *miner) runOf(ctx context.Context, ref deadline.Ref) *run {
	r := m.runs[ref]
	if r == nil {
		r = newRun(ctx, m, ref, deadline.At(m.lastInfo(), ref.Key))
		m.runs[ref] = r
	}
	return r
}

func (m *miner) drop(ref deadline.Ref) {
	if r := m.runs[ref]; r != nil {
		r.cancel(errAborted)
		delete(m.runs, ref)
	}
}

// runKey names a deadline of this miner in the ledger.
func (m *miner) runKey(k deadline.Key) ledger.RunKey {
	return ledger.RunKey{Miner: uint64(m.conf.Miner), PeriodStart: int64(k.PeriodStart), Deadline: k.Index}
}

func (m *miner) newLedgerRun(di dline.Info) ledger.Run {
	return ledger.Run{
		RunKey: m.runKey(deadline.KeyOf(di)), Open: int64(di.Open), Close: int64(di.Close),
		ClosesAt: m.timeOf(di.Close), StartedAt: time.Now(),
	}
}

func (m *miner) lastInfo() dline.Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// timeOf is when epoch begins: by the clock, or counted from the last head
// where the clock is not known or cannot be believed.
func (m *miner) timeOf(epoch abi.ChainEpoch) time.Time {
	if t, ok := m.clock.timeOf(epoch); ok {
		return t
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(time.Duration(epoch-m.last.CurrentEpoch) * m.cfg.BlockDelay)
}

// send gives an event to the loop, unless the manager is stopping.
func (m *miner) send(ctx context.Context, ev deadline.Event) {
	select {
	case m.events <- ev:
	case <-ctx.Done():
	}
}

// pause waits before the try-th repetition: nothing before the first, then an
// eighth of an epoch, doubling up to one epoch. It reports whether ctx lasts.
func (m *miner) pause(ctx context.Context, try int) bool {
	if try <= 0 {
		return ctx.Err() == nil
	}
	return patience.Sleep(ctx, max(m.cfg.BlockDelay/8<<min(try-1, 3), time.Millisecond)) == nil
}

// pauseLong is pause for what costs others time: it doubles up to four epochs.
func (m *miner) pauseLong(ctx context.Context, try int) bool {
	if try <= 0 {
		return ctx.Err() == nil
	}
	return patience.Sleep(ctx, max(m.cfg.BlockDelay/8<<min(try-1, 5), time.Millisecond)) == nil
}

// levelOfTry is the level at which a failed attempt is logged: a warning for the
// first and then at every doubling, so that a long outage stays readable.
func levelOfTry(try int) slog.Level {
	if try&(try-1) == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// failure is an error in the words of the machine.
func failure(err error) deadline.Failure {
	var vague *vagueError
	return deadline.Failure{
		Text:  err.Error(),
		Vague: errors.As(err, &vague) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled),
	}
}
