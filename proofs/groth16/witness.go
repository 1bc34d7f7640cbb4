package groth16

import (
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// witnessPiece is about how many auxiliary variables are made at a time.
const witnessPiece = 1 << 16

// maxBuckets bounds the memory of the buckets to 40 bytes for each point of the
// domain, beside the 32 of h: together little more than the two vectors that the
// quotient takes before. More than maxCached buckets gain nothing: additions to
// buckets in main memory take longer by as much as there are fewer of them
// (measured from 2^18 to 2^24 buckets). size is that of a bucket in units of
// 128 bytes.
func (p *prover) maxBuckets(size int) int {
	const least, maxCached = 1 << 17, 1 << 20
	return min(max(p.layout.domain()/16*5, least), maxCached) / size
}

// sumLH is Σ h_i·H_i + Σ aux_i·L_i.
func (p *prover) sumLH(h []fr.Element) (bls.G1Jac, error) {
	sum := p.sumG1
	if err := addPieces(p, sum, p.key.H, 0, h, pieces{}); err != nil {
		return bls.G1Jac{}, err
	}
	if err := p.eachPiece(nil, func(from int, values []fr.Element, next pieces) error {
		return addPieces(p, sum, p.key.L, from, values, next)
	}); err != nil {
		return bls.G1Jac{}, err
	}
	return sum.sum()
}

// sumA is the sum over A: all inputs, then the A-dense auxiliaries.
func (p *prover) sumA(inputs []fr.Element) (bls.G1Jac, error) {
	sum := p.sumG1
	if err := addPieces(p, sum, p.key.A, 0, inputs, pieces{}); err != nil {
		return bls.G1Jac{}, err
	}
	if err := p.eachPiece(p.layout.denseA, func(from int, values []fr.Element, next pieces) error {
		return addPieces(p, sum, p.key.A, len(inputs)+from, values, next)
	}); err != nil {
		return bls.G1Jac{}, err
	}
	return sum.sum()
}

// sumB1 is the sum over B1: ONE, then the B-dense auxiliaries.
func (p *prover) sumB1() (bls.G1Jac, error) {
	return sumB(p, p.sumG1, p.key.B1)
}

// sumB2 is sumB1 over G2.
func (p *prover) sumB2() (bls.G2Jac, error) {
	return sumB(p, newSumG2(p.pool, uint64(len(p.key.B2)), p.maxBuckets(2)), p.key.B2)
}

func sumB[A, J any](p *prover, sum accumulator[A, J], points []A) (J, error) {
	var zero J
	one := []fr.Element{fr.One()}
	if err := addPieces(p, sum, points, 0, one, pieces{}); err != nil {
		return zero, err
	}
	if err := p.eachPiece(p.layout.denseB, func(from int, values []fr.Element, next pieces) error {
		return addPieces(p, sum, points, 1+from, values, next)
	}); err != nil {
		return zero, err
	}
	return sum.sum()
}

// addPieces adds the multiples of the points vector[from], vector[from+1], … to
// a sum, with other work beside, reports progress and tells what comes next.
func addPieces[A, J any](p *prover, sum accumulator[A, J], vector []A, from int, scalars []fr.Element, beside pieces) error {
	room := p.pool.chunk()
	parts := (len(scalars) + room - 1) / room
	for i := range parts {
		n := min(len(scalars), room)
		announce(p, vector, from, from+n)
		if err := sum.add(vector[from:from+n], scalars[:n], beside.part(i, parts)); err != nil {
			return err
		}
		p.advance(n)
		from, scalars = from+n, scalars[n:]
	}
	return nil
}

// Of a key that is on disk, aheadBytes before the points in use are asked for,
// in pieces of aheadPiece: what a disk brings in a fraction of a second.
const (
	aheadBytes = 64 << 20
	aheadPiece = 8 << 20
)

// announce tells what comes after the points from…to−1 of a vector, which are
// in use now.
func announce[A any](p *prover, vector []A, from, to int) {
	if p.ahead == nil {
		return
	}
	var point A
	size := int(unsafe.Sizeof(point))
	memory := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(vector))), len(vector)*size)
	known := 0 // whole pieces announced before
	if from > 0 {
		known = from*size/aheadPiece*aheadPiece + aheadBytes
	}
	if next := to*size/aheadPiece*aheadPiece + aheadBytes; known < min(next, len(memory)) {
		p.ahead(memory[known:min(next, len(memory))])
	}
}

// eachPiece makes the auxiliary variables some blocks at a time and calls f
// with those that dense selects (all if nil); from counts the selected ones. f
// also does the work that makes the next of them. The witness is never whole in
// memory; making it again for every sum costs less than one percent of the sum.
func (p *prover) eachPiece(dense []uint32, f func(from int, values []fr.Element, next pieces) error) error {
	l := p.layout
	size := len(dense) // of the values of a block
	if dense == nil {
		size = l.aux
	}
	group := min(max(p.pool.workers, witnessPiece/max(l.aux, 1)), l.blocks)
	values, coming := p.buffer(0, group*size), p.buffer(1, group*size)
	scratch := make([][]fr.Element, p.pool.workers)
	making := func(first int, values []fr.Element) pieces {
		return pieces{min(group, max(l.blocks-first, 0)), func(worker, i int) error {
			mine := values[i*size : (i+1)*size]
			if dense == nil {
				return p.witness.Witness(first+i, nil, mine)
			}
			if scratch[worker] == nil {
				scratch[worker] = make([]fr.Element, l.aux)
			}
			if err := p.witness.Witness(first+i, nil, scratch[worker]); err != nil {
				return err
			}
			for k, at := range dense {
				mine[k] = scratch[worker][at]
			}
			return nil
		}}
	}
	if err := p.pool.together(making(0, values)); err != nil {
		return err
	}
	for first := 0; first < l.blocks; first += group {
		n := min(group, l.blocks-first)
		if err := f(first*size, values[:n*size], making(first+group, coming)); err != nil {
			return err
		}
		values, coming = coming, values
	}
	return nil
}

// buffer returns one of two pieces of memory that the sums use one after the
// other; the first sum wants the most.
func (p *prover) buffer(i, n int) []fr.Element {
	if cap(p.buffers[i]) < n {
		p.buffers[i] = make([]fr.Element, n)
	}
	return p.buffers[i][:n]
}
