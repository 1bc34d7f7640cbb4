package groth16

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// quotient returns the coefficients h_0…h_{m−2} of h = (a·b − c)/(X^m − 1), and
// the values of all public inputs, ONE first. It fails with ErrUnsatisfied,
// naming the first block seen with a wrong row.
//
// Spec 7.2 does this with seven transforms on three vectors. Here the product
// is written P = a·b = L + X^m·h' with deg L, deg h' < m. On the domain P is
// c = L + h' (modulo X^m − 1) and the values of c are those of a·b; on the
// coset g·⟨ω⟩ with g^m = −1 it is L − h' (modulo X^m + 1). So h = h' is half
// the difference of two interpolations: six transforms on two vectors, and a
// satisfied system gives bit for bit the coefficients of spec 7.2.
func (p *prover) quotient() (h, inputs []fr.Element, err error) {
	m := p.layout.domain()
	t := newTransform(m)
	a, b := make([]fr.Element, m), make([]fr.Element, m)
	inputs = make([]fr.Element, p.layout.allInputs())
	inputs[0].SetOne()

	if err := p.fillRows(a, b, inputs); err != nil {
		return nil, nil, err
	}
	for _, v := range [][]fr.Element{a, b} {
		if err := t.toCoset(p.pool, v); err != nil {
			return nil, nil, err
		}
		p.advance(m / 3) // four of six transforms
	}
	if err := p.pool.spans(m, rowPiece, func(from, to int) error {
		va := fr.Vector(a[from:to])
		va.Mul(va, b[from:to])
		clear(b[from:to])
		return nil
	}); err != nil {
		return nil, nil, err
	}
	if err := t.fromCoset(p.pool, a); err != nil {
		return nil, nil, err
	}
	if err := p.fillProducts(b); err != nil {
		return nil, nil, err
	}
	if err := t.interpolate(p.pool, b); err != nil {
		return nil, nil, err
	}
	var half fr.Element
	half.SetUint64(2)
	half.Inverse(&half)
	if err := p.pool.spans(m, rowPiece, func(from, to int) error {
		va := fr.Vector(a[from:to])
		va.Sub(fr.Vector(b[from:to]), va)
		va.ScalarMul(va, &half)
		return nil
	}); err != nil {
		return nil, nil, err
	}
	if err := t.permute(p.pool, a); err != nil {
		return nil, nil, err
	}
	p.advance(m - 2*(m/3))
	return a[:m-1], inputs, nil
}

// fillRows writes the values of all A and B rows, the input rows of spec 7.1
// included, and the public inputs from index 1 on. It checks every constraint.
func (p *prover) fillRows(a, b, inputs []fr.Element) error {
	l := p.layout
	scratch := make([][2]fr.Vector, p.pool.workers)
	err := p.pool.run(l.blocks, func(worker, block int) error {
		if scratch[worker][0] == nil {
			scratch[worker] = [...]fr.Vector{make(fr.Vector, l.constraints), make(fr.Vector, l.constraints)}
		}
		c, product := scratch[worker][0], scratch[worker][1]
		from, to := block*l.constraints, (block+1)*l.constraints
		if err := p.witness.Rows(block, a[from:to], b[from:to], c); err != nil {
			return err
		}
		product.Mul(a[from:to], b[from:to])
		for i := range product {
			if product[i] != c[i] {
				return fmt.Errorf("%w: constraint %d of block %d", ErrUnsatisfied, i, block)
			}
		}
		return p.witness.Witness(block, inputs[1+block*l.inputs:1+(block+1)*l.inputs], nil)
	})
	if err != nil {
		return err
	}
	copy(a[l.inputRow():], inputs)
	return nil
}

// fillProducts writes a∘b, which fillRows found equal to the C rows. The input
// rows have B = 0.
func (p *prover) fillProducts(c []fr.Element) error {
	l := p.layout
	return p.pool.run(l.blocks, func(_, block int) error {
		return p.witness.Rows(block, nil, nil, c[block*l.constraints:(block+1)*l.constraints])
	})
}
