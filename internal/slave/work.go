package slave

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// maxPasses bounds how often a prover that cannot skip is asked again without
// the sectors it could not read.
const maxPasses = 3

// noWindow stands for a window whose close is unknown: a proving period.
const noWindow = 24 * time.Hour

// work takes one task in hand from claim to delivery. ctx is the task's.
func (w *Worker) work(ctx context.Context, h *held) {
	a := h.assignment
	log := w.logOf(a.Lease, a.Question.MinerID)
	if a.Question.Deadline != nil {
		log = log.With(attr.Deadline(*a.Question.Deadline), attr.Partitions(a.Question.Partitions))
	}
	log.Info("got task:", attr.SectorCount(len(a.Question.Replicas)), attr.ProofType(a.Question.ProofType), attr.Remaining(a.Remaining))
	begin := time.Now()
	answer, err := w.prove(ctx, h, a.Question)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if errors.Is(err, task.ErrUnable) {
		w.cannot(a.Question, err)
	}
	w.count(answer, err)
	took := time.Since(begin).Round(time.Millisecond)
	if err != nil {
		log.Warn("slave: task:", attr.Result("failed"), attr.Took(took), attr.Err(err))
		if !errors.Is(err, task.ErrLost) {
			w.report(a.Lease, err)
		}
		return
	}
	if len(answer.Proofs) == 0 {
		log.Warn("nothing proven: sectors cannot be read", attr.Took(took), attr.Skipped(len(answer.Faults)), reasons(answer))
	} else {
		log.Info("task proven", attr.Took(took), attr.Skipped(len(answer.Faults)))
		w.cfg.Metrics.proving.Observe(took.Seconds())
	}
	e := entry{Lease: a.Lease, Answer: answer, Miner: a.Question.MinerID, Until: w.until(h)}
	kept := w.spool.put(e)
	if kept != nil {
		log.Error("answer not kept on disk; it is lost if this process dies now", attr.Err(kept))
	}
	w.setStage(h, stageDelivering)
	w.deliver(ctx, e, kept == nil)
}

// hold takes a task in hand, until it is released: its context ends when it is
// lost, when the window closes or at the hard stop.
func (w *Worker) hold(hard context.Context, a task.Assignment, stage string) (context.Context, *held, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(hard))
	left := cmp.Or(a.Remaining, noWindow)
	h := &held{assignment: a, since: time.Now(), until: time.Now().Add(left), stage: stage, cancel: cancel}
	stopHard := context.AfterFunc(hard, func() { cancel(errHardStop) })
	h.window = time.AfterFunc(left, func() { cancel(errWindowClosed) })
	w.mu.Lock()
	w.held[a.Lease] = h
	w.mu.Unlock()
	w.cfg.Metrics.held.Inc()
	return ctx, h, func() {
		stopHard()
		h.window.Stop()
		cancel(nil)
		w.mu.Lock()
		delete(w.held, a.Lease)
		w.mu.Unlock()
		w.cfg.Metrics.held.Dec()
	}
}

// until is the moment after which an answer is worthless.
func (w *Worker) until(h *held) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return h.until
}

// Stages of a task in hand.
const (
	stageProving    = "proving"
	stageVerifying  = "verifying"
	stageDelivering = "delivering"
)

// stageOf says for people how far a task is. The caller holds the mutex.
func (w *Worker) stageOf(h *held) string {
	if h.stage == stageProving && w.cfg.Meter != nil {
		if text, ok := w.cfg.Meter.Progress(h.assignment.ID); ok {
			return text
		}
	}
	return h.stage
}

func (w *Worker) setStage(h *held, stage string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.stage = stage
}

// count keeps the number of failures in a row that are our own. Sectors that
// cannot be read are not: they say nothing about other tasks.
func (w *Worker) count(a task.Answer, err error) {
	w.mu.Lock()
	verdict := "stopped"
	switch {
	case err == nil && len(a.Proofs) == 0:
		verdict = "unread"
	case err == nil:
		verdict = "proven"
		w.failures = 0
	case task.VerdictOf(err).Kind == task.KindRetry && !errors.Is(err, task.ErrLost) && !errors.Is(err, errWindowClosed) && !errors.Is(err, errHardStop):
		verdict = "failed"
		w.lastErr = err
		if !errors.Is(err, task.ErrUnable) { // of that it takes no more
			w.failures++
		}
	}
	w.mu.Unlock()
	w.cfg.Metrics.tasks.WithLabelValues(verdict).Inc()
}

// logOf is the log of one attempt.
func (w *Worker) logOf(l task.Lease, miner uint64) *slog.Logger {
	return w.log.With(attr.Task(l.ID), attr.Attempt(l.Attempt), attr.Miner(abi.ActorID(miner)))
}

// reasons shows the largest groups of an answer's faults.
func reasons(a task.Answer) slog.Attr {
	var text []string
	for _, r := range a.Reasons[:min(len(a.Reasons), 4)] {
		text = append(text, r.String())
	}
	return attr.Reason(strings.Join(text, "; "))
}

// prove makes and checks the answer. A panic of the prover is an error of this
// task alone.
func (w *Worker) prove(ctx context.Context, h *held, q task.Question) (a task.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.Error("panic while proving", attr.Panic(p), attr.Stack(debug.Stack()))
			a, err = task.Answer{}, fmt.Errorf("panic while proving: %v", p)
		}
	}()
	if err := q.Check(); err != nil {
		return task.Answer{}, err
	}
	a, err = w.onePass(ctx, h.assignment.Lease, q)
	if err != nil {
		return task.Answer{}, err
	}
	if err := a.Check(q); err != nil {
		return task.Answer{}, fmt.Errorf("prover: %w", err)
	}
	if h.assignment.Part == nil {
		w.noteStores(q, a)
	}
	if len(a.Proofs) == 0 {
		return a, nil
	}
	w.setStage(h, stageVerifying)
	if err := w.cfg.Verifier.VerifyWindowPoSt(ctx, q, a); err != nil {
		return task.Answer{}, fmt.Errorf("check the proof: %w", err)
	}
	return a, nil
}

// onePass asks the prover, and asks again without the unreadable sectors where
// skipping is allowed but the prover cannot do it by itself.
func (w *Worker) onePass(ctx context.Context, l task.Lease, q task.Question) (task.Answer, error) {
	var skipped []uint64
	var reasons []task.Reason
	for pass := 1; ; pass++ {
		a, err := w.ask(ctx, l, q.Without(skipped))
		if err != nil {
			return task.Answer{}, err
		}
		fresh := len(a.Faults)
		a.Faults = slices.Concat(skipped, a.Faults)
		a.Reasons = append(slices.Clip(reasons), a.Reasons...)
		a = a.Normal()
		if !q.AllowSkip || len(a.Proofs) > 0 || len(a.Faults) >= len(q.Replicas) || fresh == 0 {
			return a, nil
		}
		if pass == maxPasses {
			return task.Answer{}, fmt.Errorf("sectors became unreadable in each of %d passes, the last: %d", maxPasses, a.Faults[len(a.Faults)-1])
		}
		w.log.Warn("proving again without unreadable sectors", attr.Miner(abi.ActorID(q.MinerID)), attr.SkippedList(a.Faults))
		skipped, reasons = a.Faults, a.Reasons
	}
}

// ask asks the prover for whole tasks, or that for questions with vanilla proofs.
func (w *Worker) ask(ctx context.Context, l task.Lease, q task.Question) (task.Answer, error) {
	if w.cfg.Whole != nil && l.Attempt > 0 {
		return w.cfg.Whole.ProveLease(ctx, l, q)
	}
	return w.cfg.Prover.ProveWindowPoSt(ctx, q)
}

// report tells the master of a failed attempt, trying for a while. If it does
// not get through, the master finds out by the silence.
func (w *Worker) report(l task.Lease, cause error) {
	v := task.VerdictOf(cause)
	if errors.Is(cause, errHardStop) || errors.Is(cause, errWindowClosed) {
		v = &task.Verdict{Kind: task.KindAborted, Err: cause}
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.cfg.HeartbeatInterval)
	defer cancel()
	retry := patience.Backoff{Min: w.cfg.ReconnectInterval / 4, Max: w.cfg.ReconnectInterval / 2}
	for {
		err := w.cfg.Master.Fail(ctx, l, v)
		if err == nil || errors.Is(err, task.ErrLost) {
			return
		}
		if retry.Wait(ctx) != nil {
			w.log.Warn("failure not reported; the master finds out by the silence", attr.Task(l.ID), attr.Err(err))
			return
		}
	}
}

// stopTries is how often a stopping slave tries to deliver an answer that it
// has on disk.
const stopTries = 3

// deliver sends an answer until the master has it or wants it no more, or ctx
// ends; then it stays in the spool. If it is kept there, a slave that is asked
// to stop tries a few times only.
func (w *Worker) deliver(ctx context.Context, e entry, kept bool) {
	log := w.logOf(e.Lease, e.Miner)
	triesLeft, retry := stopTries, w.backoff()
	var outage patience.Outage
	for {
		err := w.cfg.Master.Finish(ctx, e.Lease, e.Answer)
		switch {
		case err == nil:
			log.Info("slave: task:", attr.Result("delivered"), attr.Skipped(len(e.Answer.Faults)))
			w.spool.remove(e, w.log)
			return
		case errors.Is(err, task.ErrLost), errors.Is(err, task.ErrBadAnswer):
			log.Warn("slave: task:", attr.Result("refused"), attr.Err(err))
			w.spool.remove(e, w.log)
			return
		case errors.Is(context.Cause(ctx), errWindowClosed), errors.Is(context.Cause(ctx), task.ErrLost), time.Now().After(e.Until):
			log.Warn("slave: task:", attr.Result("too late"), attr.Err(err))
			w.spool.remove(e, w.log)
			return
		case ctx.Err() != nil:
			log.Warn("answer kept on disk for the next start", attr.Err(err))
			return
		}
		if kept && isClosed(w.stopping) {
			if triesLeft--; triesLeft == 0 {
				log.Warn("no master takes the answer; it is kept on disk for the next start", attr.Err(err))
				return
			}
		}
		outage.Failed(log, "answer not delivered, retrying", err.Error(), attr.Err(err))
		_ = retry.Wait(ctx) // its end is seen with the next error
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
