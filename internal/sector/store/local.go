package store

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Local is the file system, read by this process. A thread of the process hangs
// for each call that hangs, and a process with a thread that the kernel cannot
// interrupt keeps its locks and ports even after kill -9: daemons use package
// process instead.
type Local struct{}

// Open implements Backend.
func (Local) Open(path string) (File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		_ = file.Close() // opened for reading: nothing can be lost
		return nil, err
	}
	return localFile{file, info.Size()}, nil
}

// localFile is an open file whose size was asked for once.
type localFile struct {
	*os.File
	size int64
}

// Size implements File.
func (f localFile) Size() int64 { return f.size }

// Stat implements Backend. Links are followed.
func (Local) Stat(paths []string, resolve bool) []Info {
	out := make([]Info, len(paths))
	for i, path := range paths {
		out[i] = stat(path, resolve)
	}
	return out
}

func stat(path string, resolve bool) Info {
	info, err := os.Stat(path)
	if err != nil {
		return Info{Err: err}
	}
	out := Info{Size: info.Size(), Regular: info.Mode().IsRegular(), Dir: info.IsDir()}
	if resolve {
		if out.Real, err = filepath.EvalSymlinks(path); err != nil {
			return Info{Err: err}
		}
	}
	return out
}

// List implements Backend.
func (Local) List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Space implements Backend.
func (Local) Space(path string) (Space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Space{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return Space{
		Total: s.Blocks * uint64(s.Bsize), Free: s.Bavail * uint64(s.Bsize), ReadOnly: s.Flags&unix.ST_RDONLY != 0,
	}, nil
}
