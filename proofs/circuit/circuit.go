package circuit

import (
	"fmt"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/poseidon"
)

// Config is the shape of a partition's circuit.
type Config struct {
	// Levels are the arities of the tree, from the leaves to comm_r_last:
	// base levels, then the sub layer, then the top layer; each 2 or 8.
	Levels     []int
	Challenges int // openings of each sector block
	Sectors    int // sector blocks
}

// validate refuses shapes that are no circuit.
func (c *Config) validate() error {
	if c.Challenges < 1 || c.Sectors < 1 || len(c.Levels) == 0 {
		return fmt.Errorf("circuit: %d sectors with %d challenges over %d tree levels: all must be at least 1",
			c.Sectors, c.Challenges, len(c.Levels))
	}
	for _, arity := range c.Levels {
		if arity != 2 && arity != 8 {
			return fmt.Errorf("circuit: tree level of arity %d: only 2 and 8 occur in tree-r-last", arity)
		}
	}
	return nil
}

// Hashes are the Poseidon constants a circuit is built from.
type Hashes struct {
	Arity2, Arity8 *poseidon.Params
}

// of returns the parameters of arity 2 or 8.
func (h Hashes) of(arity int) *poseidon.Params {
	if arity == 2 {
		return h.Arity2
	}
	return h.Arity8
}

// Circuit is a compiled sector block and the number of its repetitions. It is
// immutable and safe for concurrent use.
type Circuit struct {
	config  Config
	hashes  Hashes
	inputs  int // of one block: comm_r and the leaf indices
	aux     int // of one block
	a, b, c rows
	dict    dictionary

	arity2, arity8 node
}

// node is what one tree level of an arity is made of.
type node struct {
	insertion *insertion
	hash      *gadget
}

// New compiles one sector block.
func New(config Config, hashes Hashes) (*Circuit, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	config.Levels = slices.Clone(config.Levels)
	c := &Circuit{
		config: config, hashes: hashes, inputs: 1 + config.Challenges,
		dict: dictionary{index: make(map[fr.Element]uint32)},
	}
	c.arity2 = node{newInsertion(2), newGadget(&c.dict, hashes.Arity2)}
	c.arity8 = node{newInsertion(8), newGadget(&c.dict, hashes.Arity8)}
	c.compile()
	return c, nil
}

// Blocks is the number of sector blocks.
func (c *Circuit) Blocks() int { return c.config.Sectors }

// Constraints is the number of constraints of one block. Spec 6.5.
func (c *Circuit) Constraints() int { return c.a.len() }

// Inputs is the number of public inputs of one block: comm_r, then the leaf
// index of each challenge.
func (c *Circuit) Inputs() int { return c.inputs }

// Aux is the number of auxiliary variables of one block.
func (c *Circuit) Aux() int { return c.aux }

// A returns the terms of the left factor of constraint i of a block: variables
// in ascending order (0 is ONE, then inputs, then auxiliaries) and, for each,
// an index into Coefficients. The slices must not be written.
func (c *Circuit) A(i int) (variables, coefficients []uint32) { return c.a.row(i) }

// B is A for the right factor.
func (c *Circuit) B(i int) (variables, coefficients []uint32) { return c.b.row(i) }

// C is A for the product.
func (c *Circuit) C(i int) (variables, coefficients []uint32) { return c.c.row(i) }

// Coefficients are the distinct coefficients of the block. The slice must not
// be written.
func (c *Circuit) Coefficients() []fr.Element { return c.dict.values }

// node returns the gadgets of arity 2 or 8.
func (c *Circuit) node(arity int) *node {
	if arity == 2 {
		return &c.arity2
	}
	return &c.arity8
}
