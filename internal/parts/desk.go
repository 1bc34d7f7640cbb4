package parts

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/task"
)

// ErrNoRoom refuses a part that the desk has no room for.
var ErrNoRoom = errors.New("no room for further parts")

// Tasks knows which task a slave has.
type Tasks interface {
	// Leased returns the question of a task and the time until its window closes
	// (0: unknown), if the slave has it under this lease now; task.ErrLost
	// otherwise.
	Leased(ctx context.Context, slave string, l task.Lease) (task.Question, time.Duration, error)
}

// DeskConfig is what NewDesk needs. Zero values take the defaults.
type DeskConfig struct {
	Tasks Tasks        // required
	Log   *slog.Logger // required
	// Dir holds the vanilla proofs; its files have no name and end with the
	// process. Default: the system's folder for temporary files.
	Dir string
	// MaxBytes of vanilla proofs are kept at once. Default 4 GiB: the parts of
	// some twenty full messages.
	MaxBytes int64
	// Silence is the time after which a prover is taken for gone, and after twice
	// of which a reader is. Default 15 s.
	Silence time.Duration
}

// Desk is where a master keeps the parts of tasks that its slaves have read. It
// is safe for concurrent use.
type Desk struct {
	cfg DeskConfig

	mu      sync.Mutex
	tasks   map[task.Lease]*reading
	parts   map[string]*part
	bytes   int64
	idle    map[*Seat]struct{}
	changed chan struct{} // closed and replaced when a part begins to wait
}

// reading is a task whose parts are here.
type reading struct {
	lease   task.Lease
	slave   string // who read it
	parts   map[int]*part
	heard   time.Time // from the reader
	waits   int       // of the reader, under way
	version uint64
	changed chan struct{} // closed and replaced with each version
}

// part is one part. Its fields are guarded by Desk.mu, but for the file's bytes,
// which never change.
type part struct {
	id     string
	of     *reading
	number int
	given  task.Part
	size   uint64 // of its sectors, in bytes
	until  time.Time
	file   *os.File
	users  int // of the file

	state  task.PartState
	slave  string
	heard  time.Time // from the prover
	answer task.Answer
	reason string
	failed map[string]bool // provers that could not
}

// maxFailures is how many provers may fail on a part before it is its reader's.
const maxFailures = 3

// NewDesk returns an empty desk.
func NewDesk(cfg DeskConfig) *Desk {
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, 4<<30)
	cfg.Silence = cmp.Or(cfg.Silence, 15*time.Second)
	return &Desk{
		cfg: cfg, tasks: make(map[task.Lease]*reading), parts: make(map[string]*part),
		idle: make(map[*Seat]struct{}), changed: make(chan struct{}),
	}
}

// Offer takes a part of the task that the slave has: a question without vanilla
// proofs, and their bytes. The same part may be offered again. Errors wrap
// task.ErrLost, task.ErrBadQuestion, ErrNoRoom, or are of reading data.
func (d *Desk) Offer(ctx context.Context, slave string, l task.Lease, number int, q task.Question, n int64, data io.Reader) error {
	whole, left, err := d.cfg.Tasks.Leased(ctx, slave, l)
	if err != nil {
		return err
	}
	if err := belongs(q, whole); err != nil {
		return err
	}
	size, err := task.SectorSize(q.ProofType)
	if err != nil {
		return err
	}
	if err := d.reserve(n); err != nil {
		return err
	}
	file, err := d.store(data, n)
	if err != nil {
		d.release(n)
		return err
	}
	p := &part{
		id: rand.Text(), number: number, size: size, file: file, state: task.PartWaiting, failed: make(map[string]bool),
	}
	if left > 0 {
		p.until = time.Now().Add(left)
	}
	p.given = task.Part{ID: p.id, Question: q, DataLen: n, Window: left}
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.tasks[l]
	if r == nil {
		r = &reading{lease: l, slave: slave, parts: make(map[int]*part), changed: make(chan struct{})}
		d.tasks[l] = r
	}
	r.heard = time.Now()
	if old := r.parts[number]; old != nil {
		d.drop(old)
	}
	p.of = r
	r.parts[number], d.parts[p.id] = p, p
	d.tell(r)
	d.wake()
	d.cfg.Log.Info("part offered", attr.Task(l.ID), attr.Partition(uint64(number)), attr.SectorCount(len(q.Replicas)), attr.Bytes(n), attr.Slave(slave))
	return nil
}

// belongs refuses a part that is not of the task: its sectors must be asked
// about there with the same commitments, for the same randomness.
func belongs(q, whole task.Question) error {
	if err := q.Check(); err != nil {
		return err
	}
	if q.MinerID != whole.MinerID || q.ProofType != whole.ProofType || q.Seed != whole.Seed {
		return fmt.Errorf("%w: the part is of another miner, proof type or randomness than its task", task.ErrBadQuestion)
	}
	asked := make(map[uint64]task.Hash32, len(whole.Replicas))
	for _, r := range whole.Replicas {
		asked[r.SectorID] = r.CommR
	}
	for _, r := range q.Replicas {
		if commR, ok := asked[r.SectorID]; !ok || commR != r.CommR {
			return fmt.Errorf("%w: sector %d of the part is not that of its task", task.ErrBadQuestion, r.SectorID)
		}
	}
	return nil
}

// reserve takes room for n bytes.
func (d *Desk) reserve(n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	if n < 1 || d.bytes+n > d.cfg.MaxBytes {
		return fmt.Errorf("%w: %d bytes of vanilla proofs are here, %d more were offered, the limit is %d", ErrNoRoom, d.bytes, n, d.cfg.MaxBytes)
	}
	d.bytes += n
	return nil
}

func (d *Desk) release(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bytes -= n
}

// store writes exactly n bytes to a file without a name.
func (d *Desk) store(data io.Reader, n int64) (*os.File, error) {
	f, err := os.CreateTemp(d.cfg.Dir, "wdpost-part-*")
	if err != nil {
		return nil, fmt.Errorf("vanilla proofs of a part: %w", err)
	}
	err = os.Remove(f.Name())
	if err == nil {
		var got int64
		if got, err = io.Copy(f, io.LimitReader(data, n+1)); err == nil && got != n {
			err = fmt.Errorf("%w: %d bytes of vanilla proofs, %d were announced", task.ErrBadQuestion, got, n)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Await waits until the parts of a lease are not as seen, until ctx ends, and
// tells how they stand. While it waits its reader counts as alive.
func (d *Desk) Await(ctx context.Context, slave string, l task.Lease, want task.PartsWanted) task.PartsNews {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.tasks[l]
	if r == nil || r.slave != slave {
		return task.PartsNews{Idle: d.idleFor(slave)}
	}
	r.heard = time.Now()
	if want.Over {
		d.forget(r)
		return task.PartsNews{}
	}
	for _, n := range want.TakeBack {
		if p := r.parts[n]; p != nil && p.state == task.PartWaiting {
			d.end(p, task.PartBack)
		}
	}
	for _, n := range want.Wrong {
		if p := r.parts[n]; p != nil && p.state == task.PartDone {
			p.answer = task.Answer{}
			d.parts[p.id] = p
			d.fail(p, fmt.Sprintf("the proof of slave %q does not verify", p.slave))
		}
	}
	r.waits++
	for r.version <= want.Seen && ctx.Err() == nil && d.tasks[l] == r {
		changed := r.changed
		d.mu.Unlock()
		pulse := time.NewTimer(d.cfg.Silence / 3) // silent provers are noticed by those who wait
		select {
		case <-changed:
		case <-pulse.C:
		case <-ctx.Done():
		}
		pulse.Stop()
		d.mu.Lock()
		d.sweep()
	}
	r.waits--
	r.heard = time.Now()
	return d.news(r)
}

// news is how the parts of a task stand. mu is held.
func (d *Desk) news(r *reading) task.PartsNews {
	out := task.PartsNews{Idle: d.idleFor(r.slave), Version: r.version}
	for n, p := range r.parts {
		out.Parts = append(out.Parts, task.PartNews{Number: n, State: p.state, Slave: p.slave, Answer: p.answer, Reason: p.reason})
	}
	slices.SortFunc(out.Parts, func(a, b task.PartNews) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// Finish ends the work of a prover on a part: with its answer, or with why there
// is none. task.ErrLost: nobody wants it from this prover any more.
func (d *Desk) Finish(slave, id string, a task.Answer, failure error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.parts[id]
	if p == nil || p.state != task.PartTaken || p.slave != slave {
		return fmt.Errorf("part %s: %w", id, task.ErrLost)
	}
	log := d.cfg.Log.With(attr.Task(p.of.lease.ID), attr.Partition(uint64(p.number)), attr.Slave(slave))
	if failure == nil && len(a.Proofs) == 1 && len(a.Faults) == 0 {
		p.answer, p.state = a, task.PartDone
		delete(d.parts, p.id) // its file stays: the answer may turn out wrong
		d.tell(p.of)
		log.Info("part proven")
		return nil
	}
	if failure == nil {
		failure = fmt.Errorf("no proof, %d of %d sectors refused", len(a.Faults), len(p.given.Question.Replicas))
	}
	log.Warn("part not proven", attr.Err(failure))
	d.fail(p, failure.Error())
	return nil
}

// fail gives a part to another prover, or back to its reader. mu is held.
func (d *Desk) fail(p *part, reason string) {
	p.reason = reason
	p.failed[p.slave] = true
	if len(p.failed) >= maxFailures {
		d.end(p, task.PartBack)
		return
	}
	p.state = task.PartWaiting
	d.tell(p.of)
	d.wake()
}

// end puts a part into a state in which nobody here works on it. mu is held.
func (d *Desk) end(p *part, s task.PartState) {
	p.state = s
	delete(d.parts, p.id)
	d.discard(p)
	d.tell(p.of)
}

// drop forgets a part. mu is held.
func (d *Desk) drop(p *part) {
	delete(d.parts, p.id)
	delete(p.of.parts, p.number)
	d.discard(p)
}

// discard closes the file of a part once nobody reads it. mu is held.
func (d *Desk) discard(p *part) {
	if p.file == nil || p.users > 0 {
		return
	}
	_ = p.file.Close() // it has no name: its blocks are free now
	p.file = nil
	d.bytes -= p.given.DataLen
}

// forget drops a task with its parts. mu is held.
func (d *Desk) forget(r *reading) {
	for _, p := range r.parts {
		d.drop(p)
	}
	delete(d.tasks, r.lease)
	d.tell(r)
}

// tell wakes the reader. mu is held.
func (d *Desk) tell(r *reading) {
	r.version++
	close(r.changed)
	r.changed = make(chan struct{})
}

// wake makes idle provers look. mu is held.
func (d *Desk) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// sweep gives up provers and readers that are silent, and parts whose window
// closed. mu is held.
func (d *Desk) sweep() {
	now := time.Now()
	for _, r := range d.tasks {
		if r.waits == 0 && now.Sub(r.heard) > 2*d.cfg.Silence {
			d.cfg.Log.Warn("parts dropped: their reader is silent", attr.Task(r.lease.ID), attr.Slave(r.slave))
			d.forget(r)
			continue
		}
		for _, p := range r.parts {
			switch {
			case p.state != task.PartTaken && p.state != task.PartWaiting:
			case !p.until.IsZero() && now.After(p.until):
				d.end(p, task.PartBack)
			case p.state == task.PartTaken && p.users == 0 && now.Sub(p.heard) > d.cfg.Silence:
				d.cfg.Log.Warn("part goes to another prover: this one is silent", attr.Task(r.lease.ID), attr.Partition(uint64(p.number)), attr.Slave(p.slave))
				d.fail(p, fmt.Sprintf("slave %q is silent", p.slave))
			}
		}
	}
}

// Close forgets everything.
func (d *Desk) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.tasks {
		d.forget(r)
	}
}
