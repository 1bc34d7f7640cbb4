package poster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
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
	// events are what the goroutines report; only the loop receives.
	events chan deadline.Event
	work   sync.WaitGroup
	warned sync.Once // of a cap on the partitions of a message

	// The loop's own.
	machine *deadline.Machine
	runs    map[deadline.Ref]*run
	resumed bool // runs of an earlier process were taken up

	mu     sync.Mutex // guards the rest, which Status reads
	states []deadline.State
	last   dline.Info // of the last head; CurrentEpoch is its height
	seen   bool
}

func newMiner(cfg *Config, conf MinerConfig, addr address.Address) *miner {
	return &miner{
		cfg: cfg, conf: conf, addr: addr,
		log:     cfg.Log.With("miner", addr.String()),
		heads:   newMailbox(),
		events:  make(chan deadline.Event),
		machine: deadline.New(conf.timing()),
		runs:    map[deadline.Ref]*run{},
	}
}

// run is the loop. It ends with ctx, after everything it started.
func (m *miner) run(parent context.Context) {
	ctx, cancel := context.WithCancelCause(parent)
	defer m.work.Wait()
	defer cancel(errStopping)
	m.work.Go(func() { m.followHeads(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-m.events:
			m.step(ctx, ev)
		}
	}
}

// step feeds one event to the machine and carries out what it answers.
func (m *miner) step(ctx context.Context, ev deadline.Event) {
	if h, ok := ev.(deadline.Head); ok {
		m.mu.Lock()
		m.last, m.seen = h.Info, true
		m.mu.Unlock()
	}
	for _, a := range m.machine.Step(ev) {
		m.perform(ctx, a)
	}
	if !m.resumed {
		m.resumed = true
		m.work.Go(func() { m.resume(ctx) })
	}
	m.mu.Lock()
	m.states = m.machine.Snapshot()
	m.mu.Unlock()
}

// perform carries out one action.
func (m *miner) perform(ctx context.Context, a deadline.Action) {
	switch a := a.(type) {
	case deadline.Start:
		r := m.runs[a.Ref]
		if r == nil {
			r = newRun(ctx, m, a.Ref, a.Info)
			m.runs[a.Ref] = r
		}
		r.spawn(r.working, func(ctx context.Context) deadline.Event { return r.plan(ctx, a.Try) },
			func(why string) deadline.Event { return deadline.PlanFailed{Ref: a.Ref, Reason: why} })
	case deadline.Prove:
		r := m.runs[a.Ref]
		r.spawn(r.working, func(ctx context.Context) deadline.Event { return r.prove(ctx, a) },
			func(why string) deadline.Event {
				return deadline.ProveFailed{Ref: a.Ref, Batch: a.Batch, Reason: why}
			})
	case deadline.Submit:
		r := m.runs[a.Ref]
		r.spawn(r.working, func(ctx context.Context) deadline.Event { return r.submit(ctx, a) },
			func(why string) deadline.Event {
				return deadline.SubmitFailed{Ref: a.Ref, Batch: a.Batch, Reason: why}
			})
	case deadline.Wait:
		r := m.runs[a.Ref]
		if r == nil { // resumed after its window closed
			r = newRun(ctx, m, a.Ref, deadline.At(m.lastInfo(), a.Key))
			m.runs[a.Ref] = r
		}
		r.spawn(r.all, func(ctx context.Context) deadline.Event { return r.wait(ctx, a) },
			func(why string) deadline.Event {
				return deadline.WaitFailed{Ref: a.Ref, Batch: a.Batch, Reason: why}
			})
	case deadline.Abort:
		m.log.Warn("run aborted", "deadline", a.Key.Index, "period_start", a.Key.PeriodStart, "reason", a.Reason)
		if r := m.runs[a.Ref]; r != nil {
			r.cancel(errAborted)
			delete(m.runs, a.Ref)
		}
	case deadline.Stop:
		if r := m.runs[a.Ref]; r != nil {
			r.stop(errWindowClosed)
		}
	case deadline.CheckRecoveries:
		m.work.Go(func() { m.recoverFaults(ctx, a.Info) })
	case deadline.End:
		m.finish(ctx, a)
	}
}

// finish closes a run: its outcome is logged here and nowhere else, and kept.
func (m *miner) finish(ctx context.Context, a deadline.End) {
	if r := m.runs[a.Ref]; r != nil {
		r.cancel(errAborted)
		delete(m.runs, a.Ref)
	}
	end := m.summary(a)
	log := m.log.With("deadline", a.Key.Index, "period_start", a.Key.PeriodStart, "partitions_proven", end.Proven)
	switch a.Outcome.Verdict {
	case deadline.Missed:
		log.Error("deadline missed", "reason", a.Outcome.Reason)
	case deadline.Proven:
		log.Info("deadline proven")
	case deadline.NothingToProve:
		log.Info("deadline has nothing to prove")
	}
	m.work.Go(func() { m.keepEnd(ctx, a, end) })
}

// summary counts what an outcome covers.
func (m *miner) summary(a deadline.End) ledger.RunEnd {
	end := ledger.RunEnd{Verdict: a.Outcome.Verdict.String(), Reason: a.Outcome.Reason, Proven: a.Outcome.OnChain, At: time.Now()}
	for _, b := range a.Outcome.Batches {
		if partitions, err := ledger.ParsePartitions(string(b.ID)); err == nil && b.Stage == deadline.Landed {
			end.Proven += len(partitions)
		}
	}
	return end
}

// keepEnd writes the outcome down, trying for a while even when the manager is
// stopping.
func (m *miner) keepEnd(ctx context.Context, a deadline.End, end ledger.RunEnd) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.CallTimeout)
	defer cancel()
	key := m.runKey(a.Key)
	if proofs, err := m.cfg.Ledger.Proofs(ctx, key); err == nil {
		for _, p := range proofs {
			end.Skipped += len(p.Skipped)
		}
	}
	err := m.retry(ctx, func() error {
		err := m.cfg.Ledger.EndRun(ctx, key, end)
		if errors.Is(err, ledger.ErrNotFound) { // it was passed over and never opened
			return errors.Join(m.cfg.Ledger.OpenRun(ctx, m.newLedgerRun(a.Info)), m.cfg.Ledger.EndRun(ctx, key, end))
		}
		return err
	})
	if err != nil {
		m.log.Error("the outcome of a deadline could not be kept", "deadline", a.Key.Index, "period_start", a.Key.PeriodStart, "error", err)
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

// timeOf estimates when the head will be at epoch, counted from the head now,
// so that neither a wrong clock nor a slow chain makes it too early.
func (m *miner) timeOf(epoch abi.ChainEpoch) time.Time {
	return time.Now().Add(time.Duration(epoch-m.lastInfo().CurrentEpoch) * m.cfg.BlockDelay)
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
	return sleep(ctx, max(m.cfg.BlockDelay/8<<min(try-1, 3), time.Millisecond))
}

// pauseLong is pause for what costs others time: it doubles up to four epochs.
func (m *miner) pauseLong(ctx context.Context, try int) bool {
	if try <= 0 {
		return ctx.Err() == nil
	}
	return sleep(ctx, max(m.cfg.BlockDelay/8<<min(try-1, 5), time.Millisecond))
}

// sleep reports whether ctx lasted for d.
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

// levelOfTry is the level at which a failed attempt is logged: a warning for the
// first and then at every doubling, so that a long outage stays readable.
func levelOfTry(try int) slog.Level {
	if try&(try-1) == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// retry calls f until it succeeds or ctx ends, and returns the last error.
func (m *miner) retry(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if err == nil || !m.pause(ctx, try) {
			return err
		}
	}
}

// followHeads asks the node for the deadline at each head and tells the loop.
// When the node does not answer, the deadline follows from the one before: the
// grid of windows does not change.
func (m *miner) followHeads(ctx context.Context) {
	silence := time.NewTimer(m.silence())
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-silence.C:
			m.log.Warn("no new head for a while; nothing can be started or sent until the node tells of one", "waited", m.silence())
			continue
		case <-m.heads.filled:
			silence.Reset(m.silence())
		}
		h, ok := m.heads.take()
		if !ok || h.TipSet == nil {
			continue
		}
		di, err := m.provingDeadline(ctx, h)
		if err != nil {
			m.log.Warn("the node does not tell the proving deadline; trying again", "epoch", h.TipSet.Height, "error", err)
			if m.pause(ctx, 3) {
				m.heads.putBack(h)
			}
			continue
		}
		m.send(ctx, deadline.Head{Info: di, RevertedFrom: h.RevertedFrom})
	}
}

// silence is how long heads may stay away before it is worth a word.
func (m *miner) silence() time.Duration { return max(10*m.cfg.BlockDelay, 10*time.Second) }

func (m *miner) provingDeadline(ctx context.Context, h Head) (dline.Info, error) {
	call, cancel := context.WithTimeout(ctx, min(m.cfg.CallTimeout, max(m.cfg.BlockDelay, time.Second)))
	defer cancel()
	di, err := m.cfg.Chain.StateMinerProvingDeadline(call, m.addr, h.TipSet.Key())
	if err == nil && di != nil && di.WPoStPeriodDeadlines > 0 && di.WPoStChallengeWindow > 0 {
		info := *di
		info.CurrentEpoch = h.TipSet.Height
		return info, nil
	}
	if err == nil {
		err = fmt.Errorf("the node's answer is no deadline: %+v", di)
	}
	m.mu.Lock()
	last, seen := m.last, m.seen
	m.mu.Unlock()
	if seen && ctx.Err() == nil {
		m.log.Debug("the deadline of the head was computed, the node does not tell it", "epoch", h.TipSet.Height, "error", err)
		return deadline.Current(last, h.TipSet.Height), nil
	}
	return dline.Info{}, err
}
