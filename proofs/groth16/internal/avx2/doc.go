// Package avx2 adds many pairs of affine points of BLS12-381 at once with the
// AVX2 and FMA instructions of amd64: four additions side by side, a whole
// batch of them over one field inversion (Montgomery's trick).
//
// A coordinate is held as 8 limbs in float64, of weights 2^(48·i), each a whole
// number of −2^47…2^47 and a little more. The value is in Montgomery form for
// 2^48, between −8p and 8p and not unique. Points lie record by record, x
// before y and the real before the imaginary part.
//
// # Multiplication
//
// A product of two limbs has more bits than a float64. With h = 1.75·2^100 in
// place, h' = fma(a, b, h) rounds it to a multiple of 2^48 and fma(a, b, h−h')
// is exactly what was lost, less than 2^48 (T. J. Dekker 1971 has the trick, N.
// Emmart, J. Zheng, C. Weems, "Faster modular exponentiation using double
// precision floating point arithmetic on the GPU", ARITH 2018, its use for
// modular multiplication). Here h is not a constant but the sum of the high
// parts so far: it costs nothing to add them up. Rounding is to nearest, which
// is how Go leaves the processor, so nothing is set and restored.
//
// The 16 columns of a product are not reduced row by row, which would be a long
// chain. Columns 9…15 become digits and are replaced by multiples of 2^(48·i)
// mod p, all independent of one another; one step of Montgomery's reduction
// takes column 0 away; one round of carries, in all columns at once, makes
// limbs again. Limbs have signs, so that differences need no multiple of p.
//
// # Bounds
//
// A result has |limb| ≤ 2^47 + 2^5, the last one 1.6·2^47. Let the operands have
// at most s and t times that. A high sum must stay above 2^100: Σ|a·b| ≤ 9.2·
// s·t·2^94 + 2^97.3 must be less than 0.75·2^100, so s·t ≤ 4 (and 2 for dot,
// which has twice the products). Low sums and columns must be less than 2^53:
// they are at most 23·2^48 and 2^52.9.
//
// The assembly is written by gen.
package avx2

//go:generate go run gen/main.go gen/constants.go gen/mul.go gen/batch.go
