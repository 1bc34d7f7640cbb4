package poster

import (
	"context"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
)

// unplanned stands for the partitions of a run that ended before they were listed.
const unplanned deadline.BatchID = "unknown"

// resume settles the runs of an earlier process whose window has closed in the
// meantime. Those still open come back by themselves, through Start.
func (m *miner) resume(ctx context.Context) {
	id := uint64(m.conf.Miner)
	var rows []ledger.Run
	err := m.retry(ctx, func() (err error) {
		call, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
		defer cancel()
		rows, err = m.cfg.Ledger.Runs(call, ledger.RunQuery{Miner: &id, Unfinished: true})
		return err
	})
	if err != nil {
		return // the manager is stopping
	}
	for _, row := range rows {
		if row.Close > int64(m.lastInfo().CurrentEpoch) {
			continue
		}
		var past past
		err := m.retry(ctx, func() (err error) {
			past, err = m.readPast(ctx, row.RunKey)
			return err
		})
		if err != nil {
			return
		}
		m.send(ctx, leftOver(row, past))
	}
}

// leftOver tells the machine what an earlier process did for a deadline.
func leftOver(row ledger.Run, past past) deadline.Resumed {
	ev := deadline.Resumed{Key: deadline.Key{PeriodStart: abi.ChainEpoch(row.PeriodStart), Index: row.Deadline}}
	last, _ := past.lastMessages()
	open := slices.Clone(row.Partitions)
	for name, msg := range last {
		ev.Batches = append(ev.Batches, deadline.PlannedBatch{ID: deadline.BatchID(name), Stage: stageOf(msg), Attempt: msg.Attempt})
		open = slices.DeleteFunc(open, func(n uint64) bool { return slices.Contains(msg.Partitions, n) })
	}
	switch {
	case len(open) > 0:
		ev.Batches = append(ev.Batches, deadline.PlannedBatch{ID: deadline.BatchID(open.String()), Stage: deadline.Proving})
	case len(ev.Batches) == 0:
		ev.Batches = append(ev.Batches, deadline.PlannedBatch{ID: unplanned, Stage: deadline.Proving})
	}
	return ev
}
