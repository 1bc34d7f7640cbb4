package params

import (
	"encoding/binary"
	"fmt"
	"io"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
)

// Writer is a groth16.Sink that writes a .params file: the verifying key, then h, l,
// a, b_g1 and b_g2, each after its count. Spec section 8.2.
type Writer struct {
	w      io.Writer
	at     cursor
	opened Vector // the last vector whose count was written
	buf    []byte
}

// NewWriter writes to w in pieces as large as those it is given.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Begin writes the verifying key.
func (w *Writer) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	if err := w.at.begin(vk, counts); err != nil {
		return err
	}
	head, err := vk.MarshalBinary()
	if err != nil {
		return fmt.Errorf("write verifying key: %w", err)
	}
	w.buf = head
	return w.flush()
}

// G1 writes points of h, l, a or b_g1.
func (w *Writer) G1(points []bls.G1Affine) error {
	w.openVectors()
	if err := w.at.take(len(points), false); err != nil {
		return err
	}
	for i := range points {
		if points[i].IsInfinity() {
			return fmt.Errorf("write %s: %w", w.at.vector, ErrIdentity)
		}
		w.buf = groth16.AppendG1(w.buf, &points[i])
	}
	return w.flush()
}

// G2 writes points of b_g2.
func (w *Writer) G2(points []bls.G2Affine) error {
	w.openVectors()
	if err := w.at.take(len(points), true); err != nil {
		return err
	}
	for i := range points {
		if points[i].IsInfinity() {
			return fmt.Errorf("write %s: %w", w.at.vector, ErrIdentity)
		}
		w.buf = groth16.AppendG2(w.buf, &points[i])
	}
	return w.flush()
}

// End checks that the key is whole. It does not close or sync what is under
// the Writer.
func (w *Writer) End() error {
	w.openVectors()
	if err := w.at.end(); err != nil {
		return err
	}
	return w.flush()
}

// openVectors buffers the counts of all vectors up to the one that the next
// point belongs to; empty vectors in between get theirs too.
func (w *Writer) openVectors() {
	if w.at.vector == VectorIC {
		return
	}
	v, _ := w.at.enter()
	for w.opened < v {
		w.opened++
		w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(w.opened.length(w.at.counts)))
	}
}

func (w *Writer) flush() error {
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		return fmt.Errorf("write proving key: %w", err)
	}
	return nil
}
