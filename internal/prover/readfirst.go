package prover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// ErrHung is the cause with which a proof of a backend is given up that took far
// longer than proofs take.
var ErrHung = errors.New("the processor seems to hang")

// Backend makes proofs in another process, which reads the sectors by itself
// and without a guard.
type Backend interface {
	// ProveWindowPoSt answers a question whose replicas carry their vanilla
	// proofs; a backend that has no use for them reads the files. It returns
	// soon after ctx ends.
	ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error)
}

// ReadFirstConfig is what NewReadFirst needs.
type ReadFirstConfig struct {
	Survey  *Survey // required
	Backend Backend // required
	Pace    *Pace   // required
	// Places is how many proofs the backend makes at once; further ones wait
	// here, where waiting is not taken for hanging. Default 1.
	Places int
	// Least is the shortest time after which a proof may count as hanging.
	// Default 1 min.
	Least time.Duration
	// HungAfter bounds the proof of one partition. 0: three times what proofs
	// took, half of the window while none was made.
	HungAfter time.Duration
	Log       *slog.Logger // required
}

// ReadFirst has a backend prove what was read here first: reading is guarded
// here and checks the challenged data, so a dead store or a damaged sector costs
// the backend nothing, and a backend that hangs is noticed. It is safe for
// concurrent use.
type ReadFirst struct {
	cfg    ReadFirstConfig
	places chan struct{}
	mu     sync.Mutex
	busy   map[string]work // by task ID
}

// work is a proof that the backend makes.
type work struct {
	since  time.Time
	expect time.Duration // 0: unknown
}

// NewReadFirst joins a backend and a survey.
func NewReadFirst(cfg ReadFirstConfig) *ReadFirst {
	cfg.Places = max(cfg.Places, 1)
	if cfg.Least <= 0 {
		cfg.Least = time.Minute
	}
	return &ReadFirst{cfg: cfg, places: make(chan struct{}, cfg.Places), busy: make(map[string]work)}
}

// hungFactor is how many times the usual time a proof may take.
const hungFactor = 3

// ProveWindowPoSt reads the sectors, has those proven that can be, and answers
// with the others as faults. Its errors are those of Survey.Read and of the
// backend, or wrap ErrHung.
func (r *ReadFirst) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	read, err := r.cfg.Survey.Read(ctx, q)
	if err != nil {
		return task.Answer{}, err
	}
	answer := task.Answer{Faults: read.Faults, Reasons: read.Reasons}
	if len(read.Task.Statement.Sectors) == 0 || len(read.Faults) > 0 && !q.AllowSkip {
		return answer, nil
	}
	ask, err := withVanilla(q.Without(read.Faults), read)
	if err != nil {
		return task.Answer{}, err
	}
	select {
	case r.places <- struct{}{}:
	case <-ctx.Done():
		return task.Answer{}, context.Cause(ctx)
	}
	defer func() { <-r.places }()
	got, err := r.bounded(ctx, q.ID(), ask, read.Task.Statement.Partitions())
	if err != nil {
		return task.Answer{}, err
	}
	answer.Proofs = got.Proofs
	answer.Faults = append(answer.Faults, got.Faults...)
	answer.Reasons = append(answer.Reasons, ownFaults(got)...)
	return answer.Normal(), nil
}

// ownFaults says of the faults that the backend names that they were read here.
func ownFaults(a task.Answer) []task.Reason {
	if len(a.Faults) == 0 {
		return nil
	}
	return []task.Reason{{Sectors: a.Faults, Err: "the external processor refuses them, although they were read and checked here"}}
}

// bounded asks the backend and gives it up when it takes far longer than proofs
// take.
func (r *ReadFirst) bounded(ctx context.Context, id string, q task.Question, partitions int) (task.Answer, error) {
	expect := r.cfg.Pace.Expect(q.ProofType, partitions)
	limit := r.limit(q, partitions, expect)
	cause := fmt.Errorf("%w: no proof of %d partitions within %s", ErrHung, partitions, limit.Round(time.Second))
	bound, cancel := context.WithTimeoutCause(ctx, limit, cause)
	defer cancel()
	begin := time.Now()
	r.mu.Lock()
	r.busy[id] = work{since: begin, expect: expect}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.busy, id)
	}()
	a, err := r.cfg.Backend.ProveWindowPoSt(bound, q)
	if err == nil {
		if len(a.Proofs) > 0 {
			r.cfg.Pace.Note(q.ProofType, partitions, time.Since(begin))
		}
		return a, nil
	}
	if ctx.Err() == nil && bound.Err() != nil {
		r.cfg.Log.Error("external processor given up; it is started again, and another slave may take the task", attr.Task(id), attr.Err(cause))
		return task.Answer{}, cause
	}
	return task.Answer{}, err
}

// limit is how long a proof may take before its processor counts as hanging.
func (r *ReadFirst) limit(q task.Question, partitions int, expect time.Duration) time.Duration {
	switch {
	case r.cfg.HungAfter > 0:
		return r.cfg.HungAfter * time.Duration(max(partitions, 1))
	case expect > 0:
		return max(hungFactor*expect, r.cfg.Least)
	case q.NotAfter > 0:
		return max(time.Until(time.Unix(q.NotAfter, 0))/2, r.cfg.Least)
	}
	return 24 * time.Hour // until its caller gives up
}

// withVanilla gives each replica its vanilla proof in the bincode form.
func withVanilla(q task.Question, read *Reading) (task.Question, error) {
	shape, err := merkle.ShapeOf(read.Task.Statement.Type.SectorSize())
	if err != nil {
		return q, err
	}
	of := make(map[uint64]*post.Vanilla, len(read.Task.Vanilla))
	for i, s := range read.Task.Statement.Sectors {
		of[s.Number] = read.Task.Vanilla[i]
	}
	for i, rep := range q.Replicas { // Without made the list
		q.Replicas[i].Vanilla = of[rep.SectorID].Encode(shape)
	}
	return q, nil
}

// Progress tells how far a task is: the share that was read, or how long the
// backend has had it and what is usual.
func (r *ReadFirst) Progress(taskID string) (string, bool) {
	if p, ok := r.cfg.Survey.Progress(taskID); ok {
		return p.String(), true
	}
	r.mu.Lock()
	w, ok := r.busy[taskID]
	r.mu.Unlock()
	if !ok {
		return "", false
	}
	text := fmt.Sprintf("proving for %s", time.Since(w.since).Round(time.Second))
	if w.expect > 0 {
		text += fmt.Sprintf(" of about %s", w.expect.Round(time.Second))
	}
	return text, true
}
