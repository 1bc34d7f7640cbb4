package params

import (
	"errors"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// What a decoder refuses. Each error says where it happened and wraps one of
// these.
var (
	ErrTruncated  = errors.New("file ends early")
	ErrTrailing   = errors.New("bytes after the end of the key")
	ErrCount      = errors.New("vector length does not fit the circuit")
	ErrEncoding   = errors.New("not an uncompressed point: flag bits set or coordinate not below the modulus")
	ErrIdentity   = errors.New("identity point")
	ErrNotOnCurve = errors.New("point not on the curve")
)

// Points are uncompressed and big-endian: G1 is x‖y, G2 is x.c1‖x.c0‖y.c1‖y.c0,
// 48 bytes a coordinate. The three top bits of the first byte are flags; they
// are zero for a finite point. Spec section 8.1.
const (
	flagBits     = 0xe0
	flagInfinity = 0x40
)

// decodeG1 reads a finite point on the curve from exactly 96 bytes. It does
// not check the subgroup.
func decodeG1(p *bls.G1Affine, b []byte) error {
	if err := checkFlags(b[0]); err != nil {
		return err
	}
	if p.X.SetBytesCanonical(b[:fp.Bytes]) != nil || p.Y.SetBytesCanonical(b[fp.Bytes:g1Size]) != nil {
		return ErrEncoding
	}
	return checkG1(p)
}

// decodeG2 reads a finite point on the twist from exactly 192 bytes. It does
// not check the subgroup.
func decodeG2(p *bls.G2Affine, b []byte) error {
	if err := checkFlags(b[0]); err != nil {
		return err
	}
	for i, c := range []*fp.Element{&p.X.A1, &p.X.A0, &p.Y.A1, &p.Y.A0} {
		if c.SetBytesCanonical(b[i*fp.Bytes:(i+1)*fp.Bytes]) != nil {
			return ErrEncoding
		}
	}
	return checkG2(p)
}

func checkFlags(first byte) error {
	switch first & flagBits {
	case 0:
		return nil
	case flagInfinity:
		return ErrIdentity
	default:
		return ErrEncoding
	}
}

// checkG1 refuses the identity, which gnark-crypto holds as (0, 0) and counts
// as on the curve, and points off the curve.
func checkG1(p *bls.G1Affine) error {
	switch {
	case p.IsInfinity():
		return ErrIdentity
	case !p.IsOnCurve():
		return ErrNotOnCurve
	}
	return nil
}

// checkG2 is checkG1 on the twist.
func checkG2(p *bls.G2Affine) error {
	switch {
	case p.IsInfinity():
		return ErrIdentity
	case !p.IsOnCurve():
		return ErrNotOnCurve
	}
	return nil
}
