package extprover

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"wdpost/internal/task"
)

// pool hands the requests of one stage to its children. mu guards everything
// below it and the like-marked fields of the children and requests.
type pool struct {
	stage     string
	maxDeaths int
	children  []*child // never changes

	mu      sync.Mutex
	lastID  uint64
	waiting []*pending // in order of service
}

// pending is a request until it is answered.
type pending struct {
	id     uint64
	line   []byte
	result chan result // buffered: one result, sent once

	// Guarded by pool.mu.
	child     *child // that has it; nil while waiting
	deaths    int    // of children that had it
	withdrawn bool   // nobody waits for the result
}

type result struct {
	answer task.Answer
	err    error
}

// ask waits for the answer to one question.
func (p *pool) ask(ctx context.Context, q task.Question) (task.Answer, error) {
	if err := ctx.Err(); err != nil {
		return task.Answer{}, context.Cause(ctx)
	}
	if q.Replicas == nil {
		q.Replicas = []task.Replica{}
	}
	p.mu.Lock()
	p.lastID++
	id := p.lastID
	p.mu.Unlock()
	line, err := encodeLine(request{ID: id, Task: &q})
	if err != nil {
		return task.Answer{}, fmt.Errorf("encode the request: %w", err)
	}
	r := &pending{id: id, line: line, result: make(chan result, 1)}
	p.mu.Lock()
	p.waiting = append(p.waiting, r)
	p.dispatch()
	p.mu.Unlock()

	select {
	case res := <-r.result:
		return res.answer, res.err
	case <-ctx.Done():
		p.withdraw(r)
		return task.Answer{}, fmt.Errorf("wait for an external processor: %w", context.Cause(ctx))
	}
}

// dispatch gives waiting requests to free children. mu is held.
func (p *pool) dispatch() {
	for len(p.waiting) > 0 {
		c := p.pick()
		if c == nil {
			return
		}
		r := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		r.child = c
		c.inflight[r.id] = r
		c.send(r.line)
	}
}

// pick chooses the child for the next request: of those ready with room, in
// the long run each as often as its weight (smooth weighted round-robin). mu is
// held.
func (p *pool) pick() *child {
	var best *child
	total := 0
	for _, c := range p.children {
		if !c.status.Ready || len(c.inflight) >= c.proc.Concurrent {
			continue
		}
		total += c.proc.Weight
		c.credit += c.proc.Weight
		if best == nil || c.credit > best.credit {
			best = c
		}
	}
	if best != nil {
		best.credit -= total
	}
	return best
}

// withdraw gives a request up because nobody waits for its answer.
func (p *pool) withdraw(r *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.withdrawn = true
	if r.child == nil {
		p.waiting = slices.DeleteFunc(p.waiting, func(w *pending) bool { return w == r })
		return
	}
	if r.child.inflight[r.id] == r {
		r.child.withdrawn(r)
	}
}

// settle ends a request with what its child answered; an answer to no request
// of this child is reported as false.
func (p *pool) settle(c *child, id uint64, res result) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := c.inflight[id]
	if r == nil {
		return false
	}
	delete(c.inflight, id)
	c.status.Answered++
	if res.err != nil {
		c.status.Failed++
	}
	r.result <- res
	p.dispatch()
	return true
}

// childUp opens a child for requests.
func (p *pool) childUp(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.status.Ready = true
	c.credit = 0
	p.dispatch()
}

// childClosing keeps new requests from a child whose process is being ended;
// answers it has already written still count.
func (p *pool) childClosing(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.status.Ready = false
}

// childDown takes back the requests of a child that is gone and puts them at
// the head of the line, unless they have outlived too many children.
func (p *pool) childDown(c *child, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.status.Pid = 0
	if !wanted {
		c.status.Deaths++
	}
	var again []*pending
	for id, r := range c.inflight {
		delete(c.inflight, id)
		r.child = nil
		r.deaths++
		switch {
		case r.withdrawn:
		case r.deaths >= p.maxDeaths:
			r.result <- result{err: &ProcessorError{Child: c.proc.Name, Msg: fmt.Sprintf("died; the request is given up after it ended %d processes", r.deaths)}}
		default:
			again = append(again, r)
		}
	}
	slices.SortFunc(again, func(a, b *pending) int { return int(a.id) - int(b.id) })
	p.waiting = append(again, p.waiting...)
	p.dispatch()
}
