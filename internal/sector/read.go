package sector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Reader makes vanilla proofs from the files of sectors, under the guard. It is
// safe for concurrent use.
type Reader struct {
	guard  *Guard
	hasher *merkle.Hasher
}

// leafWorkers is how many challenges of one sector are read at once.
const leafWorkers = 4

// NewReader returns a reader that shares its bounds with whoever else uses guard.
func NewReader(guard *Guard) *Reader {
	return &Reader{guard: guard, hasher: merkle.NewHasher()}
}

// ReadVanilla opens the challenged leaves (leaf indices) of one replica of the
// given sector size in bytes. The files are checked against each other and
// against replica.CommR. The error wraps ErrTimeout, ErrSetAside,
// post.ErrOtherSector, a *merkle.FileError, an error of the file system, or is
// the cause of ctx.
func (r *Reader) ReadVanilla(ctx context.Context, sectorSize uint64, replica task.Replica, challenges []uint64) (*post.Vanilla, error) {
	v, err := guarded(ctx, r.guard, storeOf(replica.SealedFile), func(done <-chan struct{}) (*post.Vanilla, error) {
		files, err := openFiles(sectorSize, replica.SealedFile, replica.CacheDir)
		if err != nil {
			return nil, err
		}
		defer files.close()
		open, err := post.Open(r.hasher, sectorSize, files.SectorFiles)
		if err != nil {
			return nil, err
		}
		return open.Vanilla(post.VanillaConfig{
			Sector:     post.Sector{Number: replica.SectorID, CommR: replica.CommR},
			Challenges: challenges,
			Workers:    leafWorkers,
			Done:       done,
		})
	})
	if err != nil {
		return nil, fmt.Errorf("sector %d (%s, %s): %w", replica.SectorID, replica.SealedFile, replica.CacheDir, err)
	}
	return v, nil
}

// openedFiles are the open files of one sector.
type openedFiles struct {
	post.SectorFiles
	open []*os.File
}

// openFiles opens replica and tree files for reading, and reads p_aux.
func openFiles(sectorSize uint64, sealedFile, cache string) (*openedFiles, error) {
	shape, err := merkle.ShapeOf(sectorSize)
	if err != nil {
		return nil, err
	}
	f := &openedFiles{}
	if f.PAux, err = readHead(filepath.Join(cache, post.PAuxName), post.PAuxSize); err != nil {
		return nil, err
	}
	if f.Replica, err = f.add(sealedFile); err != nil {
		f.close()
		return nil, err
	}
	for _, name := range shape.FileNames() {
		tree, err := f.add(filepath.Join(cache, name))
		if err != nil {
			f.close()
			return nil, err
		}
		f.Trees = append(f.Trees, tree)
	}
	return f, nil
}

// readHead reads the first n bytes of a file, or all of a shorter one.
func readHead(path string, n int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(file, n))
	return head, errors.Join(err, file.Close())
}

func (f *openedFiles) add(path string) (merkle.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f.open = append(f.open, file)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return sizedFile{file, info.Size()}, nil
}

func (f *openedFiles) close() {
	for _, file := range f.open {
		_ = file.Close() // opened for reading: nothing can be lost
	}
}

// sizedFile is an open file whose size was asked for once.
type sizedFile struct {
	io.ReaderAt
	size int64
}

// Size returns the size in bytes at the time of opening.
func (f sizedFile) Size() int64 { return f.size }
