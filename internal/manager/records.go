package manager

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/ledger"
	"wdpost/internal/ledger/mongo"
	"wdpost/internal/ledger/sqlite"
	"wdpost/internal/patience"
)

// records is the ledger behind a gate. While the ledger cannot be opened every
// call fails at once, and proving goes on from the chain's own record; as soon
// as it can, the gate opens.
type records struct {
	m      *Manager
	ledger atomic.Pointer[ledger.Ledger]
	why    atomic.Pointer[error] // why it is not open
}

var _ ledger.Ledger = (*records)(nil)

// errNoRecords is wrapped by every call while the ledger is not open.
var errNoRecords = errors.New("the ledger is not open")

func newRecords(m *Manager) *records { return &records{m: m} }

// Settings of the upkeep.
const (
	ledgerKeeps = 30 * 24 * time.Hour // how long ended runs stay
	ledgerSweep = 6 * time.Hour       // how often older ones are deleted
	ledgerCheck = 15 * time.Second    // how long the ledger may take to answer its check
)

// run opens the ledger, as soon as the network's name is known and until it
// succeeds, then keeps it small and looks at its health.
func (r *records) run(ctx context.Context) error {
	if !r.open(ctx) {
		return nil
	}
	swept := time.Now()
	for patience.Sleep(ctx, 10*time.Second) == nil {
		r.look(ctx)
		if time.Since(swept) >= ledgerSweep {
			swept = time.Now()
			n, err := (*r.ledger.Load()).Prune(ctx, swept.Add(-ledgerKeeps))
			if err != nil {
				r.m.log.Error("ledger not swept", attr.Err(err))
				continue
			}
			r.m.log.Debug("ledger swept", attr.Count(n))
		}
	}
	return nil
}

// look asks the ledger whether it works.
func (r *records) look(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, ledgerCheck)
	defer cancel()
	err := (*r.ledger.Load()).Check(call)
	if ctx.Err() != nil {
		return
	}
	r.told(err)
}

func (r *records) told(err error) {
	if err == nil {
		r.why.Store(nil)
		r.m.board.Clear(condition.LedgerUnusable, "")
		return
	}
	r.why.Store(&err)
	r.m.board.Set(condition.Condition{Kind: condition.LedgerUnusable, Detail: err.Error()})
}

func (r *records) open(ctx context.Context) bool {
	pause := patience.Backoff{Min: time.Second, Max: 30 * time.Second}
	for {
		n := r.m.network.Load()
		if n == nil {
			if patience.Sleep(ctx, 50*time.Millisecond) != nil {
				return false
			}
			continue
		}
		l, err := r.openOnce(ctx, n.name)
		if ctx.Err() != nil {
			if err == nil {
				_ = l.Close() // nothing was written
			}
			return false
		}
		r.told(err)
		if err == nil {
			r.ledger.Store(&l)
			return true
		}
		if pause.Wait(ctx) != nil {
			return false
		}
	}
}

// openOnce opens MongoDB where it is enabled, else a file in the home.
func (r *records) openOnce(ctx context.Context, network string) (l ledger.Ledger, err error) {
	err = r.m.guarded(ctx, "ledger", func(ctx context.Context) (err error) {
		if k := r.m.settings.Load().manager.Common.MongoKVStore; k.Enable {
			l, err = r.m.cfg.Parts.Mongo(ctx, mongo.Config{DSN: k.DSN, DatabaseName: k.DatabaseName, Network: network})
			return err
		}
		l, err = r.m.cfg.Parts.SQLite(ctx, sqlite.Config{Path: filepath.Join(r.m.cfg.Home, "ledger.db"), Network: network, Board: r.m.board, Log: r.m.log})
		return err
	})
	return l, err
}

func (r *records) close() error {
	if l := r.ledger.Load(); l != nil {
		return (*l).Close()
	}
	return nil
}

// get is the open ledger.
func (r *records) get() (ledger.Ledger, error) {
	if l := r.ledger.Load(); l != nil {
		return *l, nil
	}
	if why := r.why.Load(); why != nil {
		return nil, fmt.Errorf("%w: %w", errNoRecords, *why)
	}
	return nil, errNoRecords
}

// OpenRun implements ledger.Ledger.
func (r *records) OpenRun(ctx context.Context, run ledger.Run) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.OpenRun(ctx, run)
}

// EndRun implements ledger.Ledger.
func (r *records) EndRun(ctx context.Context, key ledger.RunKey, end ledger.RunEnd) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.EndRun(ctx, key, end)
}

// Runs implements ledger.Ledger.
func (r *records) Runs(ctx context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	l, err := r.get()
	if err != nil {
		return nil, err
	}
	return l.Runs(ctx, q)
}

// PutProof implements ledger.Ledger.
func (r *records) PutProof(ctx context.Context, p ledger.Proof) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.PutProof(ctx, p)
}

// Proofs implements ledger.Ledger.
func (r *records) Proofs(ctx context.Context, key ledger.RunKey) ([]ledger.Proof, error) {
	l, err := r.get()
	if err != nil {
		return nil, err
	}
	return l.Proofs(ctx, key)
}

// DropProof implements ledger.Ledger.
func (r *records) DropProof(ctx context.Context, key ledger.RunKey, partitions ledger.Partitions) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.DropProof(ctx, key, partitions)
}

// PutMessage implements ledger.Ledger.
func (r *records) PutMessage(ctx context.Context, msg ledger.Message) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.PutMessage(ctx, msg)
}

// Messages implements ledger.Ledger.
func (r *records) Messages(ctx context.Context, key ledger.RunKey) ([]ledger.Message, error) {
	l, err := r.get()
	if err != nil {
		return nil, err
	}
	return l.Messages(ctx, key)
}

// Prune implements ledger.Ledger.
func (r *records) Prune(ctx context.Context, before time.Time) (int, error) {
	l, err := r.get()
	if err != nil {
		return 0, err
	}
	return l.Prune(ctx, before)
}

// Check implements ledger.Ledger.
func (r *records) Check(ctx context.Context) error {
	l, err := r.get()
	if err != nil {
		return err
	}
	return l.Check(ctx)
}

// Close implements ledger.Ledger; the manager closes what it opened.
func (r *records) Close() error { return nil }
