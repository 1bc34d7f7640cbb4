package parts

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"wdpost/internal/task"
)

// Seat is a prover that waits for work at a desk.
type Seat struct {
	desk  *Desk
	slave string
	want  task.Want
}

// Sit makes a slave that proves count as idle until Leave. Nil for one that does
// not prove.
func (d *Desk) Sit(slave string, want task.Want) *Seat {
	if !want.Does(task.RoleProve) {
		return nil
	}
	s := &Seat{desk: d, slave: slave, want: want}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.idle[s] = struct{}{}
	for _, r := range d.tasks {
		d.tell(r) // one more idle prover
	}
	return s
}

// Leave ends the wait.
func (s *Seat) Leave() {
	if s == nil {
		return
	}
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	delete(s.desk.idle, s)
}

// Await returns nil when a part may be there to be taken, else the error of ctx.
func (s *Seat) Await(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	s.desk.mu.Lock()
	changed, there := s.desk.changed, s.best() != nil
	s.desk.mu.Unlock()
	if there {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Take gives the slave a part to prove, if there is one for it: of the earliest
// window, then the lowest number.
func (s *Seat) Take() (task.Part, bool) {
	if s == nil {
		return task.Part{}, false
	}
	d := s.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	best := s.best()
	if best == nil {
		return task.Part{}, false
	}
	best.state, best.slave, best.heard = task.PartTaken, s.slave, time.Now()
	d.tell(best.of)
	given := best.given
	if !best.until.IsZero() {
		given.Window = max(time.Until(best.until), time.Millisecond)
	}
	return given, true
}

// best is the part that the slave would take. mu is held.
func (s *Seat) best() *part {
	var best *part
	for _, p := range s.desk.parts {
		if p.state != task.PartWaiting || p.failed[s.slave] {
			continue
		}
		if len(s.want.SectorSizes) > 0 && !slices.Contains(s.want.SectorSizes, p.size) {
			continue
		}
		if best == nil || before(p, best) {
			best = p
		}
	}
	return best
}

// before orders parts: the earliest window first, unknown ones last.
func before(a, b *part) bool {
	if a.until.IsZero() != b.until.IsZero() {
		return b.until.IsZero()
	}
	return cmp.Or(a.until.Compare(b.until), cmp.Compare(a.of.lease.ID, b.of.lease.ID), cmp.Compare(a.number, b.number)) < 0
}

// idleFor counts the provers that wait, but for the reader itself. mu is held.
func (d *Desk) idleFor(reader string) int {
	n := 0
	for s := range d.idle {
		if s.slave != reader {
			n++
		}
	}
	return n
}

// Fetch writes the vanilla proofs of a part that the slave has taken.
func (d *Desk) Fetch(slave, id string, to io.Writer) error {
	d.mu.Lock()
	p := d.parts[id]
	if p == nil || p.state != task.PartTaken || p.slave != slave {
		d.mu.Unlock()
		return fmt.Errorf("part %s: %w", id, task.ErrLost)
	}
	p.users++
	p.heard = time.Now()
	d.mu.Unlock()
	_, err := io.Copy(to, io.NewSectionReader(p.file, 0, p.given.DataLen))
	d.mu.Lock()
	defer d.mu.Unlock()
	p.users--
	p.heard = time.Now()
	if p.of.parts[p.number] != p || p.state == task.PartBack {
		d.discard(p)
	}
	if err != nil {
		return fmt.Errorf("vanilla proofs of part %s: %w", id, err)
	}
	return nil
}

// Beat notes that a prover works on parts, and returns those that are not its
// own any more.
func (d *Desk) Beat(slave string, ids []string) (lost []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range ids {
		p := d.parts[id]
		if p == nil || p.state != task.PartTaken || p.slave != slave {
			lost = append(lost, id)
			continue
		}
		p.heard = time.Now()
	}
	d.sweep()
	return lost
}
