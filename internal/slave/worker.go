package slave

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// Master is where tasks come from. Every call may fail and be repeated; none
// blocks much longer than its context.
type Master interface {
	// Claim waits for a task; task.ErrNoTask says that none came. With an error
	// that wraps task.ErrBadQuestion the assignment's lease is set. What a claim
	// that failed was given after all, an unsure one is given again.
	Claim(ctx context.Context, want task.Want, wait time.Duration) (task.Assignment, error)
	// Heartbeat tells what is worked on and learns what is no longer ours and
	// how long the other windows stay open.
	Heartbeat(ctx context.Context, progress map[task.Lease]string) (task.Pulse, error)
	// Finish delivers an answer; task.ErrLost and task.ErrBadAnswer are final.
	Finish(ctx context.Context, l task.Lease, a task.Answer) error
	// Fail ends an attempt without an answer; task.ErrLost is final.
	Fail(ctx context.Context, l task.Lease, v *task.Verdict) error
}

// Prover answers questions.
type Prover interface {
	// ProveWindowPoSt returns when the proof is made, or soon after ctx ended.
	// Its error may carry a *task.Verdict. Unreadable sectors are reported in
	// the answer's faults: beside a proof over the others if the question
	// allows skipping and the prover can, alone otherwise.
	ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error)
}

// LeaseProver answers whole tasks, and may have other slaves prove parts of them.
type LeaseProver interface {
	// ProveLease is ProveWindowPoSt of the task that this slave has under a lease.
	ProveLease(ctx context.Context, l task.Lease, q task.Question) (task.Answer, error)
}

// Parts is where parts of others' tasks are brought from and to.
type Parts interface {
	// FetchPart brings a part's question with its vanilla proofs; task.ErrLost is
	// final.
	FetchPart(ctx context.Context, p task.Part) (task.Question, error)
	// FinishPart ends the work on a part, with its answer or with why there is
	// none; task.ErrLost is final.
	FinishPart(ctx context.Context, id string, a task.Answer, failed error) error
}

// Verifier checks proofs.
type Verifier interface {
	// VerifyWindowPoSt returns nil only if the answer's proof is valid for the
	// question without the answer's faults. An error that wraps
	// task.ErrBadAnswer says that the proof is wrong; any other that it could
	// not be checked.
	VerifyWindowPoSt(ctx context.Context, q task.Question, a task.Answer) error
}

// Meter tells how far a prover is.
type Meter interface {
	// Progress says in a few words how far the answer to a task is, such as
	// "proving 41%"; ok is false where that is not known. It never waits.
	Progress(taskID string) (text string, ok bool)
}

// Config is what New needs. Zero values take the defaults.
type Config struct {
	Master   Master       // required
	Prover   Prover       // required
	Verifier Verifier     // required
	Meter    Meter        // of the prover; nil knows nothing
	Whole    LeaseProver  // answers whole tasks; nil: Prover does
	Parts    Parts        // nil: no parts of others' tasks are taken
	Log      *slog.Logger // required
	Metrics  *Metrics     // nil counts nothing

	// Spool is the directory that keeps answers until they are delivered;
	// created if missing. Required.
	Spool string
	// SectorSizes in bytes are what this slave takes; empty means everything.
	SectorSizes []uint64
	// AllSizes in bytes are all there are: with them a slave that turns out to be
	// unable to prove one size goes on with the others.
	AllSizes []uint64
	// Roles are what this slave does; none means all.
	Roles []task.Role

	Concurrent        int           // tasks at once; default 1
	HeartbeatInterval time.Duration // default 5 s
	PullInterval      time.Duration // between claims that the master does not hold open; default 5 s
	ReconnectInterval time.Duration // first wait after a failed call, growing to twice that; default 3 s
	LongPoll          time.Duration // how long a claim asks the master to wait; default 20 s
}

// Worker takes and proves tasks.
type Worker struct {
	cfg   Config
	log   *slog.Logger
	spool spool

	// stopping is closed when Run takes no new tasks.
	stopping chan struct{}

	mu       sync.Mutex
	held     map[task.Lease]*held
	failures int       // of tasks, in a row
	lastErr  error     // of the last of them
	stores   stores    // in which nothing could be read
	unable   unable    // sizes that cannot be proven here
	contact  time.Time // when a call to the master last succeeded

	// unsureUntil is until when a claim that failed may be answered unheard; the
	// claiming loop's.
	unsureUntil time.Time
}

// held is a task in our hands.
type held struct {
	assignment task.Assignment
	since      time.Time
	stage      string
	cancel     context.CancelCauseFunc
	window     *time.Timer // cancels when the window closes …
	until      time.Time   // … which is at this moment of our clock
}

// Causes with which the work on a task ends early, besides task.ErrLost.
var (
	errWindowClosed = errors.New("the window closed")
	errHardStop     = errors.New("the slave is stopping now")
)

// New checks the configuration and opens the spool.
func New(cfg Config) (*Worker, error) {
	if cfg.Master == nil || cfg.Prover == nil || cfg.Verifier == nil || cfg.Log == nil || cfg.Spool == "" {
		return nil, errors.New("slave: master, prover, verifier, logger and spool are required")
	}
	cfg.Concurrent = cmp.Or(cfg.Concurrent, 1)
	cfg.HeartbeatInterval = cmp.Or(cfg.HeartbeatInterval, 5*time.Second)
	cfg.PullInterval = cmp.Or(cfg.PullInterval, 5*time.Second)
	cfg.ReconnectInterval = cmp.Or(cfg.ReconnectInterval, 3*time.Second)
	cfg.LongPoll = cmp.Or(cfg.LongPoll, 20*time.Second)
	if cfg.Concurrent < 1 || min(cfg.HeartbeatInterval, cfg.PullInterval, cfg.ReconnectInterval, cfg.LongPoll) <= 0 {
		return nil, fmt.Errorf("slave: concurrent %d and all intervals must be positive", cfg.Concurrent)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	sp, err := openSpool(cfg.Spool)
	if err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, log: cfg.Log, spool: sp, stopping: make(chan struct{}), held: make(map[task.Lease]*held), contact: time.Now()}, nil
}

// Run works until soft ends, then finishes what it has; when hard ends it
// hands that back and returns. hard must outlive soft. An answer that no master
// takes is not waited for then: it is on disk for the next start. Run once.
func (w *Worker) Run(soft, hard context.Context) {
	var work sync.WaitGroup
	beating, stopBeating := context.WithCancel(context.WithoutCancel(hard))
	var beat sync.WaitGroup
	beat.Go(func() { w.runHeartbeats(beating) })

	w.deliverSpool(soft, hard, &work)
	w.doubt() // an earlier process of this name may have died of a claim
	slots := make(chan struct{}, w.cfg.Concurrent)
	for w.awaitSlot(soft, slots) {
		a, ok := w.claim(soft)
		if !ok {
			<-slots
			continue
		}
		// In hand before the next claim, which names what is.
		ctx, h, release := w.hold(hard, a, stageProving)
		work.Go(func() {
			defer func() { <-slots }()
			defer release()
			if a.Part != nil {
				w.workPart(ctx, h)
				return
			}
			w.work(ctx, h)
		})
	}
	close(w.stopping)
	if n := len(w.Status()); n > 0 {
		w.log.Info("no new tasks; finishing what is here", attr.TaskCount(n))
	}
	work.Wait()
	stopBeating()
	beat.Wait()
}

// deliverSpool begins to deliver the answers that an earlier process left, and
// gives that a moment: claimed first, their tasks would be proven again.
func (w *Worker) deliverSpool(soft, hard context.Context, work *sync.WaitGroup) {
	var old sync.WaitGroup
	for _, e := range w.spool.load(w.log) {
		a := task.Assignment{Lease: e.Lease, Question: task.Question{MinerID: e.Miner}, Remaining: max(time.Until(e.Until), time.Millisecond)}
		ctx, _, release := w.hold(hard, a, stageDelivering)
		old.Add(1)
		work.Go(func() {
			defer old.Done()
			defer release()
			w.logOf(e.Lease, e.Miner).Info("delivering an answer of an earlier run")
			w.deliver(ctx, e, true)
		})
	}
	delivered := make(chan struct{})
	work.Go(func() {
		old.Wait()
		close(delivered)
	})
	patience := time.NewTimer(w.cfg.ReconnectInterval)
	defer patience.Stop()
	select {
	case <-delivered:
	case <-patience.C:
	case <-soft.Done():
	}
}

// awaitSlot waits for a free place, and then longer after failures in a row of
// our own. It returns false when soft has ended.
func (w *Worker) awaitSlot(soft context.Context, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
	case <-soft.Done():
		return false
	}
	w.mu.Lock()
	failures, last := w.failures, w.lastErr
	w.mu.Unlock()
	if failures >= slowAfter {
		d := min(slowFirst<<min(failures-slowAfter, 10), slowMost)
		w.log.Warn("waiting before the next task, after failures in a row", attr.Failures(failures), attr.In(d), attr.Err(last))
		_ = patience.Sleep(soft, d)
	}
	if soft.Err() != nil {
		<-slots
		return false
	}
	return true
}

// After slowAfter failed tasks in a row a slave waits slowFirst before it
// claims again, doubling up to slowMost.
const (
	slowAfter = 3
	slowFirst = 10 * time.Second
	slowMost  = 2 * time.Minute
)

// claim asks for tasks until it has one; ok is false when soft has ended.
func (w *Worker) claim(soft context.Context) (a task.Assignment, ok bool) {
	var outage patience.Outage
	retry := w.backoff()
	for soft.Err() == nil {
		if d := w.unable.all(w.sizes()); d > 0 {
			_ = patience.Sleep(soft, min(d, w.cfg.PullInterval))
			continue
		}
		asked := time.Now()
		a, err := w.cfg.Master.Claim(soft, w.want(), w.cfg.LongPoll)
		switch {
		case err == nil && w.holds(a.Lease):
			w.log.Warn("the master gave a task that is here already; asking again", attr.Task(a.ID), attr.Attempt(a.Attempt))
			_ = patience.Sleep(soft, w.cfg.PullInterval)
			continue
		case err == nil:
			w.reached()
			return a, true
		case soft.Err() != nil:
			return a, false
		case errors.Is(err, task.ErrNoTask):
			outage.Over(w.log, "tasks can be claimed again")
			retry.Reset()
			w.reached()
			// A master that holds the claim open is asked again at once.
			_ = patience.Sleep(soft, w.cfg.PullInterval-time.Since(asked))
			continue
		case errors.Is(err, task.ErrBadQuestion):
			w.report(a.Lease, err)
			continue
		}
		w.doubt()
		outage.Failed(w.log, "no task can be claimed, retrying", err.Error(), attr.Err(err))
		_ = retry.Wait(soft)
	}
	return a, false
}

// doubt notes that a claim may be answered, now or later, without our hearing
// of it: the master waits for a task for as long as a claim may.
func (w *Worker) doubt() { w.unsureUntil = time.Now().Add(2 * w.cfg.LongPoll) }

// want is what a claim asks for.
func (w *Worker) want() task.Want {
	w.mu.Lock()
	defer w.mu.Unlock()
	return task.Want{
		SectorSizes: w.unable.without(w.sizes()),
		Roles:       w.cfg.Roles,
		Holding:     &task.Holding{Leases: slices.Collect(maps.Keys(w.held)), Unsure: time.Now().Before(w.unsureUntil)},
		Unseen:      w.stores.unseen(),
	}
}

// holds reports whether the lease is in hand.
func (w *Worker) holds(l task.Lease) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[l] != nil
}

// backoff is the wait between tries of a call to the master.
func (w *Worker) backoff() patience.Backoff {
	return patience.Backoff{Min: w.cfg.ReconnectInterval, Max: 2 * w.cfg.ReconnectInterval}
}

// runHeartbeats tells the master what is here until ctx ends.
func (w *Worker) runHeartbeats(ctx context.Context) {
	var outage patience.Outage
	for patience.Sleep(ctx, w.cfg.HeartbeatInterval) == nil {
		err := w.heartbeat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			outage.Failed(w.log, "heartbeat failed, retrying", err.Error(), attr.Err(err))
		default:
			outage.Over(w.log, "heartbeats go through again")
		}
	}
}

// heartbeat reports all tasks once and stops those that are lost.
func (w *Worker) heartbeat(ctx context.Context) error {
	progress := make(map[task.Lease]string)
	w.mu.Lock()
	for l, h := range w.held {
		progress[l] = fmt.Sprintf("%s %ds", w.stageOf(h), int(time.Since(h.since).Seconds()))
	}
	w.mu.Unlock()
	if len(progress) == 0 {
		return nil
	}
	pulse, err := w.cfg.Master.Heartbeat(ctx, progress)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.contact = time.Now()
	for _, l := range pulse.Lost {
		if h := w.held[l]; h != nil {
			h.cancel(task.ErrLost)
		}
	}
	for l, left := range pulse.Remaining {
		if h := w.held[l]; h != nil && left > 0 {
			h.window.Reset(left)
			h.until = time.Now().Add(left)
		}
	}
	return nil
}

// reached notes that the master answered.
func (w *Worker) reached() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.contact = time.Now()
}

// Health reports an error when the master has not answered for long.
func (w *Worker) Health(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := 3 * (w.cfg.LongPoll + w.cfg.ReconnectInterval)
	if silent := time.Since(w.contact); silent > limit && len(w.held) == 0 {
		return fmt.Errorf("no answer from the master for %s", silent.Round(time.Second))
	}
	return nil
}

// Status is what the slave has at the moment.
type Status struct {
	Task    string        `json:"task"`
	Attempt int           `json:"attempt"`
	Miner   uint64        `json:"miner"`
	Sectors int           `json:"sectors"`
	Stage   string        `json:"stage"` // with its share that is done, where that is known: "proving 41%"
	Since   time.Duration `json:"since_ns"`
}

// Status returns the tasks in hand.
func (w *Worker) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]Status, 0, len(w.held))
	for l, h := range w.held {
		out = append(out, Status{
			Task: l.ID, Attempt: l.Attempt, Miner: h.assignment.Question.MinerID,
			Sectors: len(h.assignment.Question.Replicas), Stage: w.stageOf(h), Since: time.Since(h.since),
		})
	}
	return out
}
