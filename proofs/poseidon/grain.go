package poseidon

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// grain is the 80-bit Grain LFSR in self-shrinking mode that neptune and the
// Poseidon authors draw round constants from. Spec 3.1.
type grain struct {
	hi, lo uint64 // bits b0…b15 in the low half of hi (b0 highest), b16…b79 in lo
}

const (
	grainHiBits   = 16
	grainDiscard  = 160
	fieldBits     = fr.Bits
	fieldTypeBits = 2
	sboxTypeBits  = 4
	sizeBits      = 12
	roundBits     = 10
	trailingOnes  = 30
)

// newGrain returns the generator for prime fields, S-box x^α, and the given
// width and numbers of full and partial rounds.
func newGrain(width, full, partial int) *grain {
	g := &grain{}
	fields := []struct{ value, bits int }{
		{1, fieldTypeBits}, {1, sboxTypeBits}, {fieldBits, sizeBits}, {width, sizeBits},
		{full, roundBits}, {partial, roundBits}, {1<<trailingOnes - 1, trailingOnes},
	}
	for _, f := range fields {
		for i := f.bits - 1; i >= 0; i-- {
			g.shift(uint64(f.value>>i) & 1)
		}
	}
	for range grainDiscard {
		g.step()
	}
	return g
}

// shift drops b0 and appends a bit as b79.
func (g *grain) shift(bit uint64) {
	g.hi = (g.hi<<1 | g.lo>>63) & (1<<grainHiBits - 1)
	g.lo = g.lo<<1 | bit
}

// bit returns register bit bi.
func (g *grain) bit(i uint) uint64 {
	if i < grainHiBits {
		return g.hi >> (grainHiBits - 1 - i) & 1
	}
	return g.lo >> (79 - i) & 1
}

// step clocks the register once and returns the produced bit.
func (g *grain) step() uint64 {
	b := g.bit(62) ^ g.bit(51) ^ g.bit(38) ^ g.bit(23) ^ g.bit(13) ^ g.bit(0)
	g.shift(b)
	return b
}

// output returns the next bit of the shrunken stream: bits come in pairs, and
// the second counts only where the first is 1.
func (g *grain) output() uint64 {
	for g.step() == 0 {
		g.step()
	}
	return g.step()
}

// element draws the next field element: 255 bits, most significant first,
// drawn again as long as they are not smaller than the modulus.
func (g *grain) element() fr.Element {
	modulus := fr.Modulus()
	for {
		v := new(big.Int)
		for range fieldBits {
			v.Lsh(v, 1)
			v.SetBit(v, 0, uint(g.output()))
		}
		if v.Cmp(modulus) < 0 {
			var e fr.Element
			e.SetBigInt(v)
			return e
		}
	}
}
