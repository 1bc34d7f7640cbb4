package groth16

import (
	"fmt"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
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
	return s.g1Vector("h", func(emit func([]fr.Element) error) error {
		for from := 0; from < n; from += setupPiece {
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
	})
}

// vectorL makes l_i = g1·(β·u_i + α·v_i + w_i)/δ of all auxiliary variables.
func (s *setup) vectorL() error {
	var inverse fr.Element
	inverse.Inverse(&s.trapdoor.Delta)
	return s.g1Vector("l", func(emit func([]fr.Element) error) error {
		return s.eachBlock(emit, func(e evaluations) []fr.Element {
			return s.combine(e, &inverse)[1+s.layout.inputs:]
		})
	})
}

// vectorA makes g1·u_i of all inputs and then of the A-dense auxiliaries.
func (s *setup) vectorA() error {
	l := s.layout
	return s.g1Vector("a", func(emit func([]fr.Element) error) error {
		if err := emit(s.inputs.u); err != nil {
			return err
		}
		return s.eachBlock(emit, func(e evaluations) []fr.Element {
			return pick(e.u[1+l.inputs:], l.denseA)
		})
	})
}

// vectorB1 makes g1·v_i of ONE and of the B-dense auxiliaries.
func (s *setup) vectorB1() error {
	return s.g1Vector("b_g1", s.emitB)
}

// vectorB2 is vectorB1 over G2.
func (s *setup) vectorB2() error {
	points := make([]bls.G2Affine, setupPiece)
	return s.emitB(func(scalars []fr.Element) error {
		for len(scalars) > 0 {
			k := min(len(scalars), len(points))
			if err := s.g2.multiples(s.pool, points[:k], scalars[:k]); err != nil {
				return err
			}
			for i := range points[:k] {
				if points[i].IsInfinity() {
					return identityError("b_g2")
				}
			}
			if err := s.sink.G2(points[:k]); err != nil {
				return fmt.Errorf("vector b_g2: %w", err)
			}
			s.advance(k)
			scalars = scalars[k:]
		}
		return nil
	})
}

// emitB emits v_i of ONE and of the B-dense auxiliaries.
func (s *setup) emitB(emit func([]fr.Element) error) error {
	l := s.layout
	if err := emit(s.inputs.v[:1]); err != nil {
		return err
	}
	return s.eachBlock(emit, func(e evaluations) []fr.Element {
		return pick(e.v[1+l.inputs:], l.denseB)
	})
}

// eachBlock evaluates the blocks, several at once, and emits what of selects of
// each, in order.
func (s *setup) eachBlock(emit func([]fr.Element) error, of func(evaluations) []fr.Element) error {
	group := max(s.pool.workers, setupPiece/max(s.layout.aux, 1))
	for from := 0; from < s.layout.blocks; from += group {
		parts := make([][]fr.Element, min(group, s.layout.blocks-from))
		err := s.pool.run(len(parts), func(_, i int) error {
			parts[i] = of(s.evaluateBlock(from + i))
			return nil
		})
		if err != nil {
			return err
		}
		var scalars []fr.Element
		for _, part := range parts {
			scalars = append(scalars, part...)
		}
		if err := emit(scalars); err != nil {
			return err
		}
	}
	return nil
}

// g1Vector hands a vector to the sink: the multiples of g1 by the scalars that
// emitAll emits. An identity is refused: bellperson's files hold none.
func (s *setup) g1Vector(name string, emitAll func(emit func([]fr.Element) error) error) error {
	points := make([]bls.G1Affine, setupPiece)
	return emitAll(func(scalars []fr.Element) error {
		for len(scalars) > 0 {
			k := min(len(scalars), len(points))
			if err := s.g1.multiples(s.pool, points[:k], scalars[:k]); err != nil {
				return err
			}
			for i := range points[:k] {
				if points[i].IsInfinity() {
					return identityError(name)
				}
			}
			if err := s.sink.G1(points[:k]); err != nil {
				return fmt.Errorf("vector %s: %w", name, err)
			}
			s.advance(k)
			scalars = scalars[k:]
		}
		return nil
	})
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
