package prover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// SurveyConfig is what a Survey works with.
type SurveyConfig struct {
	// Reader reads the sectors. Required.
	Reader VanillaReader
	// Reads is how many sectors are read at once over all tasks. Default: what
	// the reader allows.
	Reads int
	// PartitionSectors is as in Config.
	PartitionSectors int
	Log              *slog.Logger // nil logs nothing
}

// Survey reads what a question asks about, without proving it: it needs no keys
// and no memory to speak of. It is safe for concurrent use.
type Survey struct {
	cfg     SurveyConfig
	system  *proofs.System
	reads   chan struct{} // one token for each sector being read
	running runs
}

// unbounded is more sectors than any question has.
const unbounded = 1 << 20

// NewSurvey prepares a survey.
func NewSurvey(cfg SurveyConfig) *Survey { return newSurvey(NewSystem(), cfg) }

func newSurvey(system *proofs.System, cfg SurveyConfig) *Survey {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Reads < 1 {
		cfg.Reads = unbounded
	}
	return &Survey{cfg: cfg, system: system, reads: make(chan struct{}, cfg.Reads)}
}

// Reading is what was read of a question, each sector once: the vanilla proofs
// of those that can be proven, checked against their comm_r and challenges, and
// the others with the reasons.
type Reading struct {
	// Task is the statement over the sectors that can be proven, ascending, with
	// their vanilla proofs.
	Task *proofs.Task
	// Faults are the others, ascending.
	Faults  []uint64
	Reasons []task.Reason
}

// Read reads the sectors of a WindowPoSt or WinningPoSt question. Errors:
// task.ErrBadQuestion, ErrWindowClosed (both permanent), or the cause of ctx's
// end. That sectors cannot be read is not an error.
func (s *Survey) Read(ctx context.Context, q task.Question) (*Reading, error) {
	typ, err := post.ParseProofType(q.ProofType)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", task.ErrBadQuestion, err)
	}
	ctx, cancel := withWindow(ctx, q)
	defer cancel()
	job, err := s.newJob(typ.Kind(), q)
	if err != nil {
		return nil, err
	}
	meter, end := s.running.begin(q.ID())
	defer end()
	job.meter, job.skip = meter, true
	r, err := job.reading(ctx)
	if err != nil {
		return nil, job.verdict(ctx, err)
	}
	return r, nil
}

// Progress is Engine.Progress of what is being read.
func (s *Survey) Progress(taskID string) (p Progress, ok bool) { return s.running.progress(taskID) }

// Read is Survey.Read with the engine's reader.
func (e *Engine) Read(ctx context.Context, q task.Question) (*Reading, error) {
	return e.survey.Read(ctx, q)
}

// reading reads the job's sectors.
func (j *job) reading(ctx context.Context) (*Reading, error) {
	start := time.Now()
	if err := j.read(ctx); err != nil {
		return nil, err
	}
	j.log.Info("sectors read", attr.SectorCount(len(j.sectors)), attr.Faults(len(j.faults)), attr.Took(time.Since(start)))
	return &Reading{Task: j.task(), Faults: j.faults, Reasons: task.Reasons(j.why)}, nil
}

// withWindow ends the context when the window closes.
func withWindow(ctx context.Context, q task.Question) (context.Context, context.CancelFunc) {
	if q.NotAfter == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithDeadlineCause(ctx, time.Unix(q.NotAfter, 0), ErrWindowClosed)
}

// verdict names what an error means for the task: whatever went wrong after the
// context ended went wrong because of that.
func (j *job) verdict(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, groth16.ErrCanceled) || errors.Is(err, context.Cause(ctx))) {
		err = context.Cause(ctx)
	}
	var missing *MissingKeyError
	if errors.As(err, &missing) || errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: %w", task.ErrUnable, err)
	}
	err = fmt.Errorf("prove %s of miner %d, %d sectors: %w", j.typ, j.miner, len(j.replicas), err)
	if errors.Is(err, ErrWindowClosed) {
		return task.Permanent(err)
	}
	return err
}

// newJob checks a question and puts its replicas in ascending order.
func (s *Survey) newJob(kind post.Kind, q task.Question) (*job, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	typ, err := post.ParseProofType(q.ProofType)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", task.ErrBadQuestion, err)
	}
	if typ.Kind() != kind {
		return nil, fmt.Errorf("%w: %s is not a %s proof", task.ErrBadQuestion, typ, kind)
	}
	if kind == post.Winning && len(q.Replicas) != 1 {
		return nil, fmt.Errorf("%w: %d replicas, WinningPoSt proves one", task.ErrBadQuestion, len(q.Replicas))
	}
	replicas := slices.Clone(q.Replicas)
	slices.SortFunc(replicas, func(a, b task.Replica) int {
		if a.SectorID < b.SectorID {
			return -1
		}
		return 1 // no two are equal: Check has seen to it
	})
	j := &job{
		survey: s, miner: q.MinerID, typ: typ, setup: setupFor(typ, s.cfg.PartitionSectors),
		seed: q.Seed, replicas: replicas, skip: q.AllowSkip, meter: new(meter), why: make(map[uint64]error),
		log: s.cfg.Log.With(attr.Miner(abi.ActorID(q.MinerID)), attr.Task(q.ID()), attr.ProofType(typ.String())),
	}
	if q.Deadline != nil {
		j.log = j.log.With(attr.Deadline(*q.Deadline), attr.Partitions(q.Partitions))
	}
	whole := statementOf(j, replicas)
	if err := whole.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", task.ErrBadQuestion, err)
	}
	return j, nil
}

// setupFor is the circuit of a proof type, with a development network's number
// of sectors in a window partition.
func setupFor(typ post.ProofType, partitionSectors int) post.Setup {
	s := typ.Setup()
	if partitionSectors > 0 && typ.Kind() == post.Window {
		s = s.WithSectors(partitionSectors)
	}
	return s
}
