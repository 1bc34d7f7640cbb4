//go:build !purego

#include "textflag.h"

// Eight field elements side by side: five limbs of 52 bits, each a vector of
// eight 64-bit lanes. Products accumulate by VPMADD52{L,H}UQ, which add the low
// or high 52 bits of the product of two 52-bit values; the 12 spare bits of a
// lane take up to 4096 of them before a carry is due.
//
// Register use: Z10…Z19 the ten columns of a product, Z20…Z24 the modulus,
// Z25 −r⁻¹ mod 2^52, Z26 the mask of 52 bits, Z27 the Montgomery factor,
// Z0…Z4 one operand, Z5…Z9 the other.

DATA constants<>+0(SB)/8, $0x000fffff00000001
DATA constants<>+8(SB)/8, $0x00002fffe5bfefff
DATA constants<>+16(SB)/8, $0x0009a1d80553bda4
DATA constants<>+24(SB)/8, $0x0007d483339d8080
DATA constants<>+32(SB)/8, $0x000073eda753299d
DATA constants<>+40(SB)/8, $0x000ffffeffffffff
DATA constants<>+48(SB)/8, $0x000fffffffffffff
GLOBL constants<>(SB), RODATA|NOPTR, $56

#define LOAD_CONSTANTS \
	VPBROADCASTQ constants<>+0(SB), Z20  \
	VPBROADCASTQ constants<>+8(SB), Z21  \
	VPBROADCASTQ constants<>+16(SB), Z22 \
	VPBROADCASTQ constants<>+24(SB), Z23 \
	VPBROADCASTQ constants<>+32(SB), Z24 \
	VPBROADCASTQ constants<>+40(SB), Z25 \
	VPBROADCASTQ constants<>+48(SB), Z26

#define CLEAR_COLUMNS \
	VPXORQ Z10, Z10, Z10 \
	VPXORQ Z11, Z11, Z11 \
	VPXORQ Z12, Z12, Z12 \
	VPXORQ Z13, Z13, Z13 \
	VPXORQ Z14, Z14, Z14 \
	VPXORQ Z15, Z15, Z15 \
	VPXORQ Z16, Z16, Z16 \
	VPXORQ Z17, Z17, Z17 \
	VPXORQ Z18, Z18, Z18 \
	VPXORQ Z19, Z19, Z19

// LOAD5 loads an element.
#define LOAD5(P, A0, A1, A2, A3, A4) \
	VMOVDQU64 0(P), A0   \
	VMOVDQU64 64(P), A1  \
	VMOVDQU64 128(P), A2 \
	VMOVDQU64 192(P), A3 \
	VMOVDQU64 256(P), A4

// MAC adds W·(A0…A4) to the columns C0…C5.
#define MAC(W, A0, A1, A2, A3, A4, C0, C1, C2, C3, C4, C5) \
	VPMADD52LUQ A0, W, C0 \
	VPMADD52LUQ A1, W, C1 \
	VPMADD52LUQ A2, W, C2 \
	VPMADD52LUQ A3, W, C3 \
	VPMADD52LUQ A4, W, C4 \
	VPMADD52HUQ A0, W, C1 \
	VPMADD52HUQ A1, W, C2 \
	VPMADD52HUQ A2, W, C3 \
	VPMADD52HUQ A3, W, C4 \
	VPMADD52HUQ A4, W, C5

// REDUCE adds the multiple of the modulus that clears column C0 and carries
// what is left of it into C1: a division by 2^52.
#define REDUCE(C0, C1, C2, C3, C4, C5) \
	VPXORQ      Z27, Z27, Z27 \
	VPMADD52LUQ C0, Z25, Z27  \
	MAC(Z27, Z20, Z21, Z22, Z23, Z24, C0, C1, C2, C3, C4, C5) \
	VPSRLQ      $52, C0, C0   \
	VPADDQ      C0, C1, C1

// STORE5 propagates carries through the columns and stores five limbs. The
// value must be below 2^260.
#define STORE5(P, C0, C1, C2, C3, C4) \
	VPSRLQ    $52, C0, Z27   \
	VPADDQ    Z27, C1, C1    \
	VPANDQ    Z26, C0, C0    \
	VPSRLQ    $52, C1, Z27   \
	VPADDQ    Z27, C2, C2    \
	VPANDQ    Z26, C1, C1    \
	VPSRLQ    $52, C2, Z27   \
	VPADDQ    Z27, C3, C3    \
	VPANDQ    Z26, C2, C2    \
	VPSRLQ    $52, C3, Z27   \
	VPADDQ    Z27, C4, C4    \
	VPANDQ    Z26, C3, C3    \
	VMOVDQU64 C0, 0(P)       \
	VMOVDQU64 C1, 64(P)      \
	VMOVDQU64 C2, 128(P)     \
	VMOVDQU64 C3, 192(P)     \
	VMOVDQU64 C4, 256(P)

// func mulAddLanes(z, x, y, k *lanes)
TEXT ·mulAddLanes(SB), NOSPLIT, $0-32
	MOVQ z+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ y+16(FP), DX
	MOVQ k+24(FP), CX
	LOAD_CONSTANTS
	CLEAR_COLUMNS
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	LOAD5(DX, Z5, Z6, Z7, Z8, Z9)
	MAC(Z0, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15)
	REDUCE(Z10, Z11, Z12, Z13, Z14, Z15)
	MAC(Z1, Z5, Z6, Z7, Z8, Z9, Z11, Z12, Z13, Z14, Z15, Z16)
	REDUCE(Z11, Z12, Z13, Z14, Z15, Z16)
	MAC(Z2, Z5, Z6, Z7, Z8, Z9, Z12, Z13, Z14, Z15, Z16, Z17)
	REDUCE(Z12, Z13, Z14, Z15, Z16, Z17)
	MAC(Z3, Z5, Z6, Z7, Z8, Z9, Z13, Z14, Z15, Z16, Z17, Z18)
	REDUCE(Z13, Z14, Z15, Z16, Z17, Z18)
	MAC(Z4, Z5, Z6, Z7, Z8, Z9, Z14, Z15, Z16, Z17, Z18, Z19)
	REDUCE(Z14, Z15, Z16, Z17, Z18, Z19)
	VPADDQ 0(CX), Z15, Z15
	VPADDQ 64(CX), Z16, Z16
	VPADDQ 128(CX), Z17, Z17
	VPADDQ 192(CX), Z18, Z18
	VPADDQ 256(CX), Z19, Z19
	STORE5(DI, Z15, Z16, Z17, Z18, Z19)
	VZEROUPPER
	RET

// func formLanes(z, a *lanes, weights *uint64, counts *[5]int)
//
// counts[i] consecutive elements of a have weights of i+1 limbs.
TEXT ·formLanes(SB), NOSPLIT, $0-32
	MOVQ z+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ weights+16(FP), DX
	MOVQ counts+24(FP), BX
	LOAD_CONSTANTS
	CLEAR_COLUMNS

	MOVQ  0(BX), CX
	TESTQ CX, CX
	JZ    two

one:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ 0(DX), Z5
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	ADDQ $320, SI
	ADDQ $8, DX
	DECQ CX
	JNZ  one

two:
	MOVQ  8(BX), CX
	TESTQ CX, CX
	JZ    three

twoLoop:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ 0(DX), Z5
	VPBROADCASTQ 8(DX), Z6
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	MAC(Z6, Z0, Z1, Z2, Z3, Z4, Z11, Z12, Z13, Z14, Z15, Z16)
	ADDQ $320, SI
	ADDQ $16, DX
	DECQ CX
	JNZ  twoLoop

three:
	MOVQ  16(BX), CX
	TESTQ CX, CX
	JZ    four

threeLoop:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ 0(DX), Z5
	VPBROADCASTQ 8(DX), Z6
	VPBROADCASTQ 16(DX), Z7
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	MAC(Z6, Z0, Z1, Z2, Z3, Z4, Z11, Z12, Z13, Z14, Z15, Z16)
	MAC(Z7, Z0, Z1, Z2, Z3, Z4, Z12, Z13, Z14, Z15, Z16, Z17)
	ADDQ $320, SI
	ADDQ $24, DX
	DECQ CX
	JNZ  threeLoop

four:
	MOVQ  24(BX), CX
	TESTQ CX, CX
	JZ    five

fourLoop:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ 0(DX), Z5
	VPBROADCASTQ 8(DX), Z6
	VPBROADCASTQ 16(DX), Z7
	VPBROADCASTQ 24(DX), Z8
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	MAC(Z6, Z0, Z1, Z2, Z3, Z4, Z11, Z12, Z13, Z14, Z15, Z16)
	MAC(Z7, Z0, Z1, Z2, Z3, Z4, Z12, Z13, Z14, Z15, Z16, Z17)
	MAC(Z8, Z0, Z1, Z2, Z3, Z4, Z13, Z14, Z15, Z16, Z17, Z18)
	ADDQ $320, SI
	ADDQ $32, DX
	DECQ CX
	JNZ  fourLoop

five:
	MOVQ  32(BX), CX
	TESTQ CX, CX
	JZ    reduce

fiveLoop:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ 0(DX), Z5
	VPBROADCASTQ 8(DX), Z6
	VPBROADCASTQ 16(DX), Z7
	VPBROADCASTQ 24(DX), Z8
	VPBROADCASTQ 32(DX), Z9
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	MAC(Z6, Z0, Z1, Z2, Z3, Z4, Z11, Z12, Z13, Z14, Z15, Z16)
	MAC(Z7, Z0, Z1, Z2, Z3, Z4, Z12, Z13, Z14, Z15, Z16, Z17)
	MAC(Z8, Z0, Z1, Z2, Z3, Z4, Z13, Z14, Z15, Z16, Z17, Z18)
	MAC(Z9, Z0, Z1, Z2, Z3, Z4, Z14, Z15, Z16, Z17, Z18, Z19)
	ADDQ $320, SI
	ADDQ $40, DX
	DECQ CX
	JNZ  fiveLoop

reduce:
	REDUCE(Z10, Z11, Z12, Z13, Z14, Z15)
	REDUCE(Z11, Z12, Z13, Z14, Z15, Z16)
	REDUCE(Z12, Z13, Z14, Z15, Z16, Z17)
	REDUCE(Z13, Z14, Z15, Z16, Z17, Z18)
	REDUCE(Z14, Z15, Z16, Z17, Z18, Z19)
	STORE5(DI, Z15, Z16, Z17, Z18, Z19)
	VZEROUPPER
	RET

// func mixLanes(z, a *lanes, weights *uint64, n int)
TEXT ·mixLanes(SB), NOSPLIT, $0-32
	MOVQ z+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ weights+16(FP), DX
	MOVQ n+24(FP), CX
	LOAD_CONSTANTS
	CLEAR_COLUMNS

loop:
	LOAD5(SI, Z0, Z1, Z2, Z3, Z4)
	VPBROADCASTQ (DX), Z5
	MAC(Z5, Z0, Z1, Z2, Z3, Z4, Z10, Z11, Z12, Z13, Z14, Z15)
	ADDQ $320, SI
	ADDQ $8, DX
	DECQ CX
	JNZ  loop

	REDUCE(Z10, Z11, Z12, Z13, Z14, Z15)
	STORE5(DI, Z11, Z12, Z13, Z14, Z15)
	VZEROUPPER
	RET

// SPLIT broadcasts the limbs of the element at P, which is in words of 64 bits,
// to Z0…Z4. R15 must hold the mask of 52 bits.
#define SPLIT(P) \
	MOVQ         0(P), R8    \
	MOVQ         8(P), R9    \
	MOVQ         16(P), R10  \
	MOVQ         24(P), R11  \
	MOVQ         R8, R12     \
	ANDQ         R15, R12    \
	SHRQ         $52, R9, R8 \
	ANDQ         R15, R8     \
	SHRQ         $40, R10, R9  \
	ANDQ         R15, R9     \
	SHRQ         $28, R11, R10 \
	ANDQ         R15, R10    \
	SHRQ         $16, R11    \
	VPBROADCASTQ R12, Z0     \
	VPBROADCASTQ R8, Z1      \
	VPBROADCASTQ R9, Z2      \
	VPBROADCASTQ R10, Z3     \
	VPBROADCASTQ R11, Z4

// MAC5 adds (Z0…Z4)·(Z5…Z9) to the columns.
#define MAC5 \
	MAC(Z0, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15) \
	MAC(Z1, Z5, Z6, Z7, Z8, Z9, Z11, Z12, Z13, Z14, Z15, Z16) \
	MAC(Z2, Z5, Z6, Z7, Z8, Z9, Z12, Z13, Z14, Z15, Z16, Z17) \
	MAC(Z3, Z5, Z6, Z7, Z8, Z9, Z13, Z14, Z15, Z16, Z17, Z18) \
	MAC(Z4, Z5, Z6, Z7, Z8, Z9, Z14, Z15, Z16, Z17, Z18, Z19)

// SHIFTED adds limb I of the lanes above to column C.
#define SHIFTED(P, I, C) \
	VMOVDQU64 (64*I)(P), Z28     \
	VALIGNQ   $1, Z28, Z29, Z28  \
	VPADDQ    Z28, C, C

// BORROW subtracts T from C and carries what is beyond 52 bits, which may be
// negative, into NEXT.
#define BORROW(T, C, NEXT) \
	VPSUBQ T, C, C       \
	VPSRAQ $52, C, Z28   \
	VPANDQ Z26, C, C     \
	VPADDQ Z28, NEXT, NEXT

// func advanceLanes(u *lanes, x, y *fr.Element, weights *[2]lanes)
TEXT ·advanceLanes(SB), NOSPLIT, $0-32
	MOVQ u+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ y+16(FP), BX
	MOVQ weights+24(FP), DX
	MOVQ $0x000fffffffffffff, R15
	LOAD_CONSTANTS
	CLEAR_COLUMNS
	LOAD5(DX, Z5, Z6, Z7, Z8, Z9)
	SPLIT(SI)
	MAC5
	ADDQ $320, DX
	LOAD5(DX, Z5, Z6, Z7, Z8, Z9)
	SPLIT(BX)
	MAC5
	REDUCE(Z10, Z11, Z12, Z13, Z14, Z15)
	REDUCE(Z11, Z12, Z13, Z14, Z15, Z16)
	REDUCE(Z12, Z13, Z14, Z15, Z16, Z17)
	REDUCE(Z13, Z14, Z15, Z16, Z17, Z18)
	REDUCE(Z14, Z15, Z16, Z17, Z18, Z19)

	VPXORQ Z29, Z29, Z29
	SHIFTED(DI, 0, Z15)
	SHIFTED(DI, 1, Z16)
	SHIFTED(DI, 2, Z17)
	SHIFTED(DI, 3, Z18)
	SHIFTED(DI, 4, Z19)

	// Subtract r·⌊value/2^255⌋, estimated from the highest limb.
	VPSRLQ $47, Z19, Z27
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	VPXORQ Z2, Z2, Z2
	VPXORQ Z3, Z3, Z3
	VPXORQ Z4, Z4, Z4
	MAC(Z27, Z20, Z21, Z22, Z23, Z24, Z0, Z1, Z2, Z3, Z4, Z5)
	BORROW(Z0, Z15, Z16)
	BORROW(Z1, Z16, Z17)
	BORROW(Z2, Z17, Z18)
	BORROW(Z3, Z18, Z19)
	VPSUBQ Z4, Z19, Z19
	VMOVDQU64 Z15, 0(DI)
	VMOVDQU64 Z16, 64(DI)
	VMOVDQU64 Z17, 128(DI)
	VMOVDQU64 Z18, 192(DI)
	VMOVDQU64 Z19, 256(DI)
	VZEROUPPER
	RET
