package params

import (
	"crypto/sha256"
	"fmt"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// Raw is a raw cache in memory, usually a read-only mapped file.
type Raw struct {
	Header *RawHeader
	key    groth16.ProvingKey
	bytes  []byte
}

// OpenRaw takes a whole raw cache file of a circuit. It copies nothing and
// reads only the header, the verifying key and the ends of each vector, so it
// takes the same time for every size; VerifySections reads all.
//
// b must stay unchanged and, if mapped, mapped as long as the key is in use.
// It must begin at a multiple of 8 bytes, as mapped files do.
func OpenRaw(b []byte, s post.Setup) (*Raw, error) {
	header, err := ParseRawHeader(b)
	if err != nil {
		return nil, err
	}
	if err := header.fits(s); err != nil {
		return nil, err
	}
	switch have := uint64(len(b)); {
	case have < header.FileBytes:
		return nil, fmt.Errorf("%w: %d bytes of %d", ErrRawTruncated, have, header.FileBytes)
	case have > header.FileBytes:
		return nil, fmt.Errorf("%w: %d bytes, its header says %d", ErrRawCorrupt, have, header.FileBytes)
	case uintptr(unsafe.Pointer(&b[0]))%unsafe.Alignof(bls.G1Affine{}) != 0:
		return nil, fmt.Errorf("%w: not aligned in memory", ErrRawForeign)
	}
	r := &Raw{Header: header, bytes: b}
	for i := range 1 + int(VectorIC) + 1 {
		if err := r.verifySection(i, nil); err != nil {
			return nil, err
		}
	}
	head := view[rawVKHead](r, 0)[0]
	r.key = groth16.ProvingKey{
		VK: groth16.VerifyingKey{
			Alpha1: head.Alpha1, Beta1: head.Beta1, Beta2: head.Beta2,
			Gamma2: head.Gamma2, Delta1: head.Delta1, Delta2: head.Delta2,
			IC: view[bls.G1Affine](r, 1+int(VectorIC)),
		},
		H:  view[bls.G1Affine](r, 1+int(VectorH)),
		L:  view[bls.G1Affine](r, 1+int(VectorL)),
		A:  view[bls.G1Affine](r, 1+int(VectorA)),
		B1: view[bls.G1Affine](r, 1+int(VectorB1)),
		B2: view[bls.G2Affine](r, 1+int(VectorB2)),
	}
	return r, r.probe()
}

// Key is the proving key. Its slices lie in the memory given to OpenRaw.
func (r *Raw) Key() *groth16.ProvingKey { return &r.key }

// probe checks the first and last point of each vector, which finds files
// whose size is right but whose content never reached the disk.
func (r *Raw) probe() error {
	check := func(v Vector, n int, at func(i int) error) error {
		for _, i := range []int{0, n - 1} {
			if i < 0 {
				continue
			}
			if err := at(i); err != nil {
				return fmt.Errorf("%w: %s[%d]: %w", ErrRawCorrupt, v, i, err)
			}
		}
		return nil
	}
	for v, points := range map[Vector][]bls.G1Affine{
		VectorH: r.key.H, VectorL: r.key.L, VectorA: r.key.A, VectorB1: r.key.B1,
	} {
		if err := check(v, len(points), func(i int) error { return checkG1(&points[i]) }); err != nil {
			return err
		}
	}
	return check(VectorB2, len(r.key.B2), func(i int) error { return checkG2(&r.key.B2[i]) })
}

// VerifySections reads the whole cache and compares the checksum of every
// section. progress, if set, is called with the bytes done of Header.FileBytes;
// an error from it ends the work and is returned.
func (r *Raw) VerifySections(progress func(bytes uint64) error) error {
	for i := range r.Header.sectionTable {
		if err := r.verifySection(i, progress); err != nil {
			return err
		}
	}
	return nil
}

func (r *Raw) verifySection(i int, progress func(uint64) error) error {
	const step = 64 << 20
	s := r.Header.sectionTable[i]
	sum := sha256.New()
	for at, end := s.offset, s.offset+s.count*sectionElement(i); at < end; {
		next := min(at+step, end)
		sum.Write(r.bytes[at:next])
		at = next
		if progress != nil {
			if err := progress(at); err != nil {
				return err
			}
		}
	}
	if [sha256.Size]byte(sum.Sum(nil)) != s.sum {
		return fmt.Errorf("%w: checksum of section %s", ErrRawCorrupt, sectionName(i))
	}
	return nil
}

// view is a section as a slice of points, in place.
func view[T bls.G1Affine | bls.G2Affine | rawVKHead](r *Raw, i int) []T {
	s := r.Header.sectionTable[i]
	return unsafe.Slice((*T)(unsafe.Pointer(&r.bytes[s.offset])), s.count)
}
