// Package reach joins every kind of store that a daemon reads: folders through a
// process of their own.
package reach

import (
	"log/slog"

	"wdpost/internal/sector/store"
	"wdpost/internal/sector/store/process"
)

// All reaches the files of every kind of store.
type All struct {
	store.By
	reader *process.Client
}

// New returns a backend for all stores; nothing is opened or started yet.
func New(log *slog.Logger) *All {
	reader := process.New(log)
	return &All{By: store.By{"": reader}, reader: reader}
}

// Close ends what reads. What hangs is left to itself.
func (a *All) Close() error { return a.reader.Close() }
