package paramtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
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
	found, err := filepath.Glob(globQuote(target) + asideMark + "*")
	if err != nil {
		return err
	}
	for _, path := range found {
		f, err := os.Open(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			err = os.Remove(path)
		} else if errors.Is(err, unix.EWOULDBLOCK) {
			err = nil // its maker is at work
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("remove the remains of an earlier run: %w", err)
		}
	}
	return nil
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

// freeSpace is the number of bytes that an ordinary user can still write to the
// file system of dir, or of the nearest directory above it that exists.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return st.Bavail * uint64(st.Bsize), nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, unix.ENOENT) || parent == dir {
			return 0, fmt.Errorf("free space of %s: %w", dir, err)
		}
		dir = parent
	}
}

// meter is a reader that counts, reports and ends with its context.
type meter struct {
	ctx    context.Context
	r      io.Reader
	bytes  uint64
	report func(bytes uint64)
}

func (m *meter) Read(b []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, context.Cause(m.ctx)
	}
	n, err := m.r.Read(b)
	m.bytes += uint64(n)
	m.report(m.bytes)
	return n, err
}
