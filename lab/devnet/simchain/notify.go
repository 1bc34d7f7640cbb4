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
func (c *Chain) Subscribe() (changes <-chan []*lotus.HeadChange, cancel func()) {
	s := &subscription{out: make(chan []*lotus.HeadChange, subscriptionBuffer)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s] = struct{}{}
	s.out <- []*lotus.HeadChange{{Type: lotus.HCCurrent, Val: c.head().ts}}
	return s.out, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.drop(s)
	}
}

// deliver sends to one follower without waiting. The caller holds mu.
func (c *Chain) deliver(s *subscription, changes []*lotus.HeadChange) {
	select {
	case s.out <- changes:
	default:
		c.drop(s)
	}
}

// drop ends a subscription once. The caller holds mu.
func (c *Chain) drop(s *subscription) {
	s.once.Do(func() {
		delete(c.subs, s)
		close(s.out)
	})
}
