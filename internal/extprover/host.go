package extprover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"wdpost/internal/task"
)

// Processor is one child process to keep running.
type Processor struct {
	Name         string            // for logs; default: stage, number and program
	Bin          string            // program; looked up in PATH when it has no slash
	Args         []string          // its arguments
	Envs         map[string]string // set on top of the host's environment
	Concurrent   int               // requests it has at once; default 1
	Weight       int               // share of the requests among several; default 1
	ReadyTimeout time.Duration     // from start to the ready line; default 5 s
}

// HostConfig is what NewHost needs.
type HostConfig struct {
	WindowPoSt  []Processor
	WinningPoSt []Processor
	Log         *slog.Logger

	// RestartMin and RestartMax bound the wait before a dead child is started
	// again: it doubles with each death in a row. Default 1 s and 10 s, so that what
	// the operator has mended works soon.
	RestartMin, RestartMax time.Duration
	// StopGrace is how long children may take to end by themselves at the stop.
	// Default 10 s.
	StopGrace time.Duration
	// AbandonTimeout is how long a child may stay silent about a request that
	// was withdrawn before it counts as hung and is restarted. Default 30 min.
	AbandonTimeout time.Duration
	// MaxDeaths is how many children may die while they have a request before
	// the request is given up. Default 5.
	MaxDeaths int
}

// Host keeps the children of all stages running and hands requests to them.
//
// A request waits for a free child of its stage; among several free ones the
// weights decide. No child ever has more requests than its Concurrent: a
// withdrawn one counts until the child has answered it. The requests of a child
// that dies are asked again, of another child or of its successor. A request
// that has no answer when half of the time until its NotAfter is over is given
// to a second, idle child too.
type Host struct {
	pools map[string]*pool
	cfg   HostConfig
}

// ErrNoProcessor says that no processor is configured for a stage.
var ErrNoProcessor = errors.New("no external processor configured")

// ProcessorError is a request that a child answered with an error, or that
// children kept dying of.
type ProcessorError struct {
	Child string
	Msg   string
}

// Error names the child.
func (e *ProcessorError) Error() string {
	return fmt.Sprintf("external processor %s: %s", e.Child, e.Msg)
}

// NewHost checks the configuration; children are started by Run.
func NewHost(cfg HostConfig) (*Host, error) {
	cfg.RestartMin = cmp.Or(cfg.RestartMin, time.Second)
	cfg.RestartMax = cmp.Or(cfg.RestartMax, 10*time.Second)
	cfg.StopGrace = cmp.Or(cfg.StopGrace, 10*time.Second)
	cfg.AbandonTimeout = cmp.Or(cfg.AbandonTimeout, 30*time.Minute)
	cfg.MaxDeaths = cmp.Or(cfg.MaxDeaths, 5)
	h := &Host{cfg: cfg, pools: map[string]*pool{}}
	for stage, procs := range map[string][]Processor{StageWindowPoSt: cfg.WindowPoSt, StageWinningPoSt: cfg.WinningPoSt} {
		p := &pool{stage: stage, maxDeaths: cfg.MaxDeaths}
		for i, proc := range procs {
			if proc.Bin == "" {
				return nil, fmt.Errorf("processor %d of %s: no program given", i, stage)
			}
			if proc.Concurrent < 0 || proc.Weight < 0 {
				return nil, fmt.Errorf("processor %d of %s: Concurrent and Weight must be positive", i, stage)
			}
			proc.Name = cmp.Or(proc.Name, fmt.Sprintf("%s[%d] %s", stage, i, filepath.Base(proc.Bin)))
			proc.Concurrent = cmp.Or(proc.Concurrent, 1)
			proc.Weight = cmp.Or(proc.Weight, 1)
			proc.ReadyTimeout = cmp.Or(proc.ReadyTimeout, 5*time.Second)
			p.children = append(p.children, newChild(p, proc, &h.cfg))
		}
		h.pools[stage] = p
	}
	return h, nil
}

// Run keeps the children running until ctx ends, then stops them: stdin is
// closed, after half of StopGrace they get SIGTERM, after all of it SIGKILL.
// It returns when all are gone.
func (h *Host) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range h.pools {
		for _, c := range p.children {
			wg.Go(func() { c.supervise(ctx) })
		}
	}
	wg.Wait()
}

// ProveWindowPoSt asks the children of the stage window_post. It returns when
// one of them has answered or ctx ends; ctx should end when the window closes.
func (h *Host) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return h.ask(ctx, StageWindowPoSt, q)
}

// ProveWinningPoSt asks the children of the stage winning_post.
func (h *Host) ProveWinningPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return h.ask(ctx, StageWinningPoSt, q)
}

func (h *Host) ask(ctx context.Context, stage string, q task.Question) (task.Answer, error) {
	p := h.pools[stage]
	if len(p.children) == 0 {
		return task.Answer{}, fmt.Errorf("%w for %s: add a section to ext-prover.cfg", ErrNoProcessor, stage)
	}
	return p.ask(ctx, q)
}

// Has reports whether a processor is configured for the stage.
func (h *Host) Has(stage string) bool { return len(h.pools[stage].children) > 0 }

// ChildStatus is the state of one child at one moment.
type ChildStatus struct {
	Name     string `json:"name"`
	Stage    string `json:"stage"`
	Ready    bool   `json:"ready"`
	Pid      int    `json:"pid"`      // 0 when not running
	InFlight int    `json:"inFlight"` // requests it has, withdrawn ones included
	Answered uint64 `json:"answered"` // since the host's start
	Failed   uint64 `json:"failed"`   // of those, with an error
	Deaths   uint64 `json:"deaths"`   // ends that were not asked for
	// LastError is why the child is not ready: its own last error, or how its
	// process ended. Empty while it is ready.
	LastError string `json:"lastError,omitempty"`
	// Report is the running process's latest report, nil where it makes none;
	// between two processes the conditions of the last.
	Report   *Report   `json:"report,omitempty"`
	Reported time.Time `json:"reported,omitzero"` // when it came
}

// Status lists all children, and how many requests wait for one by stage.
func (h *Host) Status() (children []ChildStatus, waiting map[string]int) {
	waiting = map[string]int{}
	for _, stage := range []string{StageWindowPoSt, StageWinningPoSt} {
		p := h.pools[stage]
		p.mu.Lock()
		waiting[stage] = len(p.waiting)
		for _, c := range p.children {
			s := c.status
			s.Name, s.Stage, s.InFlight = c.proc.Name, stage, len(c.inflight)
			children = append(children, s)
		}
		p.mu.Unlock()
	}
	return children, waiting
}
