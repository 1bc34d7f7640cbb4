package poseidon

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Batch hashes many preimages of one arity, side by side where the kernel has
// vector instructions and one after the other elsewhere; the digests are the
// same. It holds working memory: one goroutine at a time may use it.
type Batch struct {
	params *Params
	many   manyWorker // nil without a vector unit
}

// NewBatch returns a Batch for the parameters.
func (p *Params) NewBatch() *Batch {
	b := &Batch{params: p}
	if p.many != nil {
		b.many = p.many.worker()
	}
	return b
}

// minLanes: from so many hashes on, side by side is faster than one after the
// other.
const minLanes = 2

// Hash sets digests[i] to the hash of the i-th group of Arity consecutive
// nodes. There must be Arity nodes for each digest. digests may be the
// beginning of nodes, which then holds the row above. It allocates nothing.
func (b *Batch) Hash(digests, nodes []fr.Element) {
	arity := b.params.arity
	if len(nodes) != arity*len(digests) {
		panic(fmt.Sprintf("poseidon: %d nodes for %d digests of arity %d", len(nodes), len(digests), arity))
	}
	for b.many != nil && len(digests) >= minLanes {
		n := min(b.many.count(), len(digests))
		b.many.hash(digests[:n], nodes[:n*arity])
		digests, nodes = digests[n:], nodes[n*arity:]
	}
	for i := range digests {
		digests[i] = b.params.Hash(nodes[arity*i : arity*(i+1)])
	}
}
