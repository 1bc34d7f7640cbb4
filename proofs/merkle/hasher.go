package merkle

import (
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
	"wdpost/proofs/poseidon"
)

// Hasher hashes groups of 2 and 8 nodes. It is immutable and safe for
// concurrent use.
type Hasher struct {
	two, eight hash
}

// hash is Poseidon of one arity with working memory to share.
type hash struct {
	*poseidon.Params
	batches *sync.Pool // of *poseidon.Batch
}

func newHash(arity int, k kernel.Kernel) hash {
	p := poseidon.NewOn(arity, k)
	return hash{p, &sync.Pool{New: func() any { return p.NewBatch() }}}
}

// groups sets parents[i] to the hash of the i-th group of nodes. parents may be
// the beginning of nodes.
func (h hash) groups(parents, nodes []fr.Element) {
	batch := h.batches.Get().(*poseidon.Batch)
	defer h.batches.Put(batch)
	batch.Hash(parents, nodes)
}

// NewHasher generates the Poseidon constants. It takes some milliseconds: make
// one and pass it on. Hashing uses the fastest kernel of this machine.
func NewHasher() *Hasher { return NewHasherOn(kernel.Auto) }

// NewHasherOn is NewHasher for a given kernel.
func NewHasherOn(k kernel.Kernel) *Hasher {
	return &Hasher{two: newHash(2, k), eight: newHash(baseArity, k)}
}

// Poseidon returns the parameters of arity 2 or 8.
func (h *Hasher) Poseidon(arity int) *poseidon.Params { return h.of(arity).Params }

// of returns the hash of groups of 2 or 8 nodes.
func (h *Hasher) of(arity int) hash {
	if arity == baseArity {
		return h.eight
	}
	return h.two
}

// Hash returns the parent of a group of 2 or 8 nodes.
func (h *Hasher) Hash(group []fr.Element) fr.Element { return h.of(len(group)).Hash(group) }

// HashPair returns the parent of two nodes; comm_r is that of comm_c and
// comm_r_last.
func (h *Hasher) HashPair(left, right fr.Element) fr.Element {
	return h.two.Hash([]fr.Element{left, right})
}

// climb replaces nodes by the rows above them, in place: each round turns 8k
// nodes into k. It returns the last row.
func (h *Hasher) climb(nodes []fr.Element, rounds int) []fr.Element {
	for range rounds {
		parents := nodes[:len(nodes)/baseArity]
		h.eight.groups(parents, nodes)
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
