package params

import (
	"fmt"
	"math/bits"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// Byte sizes of the parts of the files, spec sections 8.1 and 8.2.
const (
	g1Size       = 96                  // uncompressed G1 point
	g2Size       = 192                 // uncompressed G2 point
	vkHeadSize   = 3*g1Size + 3*g2Size // α1 β1 β2 γ2 δ1 δ2
	lengthPrefix = 4                   // big-endian count before each vector
)

// Constraints is the number of constraints of a circuit, without the input
// rows that Groth16 appends. The setup must be valid. Spec section 6.5.
func Constraints(s post.Setup) uint64 {
	return uint64(s.Sectors) * (313 + uint64(s.Challenges)*perChallenge(s, 2, 530, 314))
}

// CountsOf gives the vector lengths that the key files of a circuit must have,
// in closed form: no circuit is built. The setup must be valid.
// Spec sections 6.5 and 8.4.
func CountsOf(s post.Setup) groth16.Counts {
	sectors, challenges := uint64(s.Sectors), uint64(s.Challenges)
	inputs := 1 + uint64(s.PublicInputs())
	rows := Constraints(s) + inputs
	return groth16.Counts{
		IC: inputs,
		H:  1<<bits.Len64(rows-1) - 1,
		L:  sectors * (314 + challenges*perChallenge(s, 1, 537, 315)),
		A:  inputs + sectors*(235+challenges*perChallenge(s, 1, 407, 237)),
		B:  1 + sectors*(234+challenges*perChallenge(s, 0, 389, 235)),
	}
}

// perChallenge adds up what one challenged path has: a fixed part and one for
// each level of its arity.
func perChallenge(s post.Setup, fixed, arity8, arity2 uint64) uint64 {
	sum := fixed
	for _, arity := range shapeOf(s).Levels() {
		if arity == 8 {
			sum += arity8
		} else {
			sum += arity2
		}
	}
	return sum
}

// VKBytes is the size of the .vk file of a circuit.
func VKBytes(s post.Setup) uint64 {
	return vkHeadSize + lengthPrefix + g1Size*CountsOf(s).IC
}

// ParamsBytes is the size of the .params file of a circuit.
func ParamsBytes(s post.Setup) uint64 {
	const prefixes = 5 * lengthPrefix
	c := CountsOf(s)
	return VKBytes(s) + prefixes + g1Size*(c.H+c.L+c.A+c.B) + g2Size*c.B
}

// Vector names one of the six vectors of a key, in file order.
type Vector uint8

// The vectors of a key. IC belongs to the verifying key.
const (
	VectorIC Vector = iota
	VectorH
	VectorL
	VectorA
	VectorB1
	VectorB2
	vectors // their number
)

// String is the vector's name in messages.
func (v Vector) String() string {
	names := [vectors]string{"ic", "h", "l", "a", "b_g1", "b_g2"}
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("Vector(%d)", uint8(v))
}

// length is the length of v in a key.
func (v Vector) length(c groth16.Counts) uint64 {
	return [vectors]uint64{c.IC, c.H, c.L, c.A, c.B, c.B}[v]
}
