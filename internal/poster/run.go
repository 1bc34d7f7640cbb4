package poster

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"
	"golang.org/x/sync/semaphore"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
)

// run is one run of one deadline: what its goroutines share.
type run struct {
	m    *miner
	ref  deadline.Ref
	info dline.Info
	key  ledger.RunKey
	log  *slog.Logger

	// all ends with the run, working already when the window closes.
	all, working context.Context
	cancel, stop context.CancelCauseFunc

	gate *semaphore.Weighted // one proof at a time, unless Parallel

	mu      sync.Mutex // guards the rest
	rules   rules
	batches map[deadline.BatchID]*batch
}

// rules are what the chain said about the miner when the run was planned.
type rules struct {
	proofType        abi.RegisteredPoStProof
	partitionSectors uint64
	maxPartitions    uint64
}

// batch is the partitions that share one message. Its fields are written
// before its first event and by the one goroutine that works on it.
type batch struct {
	partitions []partition
	proof      *ledger.Proof
	messages   map[int]ledger.Message // by attempt
}

// partition is a partition and its sectors to be proven, ascending.
type partition struct {
	index   uint64
	toProve []uint64
}

// indices names the batch.
func (b *batch) indices() ledger.Partitions {
	p := make(ledger.Partitions, len(b.partitions))
	for i := range b.partitions {
		p[i] = b.partitions[i].index
	}
	return p
}

func (b *batch) id() deadline.BatchID { return deadline.BatchID(b.indices().String()) }

// sectors are all sectors to be proven, ascending.
func (b *batch) sectors() []uint64 {
	var all []uint64
	for _, p := range b.partitions {
		all = append(all, p.toProve...)
	}
	slices.Sort(all)
	return all
}

func newRun(ctx context.Context, m *miner, ref deadline.Ref, info dline.Info) *run {
	r := &run{
		m: m, ref: ref, info: info, key: m.runKey(ref.Key),
		log:     m.log.With("deadline", ref.Key.Index, "period_start", ref.Key.PeriodStart),
		batches: map[deadline.BatchID]*batch{},
	}
	r.all, r.cancel = context.WithCancelCause(ctx)
	r.working, r.stop = context.WithCancelCause(r.all)
	width := int64(1)
	if m.conf.Parallel {
		width = 1 << 20
	}
	r.gate = semaphore.NewWeighted(width)
	return r
}

// spawn runs f and gives its event to the loop. A panic in f costs this one
// attempt: it becomes the event that failed makes of its text.
func (r *run) spawn(ctx context.Context, f func(context.Context) deadline.Event, failed func(why string) deadline.Event) {
	r.m.work.Go(func() {
		ev := func() (ev deadline.Event) {
			defer func() {
				if p := recover(); p != nil {
					r.log.Error("a defect was caught; the attempt is repeated", "panic", p, "stack", string(debug.Stack()))
					ev = failed(fmt.Sprintf("panic: %v", p))
				}
			}()
			return f(ctx)
		}()
		if ev != nil {
			r.m.send(r.all, ev)
		}
	})
}

// batch returns the named batch.
func (r *run) batch(id deadline.BatchID) *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.batches[id]
}

// add makes batches known under their names.
func (r *run) add(batches ...*batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range batches {
		if b.messages == nil {
			b.messages = map[int]ledger.Message{}
		}
		r.batches[b.id()] = b
	}
}

func (r *run) chainRules() rules {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rules
}

// call bounds one group of questions.
func (r *run) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.m.cfg.CallTimeout)
}

// keep writes to the ledger, a few times if need be, also when the manager is
// stopping. A ledger that stays away is no reason to miss a window: it is said,
// and work goes on from memory.
func (r *run) keep(ctx context.Context, what string, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.m.cfg.CallTimeout)
	defer cancel()
	var err error
	for try := range ledgerPatience {
		if !r.m.pause(ctx, try) {
			break
		}
		if err = write(ctx); err == nil {
			return
		}
	}
	r.log.Error("the ledger does not keep what it must; a restart now would repeat work", "what", what, "error", err)
}
