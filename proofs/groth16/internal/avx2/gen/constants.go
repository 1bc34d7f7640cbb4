//go:build ignore

package main

import (
	"fmt"
	"math"
	"math/big"
)

const (
	limbs = 8
	radix = 48
	row   = 32          // bytes of a limb in four lanes
	vec   = limbs * row // bytes of four elements
	folds = 7           // columns above the limbs of a result: 9…15
)

// Offsets of the constants, each four times side by side.
const (
	cStart = row * iota // 1.75·2^100
	cRound              // 1.5·2^100: added and subtracted it rounds to a multiple of 2^48
	cScale              // 2^−48
	cPinv               // −1/p mod 2^48
	cSign               // the sign bit
	cMagic              // 2^52
	cMask               // 2^48 − 1
	cP                  // p
)

const (
	cFold   = cP + vec          // 2^(48·i) mod p for i = 9…15
	cImport = cFold + folds*vec // turns Montgomery form for 2^384 into that for 2^48
	cSigns  = cImport + vec     // sign bits of four lanes for every nibble
	cEnd    = cSigns + 16*row
)

var modulus, _ = new(big.Int).SetString("1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16)

// balanced cuts n into limbs of −2^47…2^47; the last one takes what is left.
func balanced(n *big.Int) (out [limbs]int64) {
	rest := new(big.Int).Set(n)
	for i := range limbs - 1 {
		low := new(big.Int).And(rest, big.NewInt(1<<radix-1)).Int64()
		if low > 1<<(radix-1) {
			low -= 1 << radix
		}
		out[i] = low
		rest.Sub(rest, big.NewInt(low))
		rest.Rsh(rest, radix)
	}
	out[limbs-1] = rest.Int64()
	return out
}

// residue returns 2^e modulo p, between −p/2 and p/2.
func residue(e int) *big.Int {
	r := new(big.Int).Exp(big.NewInt(2), big.NewInt(int64(e)), modulus)
	if e < 0 {
		r.ModInverse(new(big.Int).Exp(big.NewInt(2), big.NewInt(int64(-e)), modulus), modulus)
	}
	if new(big.Int).Lsh(r, 1).Cmp(modulus) > 0 {
		r.Sub(r, modulus)
	}
	return r
}

func genConstants() {
	data := func(at int, words ...uint64) {
		for i, w := range words {
			fmt.Fprintf(&out, "DATA constants<>+%d(SB)/8, $%#016x\n", at+8*i, w)
		}
	}
	broadcast := func(at int, w uint64) { data(at, w, w, w, w) }
	number := func(at int, x float64) { broadcast(at, math.Float64bits(x)) }
	element := func(at int, n *big.Int) {
		for i, l := range balanced(n) {
			number(at+row*i, float64(l))
		}
	}
	number(cStart, 1.75*(1<<100))
	number(cRound, 1.5*(1<<100))
	number(cScale, 1.0/(1<<radix))
	inverse := new(big.Int).ModInverse(modulus, new(big.Int).Lsh(big.NewInt(1), radix))
	pinv := -inverse.Int64()
	if pinv < -1<<(radix-1) {
		pinv += 1 << radix
	}
	number(cPinv, float64(pinv))
	broadcast(cSign, 1<<63)
	number(cMagic, 1<<52)
	broadcast(cMask, 1<<radix-1)
	element(cP, modulus)
	for i := range folds {
		element(cFold+vec*i, residue(radix*(limbs+1+i)))
	}
	element(cImport, residue(2*radix-384))
	for nibble := range 16 {
		for lane := range 4 {
			data(cSigns+row*nibble+8*lane, uint64(nibble>>lane&1)<<63)
		}
	}
	fmt.Fprintf(&out, "GLOBL constants<>(SB), RODATA|NOPTR, $%d\n", cEnd)
}
