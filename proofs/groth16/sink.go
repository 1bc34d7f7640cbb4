package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// Counts are the lengths of the vectors of a key.
type Counts struct {
	IC uint64 // ONE and the public inputs
	H  uint64 // domain size less one
	L  uint64 // auxiliary variables
	A  uint64 // inputs and auxiliary variables with A-density
	B  uint64 // ONE and auxiliary variables with B-density; b_g1 and b_g2
}

// Points is the number of points of the five vectors of a proving key.
func (c Counts) Points() uint64 { return c.H + c.L + c.A + 2*c.B }

// CountsOf returns the lengths that the keys of a circuit have.
func CountsOf(c Circuit) (Counts, error) {
	l, err := newLayout(c)
	if err != nil {
		return Counts{}, err
	}
	return l.counts(), nil
}

// Sink receives a proving key while it is made, in the order of a .params
// file. Calls come from one goroutine: Begin once; then the points of h, l, a
// and b_g1 through G1 and those of b_g2 through G2, in pieces of any size that
// hold points of one vector only; then End. The slices are valid only during
// the call. An error ends the setup and is returned by it, wrapped; End is not
// called then.
type Sink interface {
	Begin(vk *VerifyingKey, counts Counts) error
	G1(points []bls.G1Affine) error
	G2(points []bls.G2Affine) error
	End() error
}

// ResumingSink is a Sink that may have the beginning of the key already, from a
// setup of the same circuit and trapdoor that was interrupted.
type ResumingSink interface {
	Sink
	// Resume is called once, after Begin. It returns how many points the sink
	// has, counted through the vectors in their order. Setup does not make
	// those again; the first point it hands over is the next one.
	Resume() (points uint64)
}

// keySink collects a key in memory.
type keySink struct {
	pk   ProvingKey
	fill []*[]bls.G1Affine // the G1 vectors that are not complete, in order
}

func (s *keySink) Begin(vk *VerifyingKey, n Counts) error {
	s.pk = ProvingKey{
		VK: *vk,
		H:  make([]bls.G1Affine, 0, n.H),
		L:  make([]bls.G1Affine, 0, n.L),
		A:  make([]bls.G1Affine, 0, n.A),
		B1: make([]bls.G1Affine, 0, n.B),
		B2: make([]bls.G2Affine, 0, n.B),
	}
	s.fill = []*[]bls.G1Affine{&s.pk.H, &s.pk.L, &s.pk.A, &s.pk.B1}
	return nil
}

func (s *keySink) G1(points []bls.G1Affine) error {
	for len(*s.fill[0]) == cap(*s.fill[0]) {
		s.fill = s.fill[1:]
	}
	*s.fill[0] = append(*s.fill[0], points...)
	return nil
}

func (s *keySink) G2(points []bls.G2Affine) error {
	s.pk.B2 = append(s.pk.B2, points...)
	return nil
}

func (s *keySink) End() error { return nil }

// SetupInMemory is Setup into a ProvingKey of its own.
func SetupInMemory(c Circuit, t *Trapdoor, config SetupConfig) (*ProvingKey, error) {
	var s keySink
	if err := Setup(c, t, &s, config); err != nil {
		return nil, err
	}
	return &s.pk, nil
}
