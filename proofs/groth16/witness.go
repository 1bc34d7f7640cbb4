package groth16

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// witnessPiece is about how many auxiliary variables are made at a time.
const witnessPiece = 1 << 16

// maxBuckets bounds the memory of the buckets to 64 bytes for each point of the
// domain, beside the 32 of h, wherever that is more than small change. size is
// that of a bucket in units of 128 bytes.
func (p *prover) maxBuckets(size int) int { return max(p.layout.domain()/2, 1<<17) / size }

// sumLH is Σ h_i·H_i + Σ aux_i·L_i.
func (p *prover) sumLH(h []fr.Element) (bls.G1Jac, error) {
	sum := p.sumG1
	if err := addPieces(p, sum, p.key.H, h); err != nil {
		return bls.G1Jac{}, err
	}
	if err := p.eachPiece(nil, func(from int, values []fr.Element) error {
		return addPieces(p, sum, p.key.L[from:from+len(values)], values)
	}); err != nil {
		return bls.G1Jac{}, err
	}
	return sum.sum()
}

// sumA is the sum over A: all inputs, then the A-dense auxiliaries.
func (p *prover) sumA(inputs []fr.Element) (bls.G1Jac, error) {
	sum := p.sumG1
	if err := addPieces(p, sum, p.key.A[:len(inputs)], inputs); err != nil {
		return bls.G1Jac{}, err
	}
	rest := p.key.A[len(inputs):]
	if err := p.eachPiece(p.layout.denseA, func(from int, values []fr.Element) error {
		return addPieces(p, sum, rest[from:from+len(values)], values)
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
	if err := addPieces(p, sum, points[:1], one); err != nil {
		return zero, err
	}
	if err := p.eachPiece(p.layout.denseB, func(from int, values []fr.Element) error {
		return addPieces(p, sum, points[1+from:1+from+len(values)], values)
	}); err != nil {
		return zero, err
	}
	return sum.sum()
}

// addPieces adds to a sum and reports progress.
func addPieces[A, J any](p *prover, sum accumulator[A, J], points []A, scalars []fr.Element) error {
	for len(points) > 0 {
		n := min(len(points), chunkPoints)
		if err := sum.add(points[:n], scalars[:n]); err != nil {
			return err
		}
		p.advance(n)
		points, scalars = points[n:], scalars[n:]
	}
	return nil
}

// eachPiece makes the auxiliary variables some blocks at a time and calls f
// with those that dense selects (all if nil); from counts the selected ones.
// The witness is never whole in memory; making it again for every sum costs
// less than one percent of the sum.
func (p *prover) eachPiece(dense []uint32, f func(from int, values []fr.Element) error) error {
	l := p.layout
	group := min(max(p.pool.workers, witnessPiece/max(l.aux, 1)), l.blocks)
	aux := make([]fr.Element, group*l.aux)
	selected := make([]fr.Element, 0, group*len(dense))
	from := 0
	for first := 0; first < l.blocks; first += group {
		n := min(group, l.blocks-first)
		err := p.pool.run(n, func(_, i int) error {
			return p.witness.Witness(first+i, nil, aux[i*l.aux:(i+1)*l.aux])
		})
		if err != nil {
			return err
		}
		values := aux[:n*l.aux]
		if dense != nil {
			values = gather(selected, values, l.aux, dense)
		}
		if err := f(from, values); err != nil {
			return err
		}
		from += len(values)
	}
	return nil
}

// gather copies the values at the given indices of every block of size aux.
func gather(dst, values []fr.Element, aux int, indices []uint32) []fr.Element {
	for ; len(values) > 0; values = values[aux:] {
		for _, i := range indices {
			dst = append(dst, values[i])
		}
	}
	return dst
}
