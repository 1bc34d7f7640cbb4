package groth16

import (
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// ProofSize is the length of an encoded proof in bytes: A ‖ B ‖ C.
const ProofSize = endB + bls.SizeOfG1AffineCompressed

// Where A and B end in an encoded proof.
const (
	endA = bls.SizeOfG1AffineCompressed
	endB = endA + bls.SizeOfG2AffineCompressed
)

// Proof is one Groth16 proof.
type Proof struct {
	A bls.G1Affine
	B bls.G2Affine
	C bls.G1Affine
}

// Bytes returns A (48) ‖ B (96) ‖ C (48), compressed in the ZCash form.
// Spec 7.6.
func (p *Proof) Bytes() [ProofSize]byte {
	a, b, c := p.A.Bytes(), p.B.Bytes(), p.C.Bytes()
	var out [ProofSize]byte
	copy(out[:endA], a[:])
	copy(out[endA:endB], b[:])
	copy(out[endB:], c[:])
	return out
}

// ParseProof reads the bytes of one proof. It refuses whatever bellperson
// refuses: another length, a coordinate that is not canonical, a point that is
// not on the curve, not in the r-subgroup or the identity. The error wraps
// ErrMalformedProof.
func ParseProof(b []byte) (*Proof, error) {
	if len(b) != ProofSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrMalformedProof, len(b), ProofSize)
	}
	var p Proof
	if err := parseG1(&p.A, b[:endA]); err != nil {
		return nil, fmt.Errorf("%w: A: %w", ErrMalformedProof, err)
	}
	if err := parseG2(&p.B, b[endA:endB]); err != nil {
		return nil, fmt.Errorf("%w: B: %w", ErrMalformedProof, err)
	}
	if err := parseG1(&p.C, b[endB:]); err != nil {
		return nil, fmt.Errorf("%w: C: %w", ErrMalformedProof, err)
	}
	return &p, nil
}

// ParseProofs reads the proofs of several partitions, concatenated.
func ParseProofs(b []byte) ([]*Proof, error) {
	if len(b) == 0 || len(b)%ProofSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes, want a positive multiple of %d", ErrMalformedProof, len(b), ProofSize)
	}
	proofs := make([]*Proof, 0, len(b)/ProofSize)
	for i := 0; i < len(b); i += ProofSize {
		p, err := ParseProof(b[i : i+ProofSize])
		if err != nil {
			return nil, fmt.Errorf("proof of partition %d: %w", i/ProofSize, err)
		}
		proofs = append(proofs, p)
	}
	return proofs, nil
}

// parseG1 reads one point whose encoding must fill b, compressed (48 bytes) or
// not (96), and be neither outside the subgroup nor the identity.
func parseG1(p *bls.G1Affine, b []byte) error {
	n, err := p.SetBytes(b)
	return checkPoint(n, len(b), p.IsInfinity(), err)
}

// parseG2 is parseG1 for 96 and 192 bytes.
func parseG2(p *bls.G2Affine, b []byte) error {
	n, err := p.SetBytes(b)
	return checkPoint(n, len(b), p.IsInfinity(), err)
}

// decodeG1 reads an uncompressed point, which must be finite and on the curve
// but may be outside the subgroup.
func decodeG1(p *bls.G1Affine, b []byte) error {
	if flags := b[0] & 0xe0; flags != 0 { // compressed, identity, sign
		return fmt.Errorf("flags %#x of an uncompressed point", flags)
	}
	if err := p.X.SetBytesCanonical(b[:g1Size/2]); err != nil {
		return err
	}
	if err := p.Y.SetBytesCanonical(b[g1Size/2:]); err != nil {
		return err
	}
	switch {
	case p.IsInfinity(): // gnark-crypto's (0, 0), which it counts as on the curve
		return errors.New("point is the identity")
	case !p.IsOnCurve():
		return errors.New("point is not on the curve")
	}
	return nil
}

// checkPoint judges what SetBytes returned.
func checkPoint(read, length int, infinity bool, err error) error {
	switch {
	case err != nil:
		return err
	case read != length:
		return fmt.Errorf("point encoded in %d bytes, want %d", read, length)
	case infinity:
		return errors.New("point is the identity")
	}
	return nil
}
