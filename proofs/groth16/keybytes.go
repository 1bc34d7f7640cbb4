package groth16

import (
	"encoding/binary"
	"fmt"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

const (
	g1Size = bls.SizeOfG1AffineUncompressed
	g2Size = bls.SizeOfG2AffineUncompressed

	// vkHead is the length of a verifying key in front of its IC points: three
	// points of G1, three of G2 and a count.
	vkHead = 3*g1Size + 3*g2Size + 4
)

// MaxInputs bounds the number of IC points that a key in bytes may announce, so
// that a damaged count is refused before memory is taken for it. The largest
// real key has 25,840.
const MaxInputs = 1 << 24

// Size is the length of the key in bytes.
func (vk *VerifyingKey) Size() int { return vkHead + g1Size*len(vk.IC) }

// MarshalBinary returns the content of a .vk file, which is also the beginning
// of a .params file: α1 ‖ β1 ‖ β2 ‖ γ2 ‖ δ1 ‖ δ2 ‖ u32be len(IC) ‖ IC, points
// uncompressed and big-endian. Spec 8.1. The error is always nil.
func (vk *VerifyingKey) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, vk.Size())
	b = AppendG1(b, &vk.Alpha1)
	b = AppendG1(b, &vk.Beta1)
	b = AppendG2(b, &vk.Beta2)
	b = AppendG2(b, &vk.Gamma2)
	b = AppendG1(b, &vk.Delta1)
	b = AppendG2(b, &vk.Delta2)
	b = binary.BigEndian.AppendUint32(b, uint32(len(vk.IC)))
	for i := range vk.IC {
		b = AppendG1(b, &vk.IC[i])
	}
	return b, nil
}

// UnmarshalBinary reads exactly one key; trailing bytes are an error. All
// points are checked as in ReadVerifyingKey.
func (vk *VerifyingKey) UnmarshalBinary(b []byte) error {
	if len(b) < vkHead {
		return fmt.Errorf("%w: verifying key of %d bytes, at least %d needed", ErrMalformedKey, len(b), vkHead)
	}
	n := binary.BigEndian.Uint32(b[vkHead-4:])
	if uint64(len(b)) != vkHead+g1Size*uint64(n) {
		return fmt.Errorf("%w: verifying key of %d bytes announces %d inputs", ErrMalformedKey, len(b), n)
	}
	points := [...]any{&vk.Alpha1, &vk.Beta1, &vk.Beta2, &vk.Gamma2, &vk.Delta1, &vk.Delta2}
	names := [...]string{"alpha_g1", "beta_g1", "beta_g2", "gamma_g2", "delta_g1", "delta_g2"}
	rest := b
	for i, p := range points {
		var err error
		switch p := p.(type) {
		case *bls.G1Affine:
			err, rest = parseG1(p, rest[:g1Size]), rest[g1Size:]
		case *bls.G2Affine:
			err, rest = parseG2(p, rest[:g2Size]), rest[g2Size:]
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMalformedKey, names[i], err)
		}
	}
	vk.IC = make([]bls.G1Affine, n)
	for i := range vk.IC {
		at := vkHead + g1Size*i
		if err := decodeG1(&vk.IC[i], b[at:at+g1Size]); err != nil {
			return fmt.Errorf("%w: ic %d: %w", ErrMalformedKey, i, err)
		}
	}
	if !inSubgroup(vk.IC) {
		return fmt.Errorf("%w: ic: point not in the subgroup", ErrMalformedKey)
	}
	return nil
}

// ReadVerifyingKey reads a key from the beginning of r, a .vk or a .params
// file, and leaves r behind it. Every point is checked to be canonical, on the
// curve, in the subgroup and not the identity; an error of that kind or a
// stream that ends early wraps ErrMalformedKey.
func ReadVerifyingKey(r io.Reader) (*VerifyingKey, error) {
	head := make([]byte, vkHead)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: verifying key: %w", ErrMalformedKey, err)
	}
	n := binary.BigEndian.Uint32(head[vkHead-4:])
	if n == 0 || n > MaxInputs {
		return nil, fmt.Errorf("%w: verifying key announces %d inputs", ErrMalformedKey, n)
	}
	b := make([]byte, vkHead+g1Size*int(n))
	copy(b, head)
	if _, err := io.ReadFull(r, b[vkHead:]); err != nil {
		return nil, fmt.Errorf("%w: verifying key: %w", ErrMalformedKey, err)
	}
	vk := new(VerifyingKey)
	if err := vk.UnmarshalBinary(b); err != nil {
		return nil, err
	}
	return vk, nil
}

// AppendG1 appends the 96 uncompressed big-endian bytes of p.
func AppendG1(b []byte, p *bls.G1Affine) []byte {
	raw := p.RawBytes()
	return append(b, raw[:]...)
}

// AppendG2 appends the 192 uncompressed big-endian bytes of p.
func AppendG2(b []byte, p *bls.G2Affine) []byte {
	raw := p.RawBytes()
	return append(b, raw[:]...)
}
