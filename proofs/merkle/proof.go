package merkle

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Level is one step of a path from a leaf to the root.
type Level struct {
	Siblings []fr.Element // the other nodes of the group, ascending: arity − 1
	Index    int          // place of the path's own node in the group
}

// Proof is the inclusion proof of one leaf. Path has the base levels from the
// leaf upwards, then the sub and the top layer where the shape has them.
type Proof struct {
	Root, Leaf fr.Element
	Path       []Level
}

// ErrInvalidProof is wrapped by every refusal of an inclusion proof.
var ErrInvalidProof = errors.New("invalid inclusion proof")

// Challenge returns the index of the leaf among all leaves of the sector, as
// the path spells it.
func (p *Proof) Challenge() uint64 {
	var c, weight uint64 = 0, 1
	for _, l := range p.Path {
		c += weight * uint64(l.Index)
		weight *= uint64(len(l.Siblings) + 1)
	}
	return c
}

// Verify checks that the path has the levels of the shape, leads to the given
// leaf index, and hashes up to Root. The caller compares Root.
func (p *Proof) Verify(h *Hasher, s Shape, challenge uint64) error {
	levels := s.Levels()
	if len(p.Path) != len(levels) {
		return fmt.Errorf("%w: path of %d levels, want %d", ErrInvalidProof, len(p.Path), len(levels))
	}
	node := p.Leaf
	var group [baseArity]fr.Element
	for i, l := range p.Path {
		arity := levels[i]
		if len(l.Siblings) != arity-1 || l.Index < 0 || l.Index >= arity {
			return fmt.Errorf("%w: level %d has %d siblings and index %d, arity is %d",
				ErrInvalidProof, i, len(l.Siblings), l.Index, arity)
		}
		copy(group[:], l.Siblings[:l.Index])
		group[l.Index] = node
		copy(group[l.Index+1:], l.Siblings[l.Index:])
		node = h.Hash(group[:arity])
	}
	if got := p.Challenge(); got != challenge {
		return fmt.Errorf("%w: path leads to leaf %d, want %d", ErrInvalidProof, got, challenge)
	}
	if node != p.Root {
		return fmt.Errorf("%w: path does not hash to the root", ErrInvalidProof)
	}
	return nil
}

// without returns the nodes of a group but the one at index.
func without(group []fr.Element, index int) []fr.Element {
	out := make([]fr.Element, 0, len(group)-1)
	return append(append(out, group[:index]...), group[index+1:]...)
}
