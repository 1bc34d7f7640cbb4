package ifma

import (
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

const (
	lanes    = 8
	limbs    = 8
	limbBits = 52
	limbMask = 1<<limbBits - 1
)

// element is a field element in the form of this package.
type element [limbs]uint64

// vec is eight elements: limb i of lane j is vec[i][j].
type vec [limbs][lanes]uint64

// constants is read by the assembly; gen/main.go knows its layout.
type constants struct {
	p, p2, p3, p5 element
	one           element // 2^416 mod p
	mask          uint64
	pinv          uint64 // −1/p mod 2^52
	divide        uint64 // ⌊2^52/(p_7+1)⌋
	four          uint64
	_             [4]uint64
	table         [limbs][8]uint64 // table[i][q] is limb i of q·p

	fromRaw fp.Element // factor that turns limbs read as Montgomery form for 2^384 into such
	toRaw   fp.Element // and back
}

// limbsOf splits a number below 2^416.
func limbsOf(n *big.Int) element {
	var e element
	var rest, low big.Int
	rest.Set(n)
	mask := big.NewInt(limbMask)
	for i := range e {
		e[i] = low.And(&rest, mask).Uint64()
		rest.Rsh(&rest, limbBits)
	}
	return e
}

func newConstants() *constants {
	p := fp.Modulus()
	multiple := func(k int64) element { return limbsOf(new(big.Int).Mul(p, big.NewInt(k))) }
	power := func(k uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), k) }
	c := &constants{
		p: multiple(1), p2: multiple(2), p3: multiple(3), p5: multiple(5),
		one:  limbsOf(new(big.Int).Mod(power(limbs*limbBits), p)),
		mask: limbMask, four: 4,
	}
	inverse := new(big.Int).ModInverse(p, power(limbBits))
	c.pinv = inverse.Sub(power(limbBits), inverse).Uint64()
	c.divide = (1 << limbBits) / (c.p[limbs-1] + 1)
	for q := range int64(8) {
		for i, l := range multiple(q) {
			c.table[i][q] = l
		}
	}
	c.fromRaw = raw(new(big.Int).Mod(power(2*384-limbs*limbBits), p))
	c.toRaw = raw(new(big.Int).Mod(power(limbs*limbBits), p))
	return c
}

// raw is the fp.Element whose words are those of n, whatever it stands for.
func raw(n *big.Int) fp.Element {
	var e fp.Element
	for i := range e {
		e[i] = new(big.Int).And(new(big.Int).Rsh(n, uint(64*i)), new(big.Int).SetUint64(^uint64(0))).Uint64()
	}
	return e
}

// pack joins limbs to six words; the value is below 2p < 2^382.
func (e *element) pack() fp.Element {
	return fp.Element{
		e[0] | e[1]<<52,
		e[1]>>12 | e[2]<<40,
		e[2]>>24 | e[3]<<28,
		e[3]>>36 | e[4]<<16,
		e[4]>>48 | e[5]<<4 | e[6]<<56,
		e[6]>>8 | e[7]<<44,
	}
}

// unpack splits six words into limbs.
func unpack(w *fp.Element) element {
	return element{
		w[0] & limbMask,
		(w[0]>>52 | w[1]<<12) & limbMask,
		(w[1]>>40 | w[2]<<24) & limbMask,
		(w[2]>>28 | w[3]<<36) & limbMask,
		(w[3]>>16 | w[4]<<48) & limbMask,
		w[4] >> 4 & limbMask,
		(w[4]>>56 | w[5]<<8) & limbMask,
		w[5] >> 44,
	}
}

// export converts to the form of gnark-crypto.
func (c *constants) export(e *element) fp.Element {
	w := e.pack()
	reduceWords(&w)
	return *w.Mul(&w, &c.fromRaw)
}

// exportWide is export for values below 5p.
func (c *constants) exportWide(e *element) fp.Element {
	w := e.pack()
	for range 4 {
		reduceWords(&w)
	}
	return *w.Mul(&w, &c.fromRaw)
}

// implant is the inverse of export.
func (c *constants) implant(x *fp.Element) element {
	var w fp.Element
	w.Mul(x, &c.toRaw)
	return unpack(&w)
}

// exportAll converts the coordinates of a record.
func (c *constants) exportAll(record []uint64, to ...*fp.Element) {
	for i, x := range to {
		e := element(record[limbs*i:])
		*x = c.export(&e)
	}
}

// implantAll is the inverse of exportAll.
func (c *constants) implantAll(record []uint64, from ...*fp.Element) {
	for i, x := range from {
		e := c.implant(x)
		copy(record[limbs*i:], e[:])
	}
}

// negate replaces a coordinate below 2p by 2p minus it.
func (c *constants) negate(x []uint64) {
	var borrow uint64
	for i := range limbs {
		d := c.p2[i] - x[i] - borrow
		x[i] = d & limbMask
		borrow = d >> 63
	}
}

// reduceWords subtracts p from a value below 2p unless it is smaller.
func reduceWords(w *fp.Element) {
	var less fp.Element
	var borrow uint64
	for i, m := range modulusWords() {
		less[i], borrow = bits.Sub64(w[i], m, borrow)
	}
	if borrow == 0 {
		*w = less
	}
}

// modulusWords is p, least significant word first.
func modulusWords() fp.Element {
	return fp.Element{
		0xb9feffffffffaaab, 0x1eabfffeb153ffff, 0x6730d2a0f6b0f624,
		0x64774b84f38512bf, 0x4b1ba7b6434bacd7, 0x1a0111ea397fe69a,
	}
}

// lane reads one element of v.
func (v *vec) lane(j int) element {
	var e element
	for i := range e {
		e[i] = v[i][j]
	}
	return e
}

// setLane writes one element of v.
func (v *vec) setLane(j int, e element) {
	for i := range e {
		v[i][j] = e[i]
	}
}

// same reports whether two coordinates below 2p are equal modulo p.
func (c *constants) same(x, y []uint64) bool {
	a, b := element(x), element(y)
	v, w := a.pack(), b.pack()
	reduceWords(&v)
	reduceWords(&w)
	return v == w
}
