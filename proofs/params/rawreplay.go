package params

import (
	"fmt"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// ReplayRaw reads the first points of an unfinished raw cache of a circuit and
// hands them to dst, between the caller's Begin and whatever comes next. The
// points are not looked at: the caller knows by other means that they are those
// that were written.
func ReplayRaw(dst groth16.Sink, r io.ReaderAt, s post.Setup, points uint64) error {
	table, _ := planRaw(CountsOf(s))
	g1, g2 := make([]bls.G1Affine, pieceSize), make([]bls.G2Affine, pieceSize)
	for v := VectorH; v < vectors; v++ {
		section := table[1+int(v)]
		n := min(points, section.count)
		points -= n
		var err error
		if v == VectorB2 {
			err = replay(dst.G2, r, section.offset, n, g2)
		} else {
			err = replay(dst.G1, r, section.offset, n, g1)
		}
		if err != nil {
			return fmt.Errorf("read back %s of a raw cache: %w", v, err)
		}
	}
	if points > 0 {
		return fmt.Errorf("read back a raw cache: %w: %d points more than it has", ErrCount, points)
	}
	return nil
}

// replay hands on n points that lie at an offset, through a buffer.
func replay[T bls.G1Affine | bls.G2Affine](hand func([]T) error, r io.ReaderAt, offset, n uint64, buffer []T) error {
	for n > 0 {
		piece := buffer[:min(n, uint64(len(buffer)))]
		b := memory(piece)
		if k, err := r.ReadAt(b, int64(offset)); k < len(b) {
			if err == io.EOF {
				err = ErrRawTruncated
			}
			return err
		}
		if err := hand(piece); err != nil {
			return err
		}
		offset += uint64(len(b))
		n -= uint64(len(piece))
	}
	return nil
}
