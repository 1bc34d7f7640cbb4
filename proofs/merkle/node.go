package merkle

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// Node reads a field element from its 32 bytes, little-endian. The error wraps
// ErrNotCanonical when the value is not smaller than the modulus.
func Node(b [NodeSize]byte) (fr.Element, error) {
	e, err := fr.LittleEndian.Element(&b)
	if err != nil {
		return fr.Element{}, ErrNotCanonical
	}
	return e, nil
}

// NodeBytes returns the 32 bytes of a field element, little-endian.
func NodeBytes(e fr.Element) [NodeSize]byte {
	var b [NodeSize]byte
	fr.LittleEndian.PutElement(&b, e)
	return b
}

// decodeNodes reads len(dst) nodes from buf, which was read from file at
// offset.
func decodeNodes(dst []fr.Element, buf []byte, file string, offset int64) error {
	for i := range dst {
		e, err := Node([NodeSize]byte(buf[NodeSize*i:]))
		if err != nil {
			return &FileError{File: file, Offset: offset + int64(NodeSize*i), Err: err}
		}
		dst[i] = e
	}
	return nil
}
