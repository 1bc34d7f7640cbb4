package parts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/prover"
	"wdpost/internal/task"
)

// Master is where parts are offered.
type Master interface {
	// OfferPart hands over one part, a question with vanilla proofs.
	OfferPart(ctx context.Context, l task.Lease, number int, q task.Question) error
	// AwaitParts waits until something changed in the parts of a lease.
	AwaitParts(ctx context.Context, l task.Lease, want task.PartsWanted, wait time.Duration) (task.PartsNews, error)
}

// Local proves on this machine.
type Local interface {
	// ProveWindowPoSt answers a question whose replicas carry vanilla proofs.
	ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error)
	// Progress tells how far it is; ok is false where that is not known.
	Progress(taskID string) (text string, ok bool)
}

// Verifier checks proofs.
type Verifier interface {
	// VerifyWindowPoSt returns nil only if the answer's proof is valid for the
	// question; task.ErrBadAnswer says that it is not.
	VerifyWindowPoSt(ctx context.Context, q task.Question, a task.Answer) error
}

// Mode says when partitions are offered to others.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"   // while there are idle provers and alone it would take half of the time left
	Always Mode = "always" // while there are idle provers
	Never  Mode = "never"  // not, unless this slave does not prove itself
)

// SpreaderConfig is what NewSpreader needs.
type SpreaderConfig struct {
	Survey   *prover.Survey // required
	Local    Local          // nil: this slave does not prove
	Master   Master         // required
	Verifier Verifier       // required
	Pace     *prover.Pace   // required
	Mode     Mode           // default Auto
	Log      *slog.Logger   // required
	// Alone is how long a slave that does not prove waits for a prover before it
	// hands the task back. Default 2 min.
	Alone time.Duration
}

// Spreader answers tasks: it reads their sectors once, proves partitions, and has
// others prove some. It is safe for concurrent use.
type Spreader struct {
	cfg  SpreaderConfig
	mu   sync.Mutex
	runs map[string]*spreading // by task ID
}

// NewSpreader joins a survey, a prover and a master.
func NewSpreader(cfg SpreaderConfig) *Spreader {
	if cfg.Mode == "" {
		cfg.Mode = Auto
	}
	if cfg.Alone <= 0 {
		cfg.Alone = 2 * time.Minute
	}
	return &Spreader{cfg: cfg, runs: make(map[string]*spreading)}
}

// ErrNoProver means that a slave that does not prove found nobody who does.
var ErrNoProver = errors.New("no prover takes the partitions that were read here")

// ProveLease answers the task that this slave has under a lease. Errors are those
// of the survey and of the local prover, ErrNoProver, or the cause of ctx's end.
func (s *Spreader) ProveLease(ctx context.Context, l task.Lease, q task.Question) (task.Answer, error) {
	begin := time.Now()
	read, err := s.cfg.Survey.Read(ctx, q)
	if err != nil {
		return task.Answer{}, err
	}
	answer := task.Answer{Faults: read.Faults, Reasons: read.Reasons}
	if len(read.Task.Statement.Sectors) == 0 || len(read.Faults) > 0 && !q.AllowSkip {
		return answer, nil
	}
	questions, splits, err := Split(q, read)
	if err != nil {
		return task.Answer{}, err
	}
	if !splits {
		return s.alone(ctx, q)
	}
	r := s.begin(l, q, questions, time.Since(begin))
	defer s.end(q.ID())
	proof, err := r.run(ctx)
	if err != nil {
		return task.Answer{}, err
	}
	answer.Proofs = [][]byte{proof}
	return answer, nil
}

// alone proves a question that does not split.
func (s *Spreader) alone(ctx context.Context, q task.Question) (task.Answer, error) {
	if s.cfg.Local == nil {
		return task.Answer{}, fmt.Errorf("%w: the partitions of a %s cannot be proven apart, and this slave does not prove", task.ErrUnable, q.ProofType)
	}
	return s.cfg.Local.ProveWindowPoSt(ctx, q)
}

func (s *Spreader) begin(l task.Lease, q task.Question, questions []task.Question, reading time.Duration) *spreading {
	r := &spreading{s: s, lease: l, proofType: q.ProofType, window: q.NotAfter, changed: make(chan struct{}),
		log: s.cfg.Log.With(attr.Task(l.ID), attr.Attempt(l.Attempt))}
	for i, part := range questions {
		r.pieces = append(r.pieces, &piece{number: i, question: part})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[q.ID()] = r
	r.log.Debug("sectors read, partitions are proven", attr.Count(len(questions)), attr.Took(reading))
	return r
}

func (s *Spreader) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, id)
}

// Progress tells how far a task is: what was read, or how many of its partitions
// are proven.
func (s *Spreader) Progress(taskID string) (string, bool) {
	if p, ok := s.cfg.Survey.Progress(taskID); ok {
		return p.String(), true
	}
	s.mu.Lock()
	r := s.runs[taskID]
	s.mu.Unlock()
	if r != nil {
		return r.progress(), true
	}
	if s.cfg.Local != nil { // a part of another's task
		return s.cfg.Local.Progress(taskID)
	}
	return "", false
}

// spreads reports whether partitions are offered to others, as it stands.
func (s *Spreader) spreads(r *spreading, open int) bool {
	switch {
	case s.cfg.Local == nil:
		return true
	case open < 1 || s.cfg.Mode == Never:
		return false
	case s.cfg.Mode == Always || r.window == 0:
		return true
	}
	expect := s.cfg.Pace.Expect(r.proofType, open+1)
	return expect == 0 || 2*expect > time.Until(time.Unix(r.window, 0))
}
