package merkle

import (
	"errors"
	"fmt"

	"wdpost/proofs/work"
)

// What can be wrong with a sector's files. They are wrapped in a FileError.
var (
	ErrMissing      = errors.New("missing")
	ErrShort        = errors.New("too short")
	ErrLong         = errors.New("too long")
	ErrNotCanonical = errors.New("value is not a field element")
	ErrMismatch     = errors.New("stored node differs from the hash of its children")
)

// ErrCanceled is returned by work that was told to stop through its done
// channel.
var ErrCanceled = work.ErrCanceled

// ReplicaName is the name errors give to the replica; tree files go by their
// name in the cache directory.
const ReplicaName = "replica"

// FileError says which file of a sector is bad, where and why. Err wraps one
// of the errors above or is what reading returned.
type FileError struct {
	File   string // ReplicaName or the name in the cache directory
	Offset int64  // bytes; -1 when the whole file is meant
	Err    error
}

// Error names file, place and cause.
func (e *FileError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s at byte %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }
