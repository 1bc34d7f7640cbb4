// Package reach joins every kind of store that a daemon reads: folders, through a
// process of their own, and object stores.
package reach

import (
	"context"
	"errors"
	"log/slog"

	"wdpost/internal/sector/store"
	"wdpost/internal/sector/store/process"
	"wdpost/internal/sector/store/s3"
)

// All reaches the files of every kind of store.
type All struct {
	store.By
	folders *process.Client
	objects *s3.Backend
}

// New returns a backend for all stores; nothing is opened, started or connected
// yet.
func New(log *slog.Logger) *All {
	// Requests end by their own time-out, or by Close: reads go on while a daemon
	// that was told to stop finishes its proofs.
	a := &All{folders: process.New(log), objects: s3.New(context.Background())}
	a.By = store.By{"": a.folders, s3.Prefix: a.objects}
	return a
}

// Close ends what reads. What hangs is left to itself.
func (a *All) Close() error { return errors.Join(a.folders.Close(), a.objects.Close()) }
