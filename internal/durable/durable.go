// Package durable replaces files so that a reader, and whoever comes after a
// power failure, finds either the old content or the new one, whole: the content
// goes into a temporary file beside the target, is synced, renamed over it, and
// the folder is synced. It also holds the locks that one process keeps on a file.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a file on its way to its target. Write to it, then Commit or Abort.
type File struct {
	*os.File
	target string
	done   bool
}

// Create starts the replacement of path with a file of the given mode in the
// same folder, which must exist.
func Create(path string, perm fs.FileMode) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return &File{File: f, target: path}, nil
}

// Commit makes the file's content the target's. Once it returned nil the new
// content survives a power failure. After an error the target is as it was,
// save where only the folder's sync failed: then it has the new content.
func (f *File) Commit() error {
	f.done = true
	err := f.Sync()
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.target)
	}
	if err != nil {
		return errors.Join(err, ignoreAbsent(os.Remove(f.Name())))
	}
	return SyncDir(filepath.Dir(f.target))
}

// Abort drops the file unless it was committed; it may be deferred.
func (f *File) Abort() {
	if !f.done {
		f.done = true
		_ = f.Close()           // nothing of it is kept
		_ = os.Remove(f.Name()) // a temporary file that stays is only waste
	}
}

// WriteFile replaces the content of path with data.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Rename renames a file or folder that is already synced, and syncs the folders
// of both names.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	err := SyncDir(filepath.Dir(to))
	if filepath.Dir(from) != filepath.Dir(to) {
		err = errors.Join(err, SyncDir(filepath.Dir(from)))
	}
	return err
}

// SyncDir makes the names in a folder survive a power failure. File systems
// that cannot sync a folder are taken as they are.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// ErrLocked is wrapped by Lock when another process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// Lock takes the exclusive lock of the file path, which it makes if need be,
// without waiting. The lock is held until the returned file is closed or the
// process ends; children do not inherit it. The caller may write its process id
// into the file.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // only the lock's error says anything
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
