package manager

import (
	"context"
	"fmt"
	"log/slog"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/run"
)

// Reloaded is what a reload did.
type Reloaded struct {
	Changed      []string `json:"changed"`      // keys whose values differ from those in force
	NeedsRestart []string `json:"needsRestart"` // those of them that wait for a restart
	Warnings     []string `json:"warnings"`
}

// reload is a request for one.
type reload struct{ answer chan<- reloadAnswer }

type reloadAnswer struct {
	done Reloaded
	err  error
}

// Reload reads the configuration files again and puts in force what can be: the
// stores, the time-out of the check, and the miners with all of their settings.
// A configuration that is refused changes nothing. Deadlines under way go on.
func (m *Manager) Reload(ctx context.Context) (Reloaded, error) {
	answer := make(chan reloadAnswer, 1)
	select {
	case m.reloads <- reload{answer}:
	case <-ctx.Done():
		return Reloaded{}, context.Cause(ctx)
	}
	select {
	case a := <-answer:
		return a.done, a.err
	case <-ctx.Done():
		return Reloaded{}, context.Cause(ctx)
	}
}

// takeReloads carries out one reload after the other.
func (m *Manager) takeReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-m.reloads:
			var a reloadAnswer
			a.err = m.guarded(ctx, "reload", func(ctx context.Context) (err error) { a.done, err = m.reload(ctx); return err })
			if a.err != nil {
				m.log.Error("configuration refused; the former one stays in force", attr.Err(a.err))
				m.board.Set(condition.Condition{Kind: condition.ConfigRefused, Detail: oneLine(a.err)})
			}
			r.answer <- a
		}
	}
}

func (m *Manager) reload(ctx context.Context) (Reloaded, error) {
	now := m.settings.Load()
	next, warnings, err := loadSettings(m.cfg.ConfDir, m.cfg.ExtProver)
	if err == nil {
		err = m.check(next)
	}
	if err != nil {
		return Reloaded{}, err
	}
	m.board.Clear(condition.ConfigRefused, "")
	for _, w := range warnings {
		m.log.Warn(w)
	}
	done := Reloaded{Changed: config.Changed(now.manager, next.manager), Warnings: warnings}
	for _, key := range config.Changed(now.ext, next.ext) {
		done.Changed = append(done.Changed, "ext-prover.cfg "+key)
	}
	done.NeedsRestart = needRestart(done.Changed)
	m.board.When(len(done.NeedsRestart) > 0, condition.Condition{
		Kind: condition.RestartNeeded, Detail: fmt.Sprintf("changed, and read at the start only: %q", done.NeedsRestart),
	})

	in := *now // what needs a restart stays as it is
	in.at = next.at
	in.manager.Common.PersistStores = next.manager.Common.PersistStores
	in.manager.Common.ScanPersistStores = next.manager.Common.ScanPersistStores
	in.manager.Common.RescanInterval = next.manager.Common.RescanInterval
	in.manager.Common.Proving.PartitionCheckTimeout = next.manager.Common.Proving.PartitionCheckTimeout
	in.manager.Miners = next.manager.Miners
	m.settings.Store(&in)
	m.stores.load(ctx, in.manager.Common)
	m.figures.configured(in.manager.Miners)
	m.miners.apply(in.manager.Miners)
	m.log.Info("configuration read again", attr.Keys(done.Changed), attr.Reason(restartWords(done.NeedsRestart)))
	return done, nil
}

func restartWords(keys []string) string {
	if len(keys) == 0 {
		return "all of it is in force"
	}
	return fmt.Sprintf("in force after a restart only: %q", keys)
}

// SetLevel changes the log's level; the words are those of RUST_LOG.
func (m *Manager) SetLevel(words string) (slog.Level, error) {
	if m.cfg.Level == nil {
		return 0, fmt.Errorf("the log level of this process cannot be changed")
	}
	level := run.ParseLevel(words)
	m.cfg.Level.Set(level)
	m.log.Warn("log level changed", attr.Level(level))
	return level, nil
}
