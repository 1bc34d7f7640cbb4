package manager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"wdpost/internal/task"
)

// errReload is the cause with which a miner is stopped to be taken up again
// with other settings.
var errReload = errors.New("the miner's settings were changed")

// joiner keeps a proof that is being made alive over a reload: whoever asks the
// same question again joins the first.
type joiner struct {
	mu   sync.Mutex
	asks map[string]*ask
	work sync.WaitGroup
}

// ask is one question under way.
type ask struct {
	cancel  context.CancelCauseFunc
	waiting int           // callers; guarded by joiner.mu
	done    chan struct{} // closed after answer and err are set
	answer  task.Answer
	err     error
}

func newJoiner() *joiner { return &joiner{asks: map[string]*ask{}} }

// do asks prove, or joins one that asks the same. base bounds the work, ctx the
// caller's wait. When the last caller leaves, the work ends, unless it leaves
// for a reload: then the work goes on until the question's NotAfter.
func (j *joiner) do(ctx, base context.Context, q task.Question, prove func(context.Context, task.Question) (task.Answer, error)) (task.Answer, error) {
	id := q.ID()
	j.mu.Lock()
	a := j.asks[id]
	if a == nil {
		a = j.begin(base, id, q, prove)
	}
	a.waiting++
	j.mu.Unlock()
	select {
	case <-a.done:
		return a.answer, a.err
	case <-ctx.Done():
		j.leave(id, a, context.Cause(ctx))
		return task.Answer{}, fmt.Errorf("wait for a proof: %w", context.Cause(ctx))
	}
}

// begin starts the work. mu is held.
func (j *joiner) begin(base context.Context, id string, q task.Question, prove func(context.Context, task.Question) (task.Answer, error)) *ask {
	ctx, cancel := context.WithCancelCause(base)
	a := &ask{cancel: cancel, done: make(chan struct{})}
	j.asks[id] = a
	j.work.Go(func() {
		defer cancel(nil)
		if q.NotAfter > 0 {
			var stop context.CancelFunc
			ctx, stop = context.WithDeadline(ctx, time.Unix(q.NotAfter, 0))
			defer stop()
		}
		defer func() {
			if p := recover(); p != nil {
				a.err = fmt.Errorf("panic while proving: %v", p)
			}
			j.mu.Lock()
			if j.asks[id] == a {
				delete(j.asks, id)
			}
			j.mu.Unlock()
			close(a.done)
		}()
		a.answer, a.err = prove(ctx, q)
	})
	return a
}

func (j *joiner) leave(id string, a *ask, why error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	a.waiting--
	if a.waiting > 0 || errors.Is(why, errReload) {
		return
	}
	a.cancel(why)
	if j.asks[id] == a { // who asks now begins anew
		delete(j.asks, id)
	}
}

func (j *joiner) wait() { j.work.Wait() }
