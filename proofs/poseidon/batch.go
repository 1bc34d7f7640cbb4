package poseidon

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Batch hashes many preimages of one arity, eight side by side where the
// processor has AVX-512 IFMA and one after the other elsewhere; the digests are
// the same. It holds working memory: one goroutine at a time may use it.
type Batch struct {
	params *Params
	work   laneWork
}

// NewBatch returns a Batch for the parameters.
func (p *Params) NewBatch() *Batch { return &Batch{params: p} }

// Hash sets digests[i] to the hash of the i-th group of Arity consecutive
// nodes. There must be Arity nodes for each digest. digests may be the
// beginning of nodes, which then holds the row above. It allocates nothing.
func (b *Batch) Hash(digests, nodes []fr.Element) {
	arity := b.params.arity
	if len(nodes) != arity*len(digests) {
		panic(fmt.Sprintf("poseidon: %d nodes for %d digests of arity %d", len(nodes), len(digests), arity))
	}
	lanes := b.params.lanes
	for lanes != nil && len(digests) >= minLanes {
		n := min(laneCount, len(digests))
		lanes.hash(&b.work, digests[:n], nodes[:n*arity])
		digests, nodes = digests[n:], nodes[n*arity:]
	}
	for i := range digests {
		digests[i] = b.params.Hash(nodes[arity*i : arity*(i+1)])
	}
}

// laneCount is the number of hashes that run side by side; from minLanes on
// that is faster than one after the other.
const (
	laneCount = 8
	minLanes  = 2
)
