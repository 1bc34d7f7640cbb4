package params

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// RawWriter is a groth16.Sink that writes a raw cache. Its header is written last, by
// Finish: before that the file cannot be taken for a cache.
type RawWriter struct {
	w      RawFile
	setup  post.Setup
	at     cursor
	header RawHeader
	offset uint64 // bytes written
	opened int    // section being written; -1 before the first
	sum    hash.Hash
}

// RawFile is where a RawWriter writes: an empty *os.File, or something that has
// part of the same bytes already.
type RawFile interface {
	io.Writer
	io.WriterAt
}

// NewRawWriter writes the key of a circuit to an empty file.
func NewRawWriter(w RawFile, s post.Setup) *RawWriter {
	return &RawWriter{w: w, setup: s, opened: -1, sum: sha256.New()}
}

// Begin leaves room for the header and writes the verifying key.
func (w *RawWriter) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	if want := CountsOf(w.setup); counts != want {
		return fmt.Errorf("write raw cache: %w: %+v, the circuit has %+v", ErrCount, counts, want)
	}
	if err := w.at.begin(vk, counts); err != nil {
		return err
	}
	table, size := planRaw(counts)
	w.header = RawHeader{CacheID: CacheID(w.setup), FileBytes: size, sectionTable: table}
	head := rawVKHead{
		Alpha1: vk.Alpha1, Beta1: vk.Beta1, Delta1: vk.Delta1,
		Beta2: vk.Beta2, Gamma2: vk.Gamma2, Delta2: vk.Delta2,
	}
	if err := w.section(0, memory([]rawVKHead{head})); err != nil {
		return err
	}
	return w.section(1+int(VectorIC), memory(vk.IC))
}

// G1 writes points of h, l, a or b_g1.
func (w *RawWriter) G1(points []bls.G1Affine) error {
	if err := w.at.take(len(points), false); err != nil {
		return err
	}
	return w.section(1+int(w.at.vector), memory(points))
}

// G2 writes points of b_g2.
func (w *RawWriter) G2(points []bls.G2Affine) error {
	if err := w.at.take(len(points), true); err != nil {
		return err
	}
	return w.section(1+int(w.at.vector), memory(points))
}

// End checks that the key is whole and fills the last section.
func (w *RawWriter) End() error {
	if err := w.at.end(); err != nil {
		return err
	}
	return w.closeSection(w.header.FileBytes)
}

// Finish writes the header, after End. Before it, the caller makes sure that
// the sections are on disk and that the source, of the given size, is the one
// it should be; after it, the file is a raw cache.
func (w *RawWriter) Finish(source Digest, sourceBytes uint64) error {
	w.header.Source, w.header.SourceBytes = source, sourceBytes
	if _, err := w.w.WriteAt(w.header.encode(), 0); err != nil {
		return fmt.Errorf("write raw cache: header: %w", err)
	}
	return nil
}

// section writes bytes to a section, opening it first if need be.
func (w *RawWriter) section(i int, b []byte) error {
	for w.opened < i {
		if err := w.closeSection(w.header.sectionTable[w.opened+1].offset); err != nil {
			return err
		}
		w.opened++
	}
	w.sum.Write(b)
	return w.write(b, i)
}

// closeSection notes the checksum of the open section and fills up with zeros
// to the given offset.
func (w *RawWriter) closeSection(next uint64) error {
	if w.opened >= 0 {
		w.sum.Sum(w.header.sectionTable[w.opened].sum[:0])
		w.sum.Reset()
	}
	return w.write(make([]byte, next-w.offset), w.opened)
}

func (w *RawWriter) write(b []byte, section int) error {
	n, err := w.w.Write(b)
	w.offset += uint64(n)
	if err != nil {
		return fmt.Errorf("write raw cache: section %s: %w", sectionName(section), err)
	}
	return nil
}

// rawVKHead is the memory form of the points of a verifying key outside IC.
type rawVKHead struct {
	Alpha1, Beta1, Delta1 bls.G1Affine
	Beta2, Gamma2, Delta2 bls.G2Affine
}

// memory is the memory of a slice of points.
func memory[T bls.G1Affine | bls.G2Affine | rawVKHead](points []T) []byte {
	if len(points) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&points[0])), len(points)*int(unsafe.Sizeof(points[0])))
}
