package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// g1Batch performs affine additions that share one field inversion (Montgomery's
// trick): 5 multiplications and one squaring an addition. Additions of one
// flush must have distinct targets. Exceptional additions (an identity, equal
// or opposite points) are recognised and done on the spot.
type g1Batch struct {
	targets []*bls.G1Affine
	addends []*bls.G1Affine
	negate  []bool
	dx      []fp.Element // x2 − x1
	prefix  []fp.Element // products of the dx before
}

// grow makes room for n additions.
func (b *g1Batch) grow(n int) {
	b.targets = make([]*bls.G1Affine, 0, n)
	b.addends = make([]*bls.G1Affine, 0, n)
	b.negate = make([]bool, 0, n)
	b.dx = make([]fp.Element, 0, n)
	b.prefix = make([]fp.Element, n)
}

// add schedules target += addend, or −= with negate. Neither may change before
// flush.
func (b *g1Batch) add(target, addend *bls.G1Affine, negate bool) {
	var dx fp.Element
	dx.Sub(&addend.X, &target.X)
	if dx.IsZero() || target.IsInfinity() || addend.IsInfinity() {
		p := *addend
		if negate {
			p.Neg(&p)
		}
		target.Add(target, &p)
		return
	}
	b.targets = append(b.targets, target)
	b.addends = append(b.addends, addend)
	b.negate = append(b.negate, negate)
	b.dx = append(b.dx, dx)
}

// flush performs the scheduled additions.
func (b *g1Batch) flush() {
	n := len(b.dx)
	if n == 0 {
		return
	}
	var product fp.Element
	product.SetOne()
	for i := range b.dx {
		b.prefix[i] = product
		product.Mul(&product, &b.dx[i])
	}
	product.Inverse(&product)
	var lambda, y fp.Element
	for i := n - 1; i >= 0; i-- {
		p, q := b.targets[i], b.addends[i]
		lambda.Mul(&product, &b.prefix[i]) // 1/dx
		product.Mul(&product, &b.dx[i])
		y = q.Y
		if b.negate[i] {
			y.Neg(&y)
		}
		y.Sub(&y, &p.Y)
		lambda.Mul(&lambda, &y)
		x := p.X
		p.X.Square(&lambda).Sub(&p.X, &x).Sub(&p.X, &q.X)
		x.Sub(&x, &p.X)
		p.Y.Sub(lambda.Mul(&lambda, &x), &p.Y)
	}
	b.targets, b.addends = b.targets[:0], b.addends[:0]
	b.negate, b.dx = b.negate[:0], b.dx[:0]
}

// g2Batch is g1Batch over G2.
type g2Batch struct {
	targets []*bls.G2Affine
	addends []*bls.G2Affine
	negate  []bool
	dx      []bls.E2
	prefix  []bls.E2
}

// grow makes room for n additions.
func (b *g2Batch) grow(n int) {
	b.targets = make([]*bls.G2Affine, 0, n)
	b.addends = make([]*bls.G2Affine, 0, n)
	b.negate = make([]bool, 0, n)
	b.dx = make([]bls.E2, 0, n)
	b.prefix = make([]bls.E2, n)
}

// add schedules target += addend, or −= with negate.
func (b *g2Batch) add(target, addend *bls.G2Affine, negate bool) {
	var dx bls.E2
	dx.Sub(&addend.X, &target.X)
	if dx.IsZero() || target.IsInfinity() || addend.IsInfinity() {
		p := *addend
		if negate {
			p.Neg(&p)
		}
		target.Add(target, &p)
		return
	}
	b.targets = append(b.targets, target)
	b.addends = append(b.addends, addend)
	b.negate = append(b.negate, negate)
	b.dx = append(b.dx, dx)
}

// flush performs the scheduled additions.
func (b *g2Batch) flush() {
	n := len(b.dx)
	if n == 0 {
		return
	}
	var product bls.E2
	product.SetOne()
	for i := range b.dx {
		b.prefix[i] = product
		product.Mul(&product, &b.dx[i])
	}
	product.Inverse(&product)
	var lambda, y bls.E2
	for i := n - 1; i >= 0; i-- {
		p, q := b.targets[i], b.addends[i]
		lambda.Mul(&product, &b.prefix[i])
		product.Mul(&product, &b.dx[i])
		y = q.Y
		if b.negate[i] {
			y.Neg(&y)
		}
		y.Sub(&y, &p.Y)
		lambda.Mul(&lambda, &y)
		x := p.X
		p.X.Square(&lambda).Sub(&p.X, &x).Sub(&p.X, &q.X)
		x.Sub(&x, &p.X)
		p.Y.Sub(lambda.Mul(&lambda, &x), &p.Y)
	}
	b.targets, b.addends = b.targets[:0], b.addends[:0]
	b.negate, b.dx = b.negate[:0], b.dx[:0]
}
