package poster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/message/escalate"
)

// look finds the faulty sectors of a deadline ahead that can be proven again:
// each is really read before it is declared, whatever the daily check does,
// since a declaration that is not kept costs a fee and the sector's power.
func (r *run) look(ctx context.Context, try int) deadline.Event {
	if !r.m.pauseLong(ctx, try) {
		return nil
	}
	ev, err := r.lookOnce(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		r.log.Log(ctx, levelOfTry(try), "looking for sectors to recover failed, retrying", attr.Failures(try+1), attr.Err(err))
		return deadline.PlanFailed{Ref: r.ref, Why: failure(err)}
	}
	return *ev
}

func (r *run) lookOnce(ctx context.Context) (*deadline.Planned, error) {
	head, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	var partitions []lotus.Partition
	var past error
	err = together(ctx,
		func(ctx context.Context) (err error) { partitions, err = r.partitions(ctx, head.Key()); return err },
		func(ctx context.Context) error { past = r.m.cfg.book.Read(ctx, r.key, readLimit); return nil })
	if err != nil {
		return nil, err
	}
	faults, err := faultsOf(partitions)
	if err != nil {
		return nil, err
	}
	ev := &deadline.Planned{Ref: r.ref}
	if len(faults) == 0 {
		return ev, nil
	}
	if past != nil { // ids follow from the sectors: nothing is declared twice even so
		r.log.Error("looking for sectors to recover without the ledger", attr.Err(past))
	}
	ev.Batches = r.underWay(partitions, faults)
	good, bad, err := r.recoverable(ctx, head, r.undeclared(faults))
	if err != nil {
		return nil, err
	}
	ev.Left = len(bad)
	if len(bad) > 0 {
		ev.Reason = someReasons(bad).Error()
	}
	for _, recs := range groupRecoveries(good, r.m.conf.MaxPartitionsPerRecoveryMessage) {
		b := newDeclaration(recs)
		ev.Batches = append(ev.Batches, deadline.PlannedBatch{ID: b.id(), Stage: deadline.Ready, Attempt: r.failedAttempts(b)})
		r.add(b)
	}
	return ev, nil
}

// newDeclaration is the batch of one declaration.
func newDeclaration(recs []recovery) *batch {
	b := &batch{recoveries: recs}
	for _, rec := range recs {
		b.partitions = append(b.partitions, partition{index: rec.Partition, toProve: rec.Sectors})
	}
	b.name = declarationID(b.indices(), b.sectors())
	return b
}

// declarationID names a declaration by what the ledger keeps of it.
func declarationID(partitions ledger.Partitions, sectors []uint64) deadline.BatchID {
	text := ledger.EncodeNumbers(sectors)
	if len(text) > 64 {
		sum := sha256.Sum256([]byte(text))
		text = hex.EncodeToString(sum[:8])
	}
	return deadline.BatchID("recover " + partitions.String() + ":" + text)
}

// underWay makes batches of the declarations in the ledger that are not in this
// run yet and whose sectors the chain does not show as recovering: they may be
// on their way, or a reorg took them off the chain.
func (r *run) underWay(partitions []lotus.Partition, faults []recovery) []deadline.PlannedBatch {
	var planned []deadline.PlannedBatch
	last := map[deadline.BatchID]ledger.Message{}
	for _, msg := range r.m.cfg.book.Messages(r.key) {
		if id := r.names(msg); id != "" && msg.Attempt >= last[id].Attempt {
			last[id] = msg
		}
	}
	for id, msg := range last {
		if msg.State == ledger.Failed || r.batch(id) != nil || !overlaps(faults, msg.Sectors) {
			continue
		}
		b := newDeclaration(splitByPartition(partitions, msg))
		b.name = id
		b.messages = map[int]ledger.Message{msg.Attempt: msg}
		r.add(b)
		p := deadline.PlannedBatch{ID: id, Stage: deadline.Sent, Attempt: msg.Attempt}
		if msg.State == ledger.Sending && len(b.recoveries) > 0 {
			p.Stage = deadline.Submitting
		}
		planned = append(planned, p)
	}
	return planned
}

func overlaps(faults []recovery, sectors []uint64) bool {
	return slices.ContainsFunc(faults, func(f recovery) bool {
		return slices.ContainsFunc(f.Sectors, func(n uint64) bool { return isIn(sectors, n) })
	})
}

// splitByPartition finds the partition of each sector of a declaration.
func splitByPartition(partitions []lotus.Partition, msg ledger.Message) []recovery {
	var recs []recovery
	for _, index := range msg.Partitions {
		if index >= uint64(len(partitions)) {
			continue
		}
		all, err := numbers(partitions[index].AllSectors)
		if err != nil {
			continue
		}
		rec := recovery{Partition: index}
		for _, n := range msg.Sectors {
			if isIn(all, n) {
				rec.Sectors = append(rec.Sectors, n)
			}
		}
		if len(rec.Sectors) > 0 {
			recs = append(recs, rec)
		}
	}
	return recs
}

// undeclared leaves out the sectors of declarations that are on their way.
func (r *run) undeclared(faults []recovery) []recovery {
	messages := r.m.cfg.book.Messages(r.key)
	var out []recovery
	for _, f := range faults {
		f.Sectors = slices.DeleteFunc(slices.Clone(f.Sectors), func(n uint64) bool {
			return slices.ContainsFunc(messages, func(msg ledger.Message) bool {
				return msg.Kind == ledger.KindRecovery && msg.State != ledger.Failed && isIn(msg.Sectors, n)
			})
		})
		if len(f.Sectors) > 0 {
			out = append(out, f)
		}
	}
	return out
}

// failedAttempts counts the messages of the same declaration that failed.
func (r *run) failedAttempts(b *batch) (attempts int) {
	for _, msg := range r.m.cfg.book.Messages(r.key) {
		if r.names(msg) == b.id() {
			attempts = max(attempts, msg.Attempt)
		}
	}
	return attempts
}

// recoverable reads the faulty sectors, all partitions beside each other, and
// picks those that can be proven again, at most MaxRecoverSectorLimit. When the
// limit is reached the rest has its turn in the next period.
func (r *run) recoverable(ctx context.Context, head *lotus.TipSet, faults []recovery) (good []recovery, bad map[uint64]error, err error) {
	var mu sync.Mutex
	checks := make([]CheckResult, len(faults))
	bad = map[uint64]error{}
	var calls []func(context.Context) error
	for i, part := range faults {
		calls = append(calls, func(ctx context.Context) error {
			sectors, err := r.chainSectors(ctx, head.Key(), part.Sectors)
			if err != nil {
				return err
			}
			check, err := r.checkSectors(ctx, r.log.With(attr.Partition(part.Partition)), slog.LevelWarn, sectors, true)
			mu.Lock()
			defer mu.Unlock()
			checks[i] = check
			return err
		})
	}
	if err := together(ctx, calls...); err != nil {
		return nil, nil, err
	}
	limit, taken := int(r.m.conf.MaxRecoverSectorLimit), 0
	for i, part := range faults {
		rec := recovery{Partition: part.Partition}
		for _, n := range part.Sectors {
			copies := checks[i].Good[n]
			switch {
			case len(copies) == 0:
				if bad[n] = checks[i].Bad[n]; bad[n] == nil {
					bad[n] = errors.New("it was not looked at")
				}
			case limit > 0 && taken >= limit:
			case r.useless(ctx, n, copies):
			default:
				rec.Sectors = append(rec.Sectors, n)
				taken++
			}
		}
		if len(rec.Sectors) > 0 {
			good = append(good, rec)
		}
	}
	if limit > 0 && taken >= limit {
		clear(bad)
	}
	return good, bad, nil
}

// faultsOf lists for each partition the faulty sectors not declared recovered.
func faultsOf(partitions []lotus.Partition) ([]recovery, error) {
	var out []recovery
	for i, p := range partitions {
		sectors, err := unrecovered(p)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", i, err)
		}
		if len(sectors) > 0 {
			out = append(out, recovery{Partition: uint64(i), Sectors: sectors})
		}
	}
	return out, nil
}

func unrecovered(p lotus.Partition) ([]uint64, error) {
	b, err := bitfield.SubtractBitField(p.FaultySectors, p.RecoveringSectors)
	if err != nil {
		return nil, err
	}
	if b, err = bitfield.IntersectBitField(b, p.LiveSectors); err != nil {
		return nil, err
	}
	return numbers(b)
}

// groupRecoveries puts declarations into messages of at most size partitions (0
// means any number), within what the network lets a message address.
func groupRecoveries(recs []recovery, size uint64) [][]recovery {
	if size == 0 || size > mineractor.DeclarationsMax {
		size = mineractor.DeclarationsMax
	}
	var out [][]recovery
	sectors := 0
	for _, rec := range recs {
		last := len(out) - 1
		if last < 0 || uint64(len(out[last])) >= size || sectors+len(rec.Sectors) > mineractor.AddressedSectorsMax {
			out = append(out, nil)
			last, sectors = last+1, 0
		}
		out[last] = append(out[last], rec)
		sectors += len(rec.Sectors)
	}
	return out
}

// declare sends one DeclareFaultsRecovered.
func (r *run) declare(ctx context.Context, b *batch, a deadline.Submit) (deadline.Event, error) {
	head, err := r.head(ctx)
	if err != nil {
		return nil, err
	}
	var from address.Address
	if from, err = r.sender(ctx, b, a.Attempt); err != nil {
		return nil, err
	}
	params, err := encodeRecoveries(r.info.Index, b.recoveries)
	if err != nil {
		return nil, err
	}
	row := ledger.Message{
		ID: recoveryID(r.key, b.recoveries, a.Attempt), RunKey: r.key, Kind: ledger.KindRecovery, Partitions: b.indices(), Sectors: b.sectors(),
		Attempt: a.Attempt, State: ledger.Sending, CreatedAt: time.Now(),
	}
	msg := newMessage(r.m.addr, from, methodRecover, params)
	msg.GasLimit = a.GasLimit
	handle, err := r.push(ctx, b, row, msg, escalate.BaseFee(head))
	if err != nil {
		return nil, err
	}
	r.log.Info("declare faults recovered message published", attr.MessageID(row.ID), attr.Message(handle.CID), attr.Partitions(row.Partitions),
		attr.SectorCount(len(row.Sectors)), attr.Sender(from), attr.Epoch(head.Height))
	return deadline.Submitted{Ref: r.ref, Batch: a.Batch}, nil
}

// pastPeriods is how far back declarations that were of no use are counted.
const pastPeriods = 8

// useless reports whether a sector was declared before and skipped all the
// same, with unchanged files, not long ago. The first time it is declared again
// after two periods, then after four, then eight: what can be read here and
// nowhere else is not declared every day.
func (r *run) useless(ctx context.Context, sector uint64, copies []Files) bool {
	if r.m.stamps.changed(sector, copies) {
		return false
	}
	strikes, last := 0, 0
	for ago := 1; ago <= pastPeriods; ago++ {
		key := r.key
		key.PeriodStart -= int64(abi.ChainEpoch(ago) * r.info.WPoStProvingPeriod)
		if key.PeriodStart+int64(r.info.WPoStProvingPeriod) <= 0 || r.m.cfg.book.Read(ctx, key, readLimit) != nil {
			break
		}
		declared := slices.ContainsFunc(r.m.cfg.book.Messages(key), func(msg ledger.Message) bool {
			return msg.Kind == ledger.KindRecovery && msg.State == ledger.Landed && isIn(msg.Sectors, sector)
		})
		skipped := slices.ContainsFunc(r.m.cfg.book.Proofs(key), func(p ledger.Proof) bool { return isIn(p.Skipped, sector) })
		if declared && skipped {
			strikes++
			if last == 0 {
				last = ago
			}
		}
	}
	if strikes == 0 || last >= 1<<strikes {
		return false
	}
	r.m.troubles.useless(r.ref, sector, strikes)
	return true
}

// stamps remembers of sectors that were skipped how their files looked then.
type stamps struct {
	mu  sync.Mutex
	was map[uint64]string
}

// note keeps how a skipped sector's files look.
func (s *stamps) note(sector uint64, copies []Files) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.was == nil {
		s.was = map[uint64]string{}
	}
	s.was[sector] = stampOf(copies)
}

// changed reports whether a sector's files changed since it was skipped.
func (s *stamps) changed(sector uint64, copies []Files) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.was[sector]
	return ok && was != stampOf(copies)
}

func stampOf(copies []Files) string {
	stamp := ""
	for _, c := range copies {
		stamp += c.SealedFile + "\x00" + c.Stamp + "\x00"
	}
	return stamp
}
