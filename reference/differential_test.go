//go:build differential

// Package reference compares our prover with rust-fil-proofs, each judging the
// other's work, and tries our host and daemons with a processor of another
// make: `make differential`.
package reference

import (
	"path/filepath"
	"testing"
)

// shape is a sector size, of which each stands for a shape of tree.
type shape struct {
	size uint64
	name string
}

var (
	shape2KiB  = shape{2 << 10, "2KiB"}   // one base tree
	shape4KiB  = shape{4 << 10, "4KiB"}   // 2 base trees
	shape16KiB = shape{16 << 10, "16KiB"} // 8 base trees, the shape of 32 GiB
	shape32KiB = shape{32 << 10, "32KiB"} // 2 × 8 base trees, the shape of 64 GiB
	shape8MiB  = shape{8 << 20, "8MiB"}   // one base tree of 7 rows, 2 of them not stored
)

// TestDifferential proves the same calls with both: window and winning, full,
// padded and several partitions, both ways of drawing challenges, every shape
// of tree, under parameters of both makers.
func TestDifferential(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		shape           shape
		sectors         int
		window, winning []bool // whose parameters: ours if true
		whole           bool   // all kinds of calls
	}{
		{shape2KiB, 5, []bool{true, false}, []bool{true, false}, true},
		{shape4KiB, 3, []bool{false}, []bool{true}, false},
		{shape16KiB, 3, []bool{true}, []bool{true}, false},
		{shape32KiB, 3, []bool{true}, []bool{true}, false},
		{shape8MiB, 1, []bool{true}, nil, false},
	} {
		t.Run(c.shape.name, func(t *testing.T) {
			r := r.in(t)
			sectors := r.makeSectors(c.shape.size, c.sectors)
			all := make([]uint64, c.sectors)
			for i := range all {
				all[i] = uint64(i + 1)
			}
			for _, ours := range c.window {
				params := filepath.Join(r.dir, "window", maker(ours))
				r.makeParams(params, c.shape, "window", ours)
				r.compare(call{params: params, sectors: sectors, typ: "window", numbers: all})
				if c.whole {
					r.compare(call{params: params, sectors: sectors, typ: "window", numbers: all[:2]})
					r.compare(call{params: params, sectors: sectors, typ: "window", numbers: all[3:4]})
					r.compare(call{params: params, sectors: sectors, typ: "window", numbers: all, api: "1.0"})
					r.compare(call{params: params, sectors: sectors, typ: "window", numbers: all, singlePartitions: true})
				}
			}
			for _, ours := range c.winning {
				params := filepath.Join(r.dir, "winning", maker(ours))
				r.makeParams(params, c.shape, "winning", ours)
				r.compare(call{params: params, sectors: sectors, typ: "winning", numbers: all})
			}
		})
	}
}

func maker(ours bool) string {
	if ours {
		return "ours"
	}
	return "theirs"
}
