// Package ifma adds many pairs of affine points of BLS12-381 at once with the
// AVX-512 IFMA instructions of amd64: eight additions side by side, a whole
// batch of them over one field inversion (Montgomery's trick).
//
// A coordinate is held as 8 limbs of 52 bits in Montgomery form for 2^416,
// below 2p and not unique. 2^416 is 2^35 times p, so that sums and products of
// a few terms need no reduction. Points lie record by record, x before y and
// the real before the imaginary part.
//
// Products are reduced limb by limb (P. Montgomery, "Modular Multiplication
// Without Trial Division", Math. Comp. 44, 1985) and never subtracted from in the
// end, for which 2^416 has room enough (C. Walter, "Montgomery exponentiation
// needs no final subtractions", Electronics Letters 35, 1999). The instructions
// were meant for that: S. Gueron, V. Krasnov, "Accelerating Big Integer
// Arithmetic Using Intel IFMA Extensions", ARITH 2016.
//
// The assembly is written by gen/main.go.
package ifma

//go:generate go run gen/main.go gen/batch.go
