//go:build !purego

package poseidon

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// Limbs of the vector form.
const (
	limbs    = 5
	limbBits = 52
	limbMask = 1<<limbBits - 1
)

// lanes is eight field elements, limb by limb: limb i of element l is [i][l].
// Values are below 2^257, in Montgomery form with factor 2^260.
type lanes [limbs][laneCount]uint64

// mulAddLanes sets z = x·y·2^−260 + k. All may be the same.
//
//go:noescape
func mulAddLanes(z, x, y, k *lanes)

// formLanes sets z to 2^−260·Σ w_i·a_i over consecutive elements a. weights has
// the limbs of each w_i, and counts[j] of the a have weights of j+1 limbs, those
// with fewer limbs first. z must not be among the a.
//
//go:noescape
func formLanes(z, a *lanes, weights *uint64, counts *[limbs]int)

// mixLanes sets z to 2^−52·Σ w_i·a_i over n consecutive elements and weights
// below 2^52.
//
//go:noescape
func mixLanes(z, a *lanes, weights *uint64, n int)

// laneForm is a linear form for formLanes.
type laneForm struct {
	weights []uint64
	counts  [limbs]int
}

// laneHasher is the permutation on lanes; it is immutable. Unlike the scalar one it need not
// know intermediate values, so it lets the full rounds run at a changing scale:
// a state s·σ becomes s⁵·σ⁵ in the S-boxes, and leaving the factor L·2^−52 of
// mixLanes uncorrected gives σ′ = σ⁵·L·2^−52. Constants are scaled to match, and
// the scale is taken out by the linear forms that follow.
type laneHasher struct {
	arity, partial int
	hankel         []uint64

	enter  lanes      // 2^264: from the factor 2^256 to 2^260
	first  []lanes    // constants before the first round, for elements 1…
	tag    lanes      // element 0 after the S-box of the first round
	before [][]lanes  // constants of the first half of the full rounds
	start  []laneForm // as in recurrence, scale taken out
	step   laneForm
	scale  lanes
	single []lanes // constants of the partial rounds, signs folded in
	end    []laneForm
	after  [][]lanes // constants of the second half but its last round
	leave  lanes     // takes out the scale and goes from 2^260 to 2^256
	zero   lanes
}

// laneWork is the memory of one permutation at a time.
type laneWork struct {
	state   [maxWidth]lanes
	mixed   [maxWidth]lanes
	initial [maxWidth]lanes
	history [maxHistory]lanes // up to x[0] always zero
}

// newLaneHasher returns nil for kernels other than IFMA.
func newLaneHasher(p *Params, on kernel.Kernel) *laneHasher {
	if on != kernel.IFMA {
		return nil
	}
	t := p.Width()
	h := &laneHasher{arity: p.arity, partial: p.partial, hankel: p.hankel}
	h.enter = broadcast(powerOfTwo(264))
	c := p.constants
	for _, k := range c[1:t] {
		h.first = append(h.first, montgomery(k))
	}
	tag := p.tag
	tag.Add(&tag, &c[0])
	tag = fifth(tag)
	tag.Add(&tag, &c[t])
	h.tag = montgomery(tag)
	c = c[t:]

	// The factor that mixLanes leaves: L·2^−52.
	mixed := rational{commonDenominator(t), new(big.Int).Lsh(big.NewInt(1), limbBits)}.element()
	scale := fr.One()
	for r := range halfRounds {
		h.before = append(h.before, scaled(c[:t], fifth(scale)))
		c = c[t:]
		scale = fifth(scale)
		if r < halfRounds-1 {
			scale.Mul(&scale, &mixed)
		}
	}
	inverse := scale
	inverse.Inverse(&inverse)
	for _, f := range p.rounds.start {
		h.start = append(h.start, f.lanes(inverse))
	}

	h.step = newLaneForm(p.rounds.step.integers())
	step := powerOfTwo(limbs*limbBits - wideShift) // formLanes divides by less than wide.reduce
	step.Mul(&step, &p.rounds.scale)
	h.scale = montgomery(step)
	for _, k := range p.rounds.single {
		h.single = append(h.single, montgomery(k))
	}
	c = c[p.partial:]

	// The last output has the sign of its number: let the whole state have it.
	scale.SetOne()
	if p.rounds.odd {
		scale.Neg(&scale)
	}
	for _, f := range p.rounds.end {
		h.end = append(h.end, f.lanes(scale))
	}
	for r := range halfRounds {
		scale = fifth(scale)
		if r < halfRounds-1 {
			h.after = append(h.after, scaled(c[:t], scale))
			c = c[t:]
		}
		scale.Mul(&scale, &mixed)
	}
	scale.Inverse(&scale)
	leave := powerOfTwo(256)
	leave.Mul(&leave, &scale)
	h.leave = broadcast(leave)
	return h
}

// hash sets up to eight digests.
func (h *laneHasher) hash(work *laneWork, digests, nodes []fr.Element) {
	t := h.arity + 1
	s := work.state[:t]
	for j := 1; j < t; j++ {
		for l := range laneCount {
			i := min(l, len(digests)-1)
			s[j].set(l, &nodes[i*h.arity+j-1])
		}
		mulAddLanes(&s[j], &s[j], &h.enter, &h.first[j-1])
	}
	for r := range halfRounds {
		if r == 0 {
			s[0] = h.tag
		} else {
			work.sbox(&s[0], &s[0], &h.before[r][0], &h.zero)
		}
		for j := 1; j < t; j++ {
			work.sbox(&s[j], &s[j], &h.before[r][j], &h.zero)
		}
		if r < halfRounds-1 {
			h.mix(work, s)
		}
	}
	h.partialRounds(work, s)
	for r := range halfRounds - 1 {
		for j := range s {
			work.sbox(&s[j], &s[j], &h.after[r][j], &h.zero)
		}
		h.mix(work, s)
	}
	for j := range s {
		work.sbox(&s[j], &s[j], &h.zero, &h.zero)
	}
	mixLanes(&work.mixed[0], &s[0], &h.hankel[1], t)
	mulAddLanes(&work.mixed[0], &work.mixed[0], &h.leave, &h.zero)
	for l := range digests {
		digests[l] = work.mixed[0].get(l)
	}
}

// sbox sets z = x⁵ + k.
func (w *laneWork) sbox(z, x, k, zero *lanes) {
	fourth := &w.mixed[0]
	mulAddLanes(fourth, x, x, zero)
	mulAddLanes(fourth, fourth, fourth, zero)
	mulAddLanes(z, x, fourth, k)
}

// mix multiplies the state by L·M·2^−52.
func (h *laneHasher) mix(work *laneWork, s []lanes) {
	for j := range s {
		mixLanes(&work.mixed[j], &s[0], &h.hankel[j], len(s))
	}
	copy(s, work.mixed[:])
}

// partialRounds is Params.partialRounds on lanes.
func (h *laneHasher) partialRounds(work *laneWork, s []lanes) {
	k := h.arity
	for j := range h.start {
		h.start[j].eval(&work.initial[j], s)
	}
	y := &work.initial[0]
	for n := range h.partial {
		x := &work.history[2*k+2*n]
		work.sbox(x, y, &h.single[n], &h.zero)
		next := &work.history[2*k+1+2*n]
		h.step.eval(next, work.history[2*n:])
		add := &h.zero
		if n < k {
			add = &work.initial[n+1]
		}
		mulAddLanes(next, next, &h.scale, add)
		y = next
	}
	s[0] = *y
	for j := range h.end {
		h.end[j].eval(&s[j+1], work.history[2*h.partial:])
	}
}

// eval sets z to the value of the form at a.
func (f *laneForm) eval(z *lanes, a []lanes) { formLanes(z, &a[0], &f.weights[0], &f.counts) }

// set puts an element, as it is in memory, into lane l.
func (v *lanes) set(l int, e *fr.Element) {
	v[0][l] = e[0] & limbMask
	v[1][l] = (e[0]>>52 | e[1]<<12) & limbMask
	v[2][l] = (e[1]>>40 | e[2]<<24) & limbMask
	v[3][l] = (e[2]>>28 | e[3]<<36) & limbMask
	v[4][l] = e[3] >> 16
}

// get takes an element out of lane l and brings it below the modulus.
func (v *lanes) get(l int) fr.Element {
	e := fr.Element{
		v[0][l] | v[1][l]<<52,
		v[1][l]>>12 | v[2][l]<<40,
		v[2][l]>>24 | v[3][l]<<28,
		v[3][l]>>36 | v[4][l]<<16,
	}
	subtractModulus(&e)
	return e
}

// broadcast puts the canonical integer of e into all lanes.
func broadcast(e fr.Element) lanes {
	regular := fr.Element(e.Bits())
	var v lanes
	for l := range laneCount {
		v.set(l, &regular)
	}
	return v
}

// montgomery puts e into all lanes, with the factor 2^260.
func montgomery(e fr.Element) lanes {
	factor := powerOfTwo(limbs * limbBits)
	e.Mul(&e, &factor)
	return broadcast(e)
}

// scaled puts elements times a scale into lanes.
func scaled(elements []fr.Element, scale fr.Element) []lanes {
	out := make([]lanes, len(elements))
	for i, e := range elements {
		e.Mul(&e, &scale)
		out[i] = montgomery(e)
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

// lanes returns a form made by newFieldForm, times a factor, for formLanes.
func (f *form) lanes(factor fr.Element) laneForm {
	shift := powerOfTwo(limbs*limbBits - wideShift)
	factor.Mul(&factor, &shift)
	ints := f.integers()
	for i := range ints {
		var w fr.Element
		w.SetBigInt(ints[i])
		w.Mul(&w, &factor)
		w.BigInt(ints[i])
	}
	return newLaneForm(ints)
}

// newLaneForm cuts weights into limbs. A weight gets at least as many limbs as
// those before it.
func newLaneForm(weights []*big.Int) laneForm {
	var f laneForm
	size := 1
	mask := big.NewInt(limbMask)
	for _, w := range weights {
		size = max(size, (w.BitLen()+limbBits-1)/limbBits)
		f.counts[size-1]++
		for i := range size {
			f.weights = append(f.weights, new(big.Int).And(new(big.Int).Rsh(w, uint(limbBits*i)), mask).Uint64())
		}
	}
	return f
}
