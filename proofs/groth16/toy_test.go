package groth16_test

import (
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
)

// toy is a small circuit of the shape Prove expects: each block knows u and v
// with public x = u·v and y = u + v + 1, and an unused power of u for rows that
// touch one side only.
//
//	variables: 0 ONE, 1 x, 2 y, 3 u, 4 v, 5 u²
type toy struct{ blocks int }

type toyRow struct{ a, b, c []uint32 } // coefficient 1 for each term

var toyRows = []toyRow{
	{a: []uint32{3}, b: []uint32{4}, c: []uint32{1}},
	{a: []uint32{0, 3, 4}, b: []uint32{0}, c: []uint32{2}},
	{a: []uint32{3}, b: []uint32{3}, c: []uint32{5}},
}

func (c toy) Blocks() int      { return c.blocks }
func (c toy) Constraints() int { return len(toyRows) }
func (c toy) Inputs() int      { return 2 }
func (c toy) Aux() int         { return 3 }

func (c toy) Coefficients() []fr.Element { return []fr.Element{fr.One()} }

func (c toy) A(i int) (variables, coefficients []uint32) { return toyTerms(toyRows[i].a) }
func (c toy) B(i int) (variables, coefficients []uint32) { return toyTerms(toyRows[i].b) }
func (c toy) C(i int) (variables, coefficients []uint32) { return toyTerms(toyRows[i].c) }

func toyTerms(variables []uint32) (v, coefficients []uint32) {
	return variables, make([]uint32, len(variables))
}

// toyWitness assigns u = secrets[2k], v = secrets[2k+1] to block k. With broken
// set, u² is wrong.
type toyWitness struct {
	secrets []uint64
	broken  bool
}

// values returns all six variables of a block.
func (w toyWitness) values(block int) []fr.Element {
	v := make([]fr.Element, 6)
	v[0].SetOne()
	v[3].SetUint64(w.secrets[2*block])
	v[4].SetUint64(w.secrets[2*block+1])
	v[1].Mul(&v[3], &v[4])
	v[2].Add(&v[3], &v[4]).Add(&v[2], &v[0])
	v[5].Square(&v[3])
	if w.broken {
		v[5].Double(&v[5])
	}
	return v
}

func (w toyWitness) Witness(block int, inputs, aux []fr.Element) error {
	v := w.values(block)
	copy(inputs, v[1:3])
	copy(aux, v[3:])
	return nil
}

func (w toyWitness) Rows(block int, a, b, c []fr.Element) error {
	v := w.values(block)
	fill := func(dst []fr.Element, side func(toyRow) []uint32) {
		for i := range dst {
			dst[i].SetZero()
			for _, k := range side(toyRows[i]) {
				dst[i].Add(&dst[i], &v[k])
			}
		}
	}
	fill(a, func(r toyRow) []uint32 { return r.a })
	fill(b, func(r toyRow) []uint32 { return r.b })
	fill(c, func(r toyRow) []uint32 { return r.c })
	return nil
}

// inputs are the public inputs, without ONE.
func (w toyWitness) inputs() []fr.Element {
	var out []fr.Element
	for k := range len(w.secrets) / 2 {
		out = append(out, w.values(k)[1:3]...)
	}
	return out
}

// toyKeys makes random keys.
func toyKeys(t testing.TB, blocks int) *groth16.ProvingKey {
	t.Helper()
	trapdoor, err := groth16.NewTrapdoor(nil)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := groth16.SetupInMemory(toy{blocks}, trapdoor, groth16.SetupConfig{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	return pk
}

// verifier prepares a key.
func verifier(t testing.TB, vk *groth16.VerifyingKey) *groth16.Verifier {
	t.Helper()
	v, err := groth16.NewVerifier(vk, 2, kernel.Auto)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
