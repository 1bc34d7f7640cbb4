// Package store reaches the files of stores, wherever they lie.
//
// A Backend opens, stats and lists files by their whole path, which begins with
// the folder of their store. Local reads the file system in this process, package
// process does it in a process of its own, and package s3 asks an object store;
// By chooses among them by the path. Every call may block for ever: whoever calls
// bounds it (see sector.Guard). Nothing is ever written or created.
//
// To serve stores of another kind, implement Backend and add it to By under a
// prefix that no folder has. Errors are those of the file system: fs.ErrNotExist
// and fs.ErrPermission for a file that is not there or is closed to us, an error
// wrapping ErrUnavailable where the store as a whole does not serve.
package store

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// File is one open file. ReadAt is called from several goroutines.
type File interface {
	// ReadAt reads as io.ReaderAt does.
	ReadAt(b []byte, at int64) (int, error)
	// Size returns the size in bytes at the time of opening.
	Size() int64
	// Close gives the file back. Nothing can be lost by an error.
	Close() error
}

// Info is what Stat says of one path.
type Info struct {
	Err     error  // why nothing is known; the other fields are zero then
	Size    int64  // bytes
	Regular bool   // a plain file
	Dir     bool   // a folder
	Real    string // the path without symbolic links, where asked for
}

// Space is the room of the file system that a store lies on.
type Space struct {
	Total, Free uint64 // bytes; 0 where the store does not tell
	ReadOnly    bool   // mounted read-only
}

// Backend reaches files. Its methods are safe for concurrent use.
type Backend interface {
	// Open opens a plain file for reading.
	Open(path string) (File, error)
	// Stat looks at several paths and answers in their order; resolve asks for
	// Info.Real.
	Stat(paths []string, resolve bool) []Info
	// List returns the names in a folder, in no order. A folder that is not
	// there is fs.ErrNotExist.
	List(dir string) ([]string, error)
	// Space tells the room of the store whose folder is path.
	Space(path string) (Space, error)
}

// Causes that are no trouble of a file.
var (
	// ErrUnavailable: the store as a whole does not serve.
	ErrUnavailable = errors.New("the store does not serve")
	// ErrHere: this machine or process is short of something, no store is to
	// blame.
	ErrHere = errors.New("this machine cannot read now")
)

// Trouble says whose trouble an error is.
type Trouble int

// Whose trouble an error is.
const (
	OfFile  Trouble = iota // one file is missing, closed, short, or something else than a file
	OfStore                // the store or the way to it
	OfHere                 // this machine
)

// storeErrnos are the errors of a store or of the way to it. All others, also
// unknown ones, count as those of a single file: a wrong guess costs one sector
// there, and a whole store here.
var storeErrnos = []error{
	syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
	syscall.ENETDOWN, syscall.ENETUNREACH, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED,
	syscall.ENODEV, syscall.ENXIO, syscall.EREMOTEIO, syscall.ENOLINK, syscall.ECOMM, syscall.ESHUTDOWN,
	ErrUnavailable,
}

// hereErrnos are shortages of this machine.
var hereErrnos = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, ErrHere}

// TroubleOf judges an error of a Backend; not nil.
func TroubleOf(err error) Trouble {
	if isAny(err, hereErrnos) {
		return OfHere
	}
	if isAny(err, storeErrnos) {
		return OfStore
	}
	return OfFile
}

func isAny(err error, targets []error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// By sends each call to the backend whose prefix the path has; the prefix ""
// takes the rest.
type By map[string]Backend

// of chooses the backend with the longest prefix.
func (b By) of(path string) (Backend, error) {
	var best Backend
	length := -1
	for prefix, backend := range b {
		if len(prefix) > length && strings.HasPrefix(path, prefix) {
			best, length = backend, len(prefix)
		}
	}
	if best == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return best, nil
}

// Open implements Backend.
func (b By) Open(path string) (File, error) {
	backend, err := b.of(path)
	if err != nil {
		return nil, err
	}
	return backend.Open(path)
}

// Stat implements Backend; all paths are those of one store.
func (b By) Stat(paths []string, resolve bool) []Info {
	if len(paths) == 0 {
		return nil
	}
	backend, err := b.of(paths[0])
	if err != nil {
		return failed(len(paths), err)
	}
	return backend.Stat(paths, resolve)
}

// List implements Backend.
func (b By) List(dir string) ([]string, error) {
	backend, err := b.of(dir)
	if err != nil {
		return nil, err
	}
	return backend.List(dir)
}

// Space implements Backend.
func (b By) Space(path string) (Space, error) {
	backend, err := b.of(path)
	if err != nil {
		return Space{}, err
	}
	return backend.Space(path)
}

// failed is the answer of Stat where nothing is known.
func failed(n int, err error) []Info {
	out := make([]Info, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}
