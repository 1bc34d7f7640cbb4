package chain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/condition"
	"wdpost/internal/endpoint"
)

// A head may be so many epochs behind the clock, and at least for so long, before
// that stands as a condition: development networks have epochs of a second.
const (
	toldAfter  = 3
	leastAfter = 10 * time.Second
)

// toldFrom is the number of epochs behind the clock from which a head is told of.
func (p *pool) toldFrom() abi.ChainEpoch {
	delay := p.blockDelay()
	return max(toldAfter, abi.ChainEpoch((leastAfter+delay-1)/delay))
}

// trouble is what is wrong with one endpoint.
type trouble struct {
	kind   condition.Kind
	detail string
	remedy string // the catalogue's when empty
}

// judge holds every endpoint against the others and the clock, and tells the
// board. What costs a window while no other endpoint is usable is only a reserve
// gone while there is one.
func (p *pool) judge() {
	p.mu.Lock()
	type finding struct {
		m  *member
		is *trouble
	}
	var found []finding
	usable := 0
	for _, m := range p.members {
		is := p.troubleOf(m)
		if is == nil || is.kind == condition.NodeClock || is.kind == condition.NodeLimited {
			usable++
		}
		found = append(found, finding{m, is})
	}
	var tell []func()
	for _, f := range found {
		subject := f.m.ep.String()
		for kind := range f.m.standing {
			if f.is == nil || f.is.kind != kind {
				delete(f.m.standing, kind)
				tell = append(tell, func() { p.board.Clear(kind, subject) })
			}
		}
		if f.is == nil {
			continue
		}
		f.m.standing[f.is.kind] = true
		c := condition.Condition{Kind: f.is.kind, Subject: subject, Detail: f.is.detail, Remedy: f.is.remedy}
		if usable > 0 && f.is.kind != condition.EndpointForeign {
			c.Cost = condition.None
		}
		tell = append(tell, func() { p.board.Set(c) })
	}
	p.mu.Unlock()
	for _, f := range tell { // the board's watchers may ask for our status
		f()
	}
}

// troubleOf names the worst thing that is wrong with a member; nil for nothing.
// The caller holds mu.
func (p *pool) troubleOf(m *member) *trouble {
	var wrong *foreignError
	switch {
	case errors.As(m.foreign, &wrong):
		return &trouble{kind: wrong.kind, detail: wrong.text, remedy: wrong.remedy}
	case errors.Is(m.err, endpoint.ErrToken):
		return &trouble{kind: condition.NodeAuth, detail: m.err.Error()}
	case m.err != nil:
		return &trouble{kind: condition.NodeGone, detail: fmt.Sprintf("no usable answer since %s: %v", m.since.Format(time.TimeOnly), m.err)}
	case m.head == nil:
		return nil
	}
	if is := p.headTrouble(m); is != nil {
		return is
	}
	if rest := time.Until(m.rest); rest > 0 {
		return &trouble{kind: condition.NodeLimited, detail: fmt.Sprintf("it turned calls away (%d so far) and is left alone for %s", m.failures[endpoint.Limited], rest.Round(time.Second))}
	}
	return nil
}

// headTrouble holds a member's head against its own stream, the clock and the
// other endpoints.
func (p *pool) headTrouble(m *member) *trouble {
	h := m.head.Height
	newest := h
	if m.streamed != nil {
		newest = max(newest, m.streamed.Height)
	}
	if newest > h+lagTolerance {
		return &trouble{kind: condition.NodeOldHeads, detail: fmt.Sprintf("asked for its head it answers epoch %d, its stream has brought epoch %d", h, newest)}
	}
	if now, known := p.now(); known {
		behind, told := now-newest, p.toldFrom()
		still := time.Since(m.moved)
		switch {
		case behind >= told && still >= time.Duration(told)*p.blockDelay():
			return &trouble{kind: condition.NodeStandsStill, detail: fmt.Sprintf("its head is epoch %d for %s, the clock shows epoch %d", newest, still.Round(time.Second), now)}
		case behind >= told:
			return &trouble{kind: condition.NodeLags, detail: fmt.Sprintf("its head is epoch %d, %d epochs behind the clock (%s)", newest, behind, (time.Duration(behind) * p.blockDelay()).Round(time.Second))}
		case behind <= -told:
			return &trouble{kind: condition.NodeClock, detail: fmt.Sprintf("its head is epoch %d, the clock of this machine shows epoch %d", newest, now)}
		}
	}
	if top := p.top(); top != nil && isBehindOf(m.head, top) {
		return &trouble{kind: condition.NodeLags, detail: fmt.Sprintf("its head is epoch %d, another node's is %d and heavier", h, top.Height)}
	}
	return nil
}

// foreignError says why an endpoint must not be used. It is an ErrForeign.
type foreignError struct {
	kind   condition.Kind
	text   string
	remedy string
}

func (e *foreignError) Error() string { return e.text + "; " + e.remedy }
func (e *foreignError) Unwrap() error { return endpoint.ErrForeign }

// heightNow is the best guess at the chain's present height: the follower's
// head, the highest head that was answered, or the clock's epoch.
func (c *core) heightNow() (abi.ChainEpoch, bool) {
	if ts, _ := c.heads.get(); ts != nil {
		return ts.Height, true
	}
	c.pool.mu.Lock()
	top := c.pool.top()
	c.pool.mu.Unlock()
	if top != nil {
		return top.Height, true
	}
	return 0, false
}

// refusalsTold is how many times in a row a method is refused everywhere before
// that stands as a condition.
const refusalsTold = 3

// refused notes that no endpoint answered a method, where the endpoints are to
// blame and not the question.
func (p *pool) refused(method string, err error) {
	cat := endpoint.CategoryOf(err)
	reads := strings.HasPrefix(method, "State") || strings.HasPrefix(method, "Chain")
	mayMiss := method == "StateSearchMsg" || method == "StateWaitMsg" // of a message that nobody knows
	if !reads || mayMiss || cat != endpoint.Nonsense && (cat != endpoint.Refused || !worthAsking(err)) {
		return
	}
	p.mu.Lock()
	if p.refusals == nil {
		p.refusals = map[string]int{}
	}
	p.refusals[method]++
	count := p.refusals[method]
	p.mu.Unlock()
	if count >= refusalsTold {
		p.board.Set(condition.Condition{Kind: condition.NodeRefuses, Subject: method, Detail: fmt.Sprintf("refused %d times in a row: %v", count, err)})
	}
}

// answered notes that a method works.
func (p *pool) answered(method string) {
	p.mu.Lock()
	stood := p.refusals[method] >= refusalsTold
	delete(p.refusals, method)
	p.mu.Unlock()
	if stood {
		p.board.Clear(condition.NodeRefuses, method)
	}
}

// blockDelay is the length of an epoch; a minute while it is not known.
func (p *pool) blockDelay() time.Duration {
	if d := p.delay(); d > 0 {
		return d
	}
	return time.Minute
}

// retire clears what stands on the board because of this pool.
func (p *pool) retire() {
	p.mu.Lock()
	type stood struct {
		kind    condition.Kind
		subject string
	}
	var over []stood
	for _, m := range p.members {
		for kind := range m.standing {
			over = append(over, stood{kind, m.ep.String()})
		}
		clear(m.standing)
	}
	for method, count := range p.refusals {
		if count >= refusalsTold {
			over = append(over, stood{condition.NodeRefuses, method})
		}
	}
	clear(p.refusals)
	p.mu.Unlock()
	for _, o := range over {
		p.board.Clear(o.kind, o.subject)
	}
}
