package parts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/patience"
	"wdpost/internal/task"
)

// piece is one partition of a task that is being proven.
type piece struct {
	number   int
	question task.Question // with vanilla proofs
	state    task.PartState
	by       string // who has it
	since    time.Time
	offered  bool // at the master
	local    bool // being proven here
	proof    []byte
	stop     context.CancelFunc // of the local proof
}

// spreading is one task that is being proven. Fields below mu are guarded by it.
type spreading struct {
	s         *Spreader
	lease     task.Lease
	proofType string
	window    int64 // Unix seconds; 0: unknown
	log       *slog.Logger
	work      sync.WaitGroup

	mu       sync.Mutex
	pieces   []*piece
	offering bool          // under way
	changed  chan struct{} // closed and replaced whenever a piece changes
	own      time.Duration // what the last local proof took
	seen     uint64
	atDesk   bool // the master has, or had, parts
}

// awaitWait is how long one call to the master waits for news.
const awaitWait = 10 * time.Second

// run proves all pieces and joins their proofs.
func (r *spreading) run(ctx context.Context) ([]byte, error) {
	ctx, stop := context.WithCancelCause(ctx)
	work := &r.work
	defer work.Wait()
	defer stop(nil)
	work.Go(func() { r.listen(ctx) })
	defer r.over(context.WithoutCancel(ctx))
	if r.s.cfg.Local == nil {
		r.offer(ctx)
		work.Go(func() { r.watchAlone(ctx, stop) })
	} else {
		work.Go(func() {
			if err := r.local(ctx); err != nil {
				stop(err)
			}
		})
	}
	for {
		r.mu.Lock()
		proof, done := r.joined()
		changed := r.changed
		r.mu.Unlock()
		if done {
			return proof, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// joined is the whole proof, if all of it is there. mu is held.
func (r *spreading) joined() (proof []byte, done bool) {
	for _, p := range r.pieces {
		if p.proof == nil {
			return nil, false
		}
		proof = append(proof, p.proof...)
	}
	return proof, true
}

// tell wakes who waits for a change. mu is held.
func (r *spreading) tell() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// trusted is for how long a prover that gives signs of life counts as one that gets
// on. How far it is does not reach the reader, and a task whose progress stands
// still is taken away from its slave.
const trusted = 10 * time.Minute

// progress says for people how far it is.
func (r *spreading) progress() string {
	r.mu.Lock()
	done, away, here := 0, 0, ""
	latest := time.Duration(-1) // since the last of those away was taken
	for _, p := range r.pieces {
		switch {
		case p.proof != nil:
			done++
		case p.local:
			here = p.question.ID()
		case p.state == task.PartTaken:
			away++
			if d := time.Since(p.since); latest < 0 || d < latest {
				latest = d
			}
		}
	}
	n := len(r.pieces)
	r.mu.Unlock()
	text := fmt.Sprintf("%d of %d partitions proven", done, n)
	if away > 0 {
		text += fmt.Sprintf(", %d by others (minute %d)", away, int(min(latest, trusted)/time.Minute))
	}
	if here != "" && r.s.cfg.Local != nil {
		if p, ok := r.s.cfg.Local.Progress(here); ok {
			text += ", " + p
		}
	}
	return text
}

// offer hands those pieces to the master that are neither proven nor here, as
// long as it has room.
func (r *spreading) offer(ctx context.Context) {
	for _, p := range r.pieces {
		r.mu.Lock()
		skip := p.offered || p.local || p.proof != nil
		p.offered = p.offered || !skip
		r.atDesk = true
		r.mu.Unlock()
		if skip {
			continue
		}
		if err := r.s.cfg.Master.OfferPart(ctx, r.lease, p.number, p.question); err != nil {
			r.mu.Lock()
			p.offered = false
			r.mu.Unlock()
			if ctx.Err() == nil {
				r.log.Warn("partition not offered to other provers; it is proven here", attr.Partition(uint64(p.number)), attr.Err(err))
			}
			return
		}
		r.mu.Lock()
		r.set(p, task.PartWaiting, "")
		r.mu.Unlock()
	}
}

// set notes where a piece is. mu is held.
func (r *spreading) set(p *piece, s task.PartState, by string) {
	if p.state == s && p.by == by {
		return
	}
	p.state, p.by, p.since = s, by, time.Now()
	r.tell()
}

// listen takes news of the master until ctx ends.
func (r *spreading) listen(ctx context.Context) {
	var outage patience.Outage
	retry := patience.Backoff{Min: time.Second, Max: 5 * time.Second}
	for ctx.Err() == nil {
		if !r.anyOffered() {
			await(ctx, r.news(), time.Second)
			continue
		}
		r.mu.Lock()
		want := task.PartsWanted{Seen: r.seen}
		r.mu.Unlock()
		if err := r.ask(ctx, want, awaitWait); err != nil {
			if ctx.Err() == nil {
				outage.Failed(r.log, "no news of the partitions that others prove, retrying", err.Error(), attr.Err(err))
			}
			_ = retry.Wait(ctx)
			continue
		}
		retry.Reset()
		outage.Over(r.log, "news of the partitions that others prove again")
	}
}

func (r *spreading) anyOffered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pieces {
		if p.offered && p.state != "" && p.proof == nil {
			return true
		}
	}
	return false
}

// news is closed when a piece changes.
func (r *spreading) news() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// await waits for a change, for at most d.
func await(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
}

// ask asks the master for news and takes them.
func (r *spreading) ask(ctx context.Context, want task.PartsWanted, wait time.Duration) error {
	news, err := r.s.cfg.Master.AwaitParts(ctx, r.lease, want, wait)
	if err != nil {
		return err
	}
	there := make(map[int]bool)
	var wrong []int
	for _, n := range news.Parts {
		there[n.Number] = true
		if n.Number < 0 || n.Number >= len(r.pieces) {
			continue
		}
		if !r.take(ctx, n) {
			wrong = append(wrong, n.Number)
		}
	}
	r.mu.Lock()
	r.seen = news.Version
	for _, p := range r.pieces {
		if p.offered && p.state != "" && !there[p.number] && p.proof == nil {
			p.offered = false // the master was started anew, or forgot it
			r.set(p, "", "")
		}
	}
	r.mu.Unlock()
	if len(wrong) > 0 {
		return r.ask(ctx, task.PartsWanted{Wrong: wrong}, 0)
	}
	return nil
}

// take takes one piece of news; false says that its proof is wrong.
func (r *spreading) take(ctx context.Context, n task.PartNews) bool {
	p := r.pieces[n.Number]
	r.mu.Lock()
	known := p.proof != nil
	if !known && n.State != task.PartDone && p.offered {
		if n.State == task.PartBack {
			p.offered = false
			r.set(p, "", "")
		} else {
			r.set(p, n.State, n.Slave)
		}
	}
	r.mu.Unlock()
	if known || n.State != task.PartDone {
		return true
	}
	bare := p.question
	err := n.Answer.Check(bare)
	if err == nil && len(n.Answer.Proofs) != 1 {
		err = fmt.Errorf("%w: no proof", task.ErrBadAnswer)
	}
	if err == nil {
		err = r.s.cfg.Verifier.VerifyWindowPoSt(ctx, bare, n.Answer)
	}
	if err != nil {
		r.log.Error("proof of a partition refused, another prover is asked", attr.Partition(uint64(n.Number)), attr.Slave(n.Slave), attr.Err(err))
		return false
	}
	r.log.Info("partition proven by another slave", attr.Partition(uint64(n.Number)), attr.Slave(n.Slave))
	r.got(p, n.Answer.Proofs[0], n.Slave)
	return true
}

// got notes the proof of a piece, the first that comes.
func (r *spreading) got(p *piece, proof []byte, by string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.proof != nil {
		return
	}
	p.proof = proof
	if p.stop != nil && by != "" {
		p.stop() // proven here too, for nothing
	}
	r.set(p, task.PartDone, by)
	r.tell()
}

// over tells the master to forget the parts.
func (r *spreading) over(ctx context.Context) {
	r.mu.Lock()
	offered := r.atDesk
	r.mu.Unlock()
	if !offered {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := r.s.cfg.Master.AwaitParts(ctx, r.lease, task.PartsWanted{Over: true}, 0); err != nil {
		r.log.Debug("the master was not told that the parts are over; it forgets them by itself", attr.Err(err))
	}
}

// watchAlone ends the work of a slave that does not prove when nobody takes its
// parts.
func (r *spreading) watchAlone(ctx context.Context, stop context.CancelCauseFunc) {
	since := time.Now()
	for ctx.Err() == nil {
		await(ctx, r.news(), time.Second)
		r.offer(ctx) // what the master lost or had no room for
		r.mu.Lock()
		busy := false
		for _, p := range r.pieces {
			busy = busy || p.state == task.PartTaken
		}
		r.mu.Unlock()
		if busy {
			since = time.Now()
		}
		if time.Since(since) > r.s.cfg.Alone {
			stop(fmt.Errorf("%w within %s: start slaves with the role prove, connected to the same master", ErrNoProver, r.s.cfg.Alone))
			return
		}
	}
}

// errElsewhere is the cause with which a local proof ends that another slave made
// meanwhile.
var errElsewhere = errors.New("proven by another slave")

// local proves pieces here until all are done: those that nobody has, then, after
// a while, those that others have, so that one that hangs or dies costs no more
// than proving alone.
func (r *spreading) local(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := r.news()
		p, wait := r.next(ctx)
		if p == nil && wait < 0 {
			return nil
		}
		if p == nil {
			await(ctx, changed, wait)
			continue
		}
		if err := r.proveHere(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// proveHere proves one piece on this machine, and has others prove further ones
// meanwhile.
func (r *spreading) proveHere(ctx context.Context, p *piece) error {
	bound, cancel := context.WithCancelCause(ctx)
	r.mu.Lock()
	p.local, p.stop = true, func() { cancel(errElsewhere) }
	r.mu.Unlock()
	defer func() {
		cancel(nil)
		r.mu.Lock()
		p.local, p.stop = false, nil
		r.mu.Unlock()
	}()
	r.offerBeside(ctx)
	begin := time.Now()
	a, err := r.s.cfg.Local.ProveWindowPoSt(bound, p.question)
	if errors.Is(context.Cause(bound), errElsewhere) {
		return nil
	}
	if err == nil && len(a.Proofs) != 1 {
		err = fmt.Errorf("the prover here refuses partition %d: %d sectors, which were read and checked before", p.number, len(a.Faults))
	}
	if err != nil {
		return err
	}
	r.s.cfg.Pace.Note(r.proofType, 1, time.Since(begin))
	r.mu.Lock()
	r.own = time.Since(begin)
	r.mu.Unlock()
	r.got(p, a.Proofs[0], "")
	return nil
}

// offerBeside runs offerIfUseful beside the proving here, once at a time: a slow
// transfer holds nothing up.
func (r *spreading) offerBeside(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offering {
		return
	}
	r.offering = true
	r.work.Go(func() {
		r.offerIfUseful(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.offering = false
	})
}

// offerIfUseful offers the open pieces if there are idle provers and the time or
// the operator asks for it.
func (r *spreading) offerIfUseful(ctx context.Context) {
	r.mu.Lock()
	open := 0
	for _, p := range r.pieces {
		if p.proof == nil && !p.local && !p.offered {
			open++
		}
	}
	r.mu.Unlock()
	if open == 0 || !r.s.spreads(r, open) {
		return
	}
	news, err := r.s.cfg.Master.AwaitParts(ctx, r.lease, task.PartsWanted{}, 0)
	if err != nil || news.Idle == 0 {
		return
	}
	r.log.Info("partitions are offered to idle provers", attr.Count(open), attr.Slaves(news.Idle))
	r.offer(ctx)
}

// next chooses what to prove here: a piece that nobody has, if need be after
// taking it back; else one that another has had for long. Without one, wait is
// how long to wait, negative when all are done.
func (r *spreading) next(ctx context.Context) (p *piece, wait time.Duration) {
	for _, p := range r.pieces {
		r.mu.Lock()
		open := p.proof == nil && !p.offered
		waiting := p.proof == nil && p.offered && p.state == task.PartWaiting
		r.mu.Unlock()
		if open {
			return p, 0
		}
		if !waiting {
			continue
		}
		if err := r.ask(ctx, task.PartsWanted{TakeBack: []int{p.number}}, 0); err != nil {
			return p, 0 // a prover may have it too, for nothing
		}
		r.mu.Lock()
		back := p.proof == nil && !p.offered
		r.mu.Unlock()
		if back {
			return p, 0
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	hedge := max(r.own, r.s.cfg.Pace.Expect(r.proofType, 1), 10*time.Second)
	wait = -1
	for _, p := range r.pieces {
		if p.proof != nil {
			continue
		}
		if !p.offered { // it came back meanwhile
			return p, 0
		}
		left := hedge - time.Since(p.since)
		if left <= 0 {
			return p, 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}
