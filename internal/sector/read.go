package sector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"

	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// File is one open file of a sector. ReadAt is called from several goroutines.
type File interface {
	merkle.File
	io.Closer
}

// Opener opens a file of a sector for reading. Its errors are those of the file
// system.
type Opener func(path string) (File, error)

// Reader makes vanilla proofs from the files of sectors, under the guard. It is
// safe for concurrent use.
type Reader struct {
	guard  *Guard
	hasher *merkle.Hasher
	open   Opener
	reads  atomic.Uint64
	bytes  atomic.Uint64
}

// ReadsAtOnce is how many reads of one sector are in flight at once; the guard
// bounds the sectors.
const ReadsAtOnce = 4

// NewReader returns a reader that shares its bounds with whoever else uses guard.
func NewReader(guard *Guard) *Reader { return NewReaderOf(guard, openFile) }

// NewReaderOf is NewReader for files that open opens.
func NewReaderOf(guard *Guard, open Opener) *Reader {
	return &Reader{guard: guard, hasher: merkle.NewHasher(), open: open}
}

// Counts returns how many reads there were so far and how many bytes they
// brought.
func (r *Reader) Counts() (reads, bytes uint64) { return r.reads.Load(), r.bytes.Load() }

// ReadVanilla opens the challenged leaves (leaf indices) of one replica of the
// given sector size in bytes. The files are checked against each other and
// against replica.CommR. The error wraps ErrTimeout, ErrSetAside,
// post.ErrOtherSector, a *merkle.FileError, an error of the file system, or is
// the cause of ctx.
func (r *Reader) ReadVanilla(ctx context.Context, sectorSize uint64, replica task.Replica, challenges []uint64) (*post.Vanilla, error) {
	v, err := guarded(ctx, r.guard, storeOf(replica.SealedFile), func(done <-chan struct{}) (*post.Vanilla, error) {
		files, err := r.openFiles(sectorSize, replica, done)
		if err != nil {
			return nil, err
		}
		defer files.close()
		open, err := post.Open(r.hasher, sectorSize, files.SectorFiles)
		if err != nil {
			return nil, err
		}
		inclusion := make([]merkle.Proof, len(challenges))
		vanilla, err := open.NewVanilla(post.Sector{Number: replica.SectorID, CommR: replica.CommR}, inclusion)
		if err != nil {
			return nil, err
		}
		return vanilla, openLeaves(open.Tree(), files.Files, challenges, inclusion, done)
	})
	if err != nil {
		return nil, fmt.Errorf("sector %d (%s, %s): %w", replica.SectorID, replica.SealedFile, replica.CacheDir, withFault(err, replica))
	}
	return v, nil
}

// openedFiles are the open files of one sector.
type openedFiles struct {
	post.SectorFiles
	open []File
}

// openFiles opens replica and tree files and reads p_aux and the root of each
// tree file, several at once: on a network mount each of these is a wait.
func (r *Reader) openFiles(sectorSize uint64, replica task.Replica, done <-chan struct{}) (*openedFiles, error) {
	shape, err := merkle.ShapeOf(sectorSize)
	if err != nil {
		return nil, err
	}
	names := shape.FileNames()
	paths := []string{replica.SealedFile, filepath.Join(replica.CacheDir, post.PAuxName)}
	for _, name := range names {
		paths = append(paths, filepath.Join(replica.CacheDir, name))
	}
	f := &openedFiles{open: make([]File, len(paths))}
	trees := make([]*rootedFile, len(names))
	err = each(len(paths), done, func(i int) (err error) {
		if f.open[i], err = r.open(paths[i]); err != nil {
			return err
		}
		counted := countedFile{f.open[i], r}
		switch i {
		case 0:
			f.Replica = counted
		case 1:
			f.PAux, err = readHead(counted, post.PAuxSize)
		default:
			trees[i-2], err = newRootedFile(names[i-2], counted)
		}
		return err
	})
	if err != nil {
		f.close()
		return nil, err
	}
	for _, t := range trees {
		f.Trees = append(f.Trees, t)
	}
	return f, nil
}

func (f *openedFiles) close() {
	for _, file := range f.open {
		if file != nil {
			_ = file.Close() // opened for reading: nothing can be lost
		}
	}
}

// readHead reads the first n bytes of a file, or all of a shorter one.
func readHead(file merkle.File, n int64) ([]byte, error) {
	head := make([]byte, min(n, file.Size()))
	got, err := file.ReadAt(head, 0)
	if got == len(head) || errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:got], err
}

// rootedFile is a tree file whose last node has been read already.
type rootedFile struct {
	countedFile
	root []byte // empty if the file is too short to have one
	at   int64
}

func newRootedFile(name string, file countedFile) (*rootedFile, error) {
	t := &rootedFile{countedFile: file, at: file.Size() - merkle.NodeSize}
	if t.at < 0 {
		return t, nil // its size is refused later, by name
	}
	root := make([]byte, merkle.NodeSize)
	if n, err := file.ReadAt(root, t.at); n < len(root) {
		return nil, &merkle.FileError{File: name, Offset: t.at, Err: err}
	}
	t.root = root
	return t, nil
}

// ReadAt reads the root from memory, all else from the file.
func (t *rootedFile) ReadAt(b []byte, at int64) (int, error) {
	if at == t.at && len(b) == len(t.root) {
		return copy(b, t.root), nil
	}
	return t.countedFile.ReadAt(b, at)
}

// countedFile counts its reads.
type countedFile struct {
	merkle.File
	reader *Reader
}

// ReadAt reads from the file.
func (f countedFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	f.reader.reads.Add(1)
	f.reader.bytes.Add(uint64(n))
	return n, err
}

// openFile opens a regular file of the file system.
func openFile(path string) (File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return sizedFile{file, info.Size()}, nil
}

// sizedFile is an open file whose size was asked for once.
type sizedFile struct {
	*os.File
	size int64
}

// Size returns the size in bytes at the time of opening.
func (f sizedFile) Size() int64 { return f.size }
