package groth16

import "wdpost/proofs/groth16/internal/ops"

// batchAdder adds pairs of affine points many at a time, with one field
// inversion for all. R is its own form of a point, A that of gnark-crypto. It is
// for one goroutine. The identity has no form.
type batchAdder[R, A any] interface {
	// Add performs targets[t] ±= sources[s] and uses ops up. Targets are
	// distinct. It reports false, and has changed nothing, if two points have
	// the same x. The last record of targets is scratch, that of sources must be
	// Filler.
	Add(targets, sources []R, waiting *ops.List) bool
	Import(dst []R, src []A)
	Export(p *R) A
	SameX(p, q *R) bool
	Negate(p *R)
	Filler() R
}

// affine is what is needed of a point type of gnark-crypto.
type affine[A any] interface {
	*A
	Add(a, b *A) *A
	Double(a *A) *A
	Neg(a *A) *A
	IsInfinity() bool
}

// maxBatch is how many additions share an inversion: enough to make its cost
// vanish, few enough to stay in the second-level cache.
const maxBatch = 1024

// additions collects additions to records of which some hold no point yet, and
// performs them whatever the points are.
type additions[R, A any, P affine[A]] struct {
	adder batchAdder[R, A]
	ops   *ops.List
}

func newAdditions[R, A any, P affine[A]](newAdder func(n int) batchAdder[R, A]) additions[R, A, P] {
	return additions[R, A, P]{adder: newAdder(maxBatch), ops: ops.New(maxBatch)}
}

// few: so many additions are made one by one.
const few = 3

// perform executes what waits. A target that becomes the identity is marked in
// there.
func (a *additions[R, A, P]) perform(targets []R, there []bool, sources []R) {
	n := a.ops.Len()
	if n > few && a.adder.Add(targets, sources, a.ops) {
		return
	}
	// Some points are equal or opposite: add those by the full rules, and the
	// others together again.
	var rest []addition
	for i := range n {
		target, source, negate := a.ops.At(i)
		if n > few && !a.adder.SameX(&targets[target], &sources[source]) {
			rest = append(rest, addition{target, source, negate})
			continue
		}
		x, y := a.adder.Export(&targets[target]), a.adder.Export(&sources[source])
		if negate == 1 {
			P(&y).Neg(&y)
		}
		P(&x).Add(&x, &y)
		if P(&x).IsInfinity() {
			there[target] = false
			continue
		}
		a.adder.Import(targets[target:target+1], []A{x})
	}
	a.ops.Reset()
	for _, r := range rest {
		a.ops.Push(r.target, r.source, r.negate)
	}
	a.adder.Add(targets, sources, a.ops)
}

// addition is targets[target] += sources[source], or −= with negate = 1.
type addition struct {
	target, source uint32
	negate         uint8
}

// set puts ±p where no point was.
func (a *additions[R, A, P]) set(target, p *R, negate uint8) {
	*target = *p
	if negate == 1 {
		a.adder.Negate(target)
	}
}
