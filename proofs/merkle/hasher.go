package merkle

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/poseidon"
)

// Hasher hashes groups of 2 and 8 nodes. It is immutable and safe for
// concurrent use.
type Hasher struct {
	two, eight *poseidon.Params
	batches    *sync.Pool // of *poseidon.Batch, arity 8: working memory only
}

// NewHasher generates the Poseidon constants. It takes some milliseconds: make
// one and pass it on.
func NewHasher() *Hasher {
	eight := poseidon.New(8)
	return &Hasher{
		two: poseidon.New(2), eight: eight,
		batches: &sync.Pool{New: func() any { return eight.NewBatch() }},
	}
}

// Hash returns the parent of a group of 2 or 8 nodes.
func (h *Hasher) Hash(group []fr.Element) fr.Element {
	if len(group) == baseArity {
		return h.eight.Hash(group)
	}
	return h.two.Hash(group)
}

// HashPair returns the parent of two nodes; comm_r is that of comm_c and
// comm_r_last.
func (h *Hasher) HashPair(left, right fr.Element) fr.Element {
	return h.two.Hash([]fr.Element{left, right})
}

// hashGroups sets parents[i] to the hash of the i-th group of 8 nodes. parents
// may be the beginning of nodes.
func (h *Hasher) hashGroups(parents, nodes []fr.Element) {
	batch := h.batches.Get().(*poseidon.Batch)
	defer h.batches.Put(batch)
	batch.Hash(parents, nodes)
}

// climb replaces nodes by the rows above them, in place: each round turns 8k
// nodes into k. It returns the last row.
func (h *Hasher) climb(nodes []fr.Element, rounds int) []fr.Element {
	for range rounds {
		parents := nodes[:len(nodes)/baseArity]
		h.hashGroups(parents, nodes)
		nodes = parents
	}
	return nodes
}

// join hashes the roots of the base trees, in file order, through the sub and
// top layers. subs holds the values of the sub layer's roots; it is nil where
// there is no sub layer.
func (h *Hasher) join(s Shape, roots []fr.Element) (subs []fr.Element, root fr.Element) {
	if s.Sub == 0 {
		return nil, roots[0]
	}
	for i := 0; i < len(roots); i += s.Sub {
		subs = append(subs, h.Hash(roots[i:i+s.Sub]))
	}
	if s.Top == 0 {
		return subs, subs[0]
	}
	return subs, h.Hash(subs)
}

// Root returns the root of the whole tree, comm_r_last, from the roots of its
// base trees in file order.
func (h *Hasher) Root(s Shape, baseRoots []fr.Element) fr.Element {
	_, root := h.join(s, baseRoots)
	return root
}
