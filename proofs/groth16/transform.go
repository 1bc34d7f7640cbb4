package groth16

import (
	"math/big"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"
	"github.com/consensys/gnark-crypto/utils"
)

// A transform of m points is cut into column levels and leaves. A level views a
// block of n1·n2 elements as n1 rows, transforms the columns, some at a time in
// scratch memory that fits the cache, and multiplies by the twiddles that join
// columns and rows; the rows are the blocks of the next level. A leaf is a block
// that fits the cache as it is. Tables are of the size of a leaf, not of m, and
// all work runs in pieces of a millisecond between two looks at cancellation.
const (
	leafLog  = 13 // log2 of the largest leaf: 256 KiB
	levelLog = 7  // log2 of the most rows of a level
	columns  = 64 // transformed together: 256 KiB of scratch
)

// transform holds the tables for FFTs of m points with the coset shift g,
// g^m = −1.
type transform struct {
	m      int
	levels []int // log2 of the rows of each level, outermost first
	leaf   int   // log2 of a leaf

	forward, inverse direction
	shift, unshift   powers       // of g and 1/g
	toShift          []fr.Element // see leafShift
	fromShift        []fr.Element
	scale            fr.Element // 1/m
}

// direction is what depends on the sign of the exponent.
type direction struct {
	omega  powers
	stages [][]fr.Element // stages[s][j] = ω_leaf^(j·2^s), j < leaf/2^(s+1)
}

// powers gives powers of one element by two tables.
type powers struct {
	split     int
	low, high []fr.Element
}

// newPowers prepares base^0 … base^(2^log − 1).
func newPowers(base fr.Element, log int) powers {
	p := powers{split: (log + 1) / 2}
	p.low = geometric(base, 1<<p.split)
	var step fr.Element
	step.Mul(&base, &p.low[len(p.low)-1])
	p.high = geometric(step, 1<<(log-p.split))
	return p
}

// pow returns base^e.
func (p *powers) pow(e int) fr.Element {
	x := p.low[e&(1<<p.split-1)]
	x.Mul(&x, &p.high[e>>p.split])
	return x
}

// geometric returns 1, q, q², …
func geometric(q fr.Element, n int) []fr.Element {
	out := make([]fr.Element, n)
	out[0].SetOne()
	for i := 1; i < n; i++ {
		out[i].Mul(&out[i-1], &q)
	}
	return out
}

// newTransform makes the tables for m points, a power of two.
func newTransform(m int) *transform { return newCutTransform(m, leafLog, levelLog) }

// newCutTransform is newTransform for other sizes of leaf and levels.
func newCutTransform(m, leafLog, levelLog int) *transform {
	log := bits.TrailingZeros(uint(m))
	t := &transform{m: m, leaf: min(log, leafLog)}
	for rest := log - t.leaf; rest > 0; {
		parts := (rest + levelLog - 1) / levelLog
		part := (rest + parts - 1) / parts
		t.levels = append(t.levels, part)
		rest -= part
	}
	g, err := fft.Generator(uint64(2 * m))
	if err != nil {
		panic("groth16: FFT domain too large: " + err.Error())
	}
	var omega, inverse, gInverse fr.Element
	omega.Square(&g)
	inverse.Inverse(&omega)
	gInverse.Inverse(&g)
	t.forward = newDirection(omega, log, t.leaf)
	t.inverse = newDirection(inverse, log, t.leaf)
	t.shift, t.unshift = newPowers(g, log), newPowers(gInverse, log)
	t.scale.SetUint64(uint64(m))
	t.scale.Inverse(&t.scale)
	t.toShift, t.fromShift = t.leafShift(g), t.leafShift(gInverse)
	return t
}

// leafShift returns g^(rev(σ)·m/leaf) at position σ of a leaf, times 1/m.
func (t *transform) leafShift(g fr.Element) []fr.Element {
	g.Exp(g, big.NewInt(int64(t.m>>t.leaf)))
	out := geometric(g, 1<<t.leaf)
	for i := range out {
		out[i].Mul(&out[i], &t.scale)
	}
	utils.BitReverse(out)
	return out
}

func newDirection(omega fr.Element, log, leaf int) direction {
	d := direction{omega: newPowers(omega, log)}
	root := omega
	for range log - leaf {
		root.Square(&root)
	}
	for s := range leaf {
		d.stages = append(d.stages, geometric(root, 1<<(leaf-s-1)))
		root.Square(&root)
	}
	return d
}

// toCoset turns values on the domain into values on the coset g·domain.
func (t *transform) toCoset(p pool, a []fr.Element) error {
	if err := t.columnsDIF(p, a, &t.inverse); err != nil {
		return err
	}
	if err := t.leaves(p, a, func(block int, leaf, scratch fr.Vector) {
		t.inverse.dif(leaf, scratch)
		factor := t.shift.pow(reverse(block, t.m>>t.leaf))
		leaf.Mul(leaf, t.toShift)
		leaf.ScalarMul(leaf, &factor)
		t.forward.dit(leaf, scratch)
	}); err != nil {
		return err
	}
	return t.columnsDIT(p, a, &t.forward)
}

// fromCoset turns values on the coset into coefficients, in bit-reversed order.
func (t *transform) fromCoset(p pool, a []fr.Element) error {
	if err := t.columnsDIF(p, a, &t.inverse); err != nil {
		return err
	}
	return t.leaves(p, a, func(block int, leaf, scratch fr.Vector) {
		t.inverse.dif(leaf, scratch)
		factor := t.unshift.pow(reverse(block, t.m>>t.leaf))
		leaf.Mul(leaf, t.fromShift)
		leaf.ScalarMul(leaf, &factor)
	})
}

// interpolate turns values on the domain into coefficients, in bit-reversed
// order.
func (t *transform) interpolate(p pool, a []fr.Element) error {
	if err := t.columnsDIF(p, a, &t.inverse); err != nil {
		return err
	}
	return t.leaves(p, a, func(_ int, leaf, scratch fr.Vector) {
		t.inverse.dif(leaf, scratch)
		leaf.ScalarMul(leaf, &t.scale)
	})
}

// reverse reverses the bits of i < n, n a power of two.
func reverse(i, n int) int {
	if n == 1 {
		return 0
	}
	return int(bits.Reverse64(uint64(i)) >> (64 - bits.TrailingZeros(uint(n))))
}

// leaves calls f for every leaf of a.
func (t *transform) leaves(p pool, a []fr.Element, f func(block int, leaf, scratch fr.Vector)) error {
	size := 1 << t.leaf
	scratch := make([]fr.Vector, p.workers)
	return p.run(len(a)/size, func(worker, block int) error {
		if scratch[worker] == nil {
			scratch[worker] = make(fr.Vector, size/2)
		}
		f(block, fr.Vector(a[block*size:(block+1)*size]), scratch[worker])
		return nil
	})
}

// vectorMin is the length from which on the vector operations of gnark-crypto
// are faster than loops.
const vectorMin = 8

// dif is the transform of a leaf from natural to bit-reversed order.
func (d *direction) dif(a, scratch fr.Vector) {
	for s, twiddles := range d.stages {
		half := len(a) >> (s + 1)
		for from := 0; from < len(a); from += 2 * half {
			low, high := a[from:from+half], a[from+half:from+2*half]
			if half >= vectorMin {
				t := scratch[:half]
				t.Sub(low, high)
				low.Add(low, high)
				high.Mul(t, twiddles)
				continue
			}
			fr.Butterfly(&low[0], &high[0])
			for j := 1; j < half; j++ {
				fr.Butterfly(&low[j], &high[j])
				high[j].Mul(&high[j], &twiddles[j])
			}
		}
	}
}

// dit is the transform of a leaf from bit-reversed to natural order.
func (d *direction) dit(a, scratch fr.Vector) {
	for s := len(d.stages) - 1; s >= 0; s-- {
		twiddles := d.stages[s]
		half := len(a) >> (s + 1)
		for from := 0; from < len(a); from += 2 * half {
			low, high := a[from:from+half], a[from+half:from+2*half]
			if half >= vectorMin {
				t := scratch[:half]
				t.Mul(high, twiddles)
				high.Sub(low, t)
				low.Add(low, t)
				continue
			}
			fr.Butterfly(&low[0], &high[0])
			for j := 1; j < half; j++ {
				high[j].Mul(&high[j], &twiddles[j])
				fr.Butterfly(&low[j], &high[j])
			}
		}
	}
}

// permute puts values from bit-reversed into natural order.
func (t *transform) permute(p pool, a []fr.Element) error {
	return p.spans(t.m, rowPiece, func(from, to int) error {
		for i := from; i < to; i++ {
			if j := reverse(i, t.m); i < j {
				a[i], a[j] = a[j], a[i]
			}
		}
		return nil
	})
}
