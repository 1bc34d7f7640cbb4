package queue

import (
	"context"
	"sync"
	"time"
)

// clock counts the database's time: set now and then from the database, and
// carried on by this host's monotonic clock, so that neither a wrong nor a
// jumping host clock matters.
type clock struct {
	mu    sync.Mutex
	base  time.Time // the database's time …
	setAt time.Time // … at this moment of ours (monotonic)
}

// set reads the database's clock. A read that took long is taken to have been
// answered in the middle.
func (c *clock) set(ctx context.Context, s Store) error {
	asked := time.Now()
	base, err := s.Now(ctx)
	if err != nil {
		return err
	}
	took := time.Since(asked)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.setAt = base.Add(took/2), asked.Add(took)
	return nil
}

// now returns the database's time in Unix seconds.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.Add(time.Since(c.setAt)).Unix()
}

// age returns how long ago the clock was set.
func (c *clock) age() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.setAt)
}
