package params

import "wdpost/proofs/post"

// shape is the tree of a sector size: base trees of arity 8 and the given
// number of levels, joined by a layer of arity sub (0: none) and one of arity
// top (0: none). Spec section 2.4.
type shape struct {
	baseLevels int
	sub, top   int
}

func shapeOf(s post.Setup) shape {
	return map[uint64]shape{
		2 << 10:   {2, 0, 0},
		4 << 10:   {2, 2, 0},
		16 << 10:  {2, 8, 0},
		32 << 10:  {2, 8, 2},
		8 << 20:   {6, 0, 0},
		16 << 20:  {6, 2, 0},
		512 << 20: {8, 0, 0},
		1 << 30:   {8, 2, 0},
		32 << 30:  {9, 8, 0},
		64 << 30:  {9, 8, 2},
	}[s.SectorSize]
}

// levels counts the levels of arity 8 and of arity 2 on the path from a leaf
// to the root.
func (s shape) levels() (arity8, arity2 int) {
	arity8 = s.baseLevels
	for _, arity := range []int{s.sub, s.top} {
		switch arity {
		case 8:
			arity8++
		case 2:
			arity2++
		}
	}
	return arity8, arity2
}
