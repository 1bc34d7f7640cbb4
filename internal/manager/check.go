package manager

import (
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
	var configured []sector.Store
	for _, w := range cfg.Common.PersistStores {
		configured = append(configured, storeOf(w, false))
	}
	locator, broken := locate(home, guard, configured, log)
	for name, err := range broken {
		log.Warn("store left out", attr.Store(name), attr.Err(err))
	}
	return &Check{Checker: sector.NewChecker(locator, guard), files: files}
}

// Close ends the processes that read the stores.
func (c *Check) Close() { c.files.Close() }
