package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"wdpost/proofs/groth16/internal/ops"
)

// scalarG1 is the batchAdder of machines without vector instructions:
// Montgomery's trick (Math. Comp. 48, 1987, section 10.3.1) over gnark-crypto's field, 5 multiplications and a squaring
// an addition.
type scalarG1 struct {
	dx     []fp.Element // x of the source − x of the target
	prefix []fp.Element // products of the dx before
}

func newScalarG1(n int) batchAdder[bls.G1Affine, bls.G1Affine] {
	return &scalarG1{make([]fp.Element, n), make([]fp.Element, n)}
}

func (*scalarG1) Import(dst, src []bls.G1Affine)      { copy(dst, src) }
func (*scalarG1) Export(p *bls.G1Affine) bls.G1Affine { return *p }
func (*scalarG1) SameX(p, q *bls.G1Affine) bool       { return p.X == q.X }
func (*scalarG1) Negate(p *bls.G1Affine)              { p.Neg(p) }
func (*scalarG1) Filler() bls.G1Affine                { return bls.G1Affine{} }

func (b *scalarG1) Add(targets, sources []bls.G1Affine, waiting *ops.List) bool {
	n := waiting.Len()
	product := fp.One()
	for i := range n {
		t, s, _ := waiting.At(i)
		b.dx[i].Sub(&sources[s].X, &targets[t].X)
		b.prefix[i] = product
		product.Mul(&product, &b.dx[i])
	}
	if product.IsZero() {
		return false
	}
	product.Inverse(&product)
	var lambda, y fp.Element
	for i := n - 1; i >= 0; i-- {
		t, s, negate := waiting.At(i)
		p, q := &targets[t], &sources[s]
		lambda.Mul(&product, &b.prefix[i]) // 1/dx
		product.Mul(&product, &b.dx[i])
		y = q.Y
		if negate == 1 {
			y.Neg(&y)
		}
		y.Sub(&y, &p.Y)
		lambda.Mul(&lambda, &y)
		x := p.X
		p.X.Square(&lambda).Sub(&p.X, &x).Sub(&p.X, &q.X)
		x.Sub(&x, &p.X)
		p.Y.Sub(lambda.Mul(&lambda, &x), &p.Y)
	}
	waiting.Reset()
	return true
}

// scalarG2 is scalarG1 over G2.
type scalarG2 struct {
	dx     []bls.E2
	prefix []bls.E2
}

func newScalarG2(n int) batchAdder[bls.G2Affine, bls.G2Affine] {
	return &scalarG2{make([]bls.E2, n), make([]bls.E2, n)}
}

func (*scalarG2) Import(dst, src []bls.G2Affine)      { copy(dst, src) }
func (*scalarG2) Export(p *bls.G2Affine) bls.G2Affine { return *p }
func (*scalarG2) SameX(p, q *bls.G2Affine) bool       { return p.X == q.X }
func (*scalarG2) Negate(p *bls.G2Affine)              { p.Neg(p) }
func (*scalarG2) Filler() bls.G2Affine                { return bls.G2Affine{} }

func (b *scalarG2) Add(targets, sources []bls.G2Affine, waiting *ops.List) bool {
	n := waiting.Len()
	var product bls.E2
	product.SetOne()
	for i := range n {
		t, s, _ := waiting.At(i)
		b.dx[i].Sub(&sources[s].X, &targets[t].X)
		b.prefix[i] = product
		product.Mul(&product, &b.dx[i])
	}
	if product.IsZero() {
		return false
	}
	product.Inverse(&product)
	var lambda, y bls.E2
	for i := n - 1; i >= 0; i-- {
		t, s, negate := waiting.At(i)
		p, q := &targets[t], &sources[s]
		lambda.Mul(&product, &b.prefix[i])
		product.Mul(&product, &b.dx[i])
		y = q.Y
		if negate == 1 {
			y.Neg(&y)
		}
		y.Sub(&y, &p.Y)
		lambda.Mul(&lambda, &y)
		x := p.X
		p.X.Square(&lambda).Sub(&p.X, &x).Sub(&p.X, &q.X)
		x.Sub(&x, &p.X)
		p.Y.Sub(lambda.Mul(&lambda, &x), &p.Y)
	}
	waiting.Reset()
	return true
}
