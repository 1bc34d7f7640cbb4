package prover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/kernel"
	"wdpost/proofs/post"
)

// ErrWindowClosed is the cause of an end at Question.NotAfter.
var ErrWindowClosed = errors.New("the window closed")

// ErrSelfCheck means that a proof made here did not verify.
var ErrSelfCheck = errors.New("the proof made here does not verify")

// Config is what an Engine works with.
type Config struct {
	// Reader reads the sectors. Required.
	Reader VanillaReader
	// Keys says where the key files are.
	Keys KeyConfig
	// Memory is the budget of all proofs together in bytes, keys without a raw
	// cache included. 0: nine tenths of what is available at the start.
	Memory uint64
	// Proofs is how many proofs run at once. 0: one for each 16 cores, at
	// least one. Sectors of further tasks are read meanwhile.
	Proofs int
	// Reads is how many sectors are read at once over all tasks. Default: what
	// the reader allows, so that the sectors of a store that hangs do not keep
	// those of another waiting.
	Reads int
	// PartitionSectors replaces the network's number of sectors in a window
	// partition, for development networks. 0: the network's.
	PartitionSectors int
	// Log gets one line for each step of a task.
	Log *slog.Logger
}

// Engine answers proving tasks on this machine. It is safe for concurrent use.
type Engine struct {
	cfg       Config
	system    *proofs.System
	keys      *Keys
	admission *Admission
	verifier  *Verifier
	survey    *Survey
	running   runs
}

// New prepares an engine; it loads no keys yet, see WarmUp.
func New(cfg Config) (*Engine, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Keys.Log == nil {
		cfg.Keys.Log = cfg.Log
	}
	if cfg.Keys.MemoryLimit == 0 && cfg.Memory > 0 {
		cfg.Keys.MemoryLimit = cfg.Memory / 2
	}
	admission, err := NewAdmission(cfg.Memory, cfg.Proofs)
	if err != nil {
		return nil, err
	}
	k, err := Kernel()
	if err != nil {
		return nil, err
	}
	system, keys := proofs.NewOn(k), NewKeys(cfg.Keys)
	cfg.Log.Info("native prover", attr.Kernel(system.Kernel().String()), attr.Cores(runtime.GOMAXPROCS(0)))
	return &Engine{
		cfg: cfg, system: system, keys: keys, admission: admission,
		verifier: newVerifier(system, keys, cfg.PartitionSectors),
		survey: newSurvey(system, SurveyConfig{
			Reader: cfg.Reader, Reads: cfg.Reads, PartitionSectors: cfg.PartitionSectors, Log: cfg.Log,
		}),
	}, nil
}

// Close gives back the keys. No task may be running.
func (e *Engine) Close() error { return e.keys.Close() }

// Kernel is the set of instructions that proofs are made with.
func (e *Engine) Kernel() kernel.Kernel { return e.system.Kernel() }

// Verifier checks proofs with the same keys.
func (e *Engine) Verifier() *Verifier { return e.verifier }

// Memory is the budget of all proofs together in bytes.
func (e *Engine) Memory() uint64 { return e.admission.total }

// WarmUp loads the keys of proof types and compiles their circuits, so that the
// first window does not wait for it. It fails if a proof of one of them cannot
// be made here.
func (e *Engine) WarmUp(ctx context.Context, types ...post.ProofType) error {
	for _, typ := range types {
		setup := setupFor(typ, e.cfg.PartitionSectors)
		if _, err := e.key(ctx, setup); err != nil {
			return fmt.Errorf("warm up %s: %w", typ, err)
		}
		if _, err := e.system.Circuit(setup); err != nil {
			return fmt.Errorf("warm up %s: %w", typ, err)
		}
		if _, err := e.verifier.of(ctx, setup); err != nil {
			return fmt.Errorf("warm up %s: %w", typ, err)
		}
	}
	return nil
}

// key loads the proving key of a circuit if proofs of it fit.
func (e *Engine) key(ctx context.Context, s post.Setup) (*ProvingKey, error) {
	if err := e.admission.Check(s); err != nil {
		return nil, err
	}
	key, err := e.keys.Proving(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := e.admission.Pin(ctx, key); err != nil {
		return nil, err
	}
	return key, nil
}

// ProveWindowPoSt answers a WindowPoSt question; see task.Question and
// task.Answer for what AllowSkip means. A proof is verified before it is
// returned. Errors: task.ErrBadQuestion (permanent), ErrWindowClosed
// (permanent), a *MissingKeyError, ErrTooLarge, ErrSelfCheck, or the cause of
// ctx's end. That sectors cannot be read is not an error.
func (e *Engine) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return e.prove(ctx, post.Window, q)
}

// ProveWinningPoSt answers a WinningPoSt question, which has exactly one
// replica. Otherwise it is as ProveWindowPoSt.
func (e *Engine) ProveWinningPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return e.prove(ctx, post.Winning, q)
}

func (e *Engine) prove(ctx context.Context, kind post.Kind, q task.Question) (task.Answer, error) {
	ctx, cancel := withWindow(ctx, q)
	defer cancel()
	job, err := e.survey.newJob(kind, q)
	if err != nil {
		return task.Answer{}, err
	}
	meter, end := e.running.begin(q.ID())
	defer end()
	job.meter = meter
	key, err := e.key(ctx, job.setup)
	if err != nil {
		return task.Answer{}, job.verdict(ctx, err)
	}
	r, err := job.reading(ctx)
	if err != nil {
		return task.Answer{}, job.verdict(ctx, err)
	}
	answer := task.Answer{Faults: r.Faults, Reasons: r.Reasons}
	if len(job.sectors) == 0 || len(job.faults) > 0 && !q.AllowSkip {
		return answer, nil
	}
	start := time.Now()
	proof, err := e.snark(ctx, key, job)
	if err != nil {
		return task.Answer{}, job.verdict(ctx, err)
	}
	answer.Proofs = [][]byte{proof}
	job.log.Info("proof made and verified", attr.SectorCount(len(job.sectors)), attr.Bytes(len(proof)), attr.Took(time.Since(start)))
	return answer, nil
}

// snark proves and verifies what was read.
func (e *Engine) snark(ctx context.Context, key *ProvingKey, job *job) ([]byte, error) {
	job.meter.enter(StageWaiting, 0)
	leave, err := e.admission.Enter(ctx, job.setup)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer SaveMemory()()
	job.meter.enter(StageProving, 0)
	start := time.Now()
	proof, err := e.system.Prove(key.ProvingKey, job.task(), proofs.ProveConfig{
		Workers: runtime.GOMAXPROCS(0), Done: ctx.Done(), Progress: job.meter.set, Ahead: key.Ahead,
	})
	if err != nil {
		return nil, err
	}
	job.log.Debug("proof made", attr.Took(time.Since(start)), attr.Constraints(job.constraints()))
	job.meter.enter(StageVerify, 0)
	if err := e.verifier.verify(ctx, job.statement(), proof); err != nil {
		e.keys.Suspect(ctx, job.setup, key)
		return nil, fmt.Errorf("%w: %w; check the files of %s", ErrSelfCheck, err, key.Path)
	}
	return proof, nil
}
