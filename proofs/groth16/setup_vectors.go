package groth16

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// setupPiece is how many points are made between two calls of the sink. It
// bounds memory (192 bytes a point of G2) and the time to a cancellation check
// is that of one pool piece inside it.
const setupPiece = 1 << 16

// vectorH makes h_i = g1·τ^i·(τ^m − 1)/δ, i = 0…m−2.
func (s *setup) vectorH() error {
	n := s.layout.domain() - 1
	var first fr.Element
	first.Div(&s.vanishing, &s.trapdoor.Delta)
	emit := s.g1Emitter("h")
	for from := s.skip(n); from < n; from += setupPiece {
		scalars := make([]fr.Element, min(setupPiece, n-from))
		x := &scalars[0]
		x.Exp(s.trapdoor.Tau, big.NewInt(int64(from)))
		x.Mul(x, &first)
		for i := 1; i < len(scalars); i++ {
			scalars[i].Mul(&scalars[i-1], &s.trapdoor.Tau)
		}
		if err := emit(scalars); err != nil {
			return err
		}
	}
	return nil
}

// vectorL makes l_i = g1·(β·u_i + α·v_i + w_i)/δ of all auxiliary variables.
func (s *setup) vectorL() error {
	var inverse fr.Element
	inverse.Inverse(&s.trapdoor.Delta)
	return s.eachBlock(s.g1Emitter("l"), blockVector{each: s.layout.aux, of: func(e evaluations) []fr.Element {
		return s.combine(e, &inverse)[1+s.layout.inputs:]
	}})
}

// vectorA makes g1·u_i of all inputs and then of the A-dense auxiliaries.
func (s *setup) vectorA() error {
	l := s.layout
	return s.eachBlock(s.g1Emitter("a"), blockVector{head: s.inputs.u, each: len(l.denseA), of: func(e evaluations) []fr.Element {
		return pick(e.u[1+l.inputs:], l.denseA)
	}})
}

// vectorB1 makes g1·v_i of ONE and of the B-dense auxiliaries.
func (s *setup) vectorB1() error {
	return s.eachBlock(s.g1Emitter("b_g1"), s.scalarsB())
}

// vectorB2 is vectorB1 over G2.
func (s *setup) vectorB2() error {
	return s.eachBlock(s.g2Emitter("b_g2"), s.scalarsB())
}

// scalarsB are v_i of ONE and of the B-dense auxiliaries.
func (s *setup) scalarsB() blockVector {
	l := s.layout
	return blockVector{head: s.inputs.v[:1], each: len(l.denseB), of: func(e evaluations) []fr.Element {
		return pick(e.v[1+l.inputs:], l.denseB)
	}}
}

// emitter makes the points of the next scalars of a vector and hands them to
// the sink.
type emitter func(scalars []fr.Element) error

// blockVector are the scalars of a vector: the head, then each of every block
// as selected by of.
type blockVector struct {
	head []fr.Element
	each int
	of   func(evaluations) []fr.Element
}

// eachBlock emits a vector in order, several blocks evaluated at once, without
// what the sink has of it.
func (s *setup) eachBlock(emit emitter, v blockVector) error {
	skipped := s.skip(len(v.head) + s.layout.blocks*v.each)
	if skipped < len(v.head) {
		if err := emit(v.head[skipped:]); err != nil {
			return err
		}
	}
	if v.each == 0 {
		return nil
	}
	skipped = max(0, skipped-len(v.head))
	first, within := skipped/v.each, skipped%v.each
	group := max(s.pool.workers, setupPiece/v.each)
	for from := first; from < s.layout.blocks; from += group {
		parts := make([][]fr.Element, min(group, s.layout.blocks-from))
		err := s.pool.run(len(parts), func(_, i int) error {
			parts[i] = v.of(s.evaluateBlock(from + i))
			return nil
		})
		if err != nil {
			return err
		}
		scalars := slices.Concat(parts...)
		if from == first {
			scalars = scalars[within:]
		}
		if err := emit(scalars); err != nil {
			return err
		}
	}
	return nil
}

// skip returns how many of the next n points the sink has already and counts
// them as made.
func (s *setup) skip(n int) int {
	k := min(s.there, uint64(n))
	s.there -= k
	if k > 0 {
		s.advance(int(k))
	}
	return int(k)
}

func (s *setup) g1Emitter(vector string) emitter {
	return newEmitter(s, vector, s.g1, s.sink.G1)
}

func (s *setup) g2Emitter(vector string) emitter {
	return newEmitter(s, vector, s.g2, s.sink.G2)
}

// newEmitter makes multiples of a generator for a vector and hands them on. An
// identity is refused: bellperson's files hold none.
func newEmitter[A any, P affine[A]](s *setup, vector string, m multiplier[A], hand func([]A) error) emitter {
	points := make([]A, setupPiece)
	return func(scalars []fr.Element) error {
		for piece := range slices.Chunk(scalars, len(points)) {
			made := points[:len(piece)]
			if err := m.multiples(s.pool, made, piece); err != nil {
				return err
			}
			for i := range made {
				if P(&made[i]).IsInfinity() {
					return identityError(vector)
				}
			}
			if err := hand(made); err != nil {
				return fmt.Errorf("vector %s: %w", vector, err)
			}
			s.advance(len(made))
		}
		return nil
	}
}

// advance counts points and reports.
func (s *setup) advance(points int) {
	s.made += uint64(points)
	if s.progress != nil {
		s.progress(s.made, s.total)
	}
}

// identityError: a variable is unconstrained, or (with probability 2⁻²²⁰) the
// trapdoor is a root of one of its polynomials.
func identityError(vector string) error {
	return fmt.Errorf("%w: a point of %s is the identity: the circuit leaves a variable unconstrained, or the draw is unlucky", ErrTrapdoor, vector)
}

// pick returns the values at the given indices.
func pick(values []fr.Element, indices []uint32) []fr.Element {
	out := make([]fr.Element, len(indices))
	for i, at := range indices {
		out[i] = values[at]
	}
	return out
}
