package prover

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Stages of an answer, in this order. A stage may be skipped.
const (
	StageKeys    = "loading keys"
	StageReading = "reading sectors"
	StageWaiting = "waiting for memory"
	StageProving = "proving"
	StageVerify  = "verifying"
)

// Progress is how far the answer to a question is.
type Progress struct {
	Stage string
	// Done is the share of the stage that is done, 0…1; 0 where that is not
	// known.
	Done float64
}

// String writes it for people: "proving 41%".
func (p Progress) String() string {
	if p.Stage == StageReading || p.Stage == StageProving {
		return fmt.Sprintf("%s %d%%", p.Stage, int(100*p.Done))
	}
	return p.Stage
}

// Progress tells how far the question with the given task ID (task.Question.ID)
// is; ok is false if it is not being answered here now. It never waits.
func (e *Engine) Progress(taskID string) (p Progress, ok bool) {
	return e.running.progress(taskID)
}

// runs are the questions that are being answered.
type runs struct {
	mu     sync.Mutex
	meters map[string]*meter // by task ID; of equal questions the last
}

// begin enters a question; end takes it out.
func (r *runs) begin(taskID string) (m *meter, end func()) {
	m = new(meter)
	m.enter(StageKeys, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.meters == nil {
		r.meters = make(map[string]*meter)
	}
	r.meters[taskID] = m
	return m, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.meters[taskID] == m {
			delete(r.meters, taskID)
		}
	}
}

func (r *runs) progress(taskID string) (Progress, bool) {
	r.mu.Lock()
	m := r.meters[taskID]
	r.mu.Unlock()
	if m == nil {
		return Progress{}, false
	}
	return m.read(), true
}

// meter counts the work of the current stage. Its methods may run at once.
type meter struct{ stage atomic.Pointer[stage] }

type stage struct {
	name        string
	done, total atomic.Uint64
}

// enter begins a stage of so many pieces; 0 is unknown.
func (m *meter) enter(name string, pieces int) {
	s := &stage{name: name}
	s.total.Store(uint64(pieces))
	m.stage.Store(s)
}

// step counts one piece.
func (m *meter) step() { m.stage.Load().done.Add(1) }

// set is the form of the proof system's progress.
func (m *meter) set(done, total uint64) {
	s := m.stage.Load()
	s.total.Store(total)
	s.done.Store(done)
}

func (m *meter) read() Progress {
	s := m.stage.Load()
	p := Progress{Stage: s.name}
	if total := s.total.Load(); total > 0 {
		p.Done = min(1, float64(s.done.Load())/float64(total))
	}
	return p
}
