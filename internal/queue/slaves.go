package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/task"
)

// seenInterval is how often signs of life of slaves are written to the database
// at most, all together; whose wish it is to drain is read at the same time.
const seenInterval = 3 * time.Second

// twinMemory is for how long a process is remembered that was not heard of.
const twinMemory = time.Minute

// slaveBook is what this master knows of its slaves.
type slaveBook struct {
	mu       sync.Mutex
	known    map[string]*slaveEntry // by the name they go by
	names    map[string]*nameEntry  // by the configured name
	draining map[string]bool
	pruned   time.Time
}

// slaveEntry is one slave, by the name it goes by.
type slaveEntry struct {
	slave    Slave
	seen     time.Time
	dirty    bool // not written down since seen
	failures int  // attempts that failed there in a row
}

// nameEntry are the processes of one configured name.
type nameEntry struct {
	processes map[string]time.Time // id to when it was heard of
	latest    string
	twins     bool
}

// identify returns the name that a slave's process goes by. Two processes with
// one name that are both alive are told apart by their ids: a restart leaves
// its predecessor silent, so of a name one that speaks again after a younger
// one has spoken is another slave.
func (b *slaveBook) identify(s Slave, now time.Time) (name string, twins bool) {
	if s.ID == "" {
		return s.Name, false
	}
	if b.names == nil {
		b.names = make(map[string]*nameEntry)
	}
	n := b.names[s.Name]
	if n == nil {
		n = &nameEntry{processes: make(map[string]time.Time)}
		b.names[s.Name] = n
	}
	for id, at := range n.processes {
		if now.Sub(at) > twinMemory {
			delete(n.processes, id)
		}
	}
	_, known := n.processes[s.ID]
	began := known && n.latest != s.ID && !n.twins
	if !known || began {
		n.latest = s.ID
	}
	n.processes[s.ID] = now
	n.twins = (n.twins || began) && len(n.processes) > 1
	if !n.twins {
		return s.Name, false
	}
	return fmt.Sprintf("%.90s~%.6s", s.Name, s.ID), began
}

// meet notes that a slave is there and returns it under the name it goes by,
// and whether it is new.
func (b *slaveBook) meet(s Slave) (slave Slave, fresh, twins bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = make(map[string]*slaveEntry)
	}
	if now.Sub(b.pruned) > slavesKept/100 {
		b.pruned = now
		for name, e := range b.known {
			if now.Sub(e.seen) > slavesKept {
				delete(b.known, name)
			}
		}
		for name, n := range b.names {
			if at := n.processes[n.latest]; now.Sub(at) > slavesKept {
				delete(b.names, name)
			}
		}
	}
	s.Name, twins = b.identify(s, now)
	e := b.known[s.Name]
	if e == nil {
		e, fresh = &slaveEntry{}, true
		b.known[s.Name] = e
	}
	s.Report = cmp.Or(s.Report, e.slave.Report)
	e.slave, e.seen, e.dirty = s, now, true
	return s, fresh, twins
}

// twin reports whether a slave goes by a name made from one that two processes
// have now.
func (b *slaveBook) twin(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	configured, _, _ := strings.Cut(name, "~")
	n := b.names[configured]
	if n == nil {
		return false
	}
	alive := 0
	for _, at := range n.processes {
		if time.Since(at) <= twinMemory {
			alive++
		}
	}
	return n.twins && alive > 1
}

// drains reports whether the slave should get no more tasks.
func (b *slaveBook) drains(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.draining[name]
}

// failed counts an attempt that failed on a slave, and one that did not.
func (b *slaveBook) failed(name string, failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.known[name]
	if e == nil {
		return
	}
	if e.failures++; !failed {
		e.failures = 0
	}
	e.dirty = true
}

// failures returns how many attempts failed on a slave in a row.
func (b *slaveBook) failures(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.known[name]; e != nil {
		return e.failures
	}
	return 0
}

// unwritten returns the slaves that were seen since they were written down.
func (b *slaveBook) unwritten() []Slave {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Slave
	for _, e := range b.known {
		if e.dirty {
			e.dirty = false
			s := e.slave
			s.Failures = e.failures
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Slave) int { return cmp.Compare(a.Name, b.Name) }) // rows are locked in one order
	return out
}

// write puts slaves back that could not be written down, and takes over who
// drains.
func (b *slaveBook) written(slaves []Slave, draining []string, err error) (began []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for _, s := range slaves {
			if e := b.known[s.Name]; e != nil {
				e.dirty = true
			}
		}
		return nil
	}
	fresh := make(map[string]bool, len(draining))
	for _, name := range draining {
		fresh[name] = true
		if !b.draining[name] && b.known[name] != nil {
			began = append(began, name)
		}
	}
	b.draining = fresh
	return began
}

// seen notes that the slave is there. A new one is written down at once, since
// it may be to drain.
func (q *Queue) seen(ctx context.Context, s Slave) (Slave, error) {
	s, fresh, twins := q.slaves.meet(s)
	if twins {
		q.log.Warn("two slaves have one name; they are told apart by their processes: give each a name of its own in [slave] name", attr.Slave(s.Name), attr.Address(s.Address))
		q.cfg.Board.Set(condition.Condition{Kind: condition.SlaveNameTwice, Subject: s.Name, Detail: fmt.Sprintf("another process goes by the same name; this one is at %s", s.Address)})
	}
	if !fresh {
		return s, nil
	}
	return s, q.writeSlaves(ctx)
}

// writeSlaves writes down who was seen.
func (q *Queue) writeSlaves(ctx context.Context) error {
	slaves := q.slaves.unwritten()
	draining, err := q.store.SeeSlaves(ctx, q.clock.now(), slaves)
	for _, name := range q.slaves.written(slaves, draining, err) {
		q.log.Info("slave drains: it gets no more tasks", attr.Slave(name))
	}
	return err
}

// Seen records that a slave introduces itself. A database that is away is no
// reason not to let it in.
func (q *Queue) Seen(ctx context.Context, s Slave) error {
	q.log.Info("slave connected", attr.Slave(s.Name), attr.Version(s.Version), attr.Address(s.Address), attr.Concurrent(s.Concurrent))
	if err := q.door.check(); err != nil {
		return err
	}
	_, err := q.seen(ctx, s)
	return err
}

// live returns the slaves of all masters that were seen lately and take tasks.
func (q *Queue) live(ctx context.Context) ([]Slave, error) {
	slaves, err := q.store.Slaves(ctx, q.clock.now()-seconds(max(2*q.cfg.HeartbeatTimeout, liveFor)))
	return slices.DeleteFunc(slaves, func(s Slave) bool {
		return s.Draining || s.Report != nil && s.Report.State != task.SlaveReady && s.Report.State != ""
	}), err
}

// liveFor is for how long a slave counts as there that was not heard of: it
// may wait that long for a task.
const liveFor = 45 * time.Second

// others are the names of slaves that could do a task instead of the one named.
func others(slaves []Slave, but string, size uint64) []string {
	var out []string
	for _, s := range slaves {
		if s.Name != but && (s.Report == nil || len(s.Report.SectorSizes) == 0 || slices.Contains(s.Report.SectorSizes, size)) {
			out = append(out, s.Name)
		}
	}
	return out
}
