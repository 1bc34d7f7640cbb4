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
	return VerifyAll(h, s, []Proof{*p}, []uint64{challenge})
}

// VerifyAll is Proof.Verify for many proofs, of which there must be as many as
// challenges; it hashes the same level of all of them at once. The error names
// the first bad proof by its place.
func VerifyAll(h *Hasher, s Shape, proofs []Proof, challenges []uint64) error {
	if len(proofs) != len(challenges) {
		return fmt.Errorf("%w: %d proofs for %d challenges", ErrInvalidProof, len(proofs), len(challenges))
	}
	levels := s.Levels()
	nodes := make([]fr.Element, len(proofs))
	for i := range proofs {
		if err := proofs[i].checkForm(levels); err != nil {
			return fmt.Errorf("%w: proof %d: %w", ErrInvalidProof, i, err)
		}
		if got := proofs[i].Challenge(); got != challenges[i] {
			return fmt.Errorf("%w: proof %d: path leads to leaf %d, want %d", ErrInvalidProof, i, got, challenges[i])
		}
		nodes[i] = proofs[i].Leaf
	}
	groups := make([]fr.Element, 0, baseArity*len(proofs))
	for k, arity := range levels {
		groups = groups[:0]
		for i := range proofs {
			l := &proofs[i].Path[k]
			groups = append(groups, l.Siblings[:l.Index]...)
			groups = append(groups, nodes[i])
			groups = append(groups, l.Siblings[l.Index:]...)
		}
		h.of(arity).groups(nodes, groups)
	}
	for i := range proofs {
		if nodes[i] != proofs[i].Root {
			return fmt.Errorf("%w: proof %d: path does not hash to the root", ErrInvalidProof, i)
		}
	}
	return nil
}

// checkForm checks that the path has levels of the given arities.
func (p *Proof) checkForm(levels []int) error {
	if len(p.Path) != len(levels) {
		return fmt.Errorf("path of %d levels, want %d", len(p.Path), len(levels))
	}
	for k, l := range p.Path {
		if len(l.Siblings) != levels[k]-1 || l.Index < 0 || l.Index >= levels[k] {
			return fmt.Errorf("level %d has %d siblings and index %d, arity is %d", k, len(l.Siblings), l.Index, levels[k])
		}
	}
	return nil
}

// without returns the nodes of a group but the one at index.
func without(group []fr.Element, index int) []fr.Element {
	out := make([]fr.Element, 0, len(group)-1)
	return append(append(out, group[:index]...), group[index+1:]...)
}
