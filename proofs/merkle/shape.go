package merkle

import (
	"fmt"
	"strconv"
)

// NodeSize is the size of a node, and of a leaf, in bytes.
const NodeSize = 32

// baseArity is the arity of the base trees; arityBits its base-2 logarithm.
const (
	baseArity = 8
	arityBits = 3
)

// defaultDiscard is the number of rows that sealing leaves out of tree files;
// trees of three rows leave out one, spec 2.5.
const (
	defaultDiscard = 2
	maxDiscard     = 3
)

// Shape is the form of tree-r-last for one sector size. Spec 2.4.
type Shape struct {
	SectorSize uint64 // bytes
	Height     int    // levels of a base tree: it has 8^Height leaves
	Sub        int    // arity of the layer above the base trees: 0 (none), 2 or 8
	Top        int    // arity of the layer above that: 0 (none) or 2
}

// ShapeOf returns the shape for a sector size in bytes. Ten sizes exist.
func ShapeOf(sectorSize uint64) (Shape, error) {
	s := Shape{SectorSize: sectorSize}
	switch sectorSize {
	case 2 << 10, 8 << 20, 512 << 20:
	case 4 << 10, 16 << 20, 1 << 30:
		s.Sub = 2
	case 16 << 10, 32 << 30:
		s.Sub = 8
	case 32 << 10, 64 << 30:
		s.Sub, s.Top = 8, 2
	default:
		return Shape{}, fmt.Errorf("no tree shape for sectors of %d bytes", sectorSize)
	}
	for leaves := s.Leaves() / uint64(s.BaseTrees()); leaves > 1; leaves /= baseArity {
		s.Height++
	}
	return s, nil
}

// String returns the three arities, for example "8-8-2".
func (s Shape) String() string { return fmt.Sprintf("%d-%d-%d", baseArity, s.Sub, s.Top) }

// Leaves returns the number of leaves of the whole tree.
func (s Shape) Leaves() uint64 { return s.SectorSize / NodeSize }

// BaseTrees returns the number of base trees, each in a file of its own.
func (s Shape) BaseTrees() int { return max(s.Sub, 1) * max(s.Top, 1) }

// BaseLeaves returns the number of leaves of one base tree, 8^Height.
func (s Shape) BaseLeaves() uint64 { return 1 << (arityBits * s.Height) }

// Levels returns the arity of each level of a path from leaf to root: Height
// times 8, then the sub and the top layer where there are any.
func (s Shape) Levels() []int {
	levels := make([]int, s.Height, s.Height+2)
	for i := range levels {
		levels[i] = baseArity
	}
	if s.Sub > 0 {
		levels = append(levels, s.Sub)
	}
	if s.Top > 0 {
		levels = append(levels, s.Top)
	}
	return levels
}

// FileNames returns the names of the tree files in a cache directory, in the
// order of the base trees.
func (s Shape) FileNames() []string {
	if s.BaseTrees() == 1 {
		return []string{"sc-02-data-tree-r-last.dat"}
	}
	names := make([]string, s.BaseTrees())
	for i := range names {
		names[i] = "sc-02-data-tree-r-last-" + strconv.Itoa(i) + ".dat"
	}
	return names
}

// Layout is a shape whose files leave out the given number of rows above the
// leaves.
type Layout struct {
	Shape
	Discard int
}

// DefaultLayout returns the layout that sealing produces with the standard
// settings: 2 rows discarded, 1 where a base tree has only three rows.
func (s Shape) DefaultLayout() Layout {
	return Layout{Shape: s, Discard: min(defaultDiscard, s.Height-1)}
}

// LayoutOf infers from the size of a tree file how many rows it leaves out
// (spec 2.5). The error is a *FileError for file unless the size fits.
func (s Shape) LayoutOf(file string, size int64) (Layout, error) {
	for d := 0; d <= min(maxDiscard, s.Height-1); d++ {
		if l := (Layout{s, d}); l.FileSize() == size {
			return l, nil
		}
	}
	want := s.DefaultLayout().FileSize()
	cause := ErrShort
	if size > want {
		cause = ErrLong
	}
	return Layout{}, &FileError{File: file, Offset: -1,
		Err: fmt.Errorf("%w: %d bytes, a %s tree of this sector size has %d", cause, size, s, want)}
}

// FileSize returns the size of one tree file in bytes.
func (l Layout) FileSize() int64 { return l.rowOffset(l.Height+1) * NodeSize }

// rowOffset returns how many nodes stand before row k in a tree file; rows
// Discard+1 to Height are there.
func (l Layout) rowOffset(k int) int64 {
	var nodes int64
	for i := l.Discard + 1; i < k; i++ {
		nodes += 1 << (arityBits * (l.Height - i))
	}
	return nodes
}

// segmentLeaves returns the number of leaves under one node of the lowest row
// in the file: what must be read of the replica to rebuild the discarded rows.
func (l Layout) segmentLeaves() int { return 1 << (arityBits * (l.Discard + 1)) }
