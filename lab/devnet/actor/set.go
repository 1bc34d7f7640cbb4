package actor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-bitfield"
)

// Set is an ascending list of distinct numbers (sectors or partitions). Its
// methods never change their operands.
type Set []uint64

// NewSet returns the set of the given numbers, in any order, duplicates allowed.
func NewSet(numbers ...uint64) Set {
	s := slices.Clone(numbers)
	slices.Sort(s)
	return Set(slices.Compact(s))
}

// setOf reads a bitfield that came from outside, refusing more than limit bits.
func setOf(b bitfield.BitField, limit uint64) (Set, error) {
	n, err := b.Count()
	if err != nil {
		return nil, fmt.Errorf("bitfield: %w", err)
	}
	if n > limit {
		return nil, fmt.Errorf("bitfield of %d bits, limit %d", n, limit)
	}
	all, err := b.All(limit)
	if err != nil {
		return nil, fmt.Errorf("bitfield: %w", err)
	}
	return Set(all), nil
}

// Has reports whether n is in the set.
func (s Set) Has(n uint64) bool {
	_, ok := slices.BinarySearch(s, n)
	return ok
}

// Contains reports whether every number of o is in the set.
func (s Set) Contains(o Set) bool { return len(o.Minus(s)) == 0 }

// Union returns the numbers in either set.
func (s Set) Union(o Set) Set {
	return NewSet(append(slices.Clone([]uint64(s)), o...)...)
}

// Minus returns the numbers of s that are not in o.
func (s Set) Minus(o Set) Set { return s.where(func(n uint64) bool { return !o.Has(n) }) }

// And returns the numbers in both sets.
func (s Set) And(o Set) Set { return s.where(o.Has) }

func (s Set) where(keep func(uint64) bool) Set {
	var out Set
	for _, n := range s {
		if keep(n) {
			out = append(out, n)
		}
	}
	return out
}

// Bits returns the set as a bitfield of its own.
func (s Set) Bits() bitfield.BitField { return bitfield.NewFromSet(s) }

// String writes the set as the actor's error texts do (the debug form of a
// Rust BitField): BitField { ranges: [0..1], set: {}, unset: {} }.
func (s Set) String() string {
	var runs []string
	for i := 0; i < len(s); {
		j := i + 1
		for j < len(s) && s[j] == s[j-1]+1 {
			j++
		}
		runs = append(runs, fmt.Sprintf("%d..%d", s[i], s[j-1]+1))
		i = j
	}
	return "BitField { ranges: [" + strings.Join(runs, ", ") + "], set: {}, unset: {} }"
}
