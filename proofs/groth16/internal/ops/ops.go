// Package ops holds the additions of points that wait for a batch, in the form
// that the vector kernels read: numbers of the targets and sources in two
// arrays, signs as bits.
package ops

// Group is the multiple of additions to which Pad fills a batch up: eight lanes
// of AVX-512, or twice four of AVX2.
const Group = 8

// prefetch is how far a kernel may read behind the targets of a batch.
const prefetch = 4 * Group

// List are additions targets[t] ±= sources[s].
type List struct {
	target, source []uint32
	negate         []uint8 // one bit an addition
}

// New makes room for n additions.
func New(n int) *List {
	n = (n + Group - 1) / Group * Group
	return &List{target: make([]uint32, 0, n+prefetch), source: make([]uint32, 0, n), negate: make([]uint8, n/Group)}
}

// Len is the number of waiting additions.
func (l *List) Len() int { return len(l.target) }

// Reset forgets them.
func (l *List) Reset() {
	l.target, l.source = l.target[:0], l.source[:0]
	clear(l.negate)
}

// Push appends targets[target] += sources[source], or −= with negate = 1.
func (l *List) Push(target, source uint32, negate uint8) {
	n := len(l.target)
	l.negate[n/Group] |= negate << (n % Group)
	l.target = append(l.target, target)
	l.source = append(l.source, source)
}

// At returns addition i.
func (l *List) At(i int) (target, source uint32, negate uint8) {
	return l.target[i], l.source[i], l.negate[i/Group] >> (i % Group) & 1
}

// Pad fills the last group with an addition that does no harm.
func (l *List) Pad(target, source uint32) {
	for len(l.target)%Group != 0 {
		l.target = append(l.target, target)
		l.source = append(l.source, source)
	}
}

// Truncate takes the filling of the last group away again.
func (l *List) Truncate(n int) { l.target, l.source = l.target[:n], l.source[:n] }

// Arrays returns where the lists begin, which must not be empty: the targets,
// readable for 32 numbers behind the last one, the sources and the signs.
func (l *List) Arrays() (target, source *uint32, negate *uint8) {
	return &l.target[0], &l.source[0], &l.negate[0]
}
