//go:build ignore

package main

// Offsets in the scratch memory of a multiplication, at R14.
const (
	mDigits = 0                   // digits of columns 9…15
	mL7     = mDigits + folds*row // low sum of column 7
	mH10    = mL7 + row           // high sum of column 10
	mR8     = mH10 + row          // column 8 without its carry
	mLow    = mR8 + row           // high and low sums of columns 0…3
	mT      = mLow + 8*row        // columns 5…8
	mTwice  = mT + 4*row          // twice an operand
	mEnd    = 4 * vec             // mTwice + vec and some
)

// shape says what a multiplication does besides multiplying.
type shape struct {
	square bool // one operand
	dot    bool // two products
	addend bool
}

// term is one product of limbs.
type term struct {
	from   string // register that points to the multiplying limb
	offset int
	by     string // register that points to the other limb
	at     int
}

// terms lists the products of limbs in a column.
func (s shape) terms(column int) (out []term) {
	for i := range limbs {
		j := column - i
		switch {
		case j < 0 || j >= limbs || s.square && i > j:
		case s.square && i < j:
			out = append(out, term{"R14", mTwice + row*i, "SI", row * j})
		default:
			by := "BX"
			if s.square {
				by = "SI"
			}
			out = append(out, term{"SI", row * i, by, row * j})
			if s.dot {
				out = append(out, term{"SI", vec + row*i, "AX", row * j})
			}
		}
	}
	return out
}

// sums are up to four columns in the accumulators.
type sums struct {
	first   int
	started [4]bool // the high sum holds something
	filled  [4]bool // the low sum holds something
}

// add adds the product of Y12 and the limb at offset(by) to accumulator k. The
// high sum takes the product rounded to a multiple of 2^48, and what that
// changed it by says exactly what was lost.
func (s *sums) add(k int, by string, offset int) {
	h, l, t := k, 4+k, 8+k
	old := t
	if s.started[k] {
		emit("VMOVAPD Y%d, Y%d", h, t)
	} else {
		emit("VMOVAPD Y14, Y%d", h)
		old = 14
	}
	if !s.filled[k] {
		t = l
	}
	emit("VFMADD231PD %d(%s), Y12, Y%d", offset, by, h)
	emit("VSUBPD Y%d, Y%d, Y%d", h, old, t)
	emit("VFMADD231PD %d(%s), Y12, Y%d", offset, by, t)
	if s.filled[k] {
		emit("VADDPD Y%d, Y%d, Y%d", t, l, l)
	}
	s.started[k], s.filled[k] = true, true
}

// products adds the products of columns first…first+n−1, of which skip are left
// out at the end.
func (s *sums) products(sh shape, n int) {
	// By multiplying limb, so that it is loaded once.
	type load struct {
		from   string
		offset int
	}
	var order []load
	use := map[load][]func(){}
	for k := range n {
		for _, t := range sh.terms(s.first + k) {
			from := load{t.from, t.offset}
			if use[from] == nil {
				order = append(order, from)
			}
			use[from] = append(use[from], func() { s.add(k, t.by, t.at) })
		}
	}
	for _, from := range order {
		emit("VMOVUPD %d(%s), Y12", from.offset, from.from)
		for _, f := range use[from] {
			f()
		}
	}
}

// fold adds the digits of columns 9…15 times what 2^(48·i) is modulo p.
func (s *sums) fold() {
	for i := range folds {
		emit("VMOVUPD %d(R14), Y12", mDigits+row*i)
		for k := range 4 {
			s.add(k, "R15", cFold+vec*i+row*(s.first+k))
		}
	}
}

// reduce adds q·p; q is in Y13.
func (s *sums) reduce() {
	emit("VMOVAPD Y13, Y12")
	for k := range 4 {
		s.add(k, "R15", cP+row*(s.first+k))
	}
}

// addend puts the addend into the low sums: its limb j belongs to column j+1.
func (s *sums) addend(sh shape, n int) {
	for k := range n {
		if c := s.first + k; sh.addend && c >= 1 && c <= limbs {
			emit("VMOVUPD %d(CX), Y%d", row*(c-1), 4+k)
			s.filled[k] = true
		}
	}
}

// values turns the high sums 0…n−1 into numbers.
func values(n int) {
	for k := range n {
		emit("VSUBPD Y14, Y%d, Y%d", k, k)
	}
}

// carry rounds column Yt to a multiple of 2^48 in Yc.
func carry(t, c int) {
	emit("VADDPD %d(R15), Y%d, Y%d", cRound, t, c)
	emit("VSUBPD %d(R15), Y%d, Y%d", cRound, c, c)
}

func save(y, offset int)  { emit("VMOVUPD Y%d, %d(R14)", y, offset) }
func fetch(y, offset int) { emit("VMOVUPD %d(R14), Y%d", offset, y) }

// genMul writes a multiplication: the columns of the product, the digits of
// columns 9…15 folded into the lower ones, one step of Montgomery's reduction
// at the lower end, and one carry in all columns at once.
func genMul(name string, sh shape) {
	text(name, 0, 0)
	emit("VMOVUPD %d(R15), Y14", cStart)
	emit("VMOVUPD %d(R15), Y15", cScale)
	if sh.square {
		for i := range limbs {
			emit("VMOVUPD %d(SI), Y0", row*i)
			emit("VADDPD Y0, Y0, Y0")
			save(0, mTwice+row*i)
		}
	}
	genHigh(sh)
	genLow(sh)
	genResult()
	for j := range limbs {
		emit("VMOVUPD Y%d, %d(DI)", j, row*j)
	}
	emit("RET")
}

// genHigh writes columns 7…15: the digits, the low sum of column 7 and what
// column 8 keeps.
func genHigh(sh shape) {
	s := sums{first: 7}
	s.addend(sh, 2)
	s.products(sh, 4)
	values(4)
	save(4, mL7)
	save(3, mH10)
	for k := 1; k < 4; k++ {
		emit("VFMADD231PD Y15, Y%d, Y%d", k-1, 4+k) // t_8…t_10 in Y5…Y7
	}
	carry(5, 8)
	emit("VSUBPD Y8, Y5, Y5")
	save(5, mR8)
	carry(6, 9)
	emit("VSUBPD Y9, Y6, Y6")
	emit("VFMADD231PD Y15, Y8, Y6")
	save(6, mDigits) // 9
	carry(7, 13)
	emit("VSUBPD Y13, Y7, Y7")
	emit("VFMADD231PD Y15, Y9, Y7")
	save(7, mDigits+row) // 10; its carry stays in Y13

	s = sums{first: 11}
	s.products(sh, 4)
	values(4)
	fetch(8, mH10)
	emit("VFMADD231PD Y15, Y8, Y4") // t_11
	for k := 1; k < 4; k++ {
		emit("VFMADD231PD Y15, Y%d, Y%d", k-1, 4+k)
	}
	before := 13
	for k := range 4 {
		carry(4+k, 8+k)
		emit("VSUBPD Y%d, Y%d, Y%d", 8+k, 4+k, 4+k)
		emit("VFMADD231PD Y15, Y%d, Y%d", before, 4+k)
		save(4+k, mDigits+row*(2+k))
		before = 8 + k
	}
	emit("VADDPD Y%d, Y3, Y3", before) // t_15 is the high sum of column 14
	emit("VMULPD Y15, Y3, Y3")
	save(3, mDigits+row*6)
}

// genLow writes columns 0…8: columns 0…3 are left at mLow to Y7, columns 5…8 at
// mT, and column 4 in Y4.
func genLow(sh shape) {
	low := sums{first: 0}
	low.addend(sh, 4)
	low.products(sh, 4)
	low.fold()
	// q makes column 0 a multiple of 2^48.
	emit("VMOVAPD Y14, Y13")
	emit("VFMADD231PD %d(R15), Y4, Y13", cPinv)
	emit("VSUBPD Y13, Y14, Y13")
	emit("VFMADD231PD %d(R15), Y4, Y13", cPinv)
	for k := range 8 {
		save(k, mLow+row*k)
	}

	s := sums{first: 4}
	s.addend(sh, 3)
	s.products(sh, 3)
	fetch(7, mL7)
	s.filled[3] = true
	s.fold()
	s.reduce()
	values(4)
	for k := 1; k < 4; k++ {
		emit("VFMADD231PD Y15, Y%d, Y%d", k-1, 4+k)
		save(4+k, mT+row*(k-1))
	}
	fetch(8, mR8)
	emit("VFMADD231PD Y15, Y3, Y8")
	save(8, mT+row*3)
	save(4, mL7) // column 4, which lacks the high sum of column 3

	for k := range 8 {
		fetch(k, mLow+row*k)
	}
	low.reduce()
	values(4)
	emit("VADDPD Y4, Y0, Y0") // the multiple of 2^48 in column 0
	fetch(8, mL7)
	for k := range 3 {
		emit("VFMADD231PD Y15, Y%d, Y%d", k, 5+k) // t_1…t_3 in Y5…Y7
	}
	emit("VFMADD231PD Y15, Y3, Y8") // t_4 in Y8
}

// genResult carries columns 1…8, of which 1…4 are in Y5…Y8 and 5…8 at mT, into
// the limbs Y0…Y7.
func genResult() {
	for k := range 4 { // t_1…t_4
		t := 5 + k
		c := 9 + k
		carry(t, c)
		emit("VSUBPD Y%d, Y%d, Y%d", c, t, k)
		if k > 0 {
			emit("VFMADD231PD Y15, Y%d, Y%d", c-1, k)
		}
	}
	last := 12
	for k := 4; k < 7; k++ { // t_5…t_7
		c := 9 + k - 4
		fetch(k, mT+row*(k-4))
		carry(k, c)
		emit("VSUBPD Y%d, Y%d, Y%d", c, k, k)
		emit("VFMADD231PD Y15, Y%d, Y%d", last, k)
		last = c
	}
	fetch(7, mT+row*3)
	emit("VFMADD231PD Y15, Y%d, Y7", last)
}

// genMulVec makes the multiplication callable from Go, for tests.
func genMulVec() {
	text("·mulVec", 8, 32)
	emit("MOVQ z+0(FP), DI")
	emit("MOVQ x+8(FP), SI")
	emit("MOVQ y+16(FP), BX")
	emit("MOVQ scratch+24(FP), R14")
	emit("LEAQ constants<>(SB), R15")
	emit("CALL mul<>(SB)")
	emit("VZEROUPPER")
	emit("RET")
}
