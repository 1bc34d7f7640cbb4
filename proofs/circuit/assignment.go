package circuit

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ErrShape is wrapped by the refusal of openings that do not have the shape of
// the circuit.
var ErrShape = errors.New("openings do not fit the circuit")

// Sector is the private side of one sector block.
type Sector struct {
	CommR, CommC, CommRLast fr.Element
	Openings                []Opening // one for each challenge
}

// Opening is a leaf and its Merkle path.
type Opening struct {
	Leaf   fr.Element
	Levels []Level // from the leaf up, one for each of Config.Levels
}

// Level is one step of a path.
type Level struct {
	Index    int          // position of the path's node among the children, 0…arity−1
	Siblings []fr.Element // the other arity−1 children, ascending
}

// Assignment gives the values of a circuit's blocks. It satisfies the
// constraints exactly if every sector's openings are right; a wrong one shows
// as an unsatisfied constraint in Rows, not as an error. Safe for concurrent
// use if its source is.
type Assignment struct {
	circuit *Circuit
	source  func(block int) (*Sector, error)
	scratch sync.Pool // *[]fr.Element, the auxiliary variables of a block
}

// Assign makes the assignment of the sectors that source returns; it is asked
// for a block as often as values of it are wanted.
func (c *Circuit) Assign(source func(block int) (*Sector, error)) *Assignment {
	return &Assignment{circuit: c, source: source}
}

// Witness writes the public inputs and auxiliary variables of a block. Either
// slice may be nil.
func (a *Assignment) Witness(block int, inputs, aux []fr.Element) error {
	s, err := a.sector(block)
	if err != nil {
		return err
	}
	if inputs != nil {
		inputs[0] = s.CommR
		for i := range s.Openings {
			inputs[1+i].SetUint64(leafIndex(a.circuit.config.Levels, &s.Openings[i]))
		}
	}
	if aux != nil {
		a.circuit.fill(s, aux)
	}
	return nil
}

// Rows writes the values of the three sides of every constraint of a block.
// Any slice may be nil.
func (a *Assignment) Rows(block int, left, right, product []fr.Element) error {
	s, err := a.sector(block)
	if err != nil {
		return err
	}
	scratch, _ := a.scratch.Get().(*[]fr.Element)
	if scratch == nil {
		aux := make([]fr.Element, a.circuit.aux)
		scratch = &aux
	}
	defer a.scratch.Put(scratch)
	a.circuit.fill(s, *scratch)
	a.circuit.evaluate(s, *scratch, &rowWriter{a: left, b: right, c: product})
	return nil
}

// sector fetches a block's sector and checks its shape.
func (a *Assignment) sector(block int) (*Sector, error) {
	s, err := a.source(block)
	if err != nil {
		return nil, fmt.Errorf("sector block %d: %w", block, err)
	}
	if err := a.circuit.checkShape(s); err != nil {
		return nil, fmt.Errorf("sector block %d: %w", block, err)
	}
	return s, nil
}

func (c *Circuit) checkShape(s *Sector) error {
	if len(s.Openings) != c.config.Challenges {
		return fmt.Errorf("%w: %d openings for %d challenges", ErrShape, len(s.Openings), c.config.Challenges)
	}
	for i := range s.Openings {
		levels := s.Openings[i].Levels
		if len(levels) != len(c.config.Levels) {
			return fmt.Errorf("%w: path %d has %d levels of %d", ErrShape, i, len(levels), len(c.config.Levels))
		}
		for k, arity := range c.config.Levels {
			if len(levels[k].Siblings) != arity-1 || levels[k].Index < 0 || levels[k].Index >= arity {
				return fmt.Errorf("%w: path %d, level %d: index %d with %d siblings in a level of arity %d",
					ErrShape, i, k, levels[k].Index, len(levels[k].Siblings), arity)
			}
		}
	}
	return nil
}

// leafIndex joins the positions of a path, leaf level in the lowest bits.
func leafIndex(arities []int, o *Opening) uint64 {
	var index uint64
	shift := 0
	for k, arity := range arities {
		index |= uint64(o.Levels[k].Index) << shift
		shift += bits.Len(uint(arity - 1))
	}
	return index
}

// fill writes the auxiliary variables of a block in allocation order.
func (c *Circuit) fill(s *Sector, aux []fr.Element) {
	aux[auxCommRLast], aux[auxCommC], aux[auxCommR] = s.CommRLast, s.CommC, s.CommR
	at := auxHead
	hash := func(preimage []fr.Element) fr.Element {
		trace := aux[at : at+c.node(len(preimage)).hash.trace]
		c.hashes.of(len(preimage)).Trace(trace, preimage)
		at += len(trace)
		return aux[at-1]
	}
	put := func(v *fr.Element) {
		aux[at] = *v
		at++
	}
	hash([]fr.Element{s.CommC, s.CommRLast})
	for i := range s.Openings {
		o := &s.Openings[i]
		cur := o.Leaf
		put(&cur)
		for k, arity := range c.config.Levels {
			var values insertionValues
			values.set(arity, &cur, &o.Levels[k])
			for b := range bits.Len(uint(arity - 1)) {
				put(&values[slotBit+b])
			}
			for j := range o.Levels[k].Siblings {
				put(&o.Levels[k].Siblings[j])
			}
			values.compute(c.node(arity).insertion, put, nil)
			cur = hash(values[slotOut : slotOut+arity])
		}
	}
}

// evaluate writes the rows of a block, given its auxiliary variables, in the
// order of compile.
func (c *Circuit) evaluate(s *Sector, aux []fr.Element, w *rowWriter) {
	oneValue := fr.One()
	at := auxHead
	hash := func(preimage []fr.Element) *fr.Element {
		g := c.node(len(preimage)).hash
		g.constraintRows(w, preimage, aux[at:at+g.trace])
		at += g.trace
		return &aux[at-1]
	}
	skip := func(*fr.Element) { at++ }

	w.put(&s.CommR, &oneValue, &s.CommR)
	h := hash([]fr.Element{s.CommC, s.CommRLast})
	w.put(&s.CommR, &oneValue, h)
	for i := range s.Openings {
		o := &s.Openings[i]
		cur := &aux[at]
		at++
		for k, arity := range c.config.Levels {
			var values insertionValues
			values.set(arity, cur, &o.Levels[k])
			for b := range bits.Len(uint(arity - 1)) {
				bit := &values[slotBit+b]
				var complement, zero fr.Element
				complement.Sub(&oneValue, bit)
				w.put(&complement, bit, &zero)
				at++
			}
			at += arity - 1
			values.compute(c.node(arity).insertion, skip, w)
			cur = hash(values[slotOut : slotOut+arity])
		}
		var index fr.Element
		index.SetUint64(leafIndex(c.config.Levels, o))
		w.put(&index, &oneValue, &index)
		w.put(cur, &oneValue, &s.CommRLast)
	}
}

// insertionValues are the values of the slots of an insertion gadget.
type insertionValues [slots]fr.Element

// set loads the gadget's inputs.
func (v *insertionValues) set(arity int, cur *fr.Element, level *Level) {
	v[slotCur] = *cur
	copy(v[slotSibling:slotSibling+arity-1], level.Siblings)
	for b := range bits.Len(uint(arity - 1)) {
		v[slotBit+b].SetUint64(uint64(level.Index) >> b & 1)
	}
}

// compute works the gadget out. It calls put for each value that the circuit
// allocates and writes the rows to w unless that is nil.
func (v *insertionValues) compute(plan *insertion, put func(*fr.Element), w *rowWriter) {
	if plan.decode {
		oneValue := fr.One()
		var not0, not1 fr.Element
		not0.Sub(&oneValue, &v[slotBit])
		not1.Sub(&oneValue, &v[slotBit+1])
		v[slotNor].Mul(&not0, &not1)
		v[slotAnd].Mul(&v[slotBit], &v[slotBit+1])
		put(&v[slotNor])
		put(&v[slotAnd])
		if w != nil {
			w.put(&not0, &not1, &v[slotNor])
			w.put(&v[slotBit], &v[slotBit+1], &v[slotAnd])
		}
	}
	for _, p := range plan.picks {
		yes, no := v[p.yes], v[p.no]
		v[p.to] = no
		if v[p.when].IsOne() {
			v[p.to] = yes
		}
		put(&v[p.to])
		if w != nil {
			var left, product fr.Element
			left.Sub(&no, &yes)
			product.Sub(&no, &v[p.to])
			w.put(&left, &v[p.when], &product)
		}
	}
}

// rowWriter writes the values of consecutive rows; nil columns are dropped.
type rowWriter struct {
	a, b, c []fr.Element
	n       int
}

func (w *rowWriter) put(a, b, c *fr.Element) {
	if w.a != nil {
		w.a[w.n] = *a
	}
	if w.b != nil {
		w.b[w.n] = *b
	}
	if w.c != nil {
		w.c[w.n] = *c
	}
	w.n++
}
