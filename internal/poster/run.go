package poster

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
)

// run is one run of one deadline, or of one recovery: what its goroutines share.
type run struct {
	m    *miner
	ref  deadline.Ref
	info dline.Info
	key  ledger.RunKey
	log  *slog.Logger

	// all ends with the run, working already when the window closes.
	all, working context.Context
	cancel, stop context.CancelCauseFunc

	gate *gate

	mu       sync.Mutex // guards the rest
	rules    rules
	due      map[uint64][]uint64 // sectors to be proven by partition, as planned last; nil before
	batches  map[deadline.BatchID]*batch
	watching map[deadline.BatchID]context.CancelFunc
	avoid    []address.Address // senders that failed in this window
	short    int               // answers of the node that left sectors out
}

// rules are what the chain said about the miner when the run was planned.
type rules struct {
	proofType        abi.RegisteredPoStProof
	partitionSectors uint64
	sectorSize       abi.SectorSize
	maxPartitions    uint64
}

// batch is the partitions that share one message. Its fields are written
// before its first event and by the one goroutine that works on it; messages
// and from are guarded by the run.
type batch struct {
	name       deadline.BatchID // of a declaration; a PoSt's follows from its partitions
	partitions []partition
	recoveries []recovery // of a declaration
	proof      *ledger.Proof
	messages   map[int]ledger.Message  // by attempt
	from       map[int]address.Address // who sent it, by attempt
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

func (b *batch) id() deadline.BatchID {
	if b.name != "" {
		return b.name
	}
	return deadline.BatchID(b.indices().String())
}

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
		log:     m.log.With(attr.Deadline(info.Index), attr.PeriodStart(info.PeriodStart)),
		batches: map[deadline.BatchID]*batch{}, watching: map[deadline.BatchID]context.CancelFunc{},
	}
	if ref.Kind == deadline.Recovery {
		r.log = r.log.With(attr.Cutoff(info.FaultCutoff))
	}
	r.all, r.cancel = context.WithCancelCause(ctx)
	r.working, r.stop = context.WithCancelCause(r.all)
	r.gate = newGate(m.conf.Parallel, func() time.Duration {
		r.mu.Lock()
		n := len(r.batches)
		r.mu.Unlock()
		// Nothing was proven yet: the window in equal parts.
		return m.cfg.pace.usual(time.Duration(info.WPoStChallengeWindow) * m.cfg.BlockDelay / time.Duration(2*(n+1)))
	})
	return r
}

// closes is the first epoch at which a message of the run is worthless.
func (r *run) closes() abi.ChainEpoch {
	if r.ref.Kind == deadline.Recovery {
		return r.info.FaultCutoff
	}
	return r.info.Close
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
		if b.from == nil {
			b.from = map[int]address.Address{}
		}
		r.batches[b.id()] = b
	}
}

func (r *run) chainRules() rules {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rules
}

// avoided lists the senders that failed in this window.
func (r *run) avoided() []address.Address {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.avoid)
}

func (r *run) avoidSender(a address.Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a != address.Undef && !slices.Contains(r.avoid, a) {
		r.avoid = append(r.avoid, a)
	}
}

// avoidSendersOf avoids whoever sent the batch's messages before number attempt.
func (r *run) avoidSendersOf(b *batch, attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, from := range b.from {
		if n < attempt && from != address.Undef && !slices.Contains(r.avoid, from) {
			r.avoid = append(r.avoid, from)
		}
	}
}

// note keeps what is known of a message, in memory and in the ledger.
func (r *run) note(b *batch, row ledger.Message) {
	row.UpdatedAt = time.Now()
	r.mu.Lock()
	b.messages[row.Attempt] = row
	r.mu.Unlock()
	r.m.cfg.book.PutMessage(row)
}

// row is what is known of a message.
func (r *run) row(b *batch, attempt int) (ledger.Message, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, ok := b.messages[attempt]
	return row, ok
}
