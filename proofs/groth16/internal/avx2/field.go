package avx2

import (
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

const (
	lanes = 4
	limbs = 8
	radix = 48
)

// G1 is an affine point: the limbs of x and y. The identity has no form.
type G1 [2 * limbs]float64

// G2 is an affine point: the limbs of x.A0, x.A1, y.A0, y.A1.
type G2 [4 * limbs]float64

// vec is four elements: limb i of lane j is vec[i][j].
type vec [limbs][lanes]float64

// lane reads one element of v.
func (v *vec) lane(j int) (e [limbs]float64) {
	for i := range e {
		e[i] = v[i][j]
	}
	return e
}

// setLane writes one element of v.
func (v *vec) setLane(j int, e [limbs]float64) {
	for i := range e {
		v[i][j] = e[i]
	}
}

// converter changes between the form of gnark-crypto and that of this package.
type converter struct {
	fromRaw fp.Element // factor that turns words read as Montgomery form for 2^384 into such
	toRaw   fp.Element // and back
}

func newConverter() converter {
	p := fp.Modulus()
	power := func(k int64) *big.Int { return new(big.Int).Exp(big.NewInt(2), big.NewInt(k), p) }
	return converter{fromRaw: raw(power(2*384 - radix)), toRaw: raw(power(radix))}
}

// raw is the fp.Element whose words are those of n, whatever it stands for.
func raw(n *big.Int) (e fp.Element) {
	var b [8 * len(e)]byte
	n.FillBytes(b[:])
	for i := range e {
		for _, x := range b[8*(len(e)-1-i) : 8*(len(e)-i)] {
			e[i] = e[i]<<8 | uint64(x)
		}
	}
	return e
}

// words returns the residue of limbs in 0…p−1. Limbs are less than 2^52.
func words(limb []float64) fp.Element {
	var w [7]uint64 // two's complement
	for i, l := range limb[:limbs] {
		x := int64(l)
		at, shift := radix*i/64, radix*i%64
		low, high := uint64(x)<<shift, uint64(x>>(63-shift)>>1)
		var c uint64
		w[at], c = bits.Add64(w[at], low, 0)
		w[at+1], c = bits.Add64(w[at+1], high, c)
		sign := uint64(x >> 63)
		for k := at + 2; k < len(w); k++ {
			w[k], c = bits.Add64(w[k], sign, c)
		}
	}
	p := modulusWords()
	for int64(w[6]) < 0 {
		var c uint64
		for i := range p {
			w[i], c = bits.Add64(w[i], p[i], c)
		}
		w[6] += c
	}
	for {
		var less fp.Element
		var b uint64
		for i := range p {
			less[i], b = bits.Sub64(w[i], p[i], b)
		}
		if w[6] < b {
			return fp.Element(w[:6])
		}
		w[6] -= b
		copy(w[:6], less[:])
	}
}

// modulusWords is p, least significant word first.
func modulusWords() fp.Element {
	return fp.Element{
		0xb9feffffffffaaab, 0x1eabfffeb153ffff, 0x6730d2a0f6b0f624,
		0x64774b84f38512bf, 0x4b1ba7b6434bacd7, 0x1a0111ea397fe69a,
	}
}

// export converts one coordinate to the form of gnark-crypto.
func (c *converter) export(limb []float64) fp.Element {
	w := words(limb)
	return *w.Mul(&w, &c.fromRaw)
}

// implant is the inverse of export.
func (c *converter) implant(x *fp.Element) (out [limbs]float64) {
	var w fp.Element
	w.Mul(x, &c.toRaw)
	carry := int64(0)
	for i := range out {
		at, shift := radix*i/64, radix*i%64
		v := w[at] >> shift
		if shift > 64-radix {
			v |= w[at+1] << (64 - shift)
		}
		l := int64(v&(1<<radix-1)) + carry
		carry = 0
		if l > 1<<(radix-1) && i < limbs-1 {
			l, carry = l-1<<radix, 1
		}
		out[i] = float64(l)
	}
	return out
}

// exportAll converts the coordinates of a record.
func (c *converter) exportAll(record []float64, to ...*fp.Element) {
	for i, x := range to {
		*x = c.export(record[limbs*i:])
	}
}

// implantAll is the inverse of exportAll.
func (c *converter) implantAll(record []float64, from ...*fp.Element) {
	for i, x := range from {
		e := c.implant(x)
		copy(record[limbs*i:], e[:])
	}
}

// negate replaces coordinates by minus them.
func negate(limb []float64) {
	for i := range limb {
		limb[i] = -limb[i]
	}
}

// same reports whether two coordinates are equal modulo p.
func same(x, y []float64) bool { return words(x) == words(y) }
