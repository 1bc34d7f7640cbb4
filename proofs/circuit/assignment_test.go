package circuit_test

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/circuit"
	"wdpost/proofs/poseidon"
)

// randomSector makes a sector with true openings: all paths are built over the
// same comm_r_last, which only works for one opening; further ones repeat it.
func randomSector(rnd *rand.Rand, config circuit.Config, h circuit.Hashes) *circuit.Sector {
	element := func() fr.Element { return fr.NewElement(rnd.Uint64()) }
	o := circuit.Opening{Leaf: element()}
	node := o.Leaf
	for _, arity := range config.Levels {
		level := circuit.Level{Index: rnd.IntN(arity)}
		var group []fr.Element
		for i := range arity {
			if i == level.Index {
				group = append(group, node)
				continue
			}
			level.Siblings = append(level.Siblings, element())
			group = append(group, level.Siblings[len(level.Siblings)-1])
		}
		node = map[int]*poseidon.Params{2: h.Arity2, 8: h.Arity8}[arity].Hash(group)
		o.Levels = append(o.Levels, level)
	}
	s := &circuit.Sector{CommC: element(), CommRLast: node}
	s.CommR = h.Arity2.Hash([]fr.Element{s.CommC, s.CommRLast})
	for range config.Challenges {
		s.Openings = append(s.Openings, o)
	}
	return s
}

// evaluate computes the values of the rows from the compiled terms.
func evaluate(c *circuit.Circuit, side func(int) ([]uint32, []uint32), variables []fr.Element) []fr.Element {
	out := make([]fr.Element, c.Constraints())
	var t fr.Element
	for i := range out {
		vars, coefficients := side(i)
		for k, v := range vars {
			out[i].Add(&out[i], t.Mul(&c.Coefficients()[coefficients[k]], &variables[v]))
		}
	}
	return out
}

// TestRows holds the shortcut, rows from the Poseidon trace, against the
// compiled constraints and the witness, for every tree shape and every
// position of a node among its siblings.
func TestRows(t *testing.T) {
	h := hashes()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, levels := range [][]int{{8}, {2}, {8, 8}, {8, 2}, {8, 8, 8}, {8, 8, 8, 2}} {
		config := circuit.Config{Levels: levels, Challenges: 2, Sectors: 1}
		c, err := circuit.New(config, h)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			s := randomSector(rnd, config, h)
			a := c.Assign(func(int) (*circuit.Sector, error) { return s, nil })
			variables := make([]fr.Element, 1+c.Inputs()+c.Aux())
			variables[0].SetOne()
			if err := a.Witness(0, variables[1:1+c.Inputs()], variables[1+c.Inputs():]); err != nil {
				t.Fatal(err)
			}
			rows := [3][]fr.Element{}
			for i := range rows {
				rows[i] = make([]fr.Element, c.Constraints())
			}
			if err := a.Rows(0, rows[0], rows[1], rows[2]); err != nil {
				t.Fatal(err)
			}
			for side, terms := range []func(int) ([]uint32, []uint32){c.A, c.B, c.C} {
				for i, want := range evaluate(c, terms, variables) {
					if rows[side][i] != want {
						t.Fatalf("levels %v: side %d of constraint %d differs from its terms", levels, side, i)
					}
				}
			}
			var product fr.Element
			for i := range rows[0] {
				if product.Mul(&rows[0][i], &rows[1][i]); product != rows[2][i] {
					t.Fatalf("levels %v: constraint %d is not satisfied", levels, i)
				}
			}
			var index uint64
			shift := 0
			for k, arity := range levels {
				index += uint64(s.Openings[0].Levels[k].Index) << shift
				shift += bits.Len(uint(arity - 1))
			}
			if want := fr.NewElement(index); variables[2] != want || variables[3] != want || variables[1] != s.CommR {
				t.Fatalf("levels %v: public inputs %v, want comm_r and index %d", levels, variables[1:4], index)
			}
		}
	}
}

// TestFalseOpenings: whatever is wrong in a sector leaves a constraint
// unsatisfied.
func TestFalseOpenings(t *testing.T) {
	h := hashes()
	config := circuit.Config{Levels: []int{8, 8, 2}, Challenges: 2, Sectors: 1}
	c, err := circuit.New(config, h)
	if err != nil {
		t.Fatal(err)
	}
	bump := func(x *fr.Element) {
		one := fr.One()
		x.Add(x, &one)
	}
	for name, change := range map[string]func(*circuit.Sector){
		"comm_r":      func(s *circuit.Sector) { bump(&s.CommR) },
		"comm_c":      func(s *circuit.Sector) { bump(&s.CommC) },
		"comm_r_last": func(s *circuit.Sector) { bump(&s.CommRLast) },
		"leaf":        func(s *circuit.Sector) { bump(&s.Openings[1].Leaf) },
		"sibling":     func(s *circuit.Sector) { bump(&s.Openings[1].Levels[1].Siblings[3]) },
		"top sibling": func(s *circuit.Sector) { bump(&s.Openings[0].Levels[2].Siblings[0]) },
		"index":       func(s *circuit.Sector) { s.Openings[0].Levels[0].Index ^= 1 },
	} {
		s := randomSector(rand.New(rand.NewPCG(3, 4)), config, h)
		change(s)
		a := c.Assign(func(int) (*circuit.Sector, error) { return s, nil })
		left, right, want := make(fr.Vector, c.Constraints()), make(fr.Vector, c.Constraints()), make(fr.Vector, c.Constraints())
		if err := a.Rows(0, left, right, want); err != nil {
			t.Fatal(err)
		}
		left.Mul(left, right)
		if left.Equal(want) {
			t.Errorf("%s changed: all constraints are satisfied", name)
		}
	}
}

// TestShape: openings of another shape are refused before they are read.
func TestShape(t *testing.T) {
	h := hashes()
	config := circuit.Config{Levels: []int{8, 2}, Challenges: 2, Sectors: 1}
	c, err := circuit.New(config, h)
	if err != nil {
		t.Fatal(err)
	}
	failed := errors.New("not there")
	for name, tt := range map[string]struct {
		change func(*circuit.Sector)
		source error
		want   error
	}{
		"openings": {func(s *circuit.Sector) { s.Openings = s.Openings[1:] }, nil, circuit.ErrShape},
		"levels":   {func(s *circuit.Sector) { s.Openings[1].Levels = s.Openings[1].Levels[1:] }, nil, circuit.ErrShape},
		"siblings": {func(s *circuit.Sector) { s.Openings[1].Levels[0].Siblings = nil }, nil, circuit.ErrShape},
		"index":    {func(s *circuit.Sector) { s.Openings[1].Levels[1].Index = 2 }, nil, circuit.ErrShape},
		"negative": {func(s *circuit.Sector) { s.Openings[1].Levels[1].Index = -1 }, nil, circuit.ErrShape},
		"source":   {func(*circuit.Sector) {}, failed, failed},
	} {
		s := randomSector(rand.New(rand.NewPCG(5, 6)), config, h)
		s.Openings = []circuit.Opening{s.Openings[0], {Leaf: s.Openings[0].Leaf, Levels: append([]circuit.Level(nil), s.Openings[0].Levels...)}}
		tt.change(s)
		a := c.Assign(func(int) (*circuit.Sector, error) { return s, tt.source })
		if err := a.Witness(0, make([]fr.Element, c.Inputs()), nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: Witness: %v, want %v", name, err, tt.want)
		}
		if err := a.Rows(0, nil, nil, make([]fr.Element, c.Constraints())); !errors.Is(err, tt.want) {
			t.Errorf("%s: Rows: %v, want %v", name, err, tt.want)
		}
	}
	for _, bad := range []circuit.Config{{}, {Levels: []int{8}, Challenges: 1}, {Levels: []int{4}, Challenges: 1, Sectors: 1}, {Levels: []int{8}, Sectors: 1}} {
		if _, err := circuit.New(bad, h); err == nil {
			t.Errorf("New(%+v) succeeds", bad)
		}
	}
}
