package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/patience"
)

// Times of a Book.
const (
	// callLimit bounds one call of the ledger, whatever it does.
	callLimit = 15 * time.Second
	// stopLimit bounds what is still written when the process stops.
	stopLimit = 5 * time.Second
	// maxQueued bounds the writes that wait: more would be days of outage.
	maxQueued = 100_000
	// maxHanging bounds the calls that do not come back though their time is up.
	maxHanging = 8
)

// ErrAway is wrapped by what fails because the ledger does not answer.
var ErrAway = errors.New("the ledger does not answer")

// Book is a Ledger beside the path of the work: what is written waits in a
// queue, in order, until the ledger takes it; what was written or read once is
// kept in memory and answered from there. So a ledger that is slow, locked,
// hanging or away costs nothing but what it would have remembered: no method
// waits for it longer than its caller allows.
//
// A Book is safe for concurrent use. Run carries the writes out.
type Book struct {
	ledger Ledger
	log    *slog.Logger
	board  *condition.Board
	whose  string

	mu      sync.Mutex
	pages   map[RunKey]*page
	queue   []write
	first   int           // number of the write at the head of the queue
	grown   chan struct{} // holds a token while the queue is not empty
	done    chan struct{} // closed and made anew at every write that is done
	lost    int           // writes that were dropped
	hanging int
}

// page is what is known of one run.
type page struct {
	read     bool // the ledger was asked
	proofs   []Proof
	messages []Message
	closes   time.Time // when the run can be forgotten; zero while not known
}

type write struct {
	what string
	do   func(context.Context, Ledger) error
}

// NewBook returns a book over l. log and board may be nil; whose is the subject
// of the conditions, "" where there is one book only.
func NewBook(l Ledger, log *slog.Logger, board *condition.Board, whose string) *Book {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Book{ledger: l, log: log, board: board, whose: whose, pages: map[RunKey]*page{}, grown: make(chan struct{}, 1), done: make(chan struct{})}
}

// Run carries out the writes until ctx ends, and then, for five seconds at
// most, what is left.
func (b *Book) Run(ctx context.Context) {
	var outage patience.Outage
	pause := patience.Backoff{Min: 250 * time.Millisecond, Max: 10 * time.Second}
	for {
		w, ok := b.head()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-b.grown:
			}
			continue
		}
		if ctx.Err() != nil {
			b.drain(context.WithoutCancel(ctx))
			return
		}
		// Not ctx: a stop must not break off what may be done in a moment.
		err := b.within(context.WithoutCancel(ctx), callLimit, func(ctx context.Context) error { return w.do(ctx, b.ledger) }, ctx.Done())
		if err != nil && ctx.Err() != nil {
			continue
		}
		if err == nil || errors.Is(err, ErrNotFound) {
			b.pop()
			pause.Reset()
			if outage.Over(b.log, "the ledger works again", attr.Count(b.Queued())) {
				b.board.Clear(condition.LedgerBehind, b.whose)
			}
			continue
		}
		outage.Failed(b.log, "the ledger does not keep what it should; work goes on from memory, retrying", err.Error(), attr.Err(fmt.Errorf("write %s: %w", w.what, err)))
		b.board.Set(condition.Condition{Kind: condition.LedgerBehind, Subject: b.whose, Detail: fmt.Sprintf("%d writes wait, last error: %v", b.Queued(), err)})
		if pause.Wait(ctx) != nil {
			continue
		}
	}
}

// drain writes what is left when the process stops.
func (b *Book) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for w, ok := b.head(); ok; w, ok = b.head() {
		left := stopLimit
		if d, has := ctx.Deadline(); has {
			left = time.Until(d)
		}
		if left <= 0 {
			break
		}
		if err := b.within(ctx, left, func(ctx context.Context) error { return w.do(ctx, b.ledger) }, nil); err != nil && !errors.Is(err, ErrNotFound) {
			if patience.Sleep(ctx, 100*time.Millisecond) != nil {
				break
			}
			continue
		}
		b.pop()
	}
	if n := b.Queued(); n > 0 {
		b.log.Error("the ledger did not take everything before the stop; after a restart the chain's own record counts", attr.Count(n))
	}
}

// within calls f and returns after limit, whatever f does. hurry, once closed,
// shortens the limit to that of a stop.
func (b *Book) within(ctx context.Context, limit time.Duration, f func(context.Context) error, hurry <-chan struct{}) error {
	b.mu.Lock()
	if b.hanging >= maxHanging {
		b.mu.Unlock()
		return fmt.Errorf("%w: %d calls hang", ErrAway, maxHanging)
	}
	b.hanging++
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	result := make(chan error, 1)
	go func() {
		defer func() {
			b.mu.Lock()
			b.hanging--
			b.mu.Unlock()
			if p := recover(); p != nil {
				result <- fmt.Errorf("%w: panic: %v", ErrAway, p)
			}
		}()
		result <- f(ctx)
	}()
	defer cancel()
	for {
		select {
		case err := <-result:
			if err != nil {
				return fmt.Errorf("ledger: %w", err)
			}
			return nil
		case <-ctx.Done():
			// A moment for a call that honours its context.
			t := time.NewTimer(100 * time.Millisecond)
			defer t.Stop()
			select {
			case err := <-result:
				if err == nil {
					return nil
				}
				return fmt.Errorf("%w within %v: %w", ErrAway, limit, err)
			case <-t.C:
				return fmt.Errorf("%w within %v: the call hangs", ErrAway, limit)
			}
		case <-hurry:
			hurry = nil
			stop := time.AfterFunc(stopLimit/5, cancel)
			defer stop.Stop()
		}
	}
}

func (b *Book) head() (write, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return write{}, false
	}
	return b.queue[0], true
}

func (b *Book) pop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = b.queue[1:]
	b.first++
	close(b.done)
	b.done = make(chan struct{})
}

// Queued is how many writes wait.
func (b *Book) Queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue)
}

// put appends a write. The caller holds mu.
func (b *Book) put(what string, do func(context.Context, Ledger) error) {
	if len(b.queue) >= maxQueued {
		b.queue = append(b.queue[:1:1], b.queue[2:]...) // the head may be under way
		b.lost++
		if b.lost == 1 {
			b.log.Error("more writes wait for the ledger than can be held; the oldest are dropped", attr.Limit(maxQueued))
		}
	}
	b.queue = append(b.queue, write{what, do})
	select {
	case b.grown <- struct{}{}:
	default:
	}
}

// Settle waits until everything that was put so far is written, at most for d,
// and reports whether it is.
func (b *Book) Settle(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	b.mu.Lock()
	upTo := b.first + len(b.queue)
	b.mu.Unlock()
	for {
		b.mu.Lock()
		written, done := b.first >= upTo, b.done
		b.mu.Unlock()
		if written {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-done:
		}
	}
}

// page returns the run's page. The caller holds mu.
func (b *Book) page(key RunKey) *page {
	p := b.pages[key]
	if p == nil {
		p = &page{}
		b.pages[key] = p
	}
	return p
}

// OpenRun notes what Ledger.OpenRun says, later.
func (b *Book) OpenRun(run Run) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.page(run.RunKey).closes = run.ClosesAt
	b.put("a run", func(ctx context.Context, l Ledger) error { return l.OpenRun(ctx, run) })
	b.forget()
}

// EndRun notes the outcome of a run, which is opened if it never was. What only
// its sending needed is forgotten.
func (b *Book) EndRun(run Run, end RunEnd) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(run.RunKey)
	for i := range p.proofs {
		p.proofs[i].Proof, p.proofs[i].Sectors = nil, nil
	}
	b.put("an outcome", func(ctx context.Context, l Ledger) error {
		err := l.EndRun(ctx, run.RunKey, end)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := l.OpenRun(ctx, run); err != nil { // it was passed over
			return err
		}
		return l.EndRun(ctx, run.RunKey, end)
	})
}

// PutProof keeps a proof, in place of one over the same partitions.
func (b *Book) PutProof(proof Proof) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(proof.RunKey)
	p.proofs = append(dropProof(p.proofs, proof.Partitions), proof)
	b.put("a proof", func(ctx context.Context, l Ledger) error { return l.PutProof(ctx, proof) })
}

// DropProof forgets a proof.
func (b *Book) DropProof(key RunKey, partitions Partitions) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(key)
	p.proofs = dropProof(p.proofs, partitions)
	b.put("the end of a proof", func(ctx context.Context, l Ledger) error { return l.DropProof(ctx, key, partitions) })
}

func dropProof(proofs []Proof, partitions Partitions) []Proof {
	return slices.DeleteFunc(slices.Clone(proofs), func(p Proof) bool { return slices.Equal(p.Partitions, partitions) })
}

// PutMessage keeps a message, in place of one of the same ID.
func (b *Book) PutMessage(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(m.RunKey)
	p.putMessage(m)
	b.put("a message", func(ctx context.Context, l Ledger) error { return l.PutMessage(ctx, m) })
}

func (p *page) putMessage(m Message) {
	for i := range p.messages {
		if p.messages[i].ID == m.ID {
			m.CreatedAt = p.messages[i].CreatedAt
			p.messages[i] = m
			return
		}
	}
	p.messages = append(p.messages, m)
}

// Proofs returns what memory holds of a run's proofs.
func (b *Book) Proofs(key RunKey) []Proof {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.page(key).proofs)
}

// Messages returns what memory holds of a run's messages, oldest first.
func (b *Book) Messages(key RunKey) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.page(key).messages)
}

// Read asks the ledger, once, what an earlier process left of a run, waiting at
// most for d. Proofs and Messages answer with it from then on; what this
// process put itself stays as it is.
func (b *Book) Read(ctx context.Context, key RunKey, d time.Duration) error {
	b.mu.Lock()
	read := b.page(key).read
	b.mu.Unlock()
	if read {
		return nil
	}
	var proofs []Proof
	var messages []Message
	err := b.within(ctx, d, func(ctx context.Context) (err error) {
		if proofs, err = b.ledger.Proofs(ctx, key); err != nil {
			return err
		}
		messages, err = b.ledger.Messages(ctx, key)
		return err
	}, nil)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.page(key)
	p.read = true
	if p.closes.IsZero() { // of the past: nobody opens it any more
		p.closes = time.Now()
	}
	own := p.proofs
	p.proofs = proofs
	for _, o := range own {
		p.proofs = append(dropProof(p.proofs, o.Partitions), o)
	}
	mine := p.messages
	p.messages = messages
	for _, m := range mine {
		p.putMessage(m)
	}
	return nil
}

// Runs asks the ledger for runs, waiting at most for d.
func (b *Book) Runs(ctx context.Context, q RunQuery, d time.Duration) (runs []Run, err error) {
	err = b.within(ctx, d, func(ctx context.Context) (err error) {
		runs, err = b.ledger.Runs(ctx, q)
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return runs, nil
}

// keepPages is how long after its close a run stays in memory.
const keepPages = 3 * 24 * time.Hour

// forget drops the pages of runs long over. The caller holds mu.
func (b *Book) forget() {
	now := time.Now()
	for key, p := range b.pages {
		if !p.closes.IsZero() && now.Sub(p.closes) > keepPages {
			delete(b.pages, key)
		}
	}
}
