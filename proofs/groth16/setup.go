package groth16

import (
	"fmt"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"

	"wdpost/proofs/kernel"
)

// SetupConfig says how a setup runs.
type SetupConfig struct {
	Workers  int                      // goroutines; fewer than one count as one
	Done     <-chan struct{}          // when closed, the setup ends with ErrCanceled
	Progress func(done, total uint64) // points made, called from one goroutine; may be nil
	Kernel   kernel.Kernel            // the zero value is the fastest of the machine
}

// Setup makes the keys of a circuit from a trapdoor over the standard
// generators and hands them to sink: spec 7.3 and 8.6. The bytes are those of
// bellperson's generate_parameters for the same trapdoor.
//
// It holds one block of the circuit and a bounded piece of a vector at a time,
// never a whole vector. A ResumingSink spares it the points that are there.
func Setup(c Circuit, t *Trapdoor, sink Sink, config SetupConfig) error {
	l, err := newLayout(c)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	vanishing, err := t.check(l.domain())
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	s := &setup{
		circuit: c, layout: l, trapdoor: t, vanishing: vanishing,
		sink: sink, pool: newPool(config.Workers, config.Done, config.Kernel), progress: config.Progress,
	}
	if err := s.run(); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return nil
}

// setup is one run of Setup.
type setup struct {
	circuit   Circuit
	layout    *layout
	trapdoor  *Trapdoor
	vanishing fr.Element // τ^m − 1
	sink      Sink
	pool      pool
	progress  func(done, total uint64)

	lagrange lagrange
	g1       multiplier[bls.G1Affine]
	g2       multiplier[bls.G2Affine]
	inputs   evaluations // of ONE and all public inputs of the system

	there       uint64 // points of this vector and the later ones that the sink had from the beginning
	made, total uint64 // points that the sink has
}

// evaluations are u_i(τ), v_i(τ), w_i(τ) of some variables.
type evaluations struct{ u, v, w []fr.Element }

func newEvaluations(n int) evaluations {
	return evaluations{make([]fr.Element, n), make([]fr.Element, n), make([]fr.Element, n)}
}

func (s *setup) run() error {
	counts := s.layout.counts()
	s.total = counts.Points()
	s.lagrange = newLagrange(s.layout.domain(), &s.trapdoor.Tau, &s.vanishing)
	_, _, g1, g2 := bls.Generators()
	var err error
	if s.g1, err = newFixedG1(s.pool, g1, s.total-counts.B); err != nil {
		return err
	}
	if s.g2, err = newFixedG2(s.pool, g2, counts.B); err != nil {
		return err
	}
	if err := s.evaluateInputs(); err != nil {
		return err
	}
	vk, err := s.verifyingKey()
	if err != nil {
		return err
	}
	if err := s.sink.Begin(vk, counts); err != nil {
		return fmt.Errorf("begin key: %w", err)
	}
	if sink, ok := s.sink.(ResumingSink); ok {
		if s.there = sink.Resume(); s.there > s.total {
			return fmt.Errorf("resume key: the sink has %d points, the key %d", s.there, s.total)
		}
	}
	for _, vector := range []func() error{s.vectorH, s.vectorL, s.vectorA, s.vectorB1, s.vectorB2} {
		if err := vector(); err != nil {
			return err
		}
	}
	if err := s.sink.End(); err != nil {
		return fmt.Errorf("end key: %w", err)
	}
	return nil
}

// evaluateBlock computes u, v and w of one block's variables, ONE included,
// from the constraints of that block alone.
func (s *setup) evaluateBlock(block int) evaluations {
	c, l := s.circuit, s.layout
	e := newEvaluations(1 + l.inputs + l.aux)
	at := s.lagrange.values(block*l.constraints, l.constraints)
	coefficients := c.Coefficients()
	var t fr.Element
	accumulate := func(sum []fr.Element, variables, indices []uint32, x *fr.Element) {
		for k, v := range variables {
			sum[v].Add(&sum[v], t.Mul(&coefficients[indices[k]], x))
		}
	}
	for i := range l.constraints {
		variables, indices := c.A(i)
		accumulate(e.u, variables, indices, &at[i])
		variables, indices = c.B(i)
		accumulate(e.v, variables, indices, &at[i])
		variables, indices = c.C(i)
		accumulate(e.w, variables, indices, &at[i])
	}
	return e
}

// evaluateInputs computes u, v and w of ONE and of all public inputs, with the
// input rows of spec 7.1.
func (s *setup) evaluateInputs() error {
	l := s.layout
	s.inputs = newEvaluations(l.allInputs())
	ones := newEvaluations(l.blocks)
	err := s.pool.run(l.blocks, func(_, block int) error {
		e := s.evaluateBlock(block)
		ones.u[block], ones.v[block], ones.w[block] = e.u[0], e.v[0], e.w[0]
		from, to := 1+block*l.inputs, 1+(block+1)*l.inputs
		copy(s.inputs.u[from:to], e.u[1:])
		copy(s.inputs.v[from:to], e.v[1:])
		copy(s.inputs.w[from:to], e.w[1:])
		return nil
	})
	if err != nil {
		return err
	}
	for block := range l.blocks {
		s.inputs.u[0].Add(&s.inputs.u[0], &ones.u[block])
		s.inputs.v[0].Add(&s.inputs.v[0], &ones.v[block])
		s.inputs.w[0].Add(&s.inputs.w[0], &ones.w[block])
	}
	for i, x := range s.lagrange.values(l.inputRow(), l.allInputs()) {
		s.inputs.u[i].Add(&s.inputs.u[i], &x)
	}
	return nil
}

// combine returns (β·u + α·v + w)·scale of every variable.
func (s *setup) combine(e evaluations, scale *fr.Element) []fr.Element {
	out := make([]fr.Element, len(e.u))
	var t fr.Element
	for i := range out {
		out[i].Mul(&s.trapdoor.Beta, &e.u[i])
		out[i].Add(&out[i], t.Mul(&s.trapdoor.Alpha, &e.v[i]))
		out[i].Add(&out[i], &e.w[i])
		out[i].Mul(&out[i], scale)
	}
	return out
}

// verifyingKey makes the points of spec 7.3 that are not in vectors.
func (s *setup) verifyingKey() (*VerifyingKey, error) {
	t := s.trapdoor
	var inverse fr.Element
	inverse.Inverse(&t.Gamma)
	scalars := append([]fr.Element{t.Alpha, t.Beta, t.Delta}, s.combine(s.inputs, &inverse)...)
	g1 := make([]bls.G1Affine, len(scalars))
	g2 := make([]bls.G2Affine, 3)
	if err := s.g1.multiples(s.pool, g1, scalars); err != nil {
		return nil, err
	}
	if err := s.g2.multiples(s.pool, g2, []fr.Element{t.Beta, t.Gamma, t.Delta}); err != nil {
		return nil, err
	}
	vk := &VerifyingKey{
		Alpha1: g1[0], Beta1: g1[1], Delta1: g1[2], IC: g1[3:],
		Beta2: g2[0], Gamma2: g2[1], Delta2: g2[2],
	}
	for i := range vk.IC {
		if vk.IC[i].IsInfinity() {
			return nil, fmt.Errorf("%w: ic %d is the identity", ErrTrapdoor, i)
		}
	}
	return vk, nil
}

// lagrange evaluates the Lagrange polynomials of a domain at τ:
// L_j(τ) = ω^j·(τ^m − 1) / (m·(τ − ω^j)).
type lagrange struct {
	tau, omega, scale fr.Element // scale = (τ^m − 1)/m
}

func newLagrange(m int, tau, vanishing *fr.Element) lagrange {
	d := fft.NewDomain(uint64(m), fft.WithoutPrecompute())
	l := lagrange{tau: *tau, omega: d.Generator}
	l.scale.Mul(vanishing, &d.CardinalityInv)
	return l
}

// values returns L_from(τ) … L_{from+n−1}(τ).
func (l *lagrange) values(from, n int) []fr.Element {
	var power fr.Element
	power.Exp(l.omega, big.NewInt(int64(from)))
	powers := make([]fr.Element, n)
	differences := make([]fr.Element, n)
	for j := range powers {
		powers[j] = power
		differences[j].Sub(&l.tau, &power)
		power.Mul(&power, &l.omega)
	}
	inverses := fr.BatchInvert(differences)
	for j := range powers {
		powers[j].Mul(&powers[j], &inverses[j]).Mul(&powers[j], &l.scale)
	}
	return powers
}
