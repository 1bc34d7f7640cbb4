package poster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	mineractor "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// recheckEpochs is how long, at most, sectors that could not be read are left
// alone before they are looked at again, while declarations are still accepted.
const recheckEpochs = 10

// lastDeclaration is the last head from which a declaration can still be
// executed before the cut-off.
func lastDeclaration(di dline.Info) abi.ChainEpoch { return di.FaultCutoff - 2 }

// recoverFaults declares the faulty sectors of a deadline ahead that can be
// proven again. It looks once more from time to time until the cut-off, since
// a store may come back, and tries again whatever fails.
func (m *miner) recoverFaults(parent context.Context, di dline.Info) {
	ctx, cancel := context.WithDeadlineCause(parent, m.timeOf(di.FaultCutoff-1), errWindowClosed)
	defer cancel()
	watch, cancelWatch := context.WithDeadlineCause(parent, m.timeOf(di.Open), errWindowClosed)
	defer cancelWatch()
	log := m.log.With("deadline", di.Index, "period_start", di.PeriodStart, "fault_cutoff", di.FaultCutoff)
	failures := 0
	for {
		left, sent, err := m.declareOnce(ctx, di, log)
		if werr := m.awaitRecoveries(watch, sent, log); err == nil {
			err = werr
		}
		switch {
		case ctx.Err() != nil || errors.Is(err, errWindowClosed):
			if parent.Err() == nil && (left > 0 || err != nil) {
				log.Warn("faulty sectors were not declared recovered before the cut-off", "sectors", left, "error", err)
			}
			return
		case err != nil:
			failures++
			log.Log(ctx, levelOfTry(failures), "declaring recoveries failed; it is tried again", "try", failures, "error", err)
			if !m.pause(ctx, failures) {
				return
			}
			continue
		case left == 0:
			return
		}
		failures = 0
		remaining := time.Until(m.timeOf(lastDeclaration(di)))
		if !sleep(ctx, max(min(remaining/2, recheckEpochs*m.cfg.BlockDelay), m.cfg.BlockDelay)) {
			return
		}
	}
}

// declareOnce looks at every partition and declares what can be proven again.
// It returns how many faulty sectors it had to leave and the messages it sent.
func (m *miner) declareOnce(ctx context.Context, di dline.Info, log *slog.Logger) (left int, sent []ledger.Message, err error) {
	faults, err := m.faults(ctx, di)
	if err != nil || len(faults) == 0 {
		return 0, nil, err
	}
	past, err := m.cfg.Ledger.Messages(ctx, m.runKey(deadline.KeyOf(di)))
	if err != nil {
		return 0, nil, err
	}
	good, left, err := m.recoverable(ctx, di, undeclared(faults, past), log)
	if err != nil {
		return 0, nil, err
	}
	for _, recs := range groupRecoveries(good, m.conf.MaxPartitionsPerRecoveryMessage) {
		row, err := m.declare(ctx, di, recs, past, log)
		if err != nil {
			return left, sent, err
		}
		sent = append(sent, row)
	}
	return left, sent, nil
}

// recoverable picks the sectors that can be proven again, at most
// MaxRecoverSectorLimit, and counts those that cannot. When the limit is
// reached the rest has its turn in the next period and is not counted.
func (m *miner) recoverable(ctx context.Context, di dline.Info, faults []recovery, log *slog.Logger) (good []recovery, left int, err error) {
	limit := int(m.conf.MaxRecoverSectorLimit)
	taken := 0
	for _, part := range faults {
		sectors, err := m.chainSectors(ctx, part.Sectors)
		if err != nil {
			return nil, 0, err
		}
		check, err := m.checkSectors(ctx, log.With("partitions", part.Partition, "faulty", true), slog.LevelWarn, di.FaultCutoff, sectors)
		if err != nil {
			return nil, 0, err
		}
		rec := recovery{Partition: part.Partition}
		for _, n := range part.Sectors {
			if _, ok := check.Good[n]; !ok {
				left++
			} else if limit == 0 || taken < limit {
				rec.Sectors = append(rec.Sectors, n)
				taken++
			}
		}
		if len(rec.Sectors) > 0 {
			good = append(good, rec)
		}
		if limit > 0 && taken == limit {
			return good, 0, nil
		}
	}
	return good, left, nil
}

// faults lists for each partition the faulty sectors not declared recovered.
func (m *miner) faults(ctx context.Context, di dline.Info) ([]recovery, error) {
	head, err := m.cfg.Chain.ChainHead(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	if head.Height > lastDeclaration(di) {
		return nil, fmt.Errorf("%w: declarations end at epoch %d, the head is at %d", errWindowClosed, di.FaultCutoff, head.Height)
	}
	partitions, err := m.cfg.Chain.StateMinerPartitions(ctx, m.addr, di.Index, head.Key())
	if err != nil {
		return nil, fmt.Errorf("list the partitions: %w", err)
	}
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
	return numbers(b)
}

// undeclared leaves out the sectors of declarations that are on their way.
func undeclared(faults []recovery, past []ledger.Message) []recovery {
	var out []recovery
	for _, f := range faults {
		f.Sectors = slices.DeleteFunc(slices.Clone(f.Sectors), func(n uint64) bool {
			return slices.ContainsFunc(past, func(msg ledger.Message) bool {
				return msg.Kind == ledger.KindRecovery && msg.State != ledger.Failed && msg.State != ledger.Sending && isIn(msg.Sectors, n)
			})
		})
		if len(f.Sectors) > 0 {
			out = append(out, f)
		}
	}
	return out
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
func (m *miner) declare(ctx context.Context, di dline.Info, recs []recovery, past []ledger.Message, log *slog.Logger) (ledger.Message, error) {
	row := ledger.Message{RunKey: m.runKey(deadline.KeyOf(di)), Kind: ledger.KindRecovery, Attempt: 1, State: ledger.Sending, CreatedAt: time.Now()}
	for _, rec := range recs {
		row.Partitions = append(row.Partitions, rec.Partition)
		row.Sectors = append(row.Sectors, rec.Sectors...)
	}
	slices.Sort(row.Sectors)
	for _, msg := range past { // the failed ones of the same sectors
		if msg.Kind == ledger.KindRecovery && msg.State == ledger.Failed && slices.Equal(msg.Sectors, row.Sectors) {
			row.Attempt = max(row.Attempt, msg.Attempt+1)
		}
	}
	row.ID = recoveryID(row.RunKey, recs, row.Attempt)
	params, err := encodeRecoveries(di.Index, recs)
	if err != nil {
		return row, err
	}
	from, err := m.payer(ctx)
	if err != nil {
		return row, err
	}
	m.keepRecovery(ctx, row, log)
	handle, err := m.cfg.Sender.Push(ctx, row.ID, newMessage(m.addr, from, methodRecover, params), message.Spec{Fees: m.conf.Fees, Expire: di.FaultCutoff})
	if err != nil {
		return row, fmt.Errorf("push message %s: %w", row.ID, err)
	}
	row.State, row.Handle = ledger.Sent, handle.CID
	m.keepRecovery(ctx, row, log)
	log.Info("declare faults recovered message published", "message", row.ID, "cid", row.Handle, "partitions", row.Partitions.String(), "sectors", len(row.Sectors))
	return row, nil
}

// awaitRecoveries sees the declarations land; the error tells of those that
// did not, and may be declared again.
func (m *miner) awaitRecoveries(ctx context.Context, rows []ledger.Message, log *slog.Logger) error {
	var errs []error
	for _, row := range rows {
		var out message.Outcome
		err := m.retry(ctx, func() (err error) {
			out, err = m.cfg.Sender.Wait(ctx, message.Handle{ID: row.ID, CID: row.Handle}, m.conf.confidence())
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("wait for message %s: %w", row.ID, err))
			continue
		}
		row.Epoch, row.ExitCode, row.Handle = int64(out.Height), int64(out.ExitCode), out.Handle.CID
		if out.Succeeded() {
			row.State = ledger.Landed
			log.Info("declare faults recovered message succeeded", "message", row.ID, "epoch", out.Height)
		} else {
			row.State, row.Error = ledger.Failed, whyFailed(out)
			errs = append(errs, fmt.Errorf("message %s: %s", row.ID, row.Error))
		}
		m.keepRecovery(ctx, row, log)
	}
	return errors.Join(errs...)
}

// keepRecovery writes a declaration down. Without the ledger it is sent all
// the same: its id follows from the sectors, so it cannot be sent twice.
func (m *miner) keepRecovery(ctx context.Context, row ledger.Message, log *slog.Logger) {
	row.UpdatedAt = time.Now()
	if err := m.cfg.Ledger.PutMessage(context.WithoutCancel(ctx), row); err != nil {
		log.Error("the ledger does not keep a declaration of recoveries", "message", row.ID, "error", err)
	}
}
