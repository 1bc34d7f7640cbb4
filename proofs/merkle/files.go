package merkle

import (
	"errors"
	"fmt"
	"io"

	"wdpost/proofs/work"
)

// File is an open file of known size. ReadAt must be safe for concurrent use.
type File interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Files are the files of one sector that hold its tree: the replica (sealed or
// update file) and the tree files in the order of Shape.FileNames. A nil entry
// stands for a file that is not there.
type Files struct {
	Replica File
	Trees   []File
}

// Layout checks that all files are there and of the right size, and infers the
// rows that the tree files leave out. Errors are *FileError.
func (f Files) Layout(s Shape) (Layout, error) {
	names := s.FileNames()
	if f.Replica == nil {
		return Layout{}, &FileError{File: ReplicaName, Offset: -1, Err: ErrMissing}
	}
	if size := f.Replica.Size(); size != int64(s.SectorSize) {
		cause := ErrShort
		if size > int64(s.SectorSize) {
			cause = ErrLong
		}
		return Layout{}, &FileError{File: ReplicaName, Offset: -1,
			Err: fmt.Errorf("%w: %d bytes, a sector has %d", cause, size, s.SectorSize)}
	}
	var layout Layout
	for i, name := range names {
		if i >= len(f.Trees) || f.Trees[i] == nil {
			return Layout{}, &FileError{File: name, Offset: -1, Err: ErrMissing}
		}
		l, err := s.LayoutOf(name, f.Trees[i].Size())
		if err != nil {
			return Layout{}, err
		}
		if i == 0 {
			layout = l
		}
		if l != layout {
			return Layout{}, &FileError{File: name, Offset: -1,
				Err: fmt.Errorf("%w: %d rows discarded, %d in %s", ErrMismatch, l.Discard, layout.Discard, names[0])}
		}
	}
	return layout, nil
}

// Read performs one read. A file that ends early gives a *FileError wrapping
// ErrShort; other errors of the file are wrapped as they are.
func (f Files) Read(s Shape, r Read) ([]byte, error) {
	file := f.Replica
	if r.File != Replica {
		file = f.Trees[r.File]
	}
	buf := make([]byte, r.Length)
	n, err := file.ReadAt(buf, r.Offset)
	if n == len(buf) {
		return buf, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: got %d of %d bytes", ErrShort, n, r.Length)
	}
	return nil, &FileError{File: fileName(s.FileNames(), r.File), Offset: r.Offset, Err: err}
}

// Open checks the files and reads the upper part of the tree.
func Open(h *Hasher, s Shape, f Files) (*Tree, error) {
	layout, err := f.Layout(s)
	if err != nil {
		return nil, err
	}
	nodes := make([][]byte, s.BaseTrees())
	for i, r := range layout.RootReads() {
		if nodes[i], err = f.Read(s, r); err != nil {
			return nil, err
		}
	}
	return NewTree(h, layout, nodes)
}

// Prove reads and assembles the inclusion proof of one leaf. It may run many
// times at once for the same tree. It stops with ErrCanceled between reads
// when done closes; done may be nil.
func (t *Tree) Prove(f Files, challenge uint64, done <-chan struct{}) (Proof, error) {
	if challenge >= t.layout.Leaves() {
		return Proof{}, fmt.Errorf("challenge %d in a sector of %d leaves", challenge, t.layout.Leaves())
	}
	plan := t.layout.Plan(challenge)
	data := make([][]byte, len(plan))
	for i, r := range plan {
		if work.Canceled(done) {
			return Proof{}, ErrCanceled
		}
		var err error
		if data[i], err = f.Read(t.layout.Shape, r); err != nil {
			return Proof{}, err
		}
	}
	return t.Assemble(challenge, data)
}
