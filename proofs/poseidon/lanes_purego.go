//go:build purego || !amd64

package poseidon

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// newManyHasher has no vector instructions to use.
func newManyHasher(*Params, kernel.Kernel) manyHasher { return nil }

// observer does not exist either.
type observer struct{}

func newObserver(transfer, matrix, matrix, []fr.Element, kernel.Kernel) *observer { return nil }

func (*observer) run(s *state, trace []fr.Element) []fr.Element {
	panic("poseidon: no vector unit")
}
