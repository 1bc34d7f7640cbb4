package chain

import (
	"sync"

	"wdpost/internal/lotus"
)

// HeadEvent is a move of the chain's head, several steps in one where they
// came faster than they were handled. What was applied and reverted again in
// the meantime does not show.
type HeadEvent struct {
	// Head is the head after the move, never nil.
	Head *lotus.TipSet
	// Reset says that the move from the head before is not known: this is the
	// first event, or too much happened while the node could not be reached.
	// Apply is then the head alone and Revert is empty; anything concluded
	// from earlier heads must be checked anew.
	Reset bool
	// Revert are the tipsets no longer on the chain, the old head first.
	Revert []*lotus.TipSet
	// Apply are the new tipsets in ascending order, Head last. It is empty
	// when the head only went back.
	Apply []*lotus.TipSet
}

// maxSpan is how many tipsets one event may carry before it becomes a Reset.
const maxSpan = 2000

// then returns the move that e and the later move n make together.
func (e HeadEvent) then(n HeadEvent) HeadEvent {
	if n.Reset {
		return n
	}
	out := HeadEvent{Head: n.Head, Reset: e.Reset, Revert: e.Revert, Apply: e.Apply}
	for _, ts := range n.Revert {
		if last := len(out.Apply) - 1; last >= 0 && out.Apply[last].Key().Equals(ts.Key()) {
			out.Apply = out.Apply[:last:last]
		} else {
			out.Revert = append(out.Revert[:len(out.Revert):len(out.Revert)], ts)
		}
	}
	for _, ts := range n.Apply {
		if last := len(out.Revert) - 1; last >= 0 && len(out.Apply) == 0 && out.Revert[last].Key().Equals(ts.Key()) {
			out.Revert = out.Revert[:last:last]
		} else {
			out.Apply = append(out.Apply[:len(out.Apply):len(out.Apply)], ts)
		}
	}
	if out.Reset || len(out.Revert)+len(out.Apply) > maxSpan {
		return reset(n.Head)
	}
	return out
}

// empty reports a move that ended where it began.
func (e HeadEvent) empty() bool { return !e.Reset && len(e.Revert) == 0 && len(e.Apply) == 0 }

func reset(head *lotus.TipSet) HeadEvent {
	return HeadEvent{Head: head, Reset: true, Apply: []*lotus.TipSet{head}}
}

// mailbox holds at most one event: what came since the last take, combined.
type mailbox struct {
	mu      sync.Mutex
	pending *HeadEvent
	filled  chan struct{} // holds a token while pending is set
}

func newMailbox() *mailbox { return &mailbox{filled: make(chan struct{}, 1)} }

func (b *mailbox) put(e HeadEvent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending != nil {
		e = b.pending.then(e)
	}
	b.pending = &e
	select {
	case b.filled <- struct{}{}:
	default:
	}
}

// take returns the pending event, or false when it came to nothing.
func (b *mailbox) take() (HeadEvent, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending == nil {
		return HeadEvent{}, false
	}
	e := *b.pending
	b.pending = nil
	return e, !e.empty()
}
