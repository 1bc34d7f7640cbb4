package poseidon

import (
	"math/big"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// The partial rounds as a recurrence.
//
// In a partial round only state element 0 meets an S-box; the others pass a
// fixed linear map. So the rounds are a linear time-invariant system with one
// input, the S-box output x[n] = y[n]⁵ + p[n], and one output, the next S-box
// input y[n+1]. With M = [[m, a], [aᵀ, M̂]] its transfer function is
//
//	H(z) = m + a·(z − M̂)⁻¹·aᵀ = N(z)/P(z),   P the characteristic polynomial of M̂,
//
// and the output satisfies, with k = arity,
//
//	y[n+1] = −Σ_{i=1..k} P_i·y[n+1−i] + Σ_{i=0..k} N_i·x[n−i] (+ e_n for n < k),
//
// where the e_n stand for the initial state: they are a linear map E of the
// elements 1…k. No state is carried: 2k+1 products and one reduction a round
// instead of k+1 products, k multiplications and k+1 reductions.
//
// M is a symmetric positive definite Cauchy matrix over the rationals, so zeros
// and poles are real, positive and interlaced: the coefficients of P and N
// alternate in sign. Running the recurrence on (−1)^n·y[n] and (−1)^n·x[n]
// makes them all of one sign, and multiplying by their common denominator D
// makes them integers, for arity 8 of 1 to 224 bits, half the work of full
// field elements:
//
//	y[n+1] = −1/D·(Σ |D·P_i|·y[n+1−i] + Σ |D·N_i|·x[n−i]) (signs folded in).

// rational is a fraction of integers whose image in the field is needed too.
type rational struct{ num, den *big.Int }

// reduced returns num/den in lowest terms.
func reduced(num, den *big.Int) rational {
	g := new(big.Int).GCD(nil, nil, new(big.Int).Abs(num), den)
	return rational{new(big.Int).Quo(num, g), new(big.Int).Quo(den, g)}
}

// element returns the fraction as a field element.
func (r rational) element() fr.Element {
	var num, den fr.Element
	num.SetBigInt(r.num)
	den.SetBigInt(r.den)
	den.Inverse(&den)
	num.Mul(&num, &den)
	return num
}

// transfer holds the coefficients of N and P, highest power first: P[0] = 1,
// N[0] = m.
type transfer struct{ n, p []rational }

// transferFunction computes N and P over the rationals, from the integer
// matrix L·M with L the common denominator of M.
func transferFunction(t int) transfer {
	k := t - 1
	lcm := commonDenominator(t)
	entry := func(i, j int) *big.Int { return new(big.Int).Quo(lcm, big.NewInt(int64(i+j+t))) }
	a := make([][]*big.Int, k) // L·M̂
	row := make([]*big.Int, k) // L·a
	for i := range a {
		row[i] = entry(0, i+1)
		a[i] = make([]*big.Int, k)
		for j := range a[i] {
			a[i][j] = entry(i+1, j+1)
		}
	}
	p := characteristic(a)

	// Impulse response h[0] = L·m, h[i] = (L·a)·(L·M̂)^(i−1)·(L·a)ᵀ.
	h := []*big.Int{entry(0, 0)}
	for v := row; len(h) <= k; v = timesMatrix(v, a) {
		h = append(h, inner(v, row))
	}
	// N = P·h truncated; coefficient i carries the factor L^(i+1), P_i has L^i.
	var out transfer
	power := big.NewInt(1)
	for i := range p {
		n := new(big.Int)
		for j := range i + 1 {
			n.Add(n, new(big.Int).Mul(p[j], h[i-j]))
		}
		out.p = append(out.p, reduced(p[i], power))
		power = new(big.Int).Mul(power, lcm)
		out.n = append(out.n, reduced(n, power))
	}
	return out
}

// commonDenominator returns L = lcm(t, …, 3t−2), for which L·M is integer.
func commonDenominator(t int) *big.Int {
	lcm := big.NewInt(1)
	for d := t; d <= 3*t-2; d++ {
		v := big.NewInt(int64(d))
		lcm.Mul(lcm, new(big.Int).Quo(v, new(big.Int).GCD(nil, nil, lcm, v)))
	}
	return lcm
}

// characteristic returns the coefficients of det(z − a), highest power first,
// by the Faddeev–LeVerrier algorithm; all divisions are exact.
func characteristic(a [][]*big.Int) []*big.Int {
	n := len(a)
	p := []*big.Int{big.NewInt(1)}
	m := make([][]*big.Int, n) // M_0 = 0
	for i := range m {
		m[i] = make([]*big.Int, n)
		for j := range m[i] {
			m[i][j] = new(big.Int)
		}
	}
	for k := 1; k <= n; k++ {
		for i := range m { // M_k = a·M_{k−1} + p_{k−1}
			m[i][i].Add(m[i][i], p[k-1])
		}
		for i := range m { // m := a·M_k, computed as M_k·a: they commute
			m[i] = timesMatrix(m[i], a)
		}
		trace := new(big.Int)
		for i := range m {
			trace.Add(trace, m[i][i])
		}
		p = append(p, trace.Quo(trace.Neg(trace), big.NewInt(int64(k))))
	}
	return p
}

// timesMatrix returns the row vector v·a.
func timesMatrix(v []*big.Int, a [][]*big.Int) []*big.Int {
	out := make([]*big.Int, len(a))
	for j := range out {
		out[j] = new(big.Int)
		for i := range v {
			out[j].Add(out[j], new(big.Int).Mul(v[i], a[i][j]))
		}
	}
	return out
}

// inner returns Σ v[i]·w[i].
func inner(v, w []*big.Int) *big.Int {
	sum := new(big.Int)
	for i := range v {
		sum.Add(sum, new(big.Int).Mul(v[i], w[i]))
	}
	return sum
}

// recurrence is what the permutation needs to run the partial rounds.
//
// The history is laid out in time order: x[n−k], y[n−k+1], x[n−k+1], …, y[n],
// x[n], every element of odd n negated. Everything before x[0] is zero there,
// y[0] included: it is no output of the system but part of the initial state.
type recurrence struct {
	step  form       // weights of the history, 2k+1 terms
	scale fr.Element // −2^320/D: undoes step's denominator, sign and reduction
	start []form     // from the state before the rounds to y[0], e_0, …, e_{k−1}
	end   []form     // from x[n−k], …, y[n] to state elements 1…k after the rounds
	odd   bool       // whether the last y has an odd number

	single []fr.Element // constants p[n], those of odd n negated

	observer *observer // the same system in another form; nil without a vector unit
}

// newRecurrence derives the recurrence for the mixing matrix of width t
// and constants of the partial rounds, with the kernel that runs them.
func newRecurrence(mds matrix, constants []fr.Element, kernel kernel.Kernel) *recurrence {
	t := len(mds)
	k := t - 1
	h := transferFunction(t)
	r := &recurrence{odd: len(constants)%2 == 1, single: slices.Clone(constants)}
	for n := 1; n < len(constants); n += 2 {
		r.single[n].Neg(&r.single[n])
	}

	denominator := big.NewInt(1)
	for _, c := range append(h.n, h.p...) {
		g := new(big.Int).GCD(nil, nil, denominator, c.den)
		denominator.Mul(denominator, new(big.Int).Quo(c.den, g))
	}
	weight := func(c rational) *big.Int {
		w := new(big.Int).Mul(c.num, new(big.Int).Quo(denominator, c.den))
		return w.Abs(w)
	}
	if denominator.BitLen() > formBits {
		// Integers would not be shorter than field elements.
		denominator = big.NewInt(1)
		weight = func(c rational) *big.Int {
			e := rational{new(big.Int).Abs(c.num), c.den}.element()
			return e.BigInt(new(big.Int))
		}
	}
	weights := make([]*big.Int, 0, 2*k+1)
	for i := k; i >= 0; i-- {
		weights = append(weights, weight(h.n[i]))
		if i > 0 {
			weights = append(weights, weight(h.p[i]))
		}
	}
	r.step = newForm(weights)
	r.scale = rational{new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), wideShift)), denominator}.element()

	initial := initialMap(mds, h)
	mixed := startMatrix(mds, initial)
	r.start = startForms(mixed)
	r.end = endForms(h, initial.inverse(), len(constants))
	r.observer = newObserver(h, mixed, initial.inverse(), constants, kernel)
	return r
}

// initialMap returns the k×k matrix E that takes state elements 1…k (as a row
// vector) to e_0, …, e_{k−1}: e_n = u_n + Σ_{i=1..n} P_i·u_{n−i}, where u_n is
// the output n+1 rounds later if all S-boxes gave zero.
func initialMap(mds matrix, h transfer) matrix {
	minor := mds.minor()
	k := len(minor)
	e := newMatrix(k)
	p := make([]fr.Element, k+1)
	for i := range p {
		p[i] = h.p[i].element()
	}
	var term fr.Element
	for row := range k {
		state := make([]fr.Element, k)
		state[row].SetOne()
		u := make([]fr.Element, k)
		for n := range k {
			for i := range state {
				term.Mul(&state[i], &mds[i+1][0])
				u[n].Add(&u[n], &term)
			}
			state = minor.apply(state)
			for i := range n + 1 {
				term.Mul(&p[i], &u[n-i])
				e[row][n].Add(&e[row][n], &term)
			}
		}
	}
	return e
}

// startMatrix returns the matrix that mixes the state before the partial rounds
// and turns elements 1…k into e_0, …, e_{k−1}.
func startMatrix(mds, initial matrix) matrix {
	m := newMatrix(len(mds))
	m[0][0].SetOne()
	for i, row := range initial {
		copy(m[i+1][1:], row)
	}
	return mds.mul(m)
}

// columns returns the forms that multiply a row vector by m.
func (m matrix) columns() []form {
	forms := make([]form, len(m))
	for j := range forms {
		column := make([]fr.Element, len(m))
		for i := range column {
			column[i] = m[i][j]
		}
		forms[j] = newFieldForm(column)
	}
	return forms
}

// startForms returns the columns of the start matrix; e_n belongs to y[n+1] and
// takes its sign.
func startForms(start matrix) []form {
	signed := start.clone()
	for _, row := range signed {
		for j := 1; j < len(row); j += 2 {
			row[j].Neg(&row[j])
		}
	}
	return signed.columns()
}

// endForms returns the forms that recover state elements 1…k from the last
// 2k inputs and outputs: those determine what the recurrence would add to the
// next k outputs, e′_m = −Σ_{i>m} P_i·y[n+m+1−i] + Σ_{i>m} N_i·x[n+m−i], and e′
// is E of the state.
func endForms(h transfer, inverse matrix, last int) []form {
	k := len(inverse)
	forms := make([]form, k)
	for j := range forms {
		weights := make([]fr.Element, 2*k)
		var term fr.Element
		for m := range k {
			for i := m + 1; i <= k; i++ {
				// In the history, x[n−k+s] is entry 2s and y[n−k+1+s] entry 2s+1.
				s := k + m - i
				p, n := h.p[i].element(), h.n[i].element()
				term.Mul(&n, &inverse[m][j])
				weights[2*s].Add(&weights[2*s], &term)
				term.Mul(&p, &inverse[m][j])
				weights[2*s+1].Sub(&weights[2*s+1], &term)
			}
		}
		for s := range k {
			if (last-k+s)%2 != 0 {
				weights[2*s].Neg(&weights[2*s])
			}
			if (last-k+1+s)%2 != 0 {
				weights[2*s+1].Neg(&weights[2*s+1])
			}
		}
		forms[j] = newFieldForm(weights)
	}
	return forms
}
