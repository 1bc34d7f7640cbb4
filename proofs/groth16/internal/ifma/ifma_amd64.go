//go:build !purego

package ifma

import (
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
	"golang.org/x/sys/cpu"

	"wdpost/proofs/groth16/internal/ops"
)

// Supported reports whether this machine has the instructions.
func Supported() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512IFMA
}

// batch is read and written by the assembly; the generator knows its layout.
type batch struct {
	targets, sources unsafe.Pointer
	target, source   *uint32
	negate           *uint8
	dx, prefix       *vec
	groups           int
	constants        *constants
	_                [56]byte // so that vectors begin at a cache line
	acc              [2]vec
	_                [21]vec // scratch vectors
}

//go:noescape
func forwardG1(b *batch)

//go:noescape
func backwardG1(b *batch)

//go:noescape
func forwardG2(b *batch)

//go:noescape
func backwardG2(b *batch)

//go:noescape
func importPoints(dst *uint64, src *uint64, groups, coordinates int, b *batch)

// adder holds the memory of one batch of additions.
type adder struct {
	b          batch
	c          *constants
	dx, prefix []vec
}

// newAdder makes room for n additions over a field of the given degree.
func newAdder(n, degree int) adder {
	groups := (n + lanes - 1) / lanes
	return adder{c: newConstants(), dx: make([]vec, groups*degree), prefix: make([]vec, groups*degree)}
}

// prepare fills in the batch.
func (a *adder) prepare(targets, sources unsafe.Pointer, waiting *ops.List) {
	a.b.targets, a.b.sources = targets, sources
	a.b.target, a.b.source, a.b.negate = waiting.Arrays()
	a.b.dx, a.b.prefix = &a.dx[0], &a.prefix[0]
	a.b.groups = waiting.Len() / lanes
	a.b.constants = a.c
	for j := range lanes {
		a.b.acc[0].setLane(j, a.c.one)
		a.b.acc[1].setLane(j, element{})
	}
}

// G1Adder adds points of G1. It is for one goroutine.
type G1Adder struct{ adder }

// NewG1Adder makes room for batches of n additions.
func NewG1Adder(n int) *G1Adder { return &G1Adder{newAdder(n, 1)} }

// Add performs the additions: targets[t] ±= sources[s]. Targets must be
// distinct and no point the identity. It reports false, and has changed
// nothing, if a target and its source have the same x; the additions then still
// wait, and are used up otherwise. The last record of targets is scratch, that of
// sources must be Filler.
func (a *G1Adder) Add(targets, sources []G1, waiting *ops.List) bool {
	if waiting.Len() == 0 {
		return true
	}
	targets[len(targets)-1] = G1{}
	n := waiting.Len()
	waiting.Pad(uint32(len(targets)-1), uint32(len(sources)-1))
	a.prepare(unsafe.Pointer(&targets[0]), unsafe.Pointer(&sources[0]), waiting)
	forwardG1(&a.b)
	var x [lanes]fp.Element
	for j := range x {
		e := a.b.acc[0].lane(j)
		x[j] = a.c.export(&e)
		if x[j].IsZero() {
			waiting.Truncate(n)
			return false
		}
	}
	invert(&x)
	for j := range x {
		a.b.acc[0].setLane(j, a.c.implant(&x[j]))
	}
	backwardG1(&a.b)
	waiting.Reset()
	return true
}

// invert replaces non-zero elements by their inverses.
func invert(x *[lanes]fp.Element) {
	var before [lanes]fp.Element
	product := fp.One()
	for j := range x {
		before[j] = product
		product.Mul(&product, &x[j])
	}
	product.Inverse(&product)
	for j := lanes - 1; j >= 0; j-- {
		next := x[j]
		x[j].Mul(&product, &before[j])
		product.Mul(&product, &next)
	}
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
	forwardG2(&a.b)
	// 1/(x0 + x1·u) = (x0 − x1·u)/(x0² + x1²)
	var x [2][lanes]fp.Element
	var norm [lanes]fp.Element
	for j := range lanes {
		for k := range x {
			e := a.b.acc[k].lane(j)
			x[k][j] = a.c.exportWide(&e)
		}
		var t fp.Element
		norm[j].Square(&x[0][j])
		norm[j].Add(&norm[j], t.Square(&x[1][j]))
		if norm[j].IsZero() {
			waiting.Truncate(n)
			return false
		}
	}
	invert(&norm)
	for j := range norm {
		x[0][j].Mul(&x[0][j], &norm[j])
		x[1][j].Mul(&x[1][j], &norm[j])
		x[1][j].Neg(&x[1][j])
		for k := range x {
			a.b.acc[k].setLane(j, a.c.implant(&x[k][j]))
		}
	}
	backwardG2(&a.b)
	waiting.Reset()
	return true
}

// Import converts points to the form of this package, len(dst) = len(src).
func (a *G1Adder) Import(dst []G1, src []bls.G1Affine) {
	n := len(src) / lanes * lanes
	if n > 0 {
		a.b.constants = a.c
		importPoints(&dst[0][0], &src[0].X[0], n/lanes, 2, &a.b)
	}
	for i := n; i < len(src); i++ {
		dst[i] = a.importOne(&src[i])
	}
}

// Import converts points to the form of this package, len(dst) = len(src).
func (a *G2Adder) Import(dst []G2, src []bls.G2Affine) {
	n := len(src) / lanes * lanes
	if n > 0 {
		a.b.constants = a.c
		importPoints(&dst[0][0], &src[0].X.A0[0], n/lanes, 4, &a.b)
	}
	for i := n; i < len(src); i++ {
		dst[i] = a.importOne(&src[i])
	}
}

// importOne converts one point.
func (a *G1Adder) importOne(p *bls.G1Affine) (out G1) {
	a.c.implantAll(out[:], &p.X, &p.Y)
	return out
}

// importOne converts one point.
func (a *G2Adder) importOne(p *bls.G2Affine) (out G2) {
	a.c.implantAll(out[:], &p.X.A0, &p.X.A1, &p.Y.A0, &p.Y.A1)
	return out
}

// Export returns p in the form of gnark-crypto.
func (a *G1Adder) Export(p *G1) (out bls.G1Affine) {
	a.c.exportAll(p[:], &out.X, &out.Y)
	return out
}

// Export returns p in the form of gnark-crypto.
func (a *G2Adder) Export(p *G2) (out bls.G2Affine) {
	a.c.exportAll(p[:], &out.X.A0, &out.X.A1, &out.Y.A0, &out.Y.A1)
	return out
}

// Negate turns p into −p.
func (a *G1Adder) Negate(p *G1) { a.c.negate(p[limbs:]) }

// Negate turns p into −p.
func (a *G2Adder) Negate(p *G2) {
	a.c.negate(p[2*limbs : 3*limbs])
	a.c.negate(p[3*limbs:])
}

// Filler is the record that Add wants at the end of its sources.
func (a *G1Adder) Filler() G1 { return G1{1} }

// Filler is the record that Add wants at the end of its sources.
func (a *G2Adder) Filler() G2 { return G2{1} }

// SameX reports whether two points are equal or opposite.
func (a *G1Adder) SameX(p, q *G1) bool { return a.c.same(p[:limbs], q[:limbs]) }

// SameX reports whether two points are equal or opposite.
func (a *G2Adder) SameX(p, q *G2) bool {
	return a.c.same(p[:limbs], q[:limbs]) && a.c.same(p[limbs:2*limbs], q[limbs:2*limbs])
}
