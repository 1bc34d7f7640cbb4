package simchain

import (
	"sync"

	"wdpost/internal/lotus"
)

// subscription is one follower of the head.
type subscription struct {
	out  chan []*lotus.HeadChange
	once sync.Once
}

// subscriptionBuffer is how many notifications a slow follower may be behind
// before its stream is closed.
const subscriptionBuffer = 256

// Subscribe returns a stream of head changes: first the present head, then what
// is reverted and applied, a reorganisation in one piece. The stream is closed
// by cancel, and when its reader falls too far behind.
func (n *Node) Subscribe() (changes <-chan []*lotus.HeadChange, cancel func()) {
	s := &subscription{out: make(chan []*lotus.HeadChange, subscriptionBuffer)}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.subs[s] = struct{}{}
	s.out <- []*lotus.HeadChange{{Type: lotus.HCCurrent, Val: n.at.ts}}
	return s.out, func() {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		n.drop(s)
	}
}

// deliver sends to one follower without waiting. The caller holds mu.
func (n *Node) deliver(s *subscription, changes []*lotus.HeadChange) {
	select {
	case s.out <- changes:
	default:
		n.drop(s)
	}
}

// drop ends a subscription once. The caller holds mu.
func (n *Node) drop(s *subscription) {
	s.once.Do(func() {
		delete(n.subs, s)
		close(s.out)
	})
}
