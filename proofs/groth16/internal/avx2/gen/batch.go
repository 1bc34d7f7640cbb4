//go:build ignore

package main

// Offsets in struct batch (bytes).
const (
	bTargets = 0  // base of the records that are changed
	bSources = 8  // base of the records that are added
	bTarget  = 16 // *uint32: records of the targets
	bSource  = 24 // *uint32
	bNegate  = 32 // *uint8: one bit a lane
	bDX      = 40 // *vec: differences of x
	bPrefix  = 48 // *vec: products before, one more than groups
	bGroups  = 56 // number of groups of four
	bScratch = 64 // *vec
)

// Scratch behind that of the multiplications: the accumulator, then what a
// routine likes.
const (
	sAcc  = mEnd
	sTemp = sAcc + 2*vec
)

// prefetchGroups is how many groups ahead targets are fetched. The lists of
// targets are longer by more: see NewOps.
const prefetchGroups = 6

// prologue loads what every batch routine keeps in registers.
func prologue() {
	emit("MOVQ b+0(FP), AX")
	emit("LEAQ constants<>(SB), R15")
	for _, r := range []struct {
		offset int
		to     string
	}{{bScratch, "R14"}, {bTargets, "R8"}, {bSources, "R9"}, {bTarget, "R10"}, {bSource, "R11"}, {bDX, "R12"}, {bPrefix, "R13"}, {bGroups, "DX"}} {
		emit("MOVQ %d(AX), %s", r.offset, r.to)
	}
}

// call multiplies (a)·(b) into to.
func call(routine, a, b, to string) {
	emit("LEAQ %s, SI", a)
	emit("LEAQ %s, BX", b)
	emit("LEAQ %s, DI", to)
	emit("CALL %s(SB)", routine)
}

func at(register string, offset int) string { return sprint("%d(%s)", offset, register) }

// rows points AX, BX, CX, SI to four records.
func rows(base, index string, shift int) {
	for i, r := range []string{"AX", "BX", "CX", "SI"} {
		emit("MOVL %d(%s), %s", 4*i, index, r)
		emit("SHLQ $%d, %s", shift, r)
		emit("ADDQ %s, %s", base, r)
	}
}

// collect loads pairs of words of the four records into Y0, Y1, …: word j of
// record r becomes lane r of Yj.
func collect(offset, pairs int) {
	for k := range pairs {
		o, a, b := offset+16*k, 2*k, 2*k+1
		emit("VMOVUPD %d(AX), X8", o)
		emit("VINSERTF128 $1, %d(CX), Y8, Y8", o)
		emit("VMOVUPD %d(BX), X9", o)
		emit("VINSERTF128 $1, %d(SI), Y9, Y9", o)
		emit("VUNPCKLPD Y9, Y8, Y%d", a)
		emit("VUNPCKHPD Y9, Y8, Y%d", b)
	}
}

// scatter is the inverse of collect for eight words.
func scatter(offset int) {
	for k := range limbs / 2 {
		o, a, b := offset+16*k, 2*k, 2*k+1
		emit("VUNPCKLPD Y%d, Y%d, Y8", b, a)
		emit("VUNPCKHPD Y%d, Y%d, Y9", b, a)
		emit("VMOVUPD X8, %d(AX)", o)
		emit("VEXTRACTF128 $1, Y8, %d(CX)", o)
		emit("VMOVUPD X9, %d(BX)", o)
		emit("VEXTRACTF128 $1, Y9, %d(SI)", o)
	}
}

func load(from string, offset int) {
	for j := range limbs {
		emit("VMOVUPD %d(%s), Y%d", offset+row*j, from, j)
	}
}

func store(to string, offset int) {
	for j := range limbs {
		emit("VMOVUPD Y%d, %d(%s)", j, offset+row*j, to)
	}
}

func add(from string, offset int) {
	for j := range limbs {
		emit("VADDPD %d(%s), Y%d, Y%d", offset+row*j, from, j, j)
	}
}

func sub(from string, offset int) {
	for j := range limbs {
		emit("VSUBPD %d(%s), Y%d, Y%d", offset+row*j, from, j, j)
	}
}

// flip changes the signs that are set in Y15.
func flip() {
	for j := range limbs {
		emit("VXORPD Y15, Y%d, Y%d", j, j)
	}
}

func negate() {
	emit("VMOVUPD %d(R15), Y15", cSign)
	flip()
}

// loadSigns puts the signs of the group into Y15.
func loadSigns() {
	emit("MOVQ b+0(FP), AX")
	emit("MOVQ %d(AX), AX", bNegate)
	emit("LEAQ -1(DX), CX")
	emit("MOVQ CX, BX")
	emit("SHRQ $1, BX")
	emit("MOVBLZX (AX)(BX*1), AX")
	emit("ANDQ $1, CX")
	emit("SHLQ $2, CX")
	emit("SHRL CX, AX")
	emit("ANDL $15, AX")
	emit("SHLQ $5, AX")
	emit("VMOVUPD %d(R15)(AX*1), Y15", cSigns)
}

// genForward computes dx = x of the source − x of the target for every lane and
// multiplies them up: prefix is the product of all before. degree is that of
// the field over Fp.
func genForward(name string, degree int) {
	shift := 6 + degree
	text(name, 64, 8)
	prologue()
	loop := "forward" + name[len(name)-2:]
	label(loop)
	// The targets lie anywhere in memory: fetch those of a later group.
	for r := range 4 {
		emit("MOVL %d(R10), AX", 16*prefetchGroups+4*r)
		emit("SHLQ $%d, AX", shift)
		for line := range 2 * degree {
			emit("PREFETCHT0 %d(R8)(AX*1)", 64*line)
		}
	}
	rows("R8", "R10", shift)
	for k := range degree {
		collect(64*k, 4)
		store("R12", k*vec)
	}
	rows("R9", "R11", shift)
	for k := range degree {
		collect(64*k, 4)
		sub("R12", k*vec)
		store("R12", k*vec)
	}
	if degree == 1 {
		call("mul<>", at("R13", 0), at("R12", 0), at("R13", vec))
	} else {
		mul2("R13", 0, "R12", 0, "R13", 2*vec, sTemp, false)
	}
	emit("ADDQ $16, R10")
	emit("ADDQ $16, R11")
	emit("ADDQ $%d, R12", degree*vec)
	emit("ADDQ $%d, R13", degree*vec)
	emit("DECQ DX")
	emit("JNZ %s", loop)
	emit("VZEROUPPER")
	emit("RET")
}

// mul2 multiplies in Fp2: c0 = a0·b0 − a1·b1, c1 = a0·b1 + a1·b0, with one
// reduction each. The result may be in the place of an operand if same says so;
// spare are two vectors.
func mul2(a string, aAt int, b string, bAt int, c string, cAt, spare int, same bool) {
	load(b, bAt+vec)
	negate()
	store("R14", spare)
	first, firstAt := c, cAt
	if same {
		first, firstAt = "R14", spare+vec
	}
	emit("LEAQ %d(R14), AX", spare)
	call("dot<>", at(a, aAt), at(b, bAt), at(first, firstAt))
	emit("LEAQ %d(%s), AX", bAt, b)
	call("dot<>", at(a, aAt), at(b, bAt+vec), at(c, cAt+vec))
	if same {
		load(first, firstAt)
		store(c, cAt)
	}
}

// toLast moves the cursors behind the last group.
func toLast(degree int) {
	emit("MOVQ DX, AX")
	emit("SHLQ $4, AX")
	emit("ADDQ AX, R10")
	emit("ADDQ AX, R11")
	emit("MOVQ DX, AX")
	emit("SHLQ $%d, AX", 7+degree)
	emit("ADDQ AX, R12")
	emit("ADDQ AX, R13")
}

func stepBack(degree int) {
	emit("SUBQ $16, R10")
	emit("SUBQ $16, R11")
	emit("SUBQ $%d, R12", degree*vec)
	emit("SUBQ $%d, R13", degree*vec)
}

// genBackwardG1 finishes the additions, last group first; acc holds the inverse
// of the product of all differences.
func genBackwardG1() {
	const (
		inv    = sTemp + iota*vec
		minusY // −y of the target
		dy
		lambda
		px
		z // −(x of the target + x of the source)
		x3
		t
	)
	text("·backwardG1", 64, 8)
	prologue()
	toLast(1)
	label("backwardG1")
	stepBack(1)
	call("mul<>", at("R14", sAcc), at("R13", 0), at("R14", inv))
	call("mul<>", at("R14", sAcc), at("R12", 0), at("R14", sAcc))

	rows("R8", "R10", 7)
	collect(0, 4)
	store("R14", px)
	negate()
	store("R14", z)
	collect(64, 4)
	flip()
	store("R14", minusY)
	rows("R9", "R11", 7)
	collect(0, 4)
	for j := range limbs {
		emit("VMOVUPD %d(R14), Y8", z+row*j)
		emit("VSUBPD Y%d, Y8, Y8", j)
		emit("VMOVUPD Y8, %d(R14)", z+row*j)
	}
	collect(64, 4)
	loadSigns()
	flip()
	add("R14", minusY)
	store("R14", dy)
	call("mul<>", at("R14", inv), at("R14", dy), at("R14", lambda))
	emit("LEAQ %d(R14), CX", z)
	call("squareAdd<>", at("R14", lambda), at("R14", lambda), at("R14", x3))
	for j := range limbs {
		emit("VMOVUPD %d(R14), Y8", px+row*j)
		emit("VSUBPD Y%d, Y8, Y8", j)
		emit("VMOVUPD Y8, %d(R14)", t+row*j)
	}
	emit("LEAQ %d(R14), CX", minusY)
	call("mulAdd<>", at("R14", lambda), at("R14", t), at("R14", dy))
	rows("R8", "R10", 7)
	scatter(64)
	load("R14", x3)
	scatter(0)
	emit("DECQ DX")
	emit("JNZ backwardG1")
	emit("VZEROUPPER")
	emit("RET")
}

// genBackwardG2 is genBackwardG1 over Fp2.
func genBackwardG2() {
	const (
		inv = sTemp + 2*iota*vec
		minusY
		dy
		lambda
		px
		z
		x3
		t
		spare
	)
	text("·backwardG2", 64, 8)
	prologue()
	toLast(2)
	label("backwardG2")
	stepBack(2)
	mul2("R14", sAcc, "R13", 0, "R14", inv, spare, false)
	mul2("R14", sAcc, "R12", 0, "R14", sAcc, spare, true)

	rows("R8", "R10", 8)
	for k := range 2 {
		collect(64*k, 4)
		store("R14", px+k*vec)
		negate()
		store("R14", z+k*vec)
		collect(128+64*k, 4)
		flip()
		store("R14", minusY+k*vec)
	}
	rows("R9", "R11", 8)
	for k := range 2 {
		collect(64*k, 4)
		for j := range limbs {
			emit("VMOVUPD %d(R14), Y8", z+k*vec+row*j)
			emit("VSUBPD Y%d, Y8, Y8", j)
			emit("VMOVUPD Y8, %d(R14)", z+k*vec+row*j)
		}
		collect(128+64*k, 4)
		store("R14", dy+k*vec)
	}
	loadSigns()
	for k := range 2 {
		load("R14", dy+k*vec)
		flip()
		add("R14", minusY+k*vec)
		store("R14", dy+k*vec)
	}
	mul2("R14", inv, "R14", dy, "R14", lambda, spare, false)
	// λ² = (λ0+λ1)(λ0−λ1) + 2λ0·λ1·u
	load("R14", lambda)
	sub("R14", lambda+vec)
	store("R14", spare)
	load("R14", lambda)
	add("R14", lambda+vec)
	store("R14", spare+vec)
	emit("LEAQ %d(R14), CX", z)
	call("mulAdd<>", at("R14", spare), at("R14", spare+vec), at("R14", x3))
	load("R14", lambda)
	add("R14", lambda)
	store("R14", spare)
	emit("LEAQ %d(R14), CX", z+vec)
	call("mulAdd<>", at("R14", spare), at("R14", lambda+vec), at("R14", x3+vec))
	for k := range 2 {
		load("R14", px+k*vec)
		sub("R14", x3+k*vec)
		store("R14", t+k*vec)
	}
	negate()
	store("R14", spare)
	for k := range 2 {
		emit("LEAQ %d(R14), AX", []int{spare, t}[k])
		emit("LEAQ %d(R14), CX", minusY+k*vec)
		call("dotAdd<>", at("R14", lambda), at("R14", t+k*vec), at("R14", dy+k*vec))
	}
	rows("R8", "R10", 8)
	for k := range 2 {
		load("R14", dy+k*vec)
		scatter(128 + 64*k)
		load("R14", x3+k*vec)
		scatter(64 * k)
	}
	emit("DECQ DX")
	emit("JNZ backwardG2")
	emit("VZEROUPPER")
	emit("RET")
}

// genImport converts coordinates of 6 words in Montgomery form for 2^384 to 8
// limbs. Record r has its coordinates one after the other in both forms; 4
// records are converted at a time.
func genImport() {
	text("·importPoints", 64, 40)
	emit("MOVQ dst+0(FP), R8")
	emit("MOVQ src+8(FP), R9")
	emit("MOVQ groups+16(FP), DX")
	emit("MOVQ coordinates+24(FP), R10")
	emit("MOVQ scratch+32(FP), R14")
	emit("LEAQ constants<>(SB), R15")
	// R11: bytes of a source record, R12: of a destination record
	emit("IMUL3Q $48, R10, R11")
	emit("MOVQ R10, R12")
	emit("SHLQ $6, R12")
	records := func(base, size string) {
		emit("MOVQ %s, AX", base)
		emit("LEAQ (AX)(%s*1), BX", size)
		emit("LEAQ (AX)(%s*2), CX", size)
		emit("LEAQ (BX)(%s*2), SI", size)
	}
	label("group")
	emit("MOVQ R10, R13")
	label("coordinate")
	records("R9", "R11")
	collect(0, 3)
	emit("VMOVUPD %d(R15), Y14", cMask)
	emit("VMOVUPD %d(R15), Y15", cMagic)
	for j := range limbs {
		w, s := radix*j/64, radix*j%64
		from := w
		if s > 0 {
			emit("VPSRLQ $%d, Y%d, Y8", s, w)
			from = 8
		}
		if s > 64-radix {
			emit("VPSLLQ $%d, Y%d, Y9", 64-s, w+1)
			emit("VPOR Y9, Y8, Y8")
		}
		emit("VPAND Y14, Y%d, Y8", from)
		emit("VPOR Y15, Y8, Y8")
		emit("VSUBPD Y15, Y8, Y8")
		emit("VMOVUPD Y8, %d(R14)", sTemp+row*j)
	}
	call("mul<>", at("R14", sTemp), at("R15", cImport), at("R14", sTemp))
	records("R8", "R12")
	scatter(0)
	emit("ADDQ $48, R9")
	emit("ADDQ $64, R8")
	emit("DECQ R13")
	emit("JNZ coordinate")
	emit("LEAQ (R9)(R11*2), R9")
	emit("ADDQ R11, R9")
	emit("LEAQ (R8)(R12*2), R8")
	emit("ADDQ R12, R8")
	emit("DECQ DX")
	emit("JNZ group")
	emit("VZEROUPPER")
	emit("RET")
}
