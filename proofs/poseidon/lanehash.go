package poseidon

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// laneHasher is the permutation on elements of type V side by side, with linear
// forms of type F; it is immutable. Unlike the scalar one it need not know
// intermediate values, so it lets the full rounds run at a changing scale: a
// state s·σ becomes s⁵·σ⁵ in the S-boxes, and leaving the factor L·2^−mixBits of
// the mixing forms uncorrected gives σ′ = σ⁵·L·2^−mixBits. Constants are scaled
// to match, and the scale is taken out by the linear forms that follow.
type laneHasher[V, F any, P vector[V, F]] struct {
	format[F]
	arity, partial int
	hankel         []F // row j of L·M·2^−mixBits

	enter  V     // from Montgomery form for 2^256 to that of V
	first  []V   // constants before the first round, for elements 1…
	tag    V     // element 0 after the S-box of the first round
	before [][]V // constants of the first half of the full rounds
	start  []F   // as in recurrence, scale taken out
	step   F
	scale  V
	single []V // constants of the partial rounds, signs folded in
	end    []F
	after  [][]V // constants of the second half but its last round
	leave  V     // takes out the scale and goes back to 2^256
	zero   V
}

// vector is what the permutation needs of elements side by side, in Montgomery
// form for 2^bits. Results may be among the operands.
type vector[V, F any] interface {
	*V
	mulAdd(x, y, k *V)        // x·y·2^−bits + k
	square(x *V)              // x²·2^−bits
	eval(f *F, a []V)         // 2^−bits·Σ w_i·a_i, or with mixBits for a mixing form
	set(l int, e *fr.Element) // puts an element, as it is in memory, into lane l
	get(l int) fr.Element     // takes one out and brings it below the modulus
}

// format says what a vector is like.
type format[F any] struct {
	lanes         int
	bits, mixBits int64
	newForm       func(weights []*big.Int) F // of at most 256 bits
	newMix        func(weights []uint64) F   // below 2^52
}

// manyWorker hashes a number of preimages side by side. It is for one goroutine.
type manyWorker interface {
	// hash sets up to lanes digests.
	hash(digests, nodes []fr.Element)
	count() int // of lanes
}

// manyHasher makes workers.
type manyHasher interface{ worker() manyWorker }

// laneWork is the memory of one permutation at a time.
type laneWork[V, F any, P vector[V, F]] struct {
	*laneHasher[V, F, P]
	state   [maxWidth]V
	mixed   [maxWidth]V
	initial [maxWidth]V
	history [maxHistory]V // up to x[0] always zero
}

func (h *laneHasher[V, F, P]) worker() manyWorker { return &laneWork[V, F, P]{laneHasher: h} }

func (w *laneWork[V, F, P]) count() int { return w.lanes }

// newLaneHasher prepares the permutation of p.
func newLaneHasher[V, F any, P vector[V, F]](p *Params, f format[F]) *laneHasher[V, F, P] {
	t := p.Width()
	h := &laneHasher[V, F, P]{format: f, arity: p.arity, partial: p.partial}
	for j := range t {
		h.hankel = append(h.hankel, f.newMix(p.hankel[j:j+t]))
	}
	h.enter = h.broadcast(powerOfTwo(2*f.bits - 256))
	c := p.constants
	for _, k := range c[1:t] {
		h.first = append(h.first, h.montgomery(k))
	}
	tag := p.tag
	tag.Add(&tag, &c[0])
	tag = fifth(tag)
	tag.Add(&tag, &c[t])
	h.tag = h.montgomery(tag)
	c = c[t:]

	// The factor that the mixing forms leave.
	mixed := rational{commonDenominator(t), new(big.Int).Lsh(big.NewInt(1), uint(f.mixBits))}.element()
	scale := fr.One()
	for r := range halfRounds {
		h.before = append(h.before, h.scaled(c[:t], fifth(scale)))
		c = c[t:]
		scale = fifth(scale)
		if r < halfRounds-1 {
			scale.Mul(&scale, &mixed)
		}
	}
	inverse := scale
	inverse.Inverse(&inverse)
	for i := range p.rounds.start {
		h.start = append(h.start, h.convert(&p.rounds.start[i], inverse))
	}

	h.step = f.newForm(p.rounds.step.integers())
	step := powerOfTwo(f.bits - wideShift) // a form divides by less than wide.reduce
	step.Mul(&step, &p.rounds.scale)
	h.scale = h.montgomery(step)
	for _, k := range p.rounds.single {
		h.single = append(h.single, h.montgomery(k))
	}
	c = c[p.partial:]

	// The last output has the sign of its number: let the whole state have it.
	scale.SetOne()
	if p.rounds.odd {
		scale.Neg(&scale)
	}
	for i := range p.rounds.end {
		h.end = append(h.end, h.convert(&p.rounds.end[i], scale))
	}
	for r := range halfRounds {
		scale = fifth(scale)
		if r < halfRounds-1 {
			h.after = append(h.after, h.scaled(c[:t], scale))
			c = c[t:]
		}
		scale.Mul(&scale, &mixed)
	}
	scale.Inverse(&scale)
	leave := powerOfTwo(256)
	leave.Mul(&leave, &scale)
	h.leave = h.broadcast(leave)
	return h
}

func (w *laneWork[V, F, P]) hash(digests, nodes []fr.Element) {
	h := w.laneHasher
	t := h.arity + 1
	s := w.state[:t]
	for j := 1; j < t; j++ {
		for l := range h.lanes {
			i := min(l, len(digests)-1)
			P(&s[j]).set(l, &nodes[i*h.arity+j-1])
		}
		P(&s[j]).mulAdd(&s[j], &h.enter, &h.first[j-1])
	}
	for r := range halfRounds {
		if r == 0 {
			s[0] = h.tag
		} else {
			w.sbox(&s[0], &s[0], &h.before[r][0])
		}
		for j := 1; j < t; j++ {
			w.sbox(&s[j], &s[j], &h.before[r][j])
		}
		if r < halfRounds-1 {
			w.mix(s)
		}
	}
	w.partialRounds(s)
	for r := range halfRounds - 1 {
		for j := range s {
			w.sbox(&s[j], &s[j], &h.after[r][j])
		}
		w.mix(s)
	}
	for j := range s {
		w.sbox(&s[j], &s[j], &h.zero)
	}
	P(&w.mixed[0]).eval(&h.hankel[1], s)
	P(&w.mixed[0]).mulAdd(&w.mixed[0], &h.leave, &h.zero)
	for l := range digests {
		digests[l] = P(&w.mixed[0]).get(l)
	}
}

// sbox sets z = x⁵ + k.
func (w *laneWork[V, F, P]) sbox(z, x, k *V) {
	fourth := &w.mixed[0]
	P(fourth).square(x)
	P(fourth).square(fourth)
	P(z).mulAdd(x, fourth, k)
}

// mix multiplies the state by L·M·2^−mixBits.
func (w *laneWork[V, F, P]) mix(s []V) {
	for j := range s {
		P(&w.mixed[j]).eval(&w.hankel[j], s)
	}
	copy(s, w.mixed[:])
}

// partialRounds is Params.partialRounds on lanes.
func (w *laneWork[V, F, P]) partialRounds(s []V) {
	h := w.laneHasher
	k := h.arity
	for j := range h.start {
		P(&w.initial[j]).eval(&h.start[j], s)
	}
	y := &w.initial[0]
	for n := range h.partial {
		x := &w.history[2*k+2*n]
		w.sbox(x, y, &h.single[n])
		next := &w.history[2*k+1+2*n]
		P(next).eval(&h.step, w.history[2*n:][:2*k+1])
		add := &h.zero
		if n < k {
			add = &w.initial[n+1]
		}
		P(next).mulAdd(next, &h.scale, add)
		y = next
	}
	s[0] = *y
	for j := range h.end {
		P(&s[j+1]).eval(&h.end[j], w.history[2*h.partial:][:2*k])
	}
}

// broadcast puts the canonical integer of e into all lanes.
func (h *laneHasher[V, F, P]) broadcast(e fr.Element) (v V) {
	regular := fr.Element(e.Bits())
	for l := range h.lanes {
		P(&v).set(l, &regular)
	}
	return v
}

// montgomery puts e into all lanes, with the factor 2^bits.
func (h *laneHasher[V, F, P]) montgomery(e fr.Element) V {
	factor := powerOfTwo(h.bits)
	e.Mul(&e, &factor)
	return h.broadcast(e)
}

// scaled puts elements times a scale into lanes.
func (h *laneHasher[V, F, P]) scaled(elements []fr.Element, scale fr.Element) []V {
	out := make([]V, len(elements))
	for i, e := range elements {
		e.Mul(&e, &scale)
		out[i] = h.montgomery(e)
	}
	return out
}

// fifth returns e⁵.
func fifth(e fr.Element) fr.Element {
	var fourth fr.Element
	fourth.Square(&e).Square(&fourth)
	e.Mul(&e, &fourth)
	return e
}

// powerOfTwo returns 2^n in the field; n may be negative.
func powerOfTwo(n int64) fr.Element {
	var e fr.Element
	e.Exp(fr.NewElement(2), big.NewInt(n))
	return e
}

// integers returns the weights of a form.
func (f *form) integers() []*big.Int {
	out := make([]*big.Int, len(f.words[0]))
	for i := range out {
		out[i] = new(big.Int)
		for k := formWords - 1; k >= 0; k-- {
			out[i].Lsh(out[i], 64)
			if skip := len(out) - len(f.words[k]); i >= skip {
				out[i].Or(out[i], new(big.Int).SetUint64(f.words[k][i-skip]))
			}
		}
	}
	return out
}

// convert returns a form made by newFieldForm, times a factor.
func (h *laneHasher[V, F, P]) convert(f *form, factor fr.Element) F {
	shift := powerOfTwo(h.bits - wideShift)
	factor.Mul(&factor, &shift)
	ints := f.integers()
	for i := range ints {
		var w fr.Element
		w.SetBigInt(ints[i])
		w.Mul(&w, &factor)
		w.BigInt(ints[i])
	}
	return h.newForm(ints)
}
