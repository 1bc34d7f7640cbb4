package manager

import (
	"context"
	"log/slog"

	"wdpost/internal/attr"
	"wdpost/internal/config"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/reach"
)

// Check looks at sectors as the daemon does, for commands beside it.
type Check struct {
	*sector.Checker
	files *reach.All
}

// NewCheck takes the stores of a configuration; one that cannot be used is named
// in the log and left out.
func NewCheck(home string, cfg config.Manager, log *slog.Logger) *Check {
	p := cfg.Common.Proving
	files := reach.New(log)
	guard := sector.NewGuard(sector.GuardConfig{
		Timeout: p.SingleCheckTimeout.D(), Parallel: p.ParallelCheckLimit, MaxStuck: p.MaxStuck, Backend: files, Log: log,
	})
	index := sector.OpenIndex(home)
	var whole []sector.Store
	for _, w := range cfg.Common.PersistStores {
		store := storeOf(w, false)
		guard.Name(store.Path, w.Name)
		if _, err := sector.NewLocator(index, []sector.Store{store}, log); err != nil {
			log.Warn("store left out", attr.Store(w.Name), attr.Err(err))
			continue
		}
		whole = append(whole, store)
	}
	locator, err := sector.NewLocator(index, whole, log)
	if err != nil { // each of them was whole just now
		log.Warn("stores left out", attr.Err(err))
		locator, _ = sector.NewLocator(index, nil, log) // of no store: nothing to refuse
	}
	return &Check{Checker: sector.NewChecker(locator, guard), files: files}
}

// Look checks sectors: by existence and size, or by reading.
func (c *Check) Look(ctx context.Context, miner uint64, wanted []sector.Wanted, read bool) []sector.Checked {
	return c.Check(ctx, miner, wanted, read)
}

// Close ends the processes that read the stores.
func (c *Check) Close() { c.files.Close() }
