package serve

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// Fault makes calls go wrong. The zero value of a field does nothing.
type Fault struct {
	// Method is the full name of a method ("Filecoin.ChainHead"), a service
	// ("Message.*"), or empty for everything.
	Method string
	// Times is how many calls are hit; 0 is all of them until the fault is lifted.
	Times int
	Delay time.Duration // before the call does anything
	Hang  bool          // no answer until the fault is lifted or the caller leaves
	Err   string        // the call is answered with this error and has no effect
	// After lets the call have its effect first: the caller is told of a failure
	// that did not happen. With Hang the answer is lost instead.
	After bool

	// The fields below answer an HTTP call before the service sees it; a call over
	// a websocket is not hit by a fault that has one of them.

	Status     int           // this HTTP status
	Body       string        // with this text
	RetryAfter time.Duration // and, in whole seconds, this header
	Cut        bool          // the connection breaks instead of an answer

	// Every hits one of so many calls, the last of each row; 0 and 1 hit all.
	Every int
}

// atDoor reports whether the fault is answered before the service.
func (f *Fault) atDoor() bool { return f.Status != 0 || f.Cut }

func (f *Fault) matches(method string) bool {
	if service, ok := strings.CutSuffix(f.Method, "*"); ok {
		return strings.HasPrefix(method, service)
	}
	return f.Method == "" || f.Method == method
}

// Faults is the set of faults in force. Several services may share one; the
// zero value is ready.
type Faults struct {
	mu     sync.Mutex
	active []*armed
}

type armed struct {
	Fault
	left   int
	seen   int // calls that matched
	lifted chan struct{}
}

// Inject puts a fault in force. Lift ends it and may be called more than once.
func (s *Faults) Inject(f Fault) (lift func()) {
	a := &armed{Fault: f, left: f.Times, lifted: make(chan struct{})}
	s.mu.Lock()
	s.active = append(s.active, a)
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(a)
		close(a.lifted)
	})
}

// remove takes a fault out of force. The caller holds mu.
func (s *Faults) remove(a *armed) {
	for i, o := range s.active {
		if o == a {
			s.active = append(s.active[:i:i], s.active[i+1:]...)
			return
		}
	}
}

// take returns the first fault that hits a call, and uses it up: one that is
// answered at the door, or one in the service.
func (s *Faults) take(method string, door bool) *armed {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.active {
		if a.atDoor() != door || !a.matches(method) {
			continue
		}
		if a.seen++; a.Every > 1 && a.seen%a.Every != 0 {
			continue
		}
		if a.Times > 0 {
			if a.left--; a.left == 0 {
				s.remove(a)
			}
		}
		return a
	}
	return nil
}

// any reports whether a fault is in force.
func (s *Faults) any() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active) > 0
}

// strike does what the fault says; nil is no fault.
func (a *armed) strike(ctx context.Context) error {
	if a.Delay > 0 {
		t := time.NewTimer(a.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-a.lifted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if a.Hang {
		select {
		case <-a.lifted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if a.Err != "" {
		return errors.New(a.Err)
	}
	return nil
}
