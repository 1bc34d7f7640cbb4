package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wdpost/internal/endpoint"
	"wdpost/internal/patience"
)

// A failed call is repeated within its time at most so often, after pauses that
// begin at minRepeat.
const (
	maxRounds = 6
	minRepeat = 100 * time.Millisecond
	maxRepeat = 5 * time.Second
)

// call says how a method is asked.
type call struct {
	method  string
	timeout time.Duration // of one try
	patient bool          // only the context bounds a try
	// members are asked in this order; nil: in the pool's.
	members []*member
	// current: only endpoints that are with the chain may answer, while there is one.
	current bool
	// effect: the call changes something. It is asked of another endpoint, or
	// again, only where the try before certainly changed nothing.
	effect bool
}

// read asks the best endpoint and, while ctx lasts and no answer came, the others.
func read[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	v, _, err := attempt(ctx, n, call{method: method, timeout: n.cfg.CallTimeout}, f)
	return v, err
}

// readLong is read for answers that may take long to make and to carry.
func readLong[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	v, _, err := attempt(ctx, n, call{method: method, timeout: 4 * n.cfg.CallTimeout}, f)
	return v, err
}

// wait is read for calls that last until something happens on chain.
func wait[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	v, _, err := attempt(ctx, n, call{method: method, patient: true, current: true}, f)
	return v, err
}

// readNow is readLong for what only an endpoint that is with the chain can know.
func readNow[T any](ctx context.Context, n *Node, method string, f func(context.Context, *rpc) (T, error)) (T, error) {
	v, _, err := attempt(ctx, n, call{method: method, timeout: 4 * n.cfg.CallTimeout, current: true}, f)
	return v, err
}

// attempt makes rounds over the endpoints until one answers, the answer is final,
// or the time is over. It returns the endpoint that answered.
func attempt[T any](ctx context.Context, n *Node, c call, f func(context.Context, *rpc) (T, error)) (T, *member, error) {
	again := patience.Backoff{Min: minRepeat, Max: maxRepeat}
	var none T
	for round := 1; ; round++ {
		members := n.askable(c)
		if len(members) == 0 {
			return none, nil, n.nobody(c.method)
		}
		v, m, err := race(ctx, n, c, members, f)
		if err == nil {
			n.pool.answered(c.method)
			return v, m, nil
		}
		pause := again.Next()
		if rest, limited := endpoint.RetryAfter(err); limited {
			pause = max(pause, rest)
		}
		if round == maxRounds || !repeatable(c, err) || !timeFor(ctx, pause) {
			if ctx.Err() == nil {
				n.pool.refused(c.method, err)
			}
			return none, nil, err
		}
		if patience.Sleep(ctx, pause) != nil {
			return none, nil, err
		}
	}
}

// askable lists the endpoints for a call, the first to ask at the front.
func (n *Node) askable(c call) []*member {
	switch {
	case n.only != nil:
		return []*member{n.only}
	case c.members != nil:
		return c.members
	case c.current:
		return n.pool.good(c.method)
	}
	return n.pool.order(c.method)
}

// nobody is the error where no endpoint may be used.
func (n *Node) nobody(method string) error {
	m := n.pool.members[0]
	n.pool.mu.Lock()
	defer n.pool.mu.Unlock()
	return m.ep.Explain(method, m.foreign)
}

// timeFor reports whether ctx lasts longer than a pause.
func timeFor(ctx context.Context, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || time.Until(deadline) > pause)
}

// repeatable reports whether the same call may get an answer a moment later: the
// service wants it slower, the line broke in the middle, or the node has not got
// the tipset yet, as one of several behind a balancer. Nobody at the address is
// left to the caller, who knows how long it is worth waiting.
func repeatable(c call, err error) bool {
	switch {
	case endpoint.CategoryOf(err) == endpoint.Limited:
		return true
	case c.effect:
		return false
	case isBehind(err):
		return true
	}
	return endpoint.CategoryOf(err) == endpoint.Transient &&
		!endpoint.WithoutEffect(err) && !errors.Is(err, context.DeadlineExceeded)
}

// isBehind recognises the answers of a node that lacks the tipset asked about. A
// message that is not known is another matter.
func isBehind(err error) bool {
	if !errors.Is(err, endpoint.ErrAnswered) || strings.Contains(err.Error(), "failed to load message") {
		return false
	}
	for _, sign := range []string{"loading tipset", "load tipset", "block not found", "ipld: could not find"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
}

// result is what one endpoint said.
type result[T any] struct {
	m   *member
	v   T
	err error
}

// race asks members one after the other, and beside each other where one is
// silent for long, until one answers. The error is that of the one asked first.
func race[T any](ctx context.Context, n *Node, c call, members []*member, f func(context.Context, *rpc) (T, error)) (T, *member, error) {
	if len(members) == 1 {
		v, err := one(ctx, n, members[0], c, 1, f)
		return v, members[0], err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result[T], len(members))
	asked := 0
	ask := func() {
		m, left := members[asked], len(members)-asked
		asked++
		go func() {
			v, err := one(ctx, n, m, c, left, f)
			results <- result[T]{m, v, err}
		}()
	}
	ask()
	hedge := time.NewTicker(n.cfg.HedgeAfter)
	defer hedge.Stop()
	var first error
	failed := map[*member]error{}
	for {
		select {
		case r := <-results:
			if r.err == nil {
				for _, m := range members[:asked] {
					if m != r.m {
						n.pool.shun(m, c.method, failed[m]) // refused, or silent until now
					}
				}
				return r.v, r.m, nil
			}
			if first == nil || r.m == members[0] {
				first = r.err
			}
			failed[r.m] = r.err
			switch {
			case !worthAsking(r.err):
				return r.v, nil, r.err
			case c.effect && !endpoint.WithoutEffect(r.err):
				n.pool.shun(r.m, c.method, r.err) // whether it took effect must be found out first
				return r.v, nil, r.err
			case ctx.Err() == nil && asked < len(members):
				ask()
			case len(failed) == asked:
				return r.v, nil, first
			}
		case <-hedge.C:
			if asked < len(members) && !c.effect && !c.patient {
				ask()
			}
		}
	}
}

// one is a single try on m. left is how many endpoints may still be asked, m
// included: a hung one must not use up the time of the others.
func one[T any](ctx context.Context, n *Node, m *member, c call, left int, f func(context.Context, *rpc) (T, error)) (T, error) {
	try := ctx
	if !c.patient {
		var cancel context.CancelFunc
		try, cancel = context.WithTimeout(ctx, share(ctx, c, left))
		defer cancel()
	}
	var v T
	err := n.admit(try, m)
	admitted := err == nil
	if admitted {
		v, err = guarded(func() (T, error) { return f(try, &m.rpc) })
	}
	err = m.explain(c.method, err)
	if ctx.Err() != nil && err != nil {
		return v, err // a caller that went away says nothing about the node
	}
	n.pool.count(m, err)
	switch cat := endpoint.CategoryOf(err); {
	case err == nil, !admitted, endpoint.WithoutEffect(err), cat == endpoint.Auth:
		n.pool.report(m, err)
	}
	if _, limited := endpoint.RetryAfter(err); limited {
		n.pool.shun(m, c.method, err)
	}
	return v, err
}

// share is the time-out of one try: the call's own, or less where the context's
// remaining time has to do for left endpoints.
func share(ctx context.Context, c call, left int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.timeout
	}
	return min(c.timeout, time.Until(deadline)/time.Duration(left))
}

// guarded turns a panic into an error: an answer that breaks its decoder costs
// that call, not the process.
func guarded[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: decoding it failed: %v", endpoint.ErrNonsense, p)
		}
	}()
	return f()
}

// worthAsking reports whether another endpoint could answer better. What follows
// from the chain's state and the question is the same everywhere.
func worthAsking(err error) bool {
	if !errors.Is(err, endpoint.ErrAnswered) {
		return true
	}
	if errors.Is(err, ErrNotFound) {
		return false
	}
	for _, sign := range []string{"message execution failed", "equal nonce", "actor code is not"} {
		if strings.Contains(err.Error(), sign) {
			return false
		}
	}
	return true
}

// explain names the endpoint and recognises what the chain does not know.
func (m *member) explain(method string, err error) error {
	err = m.ep.Explain(method, err)
	if err == nil || !errors.Is(err, endpoint.ErrAnswered) || errors.Is(err, ErrNotFound) {
		return err
	}
	for _, sign := range []string{"actor not found", "sector not found", "resolution lookup failed"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
	}
	return err
}
