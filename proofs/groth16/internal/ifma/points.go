package ifma

// G1 is an affine point: the limbs of x and y. The identity has no form.
type G1 [2 * limbs]uint64

// G2 is an affine point: the limbs of x.A0, x.A1, y.A0, y.A1.
type G2 [4 * limbs]uint64

// Ops are additions that wait for their execution.
type Ops struct {
	target, source []uint32
	negate         []uint8 // one bit a lane
}

// prefetch is how far the assembly reads behind the targets of a batch.
const prefetch = 4 * lanes

// NewOps makes room for n additions.
func NewOps(n int) *Ops {
	n = (n + lanes - 1) / lanes * lanes
	return &Ops{target: make([]uint32, 0, n+prefetch), source: make([]uint32, 0, n), negate: make([]uint8, n/lanes)}
}

// Len is the number of waiting additions.
func (o *Ops) Len() int { return len(o.target) }

// Reset forgets them.
func (o *Ops) Reset() {
	o.target, o.source = o.target[:0], o.source[:0]
	clear(o.negate)
}

// Push appends targets[target] += sources[source], or −= with negate = 1.
func (o *Ops) Push(target, source uint32, negate uint8) {
	n := len(o.target)
	o.negate[n/lanes] |= negate << (n % lanes)
	o.target = append(o.target, target)
	o.source = append(o.source, source)
}

// At returns addition i.
func (o *Ops) At(i int) (target, source uint32, negate uint8) {
	return o.target[i], o.source[i], o.negate[i/lanes] >> (i % lanes) & 1
}

// pad fills the last group of eight.
func (o *Ops) pad(target, source uint32) {
	for len(o.target)%lanes != 0 {
		o.target = append(o.target, target)
		o.source = append(o.source, source)
	}
}

// truncate takes the filling of the last group away again.
func (o *Ops) truncate(n int) { o.target, o.source = o.target[:n], o.source[:n] }
