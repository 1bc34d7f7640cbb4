package merkle

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Replica is the value of Read.File that stands for the replica.
const Replica = -1

// Read is one piece of a sector's files that a proof needs.
type Read struct {
	File   int   // index of the tree file, or Replica
	Offset int64 // bytes
	Length int   // bytes
}

// RootReads returns the reads that NewTree needs: the last node of each tree
// file.
func (l Layout) RootReads() []Read {
	reads := make([]Read, l.BaseTrees())
	for i := range reads {
		reads[i] = Read{File: i, Offset: l.FileSize() - NodeSize, Length: NodeSize}
	}
	return reads
}

// What Tops reads of a tree file: topRows rows below the root (8, 64 and 512
// nodes, 18.7 KiB in all), and in some files one more (4096 nodes, 128 KiB).
const topRows = 3

// Tops returns one read for each tree file, in file order: the last node, which
// is all that is needed of a file without a challenge, or the upper rows, which
// hold what all challenges in that file need of them. Whoever makes these reads
// first and answers the reads of Plan and RootReads that lie in them from
// memory needs far fewer reads of the files for a few bytes more: what counts
// on a rotating disk or a network mount.
//
// In the files with the most challenges the read has one row more, until that
// saves at least one read, or five with 16 files: 47 reads and at most 441 KiB
// of a 32 GiB sector with ten challenges, p_aux included, and 52 of one with
// 64 GiB.
func (l Layout) Tops(challenges []uint64) []Read {
	reads := l.RootReads()
	inFile := make([]int, len(reads))
	for _, c := range challenges {
		inFile[c/l.BaseLeaves()%uint64(len(reads))]++
	}
	for i, n := range inFile {
		if n > 0 {
			reads[i] = l.top(i, topRows)
		}
	}
	least := 1 + max(0, len(reads)-8)/2
	if l.Height-topRows-1 <= l.Discard {
		least = 0 // there is no further row
	}
	for saved := 0; saved < least; {
		fullest := 0
		for i, n := range inFile {
			if n > inFile[fullest] {
				fullest = i
			}
		}
		if inFile[fullest] == 0 {
			break
		}
		reads[fullest] = l.top(fullest, topRows+1)
		saved += inFile[fullest]
		inFile[fullest] = 0
	}
	return reads
}

// top is the read of the root of a tree file and of at most the given number of
// rows below it.
func (l Layout) top(file, rows int) Read {
	from := l.rowOffset(max(l.Height-rows, l.Discard+1)) * NodeSize
	return Read{File: file, Offset: from, Length: int(l.FileSize() - from)}
}

// Plan returns the reads that an inclusion proof of the leaf with the given
// index among all leaves needs, in the order in which Tree.Assemble takes their
// results: one segment of the replica (16 KiB when two rows are discarded),
// then a group of 8 nodes (256 bytes) for each row in the file but the root.
// challenge must be smaller than Leaves. Spec 2.7.
func (l Layout) Plan(challenge uint64) []Read {
	base, leaf := int(challenge/l.BaseLeaves()), challenge%l.BaseLeaves()
	segment := uint64(l.segmentLeaves())
	reads := make([]Read, 1, l.Height)
	reads[0] = Read{
		File:   Replica,
		Offset: int64(challenge / segment * segment * NodeSize),
		Length: int(segment * NodeSize),
	}
	for k := l.Discard + 1; k < l.Height; k++ {
		group := int64(leaf >> (arityBits * k) / baseArity)
		reads = append(reads, Read{
			File:   base,
			Offset: (l.rowOffset(k) + group*baseArity) * NodeSize,
			Length: baseArity * NodeSize,
		})
	}
	return reads
}

// Tree is the upper part of one sector's tree-r-last, from which Assemble makes
// inclusion proofs. It is immutable and safe for concurrent use.
type Tree struct {
	layout Layout
	hasher *Hasher
	names  []string
	roots  []fr.Element // of the base trees
	subs   []fr.Element // of the sub layer
	root   fr.Element
}

// NewTree makes a tree from the results of Layout.RootReads.
func NewTree(h *Hasher, l Layout, rootNodes [][]byte) (*Tree, error) {
	t := &Tree{layout: l, hasher: h, names: l.FileNames(), roots: make([]fr.Element, l.BaseTrees())}
	for i, r := range l.RootReads() {
		if err := t.decode(t.roots[i:i+1], rootNodes[i], r); err != nil {
			return nil, err
		}
	}
	t.subs, t.root = h.join(l.Shape, t.roots)
	return t, nil
}

// Layout returns the tree's layout.
func (t *Tree) Layout() Layout { return t.layout }

// Root returns the root of the whole tree, which must equal comm_r_last.
func (t *Tree) Root() fr.Element { return t.root }

// Assemble makes the inclusion proof of a leaf from the results of
// Layout.Plan. Every stored node on the path is compared with the hash of the
// group below it, so a proof that is returned hashes up to Root; otherwise the
// error is a *FileError that names the file and the place.
func (t *Tree) Assemble(challenge uint64, data [][]byte) (Proof, error) {
	l := t.layout
	plan := l.Plan(challenge)
	if len(data) != len(plan) {
		return Proof{}, fmt.Errorf("assemble proof: %d reads, want %d", len(data), len(plan))
	}
	proof := Proof{Root: t.root, Path: make([]Level, 0, l.Height+2)}
	segment := make([]fr.Element, l.segmentLeaves())
	if err := t.decode(segment, data[0], plan[0]); err != nil {
		return Proof{}, err
	}
	base, leaf := int(challenge/l.BaseLeaves()), challenge%l.BaseLeaves()
	proof.Leaf = segment[leaf%uint64(len(segment))]

	// One group of nodes for each row from the top of the segment to below the
	// base root; all are hashed at once and then compared with the next.
	groups := make([]fr.Element, baseArity*len(plan))
	copy(groups, t.rebuild(&proof, segment, leaf))
	for i, r := range plan[1:] {
		if err := t.decode(groups[baseArity*(i+1):][:baseArity], data[i+1], r); err != nil {
			return Proof{}, err
		}
	}
	parents := make([]fr.Element, len(plan))
	t.hasher.eight.groups(parents, groups)
	for i, r := range plan[1:] {
		group := groups[baseArity*(i+1):][:baseArity]
		index := int(leaf >> (arityBits * (l.Discard + 1 + i)) % baseArity)
		if group[index] != parents[i] {
			return Proof{}, t.mismatch(base, r.Offset+int64(NodeSize*index))
		}
		proof.Path = append(proof.Path, Level{without(group, index), index})
	}
	if parents[len(parents)-1] != t.roots[base] {
		return Proof{}, t.mismatch(base, l.FileSize()-NodeSize)
	}
	t.joinLevels(&proof, base)
	return proof, nil
}

// rebuild appends the levels below the file's lowest row to the path, hashing a
// segment of the replica up to the 8 children of its root, which it returns. It
// overwrites segment.
func (t *Tree) rebuild(proof *Proof, segment []fr.Element, leaf uint64) []fr.Element {
	for k := 0; ; k++ {
		at := int(leaf >> (arityBits * k) % uint64(len(segment)))
		start := at - at%baseArity
		proof.Path = append(proof.Path, Level{without(segment[start:start+baseArity], at%baseArity), at % baseArity})
		if len(segment) == baseArity {
			return segment
		}
		segment = t.hasher.climb(segment, 1)
	}
}

// joinLevels appends the sub and top layers to the path.
func (t *Tree) joinLevels(proof *Proof, base int) {
	sub, top := t.layout.Sub, t.layout.Top
	if sub == 0 {
		return
	}
	start := base - base%sub
	proof.Path = append(proof.Path, Level{without(t.roots[start:start+sub], base%sub), base % sub})
	if top > 0 {
		proof.Path = append(proof.Path, Level{without(t.subs, base/sub), base / sub})
	}
}

// decode reads the nodes of one read's result.
func (t *Tree) decode(dst []fr.Element, buf []byte, r Read) error {
	name := fileName(t.names, r.File)
	if len(buf) != r.Length {
		return &FileError{File: name, Offset: r.Offset, Err: fmt.Errorf("%w: got %d of %d bytes", ErrShort, len(buf), r.Length)}
	}
	return decodeNodes(dst, buf, name, r.Offset)
}

// mismatch reports a stored node that is not the hash of what lies below it.
// Either side may be the damaged one.
func (t *Tree) mismatch(base int, offset int64) error {
	return &FileError{File: t.names[base], Offset: offset, Err: ErrMismatch}
}

// fileName names the file of a read.
func fileName(trees []string, file int) string {
	if file == Replica {
		return ReplicaName
	}
	return trees[file]
}
