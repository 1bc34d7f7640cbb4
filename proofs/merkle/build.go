package merkle

import (
	"errors"
	"fmt"
	"io"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/work"
)

// Builder makes tree files from replicas.
type Builder struct {
	Hasher  *Hasher
	Layout  Layout
	Workers int             // goroutines hashing; at least 1
	Done    <-chan struct{} // stops the work when closed; may be nil
}

// File builds base tree number base of a replica and returns the content of
// its file; the last 32 bytes are the root. Memory use is that of the content
// and one segment for each worker. The error is a *FileError for the replica,
// or ErrCanceled.
func (b Builder) File(replica io.ReaderAt, base int) ([]byte, error) {
	l := b.Layout
	row := make([]fr.Element, 1<<(arityBits*(l.Height-l.Discard-1)))
	size := l.segmentLeaves()
	start := int64(base) * int64(l.BaseLeaves()) * NodeSize
	type memory struct {
		bytes []byte
		nodes []fr.Element
	}
	scratch := make([]memory, max(1, b.Workers))
	err := work.Run(len(row), b.Workers, b.Done, func(worker, i int) error {
		m := &scratch[worker]
		if m.bytes == nil {
			*m = memory{make([]byte, size*NodeSize), make([]fr.Element, size)}
		}
		offset := start + int64(i)*int64(len(m.bytes))
		if n, err := replica.ReadAt(m.bytes, offset); n < len(m.bytes) {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: got %d of %d bytes", ErrShort, n, len(m.bytes))
			}
			return &FileError{File: ReplicaName, Offset: offset, Err: err}
		}
		if err := decodeNodes(m.nodes, m.bytes, ReplicaName, offset); err != nil {
			return err
		}
		row[i] = b.Hasher.climb(m.nodes, l.Discard+1)[0]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.upper(row)
}

// piece is how many nodes a worker makes before it takes more work.
const piece = 64

// upper hashes the lowest row of the file up to the root and returns all rows.
func (b Builder) upper(row []fr.Element) ([]byte, error) {
	content := appendNodes(make([]byte, 0, b.Layout.FileSize()), row)
	for len(row) > 1 {
		parents := make([]fr.Element, len(row)/baseArity)
		pieces := (len(parents) + piece - 1) / piece
		err := work.Run(pieces, b.Workers, b.Done, func(_, i int) error {
			from, to := piece*i, min(piece*(i+1), len(parents))
			b.Hasher.eight.groups(parents[from:to], row[baseArity*from:baseArity*to])
			return nil
		})
		if err != nil {
			return nil, err
		}
		row = parents
		content = appendNodes(content, row)
	}
	return content, nil
}

// appendNodes appends the bytes of nodes.
func appendNodes(dst []byte, nodes []fr.Element) []byte {
	for _, e := range nodes {
		b := NodeBytes(e)
		dst = append(dst, b[:]...)
	}
	return dst
}

// ZeroFile returns the content that every tree file of an all-zero replica has.
// It is computed level by level: all nodes of a row are equal.
func ZeroFile(h *Hasher, l Layout) []byte {
	content := make([]byte, 0, l.FileSize())
	var group [baseArity]fr.Element
	for k := 1; k <= l.Height; k++ {
		node := h.Hash(group[:])
		for i := range group {
			group[i] = node
		}
		if k <= l.Discard {
			continue
		}
		b := NodeBytes(node)
		for range uint64(1) << (arityBits * (l.Height - k)) {
			content = append(content, b[:]...)
		}
	}
	return content
}

// FileRoot returns the root of a base tree from the content of its file.
func FileRoot(content []byte) (fr.Element, error) {
	if len(content) < NodeSize {
		return fr.Element{}, ErrShort
	}
	return Node([NodeSize]byte(content[len(content)-NodeSize:]))
}
