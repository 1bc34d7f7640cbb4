package groth16

import (
	"fmt"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Circuit is a rank-1 constraint system of Blocks() identical blocks that share
// nothing but the constant ONE: constraint i of every block is A_i·B_i = C_i
// over that block's own variables.
//
// The variables of a block are numbered 0 for ONE, 1…Inputs() for its public
// inputs and Inputs()+1…Inputs()+Aux() for its auxiliary variables. In the
// whole system the inputs are ONE and then those of block 0, 1, …; auxiliary
// variables and constraints likewise follow block by block.
//
// All methods are pure and safe for concurrent use; the returned slices are
// never written.
type Circuit interface {
	Blocks() int
	Constraints() int // of one block
	Inputs() int      // of one block, without ONE
	Aux() int         // of one block

	// A, B and C return the terms of constraint i: each variable at most once,
	// with the index of its non-zero coefficient in Coefficients.
	A(i int) (variables, coefficients []uint32)
	B(i int) (variables, coefficients []uint32)
	C(i int) (variables, coefficients []uint32)
	Coefficients() []fr.Element
}

// Assignment gives the values of one instance of a Circuit, block by block.
//
// Both methods may be called from several goroutines, for any block, in any
// order and more than once with equal results; they fill every element of the
// slices given. A nil slice means that these values are not wanted.
type Assignment interface {
	// Witness writes the Inputs() and Aux() variables of a block.
	Witness(block int, inputs, aux []fr.Element) error
	// Rows writes the Constraints() values of A_i, B_i and C_i of a block.
	Rows(block int, a, b, c []fr.Element) error
}

// layout is what proving and setup need to know of a circuit besides its terms.
type layout struct {
	blocks      int
	constraints int // of one block
	inputs      int // of one block, without ONE
	aux         int // of one block

	// Auxiliary variables of one block, numbered from 0, that occur in some A
	// (or B) row; ascending. Spec 7.4.
	denseA, denseB []uint32
}

// newLayout walks the rows of one block. It fails if a circuit breaks the rules
// on which the layout of keys rests: a public input must not occur in B.
func newLayout(c Circuit) (*layout, error) {
	l := &layout{blocks: c.Blocks(), constraints: c.Constraints(), inputs: c.Inputs(), aux: c.Aux()}
	if l.blocks < 1 || l.constraints < 1 || l.inputs < 0 || l.aux < 0 {
		return nil, fmt.Errorf("circuit of %d blocks with %d constraints, %d inputs, %d auxiliary variables: nothing to prove",
			l.blocks, l.constraints, l.inputs, l.aux)
	}
	inA := make([]bool, 1+l.inputs+l.aux)
	inB := make([]bool, 1+l.inputs+l.aux)
	for i := range l.constraints {
		variables, _ := c.A(i)
		for _, v := range variables {
			inA[v] = true
		}
		variables, _ = c.B(i)
		for _, v := range variables {
			inB[v] = true
		}
	}
	for v := 1; v <= l.inputs; v++ {
		if inB[v] {
			return nil, fmt.Errorf("public input %d of a block occurs in B: such circuits are not supported", v)
		}
	}
	if !inB[0] {
		return nil, fmt.Errorf("the constant ONE does not occur in B: such circuits are not supported")
	}
	l.denseA = denseIndices(inA[1+l.inputs:])
	l.denseB = denseIndices(inB[1+l.inputs:])
	return l, nil
}

// denseIndices lists the positions that are set.
func denseIndices(set []bool) []uint32 {
	var out []uint32
	for i, s := range set {
		if s {
			out = append(out, uint32(i))
		}
	}
	return out
}

// allInputs is the number of public inputs of the system, ONE included.
func (l *layout) allInputs() int { return 1 + l.blocks*l.inputs }

// allAux is the number of auxiliary variables of the system.
func (l *layout) allAux() int { return l.blocks * l.aux }

// inputRow is the row that bellperson appends for input 0 (ONE); those of the
// other inputs follow. Spec 7.1.
func (l *layout) inputRow() int { return l.blocks * l.constraints }

// domain is m, the size of the FFT domain.
func (l *layout) domain() int {
	rows := l.inputRow() + l.allInputs()
	return 1 << bits.Len(uint(rows-1))
}

// counts are the vector lengths of the circuit's keys. Spec 7.3, 7.4.
func (l *layout) counts() Counts {
	return Counts{
		IC: uint64(l.allInputs()),
		H:  uint64(l.domain() - 1),
		L:  uint64(l.allAux()),
		A:  uint64(l.allInputs() + l.blocks*len(l.denseA)),
		B:  uint64(1 + l.blocks*len(l.denseB)),
	}
}

// checkKey reports whether the lengths of a proving key are those of the
// circuit. Spec 7.4: the reference makes a wrong proof from a wrong key.
func (l *layout) checkKey(pk *ProvingKey) error {
	want := l.counts()
	for _, v := range []struct {
		name string
		got  int
		want uint64
	}{
		{"ic", len(pk.VK.IC), want.IC},
		{"h", len(pk.H), want.H},
		{"l", len(pk.L), want.L},
		{"a", len(pk.A), want.A},
		{"b_g1", len(pk.B1), want.B},
		{"b_g2", len(pk.B2), want.B},
	} {
		if uint64(v.got) != v.want {
			return fmt.Errorf("%w: %s has %d points, this circuit needs %d: the parameters are of another circuit", ErrMalformedKey, v.name, v.got, v.want)
		}
	}
	if pk.VK.Delta1.IsInfinity() || pk.VK.Delta2.IsInfinity() {
		return fmt.Errorf("%w: delta is the identity", ErrMalformedKey)
	}
	return nil
}
