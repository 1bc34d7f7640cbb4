package poster

import (
	"context"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/patience"
)

const (
	// unplanned stands for the partitions of a run that ended before they were
	// listed.
	unplanned deadline.BatchID = "unknown"
	// pastRuns is how many runs are read at the start: two periods of the main
	// network.
	pastRuns = 96
)

// readPast tells the machine, once, what the ledger knows of earlier processes:
// the runs that ended stay ended, those that did not are settled, and the
// windows that passed while nobody was there are looked up. The first head waits
// a moment for it, and no longer.
func (m *miner) readPast(ctx context.Context) {
	defer close(m.past)
	var outage patience.Outage
	var rows []ledger.Run
	id := uint64(m.conf.Miner)
	for try := 0; m.pauseLong(ctx, try); try++ {
		var err error
		if rows, err = m.cfg.book.Runs(ctx, ledger.RunQuery{Miner: &id, Limit: pastRuns}, pastPatience*4/5); err == nil {
			outage.Over(m.log, "the ledger tells of earlier runs")
			break
		}
		if ctx.Err() != nil {
			return
		}
		outage.Failed(m.log, "the ledger does not tell of earlier runs, retrying; the chain's own record counts meanwhile", err.Error(), attr.Err(err))
	}
	if ctx.Err() != nil {
		return
	}
	ev := deadline.Past{Ended: map[deadline.Key]deadline.Verdict{}}
	for _, row := range rows {
		key := deadline.Key{PeriodStart: abi.ChainEpoch(row.PeriodStart), Index: row.Deadline}
		ev.Since = max(ev.Since, abi.ChainEpoch(row.Close))
		if row.Ended != nil {
			if v, ok := deadline.VerdictOf(row.Ended.Verdict); ok {
				ev.Ended[key] = v
			}
			continue
		}
		if err := m.cfg.book.Read(ctx, row.RunKey, readLimit); err != nil {
			m.log.Error("the ledger does not tell of an earlier run; the chain is asked", attr.Deadline(row.Deadline), attr.Err(err))
		}
		ev.Unfinished = append(ev.Unfinished, leftOver(key, row, m.cfg.book.Messages(row.RunKey)))
	}
	m.send(ctx, ev)
}

// leftOver is what an earlier process did for a deadline.
func leftOver(key deadline.Key, row ledger.Run, messages []ledger.Message) deadline.Unfinished {
	u := deadline.Unfinished{Key: key}
	last, _ := lastMessages(messages)
	open := slices.Clone(row.Partitions)
	for name, msg := range last {
		stage := stageOf(msg)
		if stage == deadline.Submitting {
			stage = deadline.Sent // whether it was, is to be found out
		}
		u.Batches = append(u.Batches, deadline.PlannedBatch{ID: deadline.BatchID(name), Stage: stage, Attempt: msg.Attempt})
		open = slices.DeleteFunc(open, func(n uint64) bool { return slices.Contains(msg.Partitions, n) })
	}
	switch {
	case len(open) > 0:
		u.Batches = append(u.Batches, deadline.PlannedBatch{ID: deadline.BatchID(open.String()), Stage: deadline.Proving})
	case len(u.Batches) == 0 && row.Partitions != nil:
		// it was planned, and had nothing to prove
	case len(u.Batches) == 0:
		u.Batches = append(u.Batches, deadline.PlannedBatch{ID: unplanned, Stage: deadline.Proving})
	}
	return u
}
