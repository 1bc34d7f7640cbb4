package sector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"wdpost/internal/sector/store"
	"wdpost/internal/task"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// Reader makes vanilla proofs from the files of sectors, under the guard. It is
// safe for concurrent use.
type Reader struct {
	guard  *Guard
	hasher *merkle.Hasher
	reads  atomic.Uint64
	bytes  atomic.Uint64
}

// ReadsAtOnce is how many reads of one sector are in flight at once; the guard
// bounds the sectors.
const ReadsAtOnce = 4

// NewReader returns a reader that shares its bounds with whoever else uses guard.
func NewReader(guard *Guard) *Reader {
	return &Reader{guard: guard, hasher: merkle.NewHasher()}
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
	var vanilla *post.Vanilla
	stores := []string{storeOf(replica.SealedFile), storeOf(replica.CacheDir)}
	err := r.guard.visit(ctx, visitKind{roots: stores, weight: ReadsAtOnce}, func(v *visit) error {
		files, err := r.openFiles(v, sectorSize, replica, challenges)
		if err != nil {
			return err
		}
		defer files.close()
		open, err := post.Open(r.hasher, sectorSize, files.SectorFiles)
		if err != nil {
			return err
		}
		inclusion := make([]merkle.Proof, len(challenges))
		vanilla, err = open.NewVanilla(post.Sector{Number: replica.SectorID, CommR: replica.CommR}, inclusion)
		if err != nil {
			return err
		}
		return openLeaves(open.Tree(), files.Files, challenges, inclusion, v.done)
	})
	if err != nil {
		return nil, fmt.Errorf("sector %d (%s, %s): %w", replica.SectorID, replica.SealedFile, replica.CacheDir, withFault(err, replica))
	}
	return vanilla, nil
}

// openedFiles are the open files of one sector.
type openedFiles struct {
	post.SectorFiles

	mu   sync.Mutex
	open []*guardedFile
	over bool // close was called: what is opened now is closed at once
}

// openFiles opens replica and tree files and reads p_aux and of each tree file
// the upper rows that the challenges need, several at once: on a network mount
// each of these is a wait.
func (r *Reader) openFiles(v *visit, sectorSize uint64, replica task.Replica, challenges []uint64) (*openedFiles, error) {
	shape, err := merkle.ShapeOf(sectorSize)
	if err != nil {
		return nil, err
	}
	names := shape.FileNames()
	sealed, cache := storeOf(replica.SealedFile), storeOf(replica.CacheDir)
	f := &openedFiles{}
	trees := make([]*toppedFile, len(names))
	err = each(2+len(names), v.done, func(i int) error {
		switch i {
		case 0:
			file, err := r.open(v, f, sealed, replica.SealedFile)
			f.Replica = file
			return err
		case 1:
			file, err := r.open(v, f, cache, join(replica.CacheDir, post.PAuxName))
			if err == nil {
				f.PAux, err = readHead(file, post.PAuxSize)
			}
			return err
		}
		file, err := r.open(v, f, cache, join(replica.CacheDir, names[i-2]))
		if err == nil {
			trees[i-2], err = newToppedFile(shape, i-2, file, challenges)
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

// open opens one file and has it closed with the others.
func (r *Reader) open(v *visit, all *openedFiles, root, path string) (*guardedFile, error) {
	file := &guardedFile{visit: v, reader: r, root: root, path: path}
	err := v.op(root, path, func() (err error) {
		opened, err := v.files().Open(path)
		if err != nil {
			return err
		}
		file.File = opened
		all.add(file)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f *openedFiles) add(file *guardedFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		_ = file.Close() // opened for reading: nothing can be lost
		return
	}
	f.open = append(f.open, file)
}

// close closes the files without waiting for it: on a store that hangs, closing
// may hang too.
func (f *openedFiles) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if len(f.open) == 0 {
		return
	}
	first := f.open[0]
	first.visit.background(first.root, first.path, func() {
		for _, file := range f.open {
			_ = file.Close() // opened for reading: nothing can be lost
		}
	})
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

// toppedFile is a tree file whose end, from a place on, has been read already.
type toppedFile struct {
	merkle.File
	top []byte // empty if the file's size is not that of a tree file
	at  int64
}

// newToppedFile reads what merkle.Layout.Tops names of tree file i. Where the
// store refuses that, a part of it that no challenge needs may be to blame: then
// the root alone is read, and every group of nodes by itself.
func newToppedFile(shape merkle.Shape, i int, file merkle.File, challenges []uint64) (*toppedFile, error) {
	t := &toppedFile{File: file, at: file.Size()}
	name := shape.FileNames()[i]
	layout, err := shape.LayoutOf(name, file.Size())
	if err != nil {
		return t, nil // refused later, with the other files' sizes
	}
	for _, read := range []merkle.Read{layout.Tops(challenges)[i], layout.RootReads()[i]} {
		t.at, t.top = read.Offset, make([]byte, read.Length)
		var n int
		if n, err = file.ReadAt(t.top, t.at); n == len(t.top) {
			return t, nil
		}
		if errors.Is(err, merkle.ErrCanceled) || errors.Is(err, ErrTimeout) {
			break
		}
	}
	return nil, &merkle.FileError{File: name, Offset: t.at, Err: err}
}

// ReadAt reads what lies in the top from memory, all else from the file.
func (t *toppedFile) ReadAt(b []byte, at int64) (int, error) {
	if at >= t.at && at+int64(len(b)) <= t.at+int64(len(t.top)) {
		return copy(b, t.top[at-t.at:]), nil
	}
	return t.File.ReadAt(b, at)
}

// guardedFile is an open file whose reads are guarded, as those of its store,
// and counted.
type guardedFile struct {
	store.File
	visit  *visit
	reader *Reader
	root   string // its store
	path   string
}

// ReadAt reads from the file. A read that outlives its caller goes into memory
// that nobody uses any more.
func (f *guardedFile) ReadAt(b []byte, at int64) (int, error) {
	var n int
	err := f.visit.op(f.root, f.path, func() error {
		got, err := f.File.ReadAt(b, at)
		n = got
		return err
	})
	if errors.Is(err, merkle.ErrCanceled) {
		return 0, err // n is not ours
	}
	f.reader.reads.Add(1)
	f.reader.bytes.Add(uint64(n))
	f.visit.guard.count(f.root, n)
	return n, err
}
