package keytool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"wdpost/internal/prover"
)

// asideMark is part of the name of every file that is not whole yet.
const asideMark = ".partial-"

// aside is a file being made beside the place where it will be. It holds a
// lock as long as its maker lives, so that what interrupted runs left behind
// can be told apart and removed.
type aside struct {
	*os.File
	target string
}

// createAside begins a file for target and removes the remains of earlier
// attempts at it.
func createAside(target string) (*aside, error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return nil, err
	}
	if err := removeRemains(target); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(target), filepath.Base(target)+asideMark)
	if err != nil {
		return nil, err
	}
	a := &aside{File: f, target: target}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), a.discard())
	}
	return a, nil
}

// removeRemains removes the unfinished files of target whose makers are gone.
func removeRemains(target string) error {
	if err := removeUnfinished(target); err != nil {
		return fmt.Errorf("remove an unfinished key: %w", err)
	}
	return removeAsides(target)
}

// removeAsides removes what interrupted runs left of target, but for an
// unfinished key.
func removeAsides(target string) error {
	found, err := filepath.Glob(globQuote(target) + asideMark + "*")
	if err != nil {
		return err
	}
	for _, path := range found {
		if isCompanion(path) {
			continue
		}
		f, err := lockFile(path, os.O_RDONLY)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrBusy) || errors.Is(err, os.ErrPermission) {
			continue // gone, in use, or another user's
		}
		if err == nil {
			err = errors.Join(remove(path), f.Close())
		}
		if err != nil {
			return fmt.Errorf("remove the remains of an earlier run: %w", err)
		}
	}
	return nil
}

// removeUnfinished removes the unfinished key of target with its companions
// unless somebody is at work on it.
func removeUnfinished(target string) error {
	f, err := lockFile(target+unfinishedExt, os.O_RDONLY)
	switch {
	case errors.Is(err, ErrBusy):
		return nil
	case errors.Is(err, os.ErrNotExist):
		return forget(target)
	case err != nil:
		return err
	}
	return errors.Join(forget(target), remove(f.Name()), f.Close())
}

// globQuote makes filepath.Glob take a path literally.
func globQuote(path string) string {
	var out []byte
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}

// publish makes the file durable and gives it its name, replacing what was
// there.
func (a *aside) publish() error {
	if err := a.Chmod(0o644); err != nil {
		return err
	}
	if err := a.Sync(); err != nil {
		return err
	}
	if err := os.Rename(a.Name(), a.target); err != nil {
		return err
	}
	if err := a.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(a.target))
}

// discard removes the file unless it was published.
func (a *aside) discard() error {
	err := os.Remove(a.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	closeErr := a.Close()
	if errors.Is(closeErr, os.ErrClosed) {
		closeErr = nil
	}
	return errors.Join(err, closeErr)
}

// syncDir makes renames in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeAside makes a small file in one go.
func writeAside(target string, content []byte) error {
	a, err := createAside(target)
	if err != nil {
		return err
	}
	if _, err := a.Write(content); err != nil {
		return errors.Join(err, a.discard())
	}
	if err := a.publish(); err != nil {
		return errors.Join(err, a.discard())
	}
	return nil
}

// FreeSpace is the number of bytes that an ordinary user can still write to the
// file system of dir, or of the nearest directory above it that exists. What
// lies in memory has no more room than there is memory.
func FreeSpace(dir string) (uint64, error) {
	st, err := fileSystem(dir)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := st.Bavail * uint64(st.Bsize)
	if st.Type == unix.TMPFS_MAGIC {
		if memory, err := prover.AvailableMemory(); err == nil {
			free = min(free, memory)
		}
	}
	return free, nil
}

// fileSystem describes that of dir, or of the nearest directory above it that
// exists.
func fileSystem(dir string) (st unix.Statfs_t, err error) {
	for {
		err := unix.Statfs(dir, &st)
		parent := filepath.Dir(dir)
		if !errors.Is(err, unix.ENOENT) || parent == dir {
			return st, err
		}
		dir = parent
	}
}

// sameFileSystem reports whether two directories share their free space.
func sameFileSystem(a, b string) bool {
	x, errX := fileSystem(a)
	y, errY := fileSystem(b)
	return errX == nil && errY == nil && x.Fsid == y.Fsid
}

// allocated is the number of bytes that a file takes of its file system; 0 if
// it is not there.
func allocated(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return uint64(st.Blocks) * 512
}

// meter counts the bytes that pass, reports them and ends with its context. It
// reads from r or writes to w.
type meter struct {
	ctx    context.Context
	r      io.Reader
	w      io.Writer
	bytes  uint64
	report func(bytes uint64)
}

func (m *meter) Read(b []byte) (int, error)  { return m.pass(m.r.Read, b) }
func (m *meter) Write(b []byte) (int, error) { return m.pass(m.w.Write, b) }

func (m *meter) pass(step func([]byte) (int, error), b []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := step(b)
	m.bytes += uint64(n)
	m.report(m.bytes)
	return n, err
}
