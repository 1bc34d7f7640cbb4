package post

import (
	"encoding/binary"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
)

// Sizes in the bincode form (spec 5).
const (
	wordSize   = 8 // u64 little-endian
	tagSize    = 4 // u32 little-endian
	headerSize = wordSize + merkle.NodeSize + 2*wordSize
	footerSize = 2 * merkle.NodeSize
)

// layers returns the arities of a path's elements, one list for each PATH of
// the encoding: base, sub, top. The enum tag of an inclusion proof is the number
// of layers above the base: 0 for 8-0-0, 1 for 8-s-0, 2 for 8-s-t.
func layers(s merkle.Shape) [][]int {
	levels := s.Levels()
	out := [][]int{levels[:s.Height]}
	for _, arity := range levels[s.Height:] {
		out = append(out, []int{arity})
	}
	return out
}

// EncodedSize returns the size in bytes of the bincode form of a vanilla proof
// with the given number of challenges; it is fixed.
func EncodedSize(s merkle.Shape, challenges int) int {
	size := tagSize + 2*merkle.NodeSize
	for _, layer := range layers(s) {
		size += wordSize
		for _, arity := range layer {
			size += 2*wordSize + (arity-1)*merkle.NodeSize
		}
	}
	return headerSize + challenges*size + footerSize
}

// Encode returns the proof in the bincode form of the reference's
// generate_single_vanilla_proof. Spec 5.
func (v *Vanilla) Encode(s merkle.Shape) []byte {
	e := encoder{buf: make([]byte, 0, EncodedSize(s, len(v.Inclusion)))}
	e.word(v.Sector)
	e.node(v.CommR)
	e.word(1) // sector proofs
	e.word(uint64(len(v.Inclusion)))
	paths := layers(s)
	for i := range v.Inclusion {
		p := &v.Inclusion[i]
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(len(paths)-1))
		if len(paths) == 1 {
			e.node(p.Root)
			e.node(p.Leaf)
		}
		rest := p.Path
		for _, layer := range paths {
			e.path(rest[:len(layer)])
			rest = rest[len(layer):]
		}
		if len(paths) > 1 {
			e.node(p.Root)
			e.node(p.Leaf)
		}
	}
	e.node(v.CommC)
	e.node(v.CommRLast)
	return e.buf
}

// encoder appends bincode values.
type encoder struct{ buf []byte }

func (e *encoder) word(w uint64) { e.buf = binary.LittleEndian.AppendUint64(e.buf, w) }

func (e *encoder) node(n fr.Element) {
	b := merkle.NodeBytes(n)
	e.buf = append(e.buf, b[:]...)
}

func (e *encoder) path(levels []merkle.Level) {
	e.word(uint64(len(levels)))
	for _, l := range levels {
		e.word(uint64(len(l.Siblings)))
		for _, n := range l.Siblings {
			e.node(n)
		}
		e.word(uint64(l.Index))
	}
}

// DecodeVanilla reads the bincode form of a vanilla proof for sectors of the
// given shape with the given number of challenges. It is strict: sizes, counts
// and tags must be the expected ones, elements canonical, indices inside their
// group, and nothing may follow. It does not verify the proof. Errors wrap
// ErrInvalidVanilla.
func DecodeVanilla(s merkle.Shape, challenges int, data []byte) (*Vanilla, error) {
	if want := EncodedSize(s, challenges); len(data) != want {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrInvalidVanilla, len(data), want)
	}
	d := decoder{data: data}
	v := &Vanilla{Inclusion: make([]merkle.Proof, challenges)}
	v.Sector = d.word()
	v.CommR = d.node()
	d.expect("sector proofs", 1)
	d.expect("inclusion proofs", uint64(challenges))
	paths := layers(s)
	for i := range v.Inclusion {
		p := &v.Inclusion[i]
		d.tag(len(paths) - 1)
		if len(paths) == 1 {
			p.Root, p.Leaf = d.node(), d.node()
		}
		p.Path = make([]merkle.Level, 0, s.Height+2)
		for _, layer := range paths {
			p.Path = d.path(p.Path, layer)
		}
		if len(paths) > 1 {
			p.Root, p.Leaf = d.node(), d.node()
		}
	}
	v.CommC, v.CommRLast = d.node(), d.node()
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidVanilla, d.err)
	}
	return v, nil
}

// decoder reads bincode values from data whose total size is known to be
// right. The first error stays.
type decoder struct {
	data []byte
	at   int
	err  error
}

func (d *decoder) fail(at int, err error) {
	if d.err == nil {
		d.err = fmt.Errorf("byte %d: %w", at, err)
	}
}

func (d *decoder) word() uint64 {
	w := binary.LittleEndian.Uint64(d.data[d.at:])
	d.at += wordSize
	return w
}

// expect reads a count that must have the given value.
func (d *decoder) expect(what string, want uint64) {
	at := d.at
	if got := d.word(); got != want {
		d.fail(at, fmt.Errorf("%d %s, want %d", got, what, want))
	}
}

func (d *decoder) tag(want int) {
	if got := binary.LittleEndian.Uint32(d.data[d.at:]); got != uint32(want) {
		d.fail(d.at, fmt.Errorf("tag %d, want %d", got, want))
	}
	d.at += tagSize
}

func (d *decoder) node() fr.Element {
	e, err := merkle.Node([merkle.NodeSize]byte(d.data[d.at:]))
	if err != nil {
		d.fail(d.at, err)
	}
	d.at += merkle.NodeSize
	return e
}

// path appends the levels of one PATH with the given arities.
func (d *decoder) path(levels []merkle.Level, arities []int) []merkle.Level {
	d.expect("path elements", uint64(len(arities)))
	for _, arity := range arities {
		d.expect("siblings", uint64(arity-1))
		l := merkle.Level{Siblings: make([]fr.Element, arity-1)}
		for i := range l.Siblings {
			l.Siblings[i] = d.node()
		}
		at := d.at
		index := d.word()
		if index >= uint64(arity) {
			d.fail(at, fmt.Errorf("index %d in a group of %d", index, arity))
			index = 0
		}
		l.Index = int(index)
		levels = append(levels, l)
	}
	return levels
}
