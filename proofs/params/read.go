package params

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// CopyConfig says how Copy reads a .params file.
type CopyConfig struct {
	// Setup is the circuit that the key must fit.
	Setup post.Setup
	// Workers is the number of goroutines that decode points; at least 1.
	Workers int
	// Progress, if set, is called after each piece with the number of points
	// done of CountsOf(Setup).Points().
	Progress func(points uint64)
}

// Copy streams the .params file in src into dst, decoding every point. All
// points must be finite and on their curve; those of the verifying key also in
// their subgroup. (Whether the other points are the right ones is a matter of
// the file's digest.) src must end with the key. Memory use does not depend on
// the size of the key.
func Copy(dst groth16.Sink, src io.Reader, cfg CopyConfig) error {
	head := make([]byte, VKBytes(cfg.Setup))
	if err := readFull(src, head, "verifying key"); err != nil {
		return err
	}
	vk, err := ParseVK(head, cfg.Setup)
	if err != nil {
		return err
	}
	counts := CountsOf(cfg.Setup)
	if err := dst.Begin(vk, counts); err != nil {
		return err
	}
	c := newCopier(dst, cfg, counts)
	pieces, stop := c.readAhead(src)
	defer stop()
	for p := range pieces {
		if p.err != nil {
			return p.err
		}
		if err := c.deliver(p); err != nil {
			return err
		}
		c.free <- p.raw
	}
	return dst.End()
}

// piece is a run of undecoded points of one vector, or the error that ends the
// file.
type piece struct {
	vector Vector
	first  uint64 // index of its first point
	raw    []byte
	err    error
}

// copier decodes pieces while the next ones are being read.
type copier struct {
	dst    groth16.Sink
	cfg    CopyConfig
	counts groth16.Counts
	done   uint64
	free   chan []byte // buffers to read into
	g1     []bls.G1Affine
	g2     []bls.G2Affine
}

func newCopier(dst groth16.Sink, cfg CopyConfig, counts groth16.Counts) *copier {
	const buffers = 3
	c := &copier{
		dst: dst, cfg: cfg, counts: counts,
		free: make(chan []byte, buffers),
		g1:   make([]bls.G1Affine, pieceSize),
		g2:   make([]bls.G2Affine, pieceSize/2),
	}
	for range buffers {
		c.free <- make([]byte, pieceSize*g1Size)
	}
	return c
}

// readAhead starts reading the five vectors. The channel is closed after the
// last piece; stop ends the reading and returns once src is no longer used.
func (c *copier) readAhead(src io.Reader) (pieces <-chan piece, stop func()) {
	out, quit := make(chan piece), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		emit := func(p piece) bool {
			select {
			case out <- p:
				return p.err == nil
			case <-quit:
				return false
			}
		}
		for v := VectorH; v <= VectorB2; v++ {
			if !c.readVector(src, v, emit, quit) {
				return
			}
		}
		switch n, err := io.ReadFull(src, make([]byte, 1)); {
		case n != 0:
			emit(piece{err: fmt.Errorf("proving key: %w", ErrTrailing)})
		case err != io.EOF:
			emit(piece{err: fmt.Errorf("read the end of the proving key: %w", err)})
		}
	})
	return out, func() { close(quit); wg.Wait() }
}

// readVector emits one vector and reports whether to go on.
func (c *copier) readVector(src io.Reader, v Vector, emit func(piece) bool, quit <-chan struct{}) bool {
	var prefix [lengthPrefix]byte
	if err := readFull(src, prefix[:], v.String()); err != nil {
		return emit(piece{err: err})
	}
	want := v.length(c.counts)
	if have := uint64(binary.BigEndian.Uint32(prefix[:])); have != want {
		return emit(piece{err: fmt.Errorf("proving key: %s: %w: %d points, the circuit needs %d", v, ErrCount, have, want)})
	}
	pointSize := g1Size
	if v == VectorB2 {
		pointSize = g2Size
	}
	for first := uint64(0); first < want; {
		var raw []byte
		select {
		case raw = <-c.free:
		case <-quit:
			return false
		}
		raw = raw[:cap(raw)]
		n := min(want-first, uint64(len(raw)/pointSize))
		raw = raw[:n*uint64(pointSize)]
		if err := readFull(src, raw, v.String()); err != nil {
			return emit(piece{err: err})
		}
		if !emit(piece{vector: v, first: first, raw: raw}) {
			return false
		}
		first += n
	}
	return true
}

// deliver decodes a piece with all workers and hands it to the sink.
func (c *copier) deliver(p piece) error {
	var n int
	var err error
	if p.vector == VectorB2 {
		n = len(p.raw) / g2Size
		err = c.decode(p, n, func(i int) error { return decodeG2(&c.g2[i], p.raw[i*g2Size:(i+1)*g2Size]) })
		if err == nil {
			err = c.dst.G2(c.g2[:n])
		}
	} else {
		n = len(p.raw) / g1Size
		err = c.decode(p, n, func(i int) error { return decodeG1(&c.g1[i], p.raw[i*g1Size:(i+1)*g1Size]) })
		if err == nil {
			err = c.dst.G1(c.g1[:n])
		}
	}
	if err != nil {
		return err
	}
	c.done += uint64(n)
	if c.cfg.Progress != nil {
		c.cfg.Progress(c.done)
	}
	return nil
}

// decode runs point for 0 ≤ i < n on all workers and names the first point
// that failed.
func (c *copier) decode(p piece, n int, point func(i int) error) error {
	workers := max(1, c.cfg.Workers)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers; i++ {
				if err := point(i); err != nil {
					errs[w] = fmt.Errorf("proving key: %s[%d]: %w", p.vector, p.first+uint64(i), err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readFull reads all of b; an early end of src is ErrTruncated.
func readFull(src io.Reader, b []byte, what string) error {
	_, err := io.ReadFull(src, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: %w", what, ErrTruncated)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", what, err)
	}
	return nil
}
