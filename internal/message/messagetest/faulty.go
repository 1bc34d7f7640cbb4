package messagetest

import (
	"context"
	"sync"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// Fate is what happens to one call of a Faulty sender. The zero value lets it
// pass.
type Fate struct {
	// Err is answered in place of the result. With Happened the call takes
	// effect all the same, and only its answer is lost.
	Err      error
	Happened bool
	// Hang holds the call until its context ends; with Happened it takes effect
	// first.
	Hang bool
}

// Faulty is a Sender whose calls fail in every way that a service has: they
// fail, they fail and happened all the same, they hang.
type Faulty struct {
	message.Sender
	// Decide is asked before each call for its fate. op is "push", "find",
	// "wait", "replace", "giveup" or "cansign", n counts the calls of that op
	// from 1.
	Decide func(op string, n int) Fate

	mu    sync.Mutex
	count map[string]int
}

var _ message.Sender = (*Faulty)(nil)

// Counted is how often op was called.
func (f *Faulty) Counted(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[op]
}

func (f *Faulty) fate(op string) Fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.count[op]++
	if f.Decide == nil {
		return Fate{}
	}
	return f.Decide(op, f.count[op])
}

// played carries a call through its fate.
func played[T any](ctx context.Context, f *Faulty, op string, call func() (T, error)) (T, error) {
	fate := f.fate(op)
	if !fate.Hang && fate.Err == nil {
		return call()
	}
	if fate.Happened {
		_, _ = call() // its answer is lost
	}
	var none T
	if fate.Hang {
		<-ctx.Done()
		return none, context.Cause(ctx)
	}
	return none, fate.Err
}

// Push implements message.Sender.
func (f *Faulty) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	return played(ctx, f, "push", func() (message.Handle, error) { return f.Sender.Push(ctx, id, msg, spec) })
}

// Find implements message.Sender.
func (f *Faulty) Find(ctx context.Context, h message.Handle) (message.Outcome, error) {
	return played(ctx, f, "find", func() (message.Outcome, error) { return f.Sender.Find(ctx, h) })
}

// Wait implements message.Sender.
func (f *Faulty) Wait(ctx context.Context, h message.Handle, confidence uint64) (message.Outcome, error) {
	return played(ctx, f, "wait", func() (message.Outcome, error) { return f.Sender.Wait(ctx, h, confidence) })
}

// Replace implements message.Sender.
func (f *Faulty) Replace(ctx context.Context, h message.Handle, to message.Price) (message.Handle, error) {
	return played(ctx, f, "replace", func() (message.Handle, error) { return f.Sender.Replace(ctx, h, to) })
}

// GiveUp implements message.Sender.
func (f *Faulty) GiveUp(ctx context.Context, h message.Handle) error {
	_, err := played(ctx, f, "giveup", func() (struct{}, error) { return struct{}{}, f.Sender.GiveUp(ctx, h) })
	return err
}

// CanSign implements message.Sender.
func (f *Faulty) CanSign(ctx context.Context, from address.Address) error {
	_, err := played(ctx, f, "cansign", func() (struct{}, error) { return struct{}{}, f.Sender.CanSign(ctx, from) })
	return err
}
