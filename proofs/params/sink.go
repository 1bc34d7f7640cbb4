package params

import (
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
)

// pieceSize is the number of points that move through a Sink at a time where
// this package decides it: 3 MB of G1, enough to keep many cores busy.
const pieceSize = 1 << 15

// Push feeds a key that is wholly in memory or mapped to a Sink.
func Push(dst groth16.Sink, key *groth16.ProvingKey) error {
	counts := groth16.Counts{
		IC: uint64(len(key.VK.IC)), H: uint64(len(key.H)), L: uint64(len(key.L)),
		A: uint64(len(key.A)), B: uint64(len(key.B1)),
	}
	if err := dst.Begin(&key.VK, counts); err != nil {
		return err
	}
	for _, points := range [][]bls.G1Affine{key.H, key.L, key.A, key.B1} {
		for len(points) > 0 {
			n := min(pieceSize, len(points))
			if err := dst.G1(points[:n]); err != nil {
				return err
			}
			points = points[n:]
		}
	}
	for points := key.B2; len(points) > 0; {
		n := min(pieceSize, len(points))
		if err := dst.G2(points[:n]); err != nil {
			return err
		}
		points = points[n:]
	}
	return dst.End()
}

// cursor follows a key through a Sink: which vector the next point belongs to
// and how many of its points are still to come. The zero value has no key.
type cursor struct {
	counts groth16.Counts
	vector Vector // VectorIC before Begin
	left   uint64 // points missing of vector
}

func (c *cursor) begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	if c.vector != VectorIC {
		return fmt.Errorf("proving key: begun twice")
	}
	if uint64(len(vk.IC)) != counts.IC {
		return fmt.Errorf("proving key: %w: ic has %d points, %d announced", ErrCount, len(vk.IC), counts.IC)
	}
	*c = cursor{counts: counts, vector: VectorH, left: counts.H}
	return nil
}

// enter moves on to the next vector that lacks points and reports which it is;
// ok is false when the key is complete.
func (c *cursor) enter() (v Vector, ok bool) {
	for c.left == 0 && c.vector < VectorB2 {
		c.vector++
		c.left = c.vector.length(c.counts)
	}
	return c.vector, c.left > 0
}

// take accounts for n points of G1 or G2, all of one vector.
func (c *cursor) take(n int, g2 bool) error {
	if c.vector == VectorIC {
		return fmt.Errorf("proving key: points before its beginning")
	}
	v, ok := c.enter()
	if !ok || (v == VectorB2) != g2 || uint64(n) > c.left {
		return fmt.Errorf("proving key: %w: %d points (G2: %t) where %s wants %d", ErrCount, n, g2, v, c.left)
	}
	c.left -= uint64(n)
	return nil
}

func (c *cursor) end() error {
	if c.vector == VectorIC {
		return fmt.Errorf("proving key: ended before its beginning")
	}
	if v, more := c.enter(); more {
		return fmt.Errorf("proving key: %w: %s lacks %d points", ErrCount, v, c.left)
	}
	return nil
}

// Memory is a groth16.Sink that keeps the key in memory.
type Memory struct {
	at  cursor
	key groth16.ProvingKey
}

// Begin makes room for the whole key.
func (m *Memory) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	if err := m.at.begin(vk, counts); err != nil {
		return err
	}
	m.key = groth16.ProvingKey{
		VK: *vk,
		H:  make([]bls.G1Affine, 0, counts.H),
		L:  make([]bls.G1Affine, 0, counts.L),
		A:  make([]bls.G1Affine, 0, counts.A),
		B1: make([]bls.G1Affine, 0, counts.B),
		B2: make([]bls.G2Affine, 0, counts.B),
	}
	return nil
}

// G1 keeps points of h, l, a or b_g1.
func (m *Memory) G1(points []bls.G1Affine) error {
	if err := m.at.take(len(points), false); err != nil {
		return err
	}
	dst := map[Vector]*[]bls.G1Affine{
		VectorH: &m.key.H, VectorL: &m.key.L, VectorA: &m.key.A, VectorB1: &m.key.B1,
	}[m.at.vector]
	*dst = append(*dst, points...)
	return nil
}

// G2 keeps points of b_g2.
func (m *Memory) G2(points []bls.G2Affine) error {
	if err := m.at.take(len(points), true); err != nil {
		return err
	}
	m.key.B2 = append(m.key.B2, points...)
	return nil
}

// End checks that the key is whole.
func (m *Memory) End() error { return m.at.end() }

// Key is the key after a successful End.
func (m *Memory) Key() *groth16.ProvingKey { return &m.key }
