package actor

// assign chooses a deadline for each of n new sectors, given how many each
// deadline has already: first the deadline that would end up with the fewest
// partitions, then one whose last partition is not full (the fullest such),
// then the one with the fewest sectors, then the lowest.
//
// Source: builtin-actors deadline_assignment.rs; nothing is ever terminated
// here, so live and total sectors are the same.
func assign(counts []uint64, partitionSectors uint64, n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		best := 0
		for d := 1; d < len(counts); d++ {
			if preferred(counts[d], counts[best], partitionSectors) {
				best = d
			}
		}
		counts[best]++
		out[i] = uint64(best)
	}
	return out
}

// preferred reports whether a deadline of a sectors goes before one of b sectors
// with a lower index.
func preferred(a, b, partitionSectors uint64) bool {
	if pa, pb := a/partitionSectors, b/partitionSectors; pa != pb { // partitions after one more, minus one
		return pa < pb
	}
	openA, openB := a%partitionSectors != 0, b%partitionSectors != 0
	if openA != openB {
		return openA
	}
	if openA && a != b {
		return a > b
	}
	return a < b
}
