//go:build !purego

#include "textflag.h"

// func addDotADX(s *sum, a []fr.Element, w []uint64)
//
// R8…R13 hold the sum; the low halves of the products are added along the
// carry flag, the high halves along the overflow flag.
TEXT ·addDotADX(SB), NOSPLIT, $0-56
	MOVQ a_base+8(FP), SI
	MOVQ w_base+32(FP), DI
	MOVQ w_len+40(FP), CX
	MOVQ s+0(FP), BX
	MOVQ 0(BX), R8
	MOVQ 8(BX), R9
	MOVQ 16(BX), R10
	MOVQ 24(BX), R11
	MOVQ 32(BX), R12
	MOVQ 40(BX), R13

loop:
	MOVQ  (DI), DX
	XORQ  R15, R15          // zero, and clears both flags
	MULXQ 0(SI), AX, BX
	ADCXQ AX, R8
	ADOXQ BX, R9
	MULXQ 8(SI), AX, BX
	ADCXQ AX, R9
	ADOXQ BX, R10
	MULXQ 16(SI), AX, BX
	ADCXQ AX, R10
	ADOXQ BX, R11
	MULXQ 24(SI), AX, BX
	ADCXQ AX, R11
	ADOXQ BX, R12
	ADCXQ R15, R12
	ADOXQ R15, R13
	ADCXQ R15, R13
	LEAQ  32(SI), SI
	LEAQ  8(DI), DI
	DECQ  CX
	JNZ   loop

	MOVQ s+0(FP), DI
	MOVQ R8, 0(DI)
	MOVQ R9, 8(DI)
	MOVQ R10, 16(DI)
	MOVQ R11, 24(DI)
	MOVQ R12, 32(DI)
	MOVQ R13, 40(DI)
	RET
