package params

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"wdpost/proofs/groth16"
	"wdpost/proofs/post"
)

// Why a raw cache is refused. Each error says more and wraps one of these; the
// remedy is always to use the .params file and make the cache anew.
var (
	ErrRawForeign   = errors.New("not a raw cache, or one of a machine with another memory layout")
	ErrRawVersion   = errors.New("raw cache of another version")
	ErrRawCorrupt   = errors.New("raw cache is corrupt")
	ErrRawTruncated = errors.New("raw cache is cut short")
	ErrRawCircuit   = errors.New("raw cache of another circuit")
)

// RawHeaderBytes is the size of a raw cache's header.
const RawHeaderBytes = 4096

// A raw cache file is a header and seven sections, each beginning at a
// multiple of rawAlign and zero-filled up to the next:
//
//	vk     α1 β1 δ1 (G1) β2 γ2 δ2 (G2)
//	ic h l a b_g1   G1 points
//	b_g2            G2 points
//
// Points are gnark-crypto's G1Affine (96 bytes: x, y) and G2Affine (192 bytes:
// x.A0, x.A1, y.A0, y.A1): coordinates in Montgomery form, six 64-bit limbs,
// least significant first, in the byte order of the machine. Header numbers
// are little-endian.
//
//	offset  bytes
//	     0     16  magic
//	    16      4  version
//	    20      4  number of sections
//	    24    112  layout mark: see rawLayout
//	   136      8  file size
//	   144      8  size of the .params file it was made from
//	   152     16  Digest of that file
//	   168    256  cache id, zero-filled
//	   424  7×48  for each section: offset (8), number of elements (8), SHA-256
//	  4064     32  SHA-256 of the header up to here
const (
	rawVersion = 1
	rawAlign   = 1 << 16 // the largest page size of the platforms we run on

	rawSizeAt     = 136
	rawSourceAt   = 144
	rawDigestAt   = 152
	rawIDAt       = 168
	rawIDSize     = 256
	rawSectionsAt = rawIDAt + rawIDSize
	rawSectionRow = 48
	rawSumAt      = RawHeaderBytes - sha256.Size

	rawSections = 1 + int(vectors)
)

var rawMagic = [16]byte{'w', 'd', 'p', 'o', 's', 't', ' ', 'r', 'a', 'w', ' ', 'k', 'e', 'y', '\r', '\n'}

// RawHeader is what a raw cache says of itself.
type RawHeader struct {
	CacheID      string // see CacheID
	Source       Digest // of the .params file it was made from
	SourceBytes  uint64
	FileBytes    uint64
	sectionTable [rawSections]rawSection
}

// rawSection is one row of the section table.
type rawSection struct {
	offset uint64
	count  uint64 // elements
	sum    [sha256.Size]byte
}

// sectionName is for messages.
func sectionName(i int) string {
	switch {
	case i < 0:
		return "header"
	case i == 0:
		return "vk"
	}
	return Vector(i - 1).String()
}

// sectionElement is the size of one element of a section in bytes.
func sectionElement(i int) uint64 {
	switch {
	case i == 0:
		return vkHeadSize
	case Vector(i-1) == VectorB2:
		return g2Size
	default:
		return g1Size
	}
}

// planRaw lays out the sections of a key and returns the file size.
func planRaw(counts groth16.Counts) (table [rawSections]rawSection, fileBytes uint64) {
	at := uint64(rawAlign)
	for i := range table {
		table[i] = rawSection{offset: at, count: 1}
		if i > 0 {
			table[i].count = Vector(i - 1).length(counts)
		}
		at = alignUp(at + table[i].count*sectionElement(i))
	}
	return table, at
}

// RawBytes is the size of the raw cache of a circuit.
func RawBytes(s post.Setup) uint64 {
	_, size := planRaw(CountsOf(s))
	return size
}

func alignUp(n uint64) uint64 { return (n + rawAlign - 1) &^ (rawAlign - 1) }

// rawLayout marks the memory layout that the sections have: a number in the
// machine's byte order, the sizes of the two point types, and the field element
// one in Montgomery form (48 bytes), zero-filled to 112 bytes. A machine with
// another mark cannot map the file.
func rawLayout() [112]byte {
	var mark [112]byte
	binary.NativeEndian.PutUint64(mark[0:], 0x0102030405060708)
	binary.LittleEndian.PutUint64(mark[8:], uint64(unsafe.Sizeof(bls.G1Affine{})))
	binary.LittleEndian.PutUint64(mark[16:], uint64(unsafe.Sizeof(bls.G2Affine{})))
	one := fp.One()
	for i, limb := range one {
		binary.NativeEndian.PutUint64(mark[24+8*i:], limb)
	}
	return mark
}

// encode writes the header with its checksum.
func (h *RawHeader) encode() []byte {
	b := make([]byte, RawHeaderBytes)
	copy(b, rawMagic[:])
	binary.LittleEndian.PutUint32(b[16:], rawVersion)
	binary.LittleEndian.PutUint32(b[20:], uint32(rawSections))
	mark := rawLayout()
	copy(b[24:], mark[:])
	binary.LittleEndian.PutUint64(b[rawSizeAt:], h.FileBytes)
	binary.LittleEndian.PutUint64(b[rawSourceAt:], h.SourceBytes)
	copy(b[rawDigestAt:], h.Source[:])
	copy(b[rawIDAt:rawIDAt+rawIDSize], h.CacheID)
	for i, s := range h.sectionTable {
		row := b[rawSectionsAt+i*rawSectionRow:]
		binary.LittleEndian.PutUint64(row, s.offset)
		binary.LittleEndian.PutUint64(row[8:], s.count)
		copy(row[16:], s.sum[:])
	}
	sum := sha256.Sum256(b[:rawSumAt])
	copy(b[rawSumAt:], sum[:])
	return b
}

// ParseRawHeader reads the header of a raw cache, from its first 4096 bytes or
// more. It checks everything that the header alone can tell.
func ParseRawHeader(b []byte) (*RawHeader, error) {
	mark := rawLayout()
	switch {
	case len(b) < RawHeaderBytes:
		return nil, fmt.Errorf("%w: %d bytes, the header alone has %d", ErrRawTruncated, len(b), RawHeaderBytes)
	case !bytes.Equal(b[:16], rawMagic[:]):
		if !bytes.ContainsFunc(b[:RawHeaderBytes], func(r rune) bool { return r != 0 }) {
			return nil, fmt.Errorf("%w: its header was never written, so its making was interrupted", ErrRawTruncated)
		}
		return nil, ErrRawForeign
	case binary.LittleEndian.Uint32(b[16:]) != rawVersion:
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrRawVersion, binary.LittleEndian.Uint32(b[16:]), rawVersion)
	case sha256.Sum256(b[:rawSumAt]) != [sha256.Size]byte(b[rawSumAt:RawHeaderBytes]):
		return nil, fmt.Errorf("%w: header checksum", ErrRawCorrupt)
	case !bytes.Equal(b[24:24+len(mark)], mark[:]):
		return nil, ErrRawForeign
	case binary.LittleEndian.Uint32(b[20:]) != uint32(rawSections):
		return nil, fmt.Errorf("%w: %d sections", ErrRawCorrupt, binary.LittleEndian.Uint32(b[20:]))
	}
	h := &RawHeader{
		CacheID:     string(bytes.TrimRight(b[rawIDAt:rawIDAt+rawIDSize], "\x00")),
		Source:      Digest(b[rawDigestAt:]),
		SourceBytes: binary.LittleEndian.Uint64(b[rawSourceAt:]),
		FileBytes:   binary.LittleEndian.Uint64(b[rawSizeAt:]),
	}
	for i := range h.sectionTable {
		row := b[rawSectionsAt+i*rawSectionRow:]
		h.sectionTable[i] = rawSection{
			offset: binary.LittleEndian.Uint64(row),
			count:  binary.LittleEndian.Uint64(row[8:]),
			sum:    [sha256.Size]byte(row[16:]),
		}
	}
	return h, nil
}

// fits checks that the header is that of a circuit's key.
func (h *RawHeader) fits(s post.Setup) error {
	if id := CacheID(s); h.CacheID != id {
		return fmt.Errorf("%w: it holds %s, wanted %s", ErrRawCircuit, h.CacheID, id)
	}
	want, size := planRaw(CountsOf(s))
	for i := range want {
		have := h.sectionTable[i]
		if have.offset != want[i].offset || have.count != want[i].count {
			return fmt.Errorf("%w: section %s: %d elements at %d, the circuit needs %d at %d",
				ErrRawCorrupt, sectionName(i), have.count, have.offset, want[i].count, want[i].offset)
		}
	}
	if h.FileBytes != size {
		return fmt.Errorf("%w: file size %d in the header, sections make %d", ErrRawCorrupt, h.FileBytes, size)
	}
	return nil
}
