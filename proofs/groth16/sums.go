package groth16

import (
	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// sums are the multi-scalar multiplications of a proof, built up while the
// witness is made: it is never whole in memory.
type sums struct {
	p  *prover
	lh g1Sum // over L and H
	a  g1Sum
	b1 g1Sum // only if r ≠ 0
	b2 g2Sum
}

func newSums(p *prover) *sums {
	return &sums{p: p, lh: g1Sum{p: p}, a: g1Sum{p: p}, b1: g1Sum{p: p}, b2: g2Sum{p: p}}
}

// needB1 says whether the sum over B1 is part of the proof.
func (s *sums) needB1() bool { return !s.p.blinding.R.IsZero() }

// addInputs adds the public inputs, ONE first; only ONE is B-dense.
func (s *sums) addInputs(inputs []fr.Element) error {
	key := s.p.key
	if err := s.a.add(key.A[:len(inputs)], inputs); err != nil {
		return err
	}
	if err := s.b2.add(key.B2[:1], inputs[:1]); err != nil {
		return err
	}
	if s.needB1() {
		return s.b1.add(key.B1[:1], inputs[:1])
	}
	return nil
}

// addBlocks makes the witness some blocks at a time and adds it everywhere.
func (s *sums) addBlocks() error {
	l, key := s.p.layout, s.p.key
	group := max(s.p.pool.workers, sumPiece/max(l.aux, 1))
	values := make([]fr.Element, min(group, l.blocks)*l.aux)
	dense := make([]fr.Element, min(group, l.blocks)*max(len(l.denseA), len(l.denseB)))
	a, b := l.allInputs(), 1
	for from := 0; from < l.blocks; from += group {
		n := min(group, l.blocks-from)
		aux := values[:n*l.aux]
		err := s.p.pool.run(n, func(_, i int) error {
			return s.p.witness.Witness(from+i, nil, aux[i*l.aux:(i+1)*l.aux])
		})
		if err != nil {
			return err
		}
		if err := s.lh.add(key.L[from*l.aux:(from+n)*l.aux], aux); err != nil {
			return err
		}
		selected := gather(dense, aux, l.aux, l.denseA)
		if err := s.a.add(key.A[a:a+len(selected)], selected); err != nil {
			return err
		}
		a += len(selected)
		selected = gather(dense, aux, l.aux, l.denseB)
		if err := s.b2.add(key.B2[b:b+len(selected)], selected); err != nil {
			return err
		}
		if s.needB1() {
			if err := s.b1.add(key.B1[b:b+len(selected)], selected); err != nil {
				return err
			}
		}
		b += len(selected)
	}
	return nil
}

// gather copies the values at the given indices of every block of size aux.
func gather(dst, values []fr.Element, aux int, indices []uint32) []fr.Element {
	dst = dst[:0]
	for ; len(values) > 0; values = values[aux:] {
		for _, i := range indices {
			dst = append(dst, values[i])
		}
	}
	return dst
}

// sumPiece bounds the scalars handed to one multi-scalar multiplication.
const sumPiece = 1 << 16

// g1Sum accumulates Σ scalars[i]·points[i].
type g1Sum struct {
	p     *prover
	total bls.G1Jac
}

func (s *g1Sum) add(points []bls.G1Affine, scalars []fr.Element) error {
	for len(points) > 0 {
		if s.p.pool.canceled() {
			return ErrCanceled
		}
		n := min(len(points), sumPiece)
		var part bls.G1Jac
		if _, err := part.MultiExp(points[:n], scalars[:n], ecc.MultiExpConfig{NbTasks: s.p.pool.workers}); err != nil {
			return err
		}
		s.total.AddAssign(&part)
		s.p.advance(n)
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

func (s *g1Sum) sum() (bls.G1Jac, error) { return s.total, nil }

// g2Sum is g1Sum over G2.
type g2Sum struct {
	p     *prover
	total bls.G2Jac
}

func (s *g2Sum) add(points []bls.G2Affine, scalars []fr.Element) error {
	for len(points) > 0 {
		if s.p.pool.canceled() {
			return ErrCanceled
		}
		n := min(len(points), sumPiece)
		var part bls.G2Jac
		if _, err := part.MultiExp(points[:n], scalars[:n], ecc.MultiExpConfig{NbTasks: s.p.pool.workers}); err != nil {
			return err
		}
		s.total.AddAssign(&part)
		s.p.advance(n)
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

func (s *g2Sum) sum() (bls.G2Jac, error) { return s.total, nil }
