package circuit

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Auxiliary variables at the beginning of a block. Spec 6.1.
const (
	auxCommRLast = iota
	auxCommC
	auxCommR
	auxHead // where the hash of comm_c and comm_r_last begins
)

// auxVariable is the variable of auxiliary j of a block.
func (c *Circuit) auxVariable(j int) uint32 { return uint32(1 + c.inputs + j) }

// alloc numbers the next auxiliary variable.
func (c *Circuit) alloc() uint32 {
	c.aux++
	return c.auxVariable(c.aux - 1)
}

// enforce appends the constraint a·b = p.
func (c *Circuit) enforce(a, b, p lc) {
	c.a.add(&c.dict, a)
	c.b.add(&c.dict, b)
	c.c.add(&c.dict, p)
}

// compile builds the sector block of spec 6.1.
func (c *Circuit) compile() {
	commRLast, commC, commR := c.alloc(), c.alloc(), c.alloc()
	const inputCommR = 1
	c.enforce(single(inputCommR), single(one), single(commR))
	h := c.hash([]uint32{commC, commRLast})
	c.enforce(single(commR), single(one), single(h))
	for i := range c.config.Challenges {
		c.opening(uint32(inputCommR+1+i), commRLast)
	}
}

// opening builds the challenge block of spec 6.2: a Merkle path from a leaf,
// whose index is the public input, to root.
func (c *Circuit) opening(inputIndex, root uint32) {
	cur := c.alloc()
	var index lc
	var weight fr.Element
	weight.SetOne()
	for _, arity := range c.config.Levels {
		level := make([]uint32, bits.Len(uint(arity-1)))
		for k := range level {
			bit := c.alloc()
			c.enforce(minus(one, bit), single(bit), nil)
			level[k] = bit
			index = append(index, term{bit, weight})
			weight.Double(&weight)
		}
		siblings := make([]uint32, arity-1)
		for k := range siblings {
			siblings[k] = c.alloc()
		}
		cur = c.hash(c.insert(cur, siblings, level))
	}
	c.enforce(index, single(one), single(inputIndex))
	c.enforce(single(cur), single(one), single(root))
}

// insert puts cur among its siblings at the position given by bits, the gadget
// of spec 6.3, and returns the preimage of the parent.
func (c *Circuit) insert(cur uint32, siblings, level []uint32) []uint32 {
	plan := c.node(len(siblings) + 1).insertion
	var slot [slots]uint32
	slot[slotCur] = cur
	copy(slot[slotSibling:], siblings)
	copy(slot[slotBit:], level)
	if plan.decode {
		nor, and := c.alloc(), c.alloc()
		c.enforce(minus(one, level[0]), minus(one, level[1]), single(nor))
		c.enforce(single(level[0]), single(level[1]), single(and))
		slot[slotNor], slot[slotAnd] = nor, and
	}
	for _, p := range plan.picks {
		v := c.alloc()
		c.enforce(minus(slot[p.no], slot[p.yes]), single(slot[p.when]), minus(slot[p.no], v))
		slot[p.to] = v
	}
	return append([]uint32(nil), slot[slotOut:slotOut+len(siblings)+1]...)
}

// hash instantiates a hash gadget and returns the digest's variable.
func (c *Circuit) hash(preimage []uint32) uint32 {
	g := c.node(len(preimage)).hash
	first := c.auxVariable(c.aux)
	c.aux += g.trace
	variable := func(local uint32) uint32 {
		switch {
		case local == one:
			return one
		case int(local) <= g.arity:
			return preimage[local-1]
		}
		return first + local - uint32(g.arity) - 1
	}
	for _, m := range []struct{ from, to *rows }{{&g.a, &c.a}, {&g.b, &c.b}, {&g.c, &c.c}} {
		for i := range m.from.len() {
			variables, coefficients := m.from.row(i)
			for _, local := range variables {
				m.to.variables = append(m.to.variables, variable(local))
			}
			m.to.coefficients = append(m.to.coefficients, coefficients...)
			m.to.end()
		}
	}
	return c.auxVariable(c.aux - 1)
}
