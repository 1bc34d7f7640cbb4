package extprover

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
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
	rich   []byte      // the same with vanilla proofs; nil where there are none
	result chan result // buffered: one result, sent once

	// Guarded by pool.mu.
	children []*child // that have it; none while it waits
	deaths   int      // of children that had it
	settled  bool     // the result is sent, or nobody waits for it
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
	r := &pending{id: id, result: make(chan result, 1)}
	var err error
	if r.line, r.rich, err = encodeTask(id, q); err != nil {
		return task.Answer{}, fmt.Errorf("encode the request: %w", err)
	}
	p.mu.Lock()
	p.waiting = append(p.waiting, r)
	p.dispatch()
	p.mu.Unlock()

	asked := time.Now()
	half := time.NewTimer(halfTime(q))
	defer half.Stop()
	for {
		select {
		case res := <-r.result:
			return res.answer, res.err
		case <-half.C:
			p.askAnother(r, time.Since(asked))
			half.Reset(halfTime(q))
		case <-ctx.Done():
			p.withdraw(r)
			return task.Answer{}, fmt.Errorf("wait for an external processor: %w", context.Cause(ctx))
		}
	}
}

// halfTime is half of what is left until the answer to q is of no use: a child
// that has said nothing by then may have lost the request.
func halfTime(q task.Question) time.Duration {
	if q.NotAfter == 0 {
		return 24 * time.Hour // until its caller gives up
	}
	return max(time.Second, time.Until(time.Unix(q.NotAfter, 0))/2)
}

// askAnother gives a request that has long been without an answer to one more
// child that is idle, unless other requests wait for it. The first answer
// counts.
func (p *pool) askAnother(r *pending, silent time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.settled || len(r.children) == 0 || len(p.waiting) > 0 {
		return
	}
	c := p.pick(r)
	if c == nil {
		return
	}
	last := r.children[len(r.children)-1]
	c.log.Warn("another external processor is asked too", attr.Request(r.id), attr.Process(last.proc.Name), attr.SilentFor(silent.Round(time.Second)))
	c.give(r)
}

// dispatch gives waiting requests to free children. mu is held.
func (p *pool) dispatch() {
	for len(p.waiting) > 0 {
		r := p.waiting[0]
		c := p.pick(r)
		if c == nil {
			return
		}
		p.waiting = slices.Delete(p.waiting, 0, 1)
		c.give(r)
	}
}

// pick chooses the child for a request: of those ready with room that do not
// have it already, in the long run each as often as its weight (smooth weighted
// round-robin). One that still owes an answer that nobody waits for any more
// may have lost it, and comes after the others. mu is held.
func (p *pool) pick(r *pending) *child {
	for _, owing := range []bool{false, true} {
		var best *child
		total := 0
		for _, c := range p.children {
			if !c.status.Ready || len(c.inflight) >= c.proc.Concurrent || slices.Contains(r.children, c) || c.owes() != owing {
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
			return best
		}
	}
	return nil
}

// withdraw gives a request up because nobody waits for its answer.
func (p *pool) withdraw(r *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.settled = true
	p.waiting = slices.DeleteFunc(p.waiting, func(w *pending) bool { return w == r })
	for _, c := range r.children {
		c.withdrawn(r)
	}
}

// settle ends a request with what its child answered; an answer to no request
// of this child is reported as false. An error does not count while another
// child still has the request.
func (p *pool) settle(c *child, id uint64, res result) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := c.inflight[id]
	if r == nil {
		return false
	}
	c.drop(r)
	c.status.Answered++
	if res.err != nil {
		c.status.Failed++
	}
	if !r.settled && (res.err == nil || len(r.children) == 0) {
		r.settled = true
		r.result <- res
		for _, other := range r.children {
			other.withdrawn(r)
		}
	}
	p.dispatch()
	return true
}

// childUp opens a child for requests.
func (p *pool) childUp(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.status.Ready = true
	c.status.LastError = ""
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
func (p *pool) childDown(c *child, why error, wanted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.status.Pid = 0
	if last := c.status.Report; last != nil { // what it died of stands until another process says otherwise
		c.status.Report = &Report{Build: last.Build, Conditions: last.Conditions}
	}
	if !wanted {
		c.status.Deaths++
		c.status.LastError = why.Error()
	}
	var again []*pending
	for _, r := range c.inflight {
		c.drop(r)
		r.deaths++
		switch {
		case r.settled || len(r.children) > 0:
		case r.deaths >= p.maxDeaths:
			r.settled = true
			r.result <- result{err: &ProcessorError{Child: c.proc.Name, Msg: fmt.Sprintf("died; the request is given up after it ended %d processes", r.deaths)}}
		default:
			again = append(again, r)
		}
	}
	slices.SortFunc(again, func(a, b *pending) int { return int(a.id) - int(b.id) })
	p.waiting = append(again, p.waiting...)
	p.dispatch()
}
