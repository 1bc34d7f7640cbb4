package queue

import (
	"context"
	"sync"
	"time"

	"wdpost/internal/attr"
)

// seenInterval is how often a slave's sign of life is written to the database
// at most; its wish to drain is read at the same time.
const seenInterval = 3 * time.Second

// slaveBook remembers when each slave was last written down.
type slaveBook struct {
	mu    sync.Mutex
	known map[string]slaveEntry
}

type slaveEntry struct {
	written time.Time
	drain   bool
}

// draining reports whether the slave should get no more tasks.
func (b *slaveBook) draining(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[name].drain
}

// due reports whether the slave must be written down again, and takes it as
// done, so that of many calls at once one writes.
func (b *slaveBook) due(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.known[name]
	if ok && time.Since(e.written) < seenInterval {
		return false
	}
	if b.known == nil {
		b.known = make(map[string]slaveEntry)
	}
	for other, e := range b.known {
		if time.Since(e.written) > slavesKept {
			delete(b.known, other)
		}
	}
	b.known[name] = slaveEntry{written: time.Now(), drain: e.drain}
	return true
}

func (b *slaveBook) set(name string, e slaveEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[name] = e
}

// seen writes down that the slave is there, if that is due.
func (q *Queue) seen(ctx context.Context, s Slave) error {
	if !q.slaves.due(s.Name) {
		return nil
	}
	drain, err := q.store.SeeSlave(ctx, q.clock.now(), s)
	if err != nil {
		q.slaves.set(s.Name, slaveEntry{}) // due again
		return err
	}
	if drain && !q.slaves.draining(s.Name) {
		q.log.Info("slave drains: it gets no more tasks", "slave", s.Name)
	}
	q.slaves.set(s.Name, slaveEntry{written: time.Now(), drain: drain})
	return nil
}

// Seen records that a slave introduces itself. A database that is away is no
// reason not to let it in.
func (q *Queue) Seen(ctx context.Context, s Slave) error {
	q.log.Info("slave connected", attr.Slave(s.Name), attr.Version(s.Version), attr.Address(s.Address), attr.Concurrent(s.Concurrent))
	if err := q.door.check(); err != nil {
		return err
	}
	return q.seen(ctx, s)
}
