package sector

import (
	"context"
	"errors"
	"io/fs"

	"wdpost/internal/sector/store"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
)

// withFault says whose trouble it is that the files of a replica could not be
// read: the sector's, this machine's, or the store's. The end of the caller's
// context is nobody's.
func withFault(err error, replica task.Replica) error {
	kind, blamed := faultKind(err)
	if !blamed {
		return err
	}
	f := &task.FaultError{Kind: kind, Err: err}
	if kind != task.FaultData {
		f.Store = storeOf(replica.SealedFile)
		var at *StoreError
		if errors.As(err, &at) {
			f.Store = at.Store
		}
	}
	return f
}

// faultKind tells the kind of an error of reading a sector; ok is false for the
// end of a context.
func faultKind(err error) (kind task.FaultKind, ok bool) {
	var at *fs.PathError
	switch {
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrSetAside):
		return task.FaultStore, true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return task.FaultUnseen, true
	case store.TroubleOf(err) != store.OfFile:
		return task.FaultStore, true
	case errors.As(err, &at):
		return task.FaultData, true // a loop of links, a folder in place of a file and the like
	case isEnd(err):
		return "", false
	}
	return task.FaultData, true
}

// isEnd reports whether err is that of a caller who waits no more.
func isEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, merkle.ErrCanceled)
}
