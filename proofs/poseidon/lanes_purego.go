//go:build purego || !amd64

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// laneHasher does not exist without vector instructions.
type laneHasher struct{}

// laneWork is as empty as that.
type laneWork struct{}

func newLaneHasher(*Params, kernel.Kernel) *laneHasher { return nil }

func (*laneHasher) hash(work *laneWork, digests, nodes []fr.Element) {
	panic("poseidon: no vector unit")
}

// observer does not exist either.
type observer struct{}

func newObserver(transfer, matrix, matrix, []fr.Element, kernel.Kernel) *observer { return nil }

func (*observer) run(s *state, trace []fr.Element) []fr.Element {
	panic("poseidon: no vector unit")
}
