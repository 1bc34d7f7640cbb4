//go:build !purego

package avx2

import (
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"golang.org/x/sys/cpu"

	"wdpost/proofs/groth16/internal/ops"
)

// Supported reports whether this machine has the instructions.
func Supported() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA }

// batch is read by the assembly; the generator knows its layout.
type batch struct {
	targets, sources unsafe.Pointer
	target, source   *uint32
	negate           *uint8
	dx, prefix       *vec
	groups           int
	scratch          *vec
}

// Vectors of scratch memory of the assembly, and which of them is the
// accumulator.
const (
	scratchVecs = 32
	scratchAcc  = 4
)

//go:noescape
func forwardG1(b *batch)

//go:noescape
func backwardG1(b *batch)

//go:noescape
func forwardG2(b *batch)

//go:noescape
func backwardG2(b *batch)

//go:noescape
func importPoints(dst *float64, src *uint64, groups, coordinates int, scratch *vec)

//go:noescape
func mulVec(z, x, y, scratch *vec)

// adder holds the memory of one batch of additions.
type adder struct {
	converter
	b                   batch
	dx, prefix, scratch []vec
}

// newAdder makes room for n additions over a field of the given degree.
func newAdder(n, degree int) adder {
	groups := (n + ops.Group - 1) / ops.Group * ops.Group / lanes
	return adder{
		converter: newConverter(),
		dx:        make([]vec, groups*degree), prefix: make([]vec, (groups+1)*degree),
		scratch: make([]vec, scratchVecs),
	}
}

// prepare fills in the batch. The first product is one, of the first element of
// its field.
func (a *adder) prepare(targets, sources unsafe.Pointer, waiting *ops.List) {
	a.b.targets, a.b.sources = targets, sources
	a.b.target, a.b.source, a.b.negate = waiting.Arrays()
	a.b.dx, a.b.prefix, a.b.scratch = &a.dx[0], &a.prefix[0], &a.scratch[0]
	a.b.groups = waiting.Len() / lanes
	one := fp.One()
	for j := range lanes {
		a.prefix[0].setLane(j, a.implant(&one))
	}
}

// last returns the lanes of component k of the product of all differences.
func (a *adder) last(degree, k int) (x [lanes]fp.Element) {
	for j := range x {
		e := a.prefix[a.b.groups*degree+k].lane(j)
		x[j] = a.export(e[:])
	}
	return x
}

// setInverse hands component k of the inverse to the way back.
func (a *adder) setInverse(k int, x *[lanes]fp.Element) {
	for j := range x {
		a.scratch[scratchAcc+k].setLane(j, a.implant(&x[j]))
	}
}

// G1Adder adds points of G1. It is for one goroutine.
type G1Adder struct{ adder }

// NewG1Adder makes room for batches of n additions.
func NewG1Adder(n int) *G1Adder { return &G1Adder{newAdder(n, 1)} }

// Add performs the additions: targets[t] ±= sources[s]. Targets must be
// distinct and no point the identity. It reports false, and has changed
// nothing, if a target and its source have the same x; the additions then still
// wait, and are used up otherwise. The last record of targets is scratch, that
// of sources must be Filler.
func (a *G1Adder) Add(targets, sources []G1, waiting *ops.List) bool {
	if waiting.Len() == 0 {
		return true
	}
	targets[len(targets)-1] = G1{}
	n := waiting.Len()
	waiting.Pad(uint32(len(targets)-1), uint32(len(sources)-1))
	a.prepare(unsafe.Pointer(&targets[0]), unsafe.Pointer(&sources[0]), waiting)
	forwardG1(&a.b)
	x := a.last(1, 0)
	if !invert(&x) {
		waiting.Truncate(n)
		return false
	}
	a.setInverse(0, &x)
	backwardG1(&a.b)
	waiting.Reset()
	return true
}

// invert replaces elements by their inverses, unless one is zero.
func invert(x *[lanes]fp.Element) bool {
	var before [lanes]fp.Element
	product := fp.One()
	for j := range x {
		before[j] = product
		product.Mul(&product, &x[j])
	}
	if product.IsZero() {
		return false
	}
	product.Inverse(&product)
	for j := lanes - 1; j >= 0; j-- {
		next := x[j]
		x[j].Mul(&product, &before[j])
		product.Mul(&product, &next)
	}
	return true
}

// G2Adder is G1Adder over G2.
type G2Adder struct{ adder }

// NewG2Adder makes room for batches of n additions.
func NewG2Adder(n int) *G2Adder { return &G2Adder{newAdder(n, 2)} }

// Add is that of G1Adder.
func (a *G2Adder) Add(targets, sources []G2, waiting *ops.List) bool {
	if waiting.Len() == 0 {
		return true
	}
	targets[len(targets)-1] = G2{}
	n := waiting.Len()
	waiting.Pad(uint32(len(targets)-1), uint32(len(sources)-1))
	a.prepare(unsafe.Pointer(&targets[0]), unsafe.Pointer(&sources[0]), waiting)
	a.prefix[1] = vec{}
	forwardG2(&a.b)
	// 1/(x0 + x1·u) = (x0 − x1·u)/(x0² + x1²)
	x0, x1 := a.last(2, 0), a.last(2, 1)
	var norm [lanes]fp.Element
	for j := range norm {
		var t fp.Element
		norm[j].Square(&x0[j])
		norm[j].Add(&norm[j], t.Square(&x1[j]))
	}
	if !invert(&norm) {
		waiting.Truncate(n)
		return false
	}
	for j := range norm {
		x0[j].Mul(&x0[j], &norm[j])
		x1[j].Mul(&x1[j], &norm[j])
		x1[j].Neg(&x1[j])
	}
	a.setInverse(0, &x0)
	a.setInverse(1, &x1)
	backwardG2(&a.b)
	waiting.Reset()
	return true
}

// Import converts points to the form of this package, len(dst) = len(src).
func (a *G1Adder) Import(dst []G1, src []bls.G1Affine) {
	n := len(src) / lanes * lanes
	if n > 0 {
		importPoints(&dst[0][0], &src[0].X[0], n/lanes, 2, &a.scratch[0])
	}
	for i := n; i < len(src); i++ {
		a.implantAll(dst[i][:], &src[i].X, &src[i].Y)
	}
}

// Import converts points to the form of this package, len(dst) = len(src).
func (a *G2Adder) Import(dst []G2, src []bls.G2Affine) {
	n := len(src) / lanes * lanes
	if n > 0 {
		importPoints(&dst[0][0], &src[0].X.A0[0], n/lanes, 4, &a.scratch[0])
	}
	for i := n; i < len(src); i++ {
		p := &src[i]
		a.implantAll(dst[i][:], &p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1)
	}
}

// Export returns p in the form of gnark-crypto.
func (a *G1Adder) Export(p *G1) (out bls.G1Affine) {
	a.exportAll(p[:], &out.X, &out.Y)
	return out
}

// Export returns p in the form of gnark-crypto.
func (a *G2Adder) Export(p *G2) (out bls.G2Affine) {
	a.exportAll(p[:], &out.X.A0, &out.X.A1, &out.Y.A0, &out.Y.A1)
	return out
}

// Negate turns p into −p.
func (a *G1Adder) Negate(p *G1) { negate(p[limbs:]) }

// Negate turns p into −p.
func (a *G2Adder) Negate(p *G2) { negate(p[2*limbs:]) }

// Filler is the record that Add wants at the end of its sources.
func (a *G1Adder) Filler() G1 { return G1{1} }

// Filler is the record that Add wants at the end of its sources.
func (a *G2Adder) Filler() G2 { return G2{1} }

// SameX reports whether two points are equal or opposite.
func (a *G1Adder) SameX(p, q *G1) bool { return same(p[:limbs], q[:limbs]) }

// SameX reports whether two points are equal or opposite.
func (a *G2Adder) SameX(p, q *G2) bool {
	return same(p[:limbs], q[:limbs]) && same(p[limbs:2*limbs], q[limbs:2*limbs])
}
