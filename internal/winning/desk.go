package winning

import (
	"context"
	"errors"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
)

// Why a request ended before its turn came.
var (
	errLate     = errors.New("the time for this request was up before a prover was free")
	errStopping = errors.New("the service is stopping")
)

// job is one request that waits for its turn. Exactly one of serve and drop is
// called, once: drop when ctx ends while it waits.
type job struct {
	ctx    context.Context
	height abi.ChainEpoch
	serve  func(context.Context)
	drop   func(error)

	unwatch func() bool
}

// desk serves at most slots jobs at once, the one of the greatest height first
// and among those the last that came.
type desk struct {
	mu      sync.Mutex
	free    int
	waiting []*job // in order of arrival
	active  sync.WaitGroup
}

func newDesk(slots int) *desk { return &desk{free: slots} }

func (d *desk) submit(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active.Add(1)
	d.waiting = append(d.waiting, j)
	j.unwatch = context.AfterFunc(j.ctx, func() { d.expire(j) })
	d.pump()
}

// pump gives free slots to waiting jobs. Those whose time is up are left to
// expire. d.mu is held.
func (d *desk) pump() {
	for d.free > 0 {
		best := -1
		for i, j := range d.waiting {
			if j.ctx.Err() == nil && (best < 0 || j.height >= d.waiting[best].height) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		j := d.waiting[best]
		d.waiting = append(d.waiting[:best:best], d.waiting[best+1:]...)
		d.free--
		j.unwatch()
		go d.work(j)
	}
}

func (d *desk) work(j *job) {
	defer d.active.Done()
	j.serve(j.ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free++
	d.pump()
}

// expire drops j if it still waits.
func (d *desk) expire(j *job) {
	d.mu.Lock()
	for i, w := range d.waiting {
		if w == j {
			d.waiting = append(d.waiting[:i:i], d.waiting[i+1:]...)
			d.mu.Unlock()
			defer d.active.Done()
			if errors.Is(j.ctx.Err(), context.DeadlineExceeded) {
				j.drop(errLate)
			} else {
				j.drop(errStopping)
			}
			return
		}
	}
	d.mu.Unlock()
}

// aside runs f at once, outside the slots.
func (d *desk) aside(f func()) { d.active.Go(f) }

// drain returns when everything submitted is done.
func (d *desk) drain() { d.active.Wait() }
