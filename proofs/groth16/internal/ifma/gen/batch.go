//go:build ignore

package main

// prologue loads what every batch routine keeps in registers.
func prologue() {
	emit("MOVQ b+0(FP), R14")
	emit("MOVQ %d(R14), R15", bConst)
	loadConstants()
	emit("MOVQ %d(R14), R8", bTargets)
	emit("MOVQ %d(R14), R9", bSources)
	emit("MOVQ %d(R14), R10", bTarget)
	emit("MOVQ %d(R14), R11", bSource)
	emit("MOVQ %d(R14), R12", bDX)
	emit("MOVQ %d(R14), R13", bPrefix)
	emit("MOVQ %d(R14), DX", bGroups)
}

// genForward computes dx = x of the source − x of the target for every lane and
// multiplies them up: prefix is the product of all before. degree is that of
// the field over Fp.
func genForward(name string, degree int) {
	shift := map[int]int{1: 7, 2: 8}[degree]
	text(name, 64, 8)
	prologue()
	loop := "forward" + name[len(name)-2:]
	label(loop)
	// The targets lie anywhere in memory: fetch those of a later group.
	for r := range 8 {
		emit("MOVL %d(R10), AX", 32*prefetchGroups+4*r)
		emit("SHLQ $%d, AX", shift)
		for line := range 2 * degree {
			emit("PREFETCHT0 %d(R8)(AX*1)", 64*line)
		}
	}
	for k := range degree {
		gather("R8", "R10", shift, 64*k)
		store(0, "R14", bTemp)
		gather("R9", "R11", shift, 64*k)
		sub(0, "R14", bTemp)
		addConstant(0, c2P)
		normalise(0)
		store(0, "R12", k*vec)
	}
	for k := range degree {
		load(0, "R14", bAcc+k*vec)
		store(0, "R13", k*vec)
	}
	emit("MOVQ R13, SI")
	emit("MOVQ R12, BX")
	emit("LEAQ %d(R14), DI", bAcc)
	if degree == 1 {
		emit("CALL mul<>(SB)")
	} else {
		emit("LEAQ %d(R14), CX", bTemp)
		emit("CALL mul2<>(SB)")
	}
	emit("ADDQ $32, R10")
	emit("ADDQ $32, R11")
	emit("ADDQ $%d, R12", degree*vec)
	emit("ADDQ $%d, R13", degree*vec)
	emit("DECQ DX")
	emit("JNZ %s", loop)
	emit("VZEROUPPER")
	emit("RET")
}

// toLast moves the cursors behind the last group and loads the sign cursor.
func toLast(degree int) {
	emit("MOVQ DX, AX")
	emit("SHLQ $5, AX")
	emit("ADDQ AX, R10")
	emit("ADDQ AX, R11")
	emit("MOVQ DX, AX")
	emit("SHLQ $%d, AX", 8+degree)
	emit("ADDQ AX, R12")
	emit("ADDQ AX, R13")
}

func stepBack(degree int) {
	emit("SUBQ $32, R10")
	emit("SUBQ $32, R11")
	emit("SUBQ $%d, R12", degree*vec)
	emit("SUBQ $%d, R13", degree*vec)
}

// signedY gathers a coordinate of the sources' y, negated in the lanes of K1.
func signedY(shift, offset int) {
	gather("R9", "R11", shift, offset)
	for j := range 8 {
		emit("VPBROADCASTQ %d(R15), Z25", c2P+8*j)
		emit("VPSUBQ Z%d, Z25, K1, Z%d", j, j)
	}
}

func loadSigns() {
	emit("MOVQ %d(R14), AX", bNegate)
	emit("MOVBLZX -1(AX)(DX*1), AX")
	emit("KMOVW AX, K1")
}

// genBackwardG1 finishes the additions, last group first; acc holds the inverse
// of the product of all differences.
func genBackwardG1() {
	const (
		inv = bTemp + iota*vec
		dy
		lambda
		px
		py
		x3
		t
	)
	text("·backwardG1", 64, 8)
	prologue()
	toLast(1)
	label("backwardG1")
	stepBack(1)
	emit("LEAQ %d(R14), SI", bAcc)
	emit("MOVQ R13, BX")
	emit("LEAQ %d(R14), DI", inv)
	emit("CALL mul<>(SB)")
	emit("LEAQ %d(R14), SI", bAcc)
	emit("MOVQ R12, BX")
	emit("LEAQ %d(R14), DI", bAcc)
	emit("CALL mul<>(SB)")

	gather("R8", "R10", 7, 64)
	store(0, "R14", py)
	loadSigns()
	signedY(7, 64)
	sub(0, "R14", py)
	addConstant(0, c2P)
	normalise(0)
	store(0, "R14", dy)
	emit("LEAQ %d(R14), SI", inv)
	emit("LEAQ %d(R14), BX", dy)
	emit("LEAQ %d(R14), DI", lambda)
	emit("CALL mul<>(SB)")

	gather("R8", "R10", 7, 0)
	store(0, "R14", px)
	gather("R9", "R11", 7, 0)
	add(0, "R14", px)
	store(0, "R14", t) // px + qx, limbs not normalised
	emit("LEAQ %d(R14), SI", lambda)
	emit("LEAQ %d(R14), BX", lambda)
	emit("LEAQ %d(R14), DI", x3)
	emit("CALL mul<>(SB)")
	sub(0, "R14", t)
	addConstant(0, c5P)
	reduce()
	store(0, "R14", x3)
	load(0, "R14", px)
	sub(0, "R14", x3)
	addConstant(0, c2P)
	normalise(0)
	store(0, "R14", t)
	emit("LEAQ %d(R14), SI", lambda)
	emit("LEAQ %d(R14), BX", t)
	emit("LEAQ %d(R14), DI", dy)
	emit("CALL mul<>(SB)")
	sub(0, "R14", py)
	addConstant(0, c3P)
	reduce()
	scatter("R8", "R10", 7, 64)
	load(0, "R14", x3)
	scatter("R8", "R10", 7, 0)
	emit("DECQ DX")
	emit("JNZ backwardG1")
	emit("VZEROUPPER")
	emit("RET")
}

// genBackwardG2 is genBackwardG1 over Fp2.
func genBackwardG2() {
	const (
		scratch = bTemp
		inv     = bTemp + (3+2*iota)*vec // iota is 1 here
		dy
		lambda
		px
		py
		x3
		t
		q
	)
	call := func(a, b, c int) {
		emit("LEAQ %d(R14), SI", a)
		emit("LEAQ %d(R14), BX", b)
		emit("LEAQ %d(R14), DI", c)
		emit("LEAQ %d(R14), CX", scratch)
		emit("CALL mul2<>(SB)")
	}
	text("·backwardG2", 64, 8)
	prologue()
	toLast(2)
	label("backwardG2")
	stepBack(2)
	for _, op := range []struct {
		reg string
		to  int
	}{{"R13", inv}, {"R12", bAcc}} {
		emit("LEAQ %d(R14), SI", bAcc)
		emit("MOVQ %s, BX", op.reg)
		emit("LEAQ %d(R14), DI", op.to)
		emit("LEAQ %d(R14), CX", scratch)
		emit("CALL mul2<>(SB)")
	}
	for k := range 2 {
		gather("R8", "R10", 8, 128+64*k)
		store(0, "R14", py+k*vec)
		loadSigns()
		signedY(8, 128+64*k)
		sub(0, "R14", py+k*vec)
		addConstant(0, c2P)
		normalise(0)
		store(0, "R14", dy+k*vec)
	}
	call(inv, dy, lambda)
	for k := range 2 {
		gather("R8", "R10", 8, 64*k)
		store(0, "R14", px+k*vec)
		gather("R9", "R11", 8, 64*k)
		add(0, "R14", px+k*vec)
		store(0, "R14", q+k*vec)
	}
	// λ² = (λ0+λ1)(λ0−λ1) + 2λ0·λ1·u
	load(0, "R14", lambda)
	add(0, "R14", lambda+vec)
	normalise(0)
	store(0, "R14", scratch)
	load(0, "R14", lambda)
	sub(0, "R14", lambda+vec)
	addConstant(0, c5P)
	normalise(0)
	store(0, "R14", scratch+vec)
	emit("LEAQ %d(R14), SI", scratch)
	emit("LEAQ %d(R14), BX", scratch+vec)
	emit("LEAQ %d(R14), DI", x3)
	emit("CALL mul<>(SB)")
	sub(0, "R14", q)
	addConstant(0, c5P)
	reduce()
	store(0, "R14", x3)
	load(0, "R14", lambda)
	add(0, "R14", lambda)
	normalise(0)
	store(0, "R14", scratch)
	emit("LEAQ %d(R14), SI", scratch)
	emit("LEAQ %d(R14), BX", lambda+vec)
	emit("LEAQ %d(R14), DI", x3+vec)
	emit("CALL mul<>(SB)")
	sub(0, "R14", q+vec)
	addConstant(0, c5P)
	reduce()
	store(0, "R14", x3+vec)
	for k := range 2 {
		load(0, "R14", px+k*vec)
		sub(0, "R14", x3+k*vec)
		addConstant(0, c2P)
		normalise(0)
		store(0, "R14", t+k*vec)
	}
	call(lambda, t, dy)
	for k := range 2 {
		load(0, "R14", dy+k*vec)
		sub(0, "R14", py+k*vec)
		addConstant(0, c3P)
		reduce()
		scatter("R8", "R10", 8, 128+64*k)
	}
	for k := range 2 {
		load(0, "R14", x3+k*vec)
		scatter("R8", "R10", 8, 64*k)
	}
	emit("DECQ DX")
	emit("JNZ backwardG2")
	emit("VZEROUPPER")
	emit("RET")
}

// genImport converts coordinates of 6 words in Montgomery form for 2^384 to 8
// limbs of 52 bits for 2^416. The value is shifted by 32 bits, which makes it
// the right residue, and reduced by a multiplication with one. Record r has its
// coordinates one after the other in both forms; 8 records are converted at a
// time.
func genImport() {
	const (
		value = bTemp
		one   = bTemp + vec
	)
	text("·importPoints", 64, 40)
	emit("MOVQ dst+0(FP), R8")
	emit("MOVQ src+8(FP), R9")
	emit("MOVQ groups+16(FP), DX")
	emit("MOVQ coordinates+24(FP), R10")
	emit("MOVQ b+32(FP), R14")
	emit("MOVQ %d(R14), R15", bConst)
	loadConstants()
	emit("MOVL $0x3f, AX")
	emit("KMOVW AX, K1")
	// R11: bytes of a source record, R12: of a destination record
	emit("IMUL3Q $48, R10, R11")
	emit("MOVQ R10, R12")
	emit("SHLQ $6, R12")
	for j := range 8 {
		emit("VPBROADCASTQ %d(R15), Z0", cOne+8*j)
		emit("VMOVDQU64 Z0, %d(R14)", one+64*j)
	}
	label("group")
	emit("MOVQ R10, CX")
	emit("MOVQ R9, R13")
	emit("MOVQ R8, DI")
	label("coordinate")
	emit("MOVQ R13, AX")
	for r := range 8 {
		emit("VMOVDQU64.Z (AX), K1, Z%d", r)
		emit("ADDQ R11, AX")
	}
	transpose()
	emit("VPSLLQ $32, Z0, Z9")
	for j := 1; j < 8; j++ {
		start := 52*j - 32
		w, s := start/64, start%64
		if s == 0 {
			emit("VMOVDQA64 Z%d, Z%d", w, 9+j)
			continue
		}
		emit("VPSRLQ $%d, Z%d, Z%d", s, w, 9+j)
		if s > 12 && w < 5 {
			emit("VPSLLQ $%d, Z%d, Z25", 64-s, w+1)
			emit("VPORQ Z25, Z%d, Z%d", 9+j, 9+j)
		}
	}
	for j := range 8 {
		emit("VPANDQ Z28, Z%d, Z%d", 9+j, 9+j)
		emit("VMOVDQU64 Z%d, %d(R14)", 9+j, value+64*j)
	}
	emit("LEAQ %d(R14), SI", value)
	emit("LEAQ %d(R14), BX", one)
	emit("MOVQ DI, 0(SP)")
	emit("LEAQ %d(R14), DI", value)
	emit("CALL mul<>(SB)")
	emit("MOVQ 0(SP), DI")
	transpose()
	emit("MOVQ DI, AX")
	for r := range 8 {
		emit("VMOVDQU64 Z%d, (AX)", r)
		emit("ADDQ R12, AX")
	}
	emit("ADDQ $48, R13")
	emit("ADDQ $64, DI")
	emit("DECQ CX")
	emit("JNZ coordinate")
	emit("LEAQ (R9)(R11*8), R9")
	emit("LEAQ (R8)(R12*8), R8")
	emit("DECQ DX")
	emit("JNZ group")
	emit("VZEROUPPER")
	emit("RET")
}
