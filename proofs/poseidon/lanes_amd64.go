//go:build !purego

package poseidon

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/kernel"
)

// Limbs of the vector form.
const (
	limbs    = 5
	limbBits = 52
	limbMask = 1<<limbBits - 1

	laneCount = 8
)

// lanes is eight field elements, limb by limb: limb i of element l is [i][l].
// Values are below 2^257, in Montgomery form with factor 2^260.
type lanes [limbs][laneCount]uint64

// mulAddLanes sets z = x·y·2^−260 + k. All may be the same.
//
//go:noescape
func mulAddLanes(z, x, y, k *lanes)

// formLanes sets z to 2^−260·Σ w_i·a_i over consecutive elements a. weights has
// the limbs of each w_i, and counts[j] of the a have weights of j+1 limbs, those
// with fewer limbs first. z must not be among the a.
//
//go:noescape
func formLanes(z, a *lanes, weights *uint64, counts *[limbs]int)

// mixLanes sets z to 2^−52·Σ w_i·a_i over n consecutive elements and weights
// below 2^52.
//
//go:noescape
func mixLanes(z, a *lanes, weights *uint64, n int)

// laneForm is a linear form for formLanes, or for mixLanes if counts are zero.
type laneForm struct {
	weights []uint64
	counts  [limbs]int
}

// ifmaFormat is that of lanes.
func ifmaFormat() format[laneForm] {
	return format[laneForm]{
		lanes: laneCount, bits: limbs * limbBits, mixBits: limbBits, newForm: newLaneForm,
		newMix: func(weights []uint64) laneForm { return laneForm{weights: weights} },
	}
}

// newManyHasher returns nil for a kernel without vectors.
func newManyHasher(p *Params, on kernel.Kernel) manyHasher {
	switch on {
	case kernel.IFMA:
		return newLaneHasher[lanes](p, ifmaFormat())
	case kernel.AVX2:
		return newLaneHasher[quads](p, quadFormat())
	}
	return nil
}

func (v *lanes) mulAdd(x, y, k *lanes) { mulAddLanes(v, x, y, k) }

func (v *lanes) square(x *lanes) {
	var zero lanes
	mulAddLanes(v, x, x, &zero)
}

// eval sets v to the value of the form at a.
func (v *lanes) eval(f *laneForm, a []lanes) {
	if f.counts == [limbs]int{} {
		mixLanes(v, &a[0], &f.weights[0], len(f.weights))
		return
	}
	formLanes(v, &a[0], &f.weights[0], &f.counts)
}

// set puts an element, as it is in memory, into lane l.
func (v *lanes) set(l int, e *fr.Element) {
	v[0][l] = e[0] & limbMask
	v[1][l] = (e[0]>>52 | e[1]<<12) & limbMask
	v[2][l] = (e[1]>>40 | e[2]<<24) & limbMask
	v[3][l] = (e[2]>>28 | e[3]<<36) & limbMask
	v[4][l] = e[3] >> 16
}

// get takes an element out of lane l and brings it below the modulus.
func (v *lanes) get(l int) fr.Element {
	e := fr.Element{
		v[0][l] | v[1][l]<<52,
		v[1][l]>>12 | v[2][l]<<40,
		v[2][l]>>24 | v[3][l]<<28,
		v[3][l]>>36 | v[4][l]<<16,
	}
	subtractModulus(&e)
	return e
}

// newLaneForm cuts weights into limbs. A weight gets at least as many limbs as
// those before it.
func newLaneForm(weights []*big.Int) laneForm {
	var f laneForm
	size := 1
	mask := big.NewInt(limbMask)
	for _, w := range weights {
		size = max(size, (w.BitLen()+limbBits-1)/limbBits)
		f.counts[size-1]++
		for i := range size {
			f.weights = append(f.weights, new(big.Int).And(new(big.Int).Rsh(w, uint(limbBits*i)), mask).Uint64())
		}
	}
	return f
}
