package post

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknownType is wrapped by every refusal of a proof type, sector size or
// API version that does not exist.
var ErrUnknownType = errors.New("unknown proof type")

// ProofType is a registered PoSt proof type. The values 0 to 14 are those of
// go-state-types; values from 1000 on are this project's numbers for the five
// sector sizes that no network registers (4 KiB, 16 KiB, 32 KiB, 16 MiB,
// 1 GiB) and that serve development networks and tools only.
type ProofType uint64

// Registered proof types: the numbers of go-state-types
// (abi.RegisteredPoStProof).
const (
	Winning2KiB   ProofType = 0
	Winning8MiB   ProofType = 1
	Winning512MiB ProofType = 2
	Winning32GiB  ProofType = 3
	Winning64GiB  ProofType = 4

	Window2KiBV1   ProofType = 5
	Window8MiBV1   ProofType = 6
	Window512MiBV1 ProofType = 7
	Window32GiBV1  ProofType = 8
	Window64GiBV1  ProofType = 9

	Window2KiBV1_1   ProofType = 10
	Window8MiBV1_1   ProofType = 11
	Window512MiBV1_1 ProofType = 12
	Window32GiBV1_1  ProofType = 13
	Window64GiBV1_1  ProofType = 14
)

// Both blocks of numbers have three rows (winning, window V1, window V1_1) of
// sizesPerBlock sizes each, in ascending order.
const (
	sizesPerBlock = 5
	rowsPerBlock  = 3
)

// privateBlock is the first of the private numbers.
const privateBlock ProofType = 1000

// Row numbers inside a block.
const (
	rowWinning = iota
	rowWindowV1
	rowWindowV1_1
)

// Kind tells the two proofs of spacetime apart.
type Kind uint8

// The two kinds. The zero value is neither.
const (
	Window  Kind = 1 // proves every sector of a partition once a day
	Winning Kind = 2 // proves one sector of a block producer
)

// String returns "window" or "winning".
func (k Kind) String() string {
	switch k {
	case Window:
		return "window"
	case Winning:
		return "winning"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind is the inverse of Kind.String.
func ParseKind(name string) (Kind, error) {
	switch name {
	case "window":
		return Window, nil
	case "winning":
		return Winning, nil
	}
	return 0, fmt.Errorf("%w: kind %q is neither window nor winning", ErrUnknownType, name)
}

// APIVersion decides how challenge indices are derived (spec 4.2).
type APIVersion uint8

// API versions of rust-fil-proofs. V1_0_0 and V1_1_0 derive the same PoSt
// challenges; no proof type of its own exists for V1_1_0.
const (
	V1_0_0 APIVersion = iota
	V1_1_0
	V1_2_0
)

// String returns the dotted form, for example "1.2.0".
func (v APIVersion) String() string { return fmt.Sprintf("1.%d.0", uint8(v)) }

// ParseAPIVersion reads "1.2.0" or the short form "1.2".
func ParseAPIVersion(s string) (APIVersion, error) {
	for v := V1_0_0; v <= V1_2_0; v++ {
		if s == v.String() || s+".0" == v.String() {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: API version %q, use 1.0, 1.1 or 1.2", ErrUnknownType, s)
}

// SectorSizes returns the ten sizes that have proof types, in bytes, ascending.
func SectorSizes() []uint64 {
	return []uint64{
		2 << 10, 4 << 10, 16 << 10, 32 << 10,
		8 << 20, 16 << 20, 512 << 20,
		1 << 30, 32 << 30, 64 << 30,
	}
}

// blockSizes returns the sizes of a block of numbers in row order.
func blockSizes(private bool) [sizesPerBlock]uint64 {
	if private {
		return [...]uint64{4 << 10, 16 << 10, 32 << 10, 16 << 20, 1 << 30}
	}
	return [...]uint64{2 << 10, 8 << 20, 512 << 20, 32 << 30, 64 << 30}
}

// SizeName writes a sector size the way proof types do: "2KiB", "32GiB".
func SizeName(size uint64) string {
	for _, u := range []struct {
		name  string
		shift uint
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if size>>u.shift != 0 && size&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d%s", size>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%dB", size)
}

// ParseSectorSize is the inverse of SizeName for the ten known sizes.
func ParseSectorSize(name string) (uint64, error) {
	var known []string
	for _, size := range SectorSizes() {
		if SizeName(size) == name {
			return size, nil
		}
		known = append(known, SizeName(size))
	}
	return 0, fmt.Errorf("%w: sector size %q, use one of %s", ErrUnknownType, name, strings.Join(known, ", "))
}

// TypeOf returns the proof type of a kind, sector size in bytes and API
// version. V1_1_0 derives the challenges of V1_0_0 and so shares its types;
// WinningPoSt exists in these two versions only.
func TypeOf(kind Kind, sectorSize uint64, version APIVersion) (ProofType, error) {
	row := -1
	switch {
	case kind == Winning && version <= V1_1_0:
		row = rowWinning
	case kind == Window && version <= V1_1_0:
		row = rowWindowV1
	case kind == Window && version == V1_2_0:
		row = rowWindowV1_1
	}
	if row < 0 {
		return 0, fmt.Errorf("%w: no %s PoSt with API version %s", ErrUnknownType, kind, version)
	}
	for _, private := range []bool{false, true} {
		for col, size := range blockSizes(private) {
			if size != sectorSize {
				continue
			}
			t := ProofType(row*sizesPerBlock + col)
			if private {
				t += privateBlock
			}
			return t, nil
		}
	}
	return 0, fmt.Errorf("%w: no %s PoSt for sectors of %d bytes", ErrUnknownType, kind, sectorSize)
}

// locate splits a type into its row and sector size; ok is false for numbers
// that stand for nothing.
func (t ProofType) locate() (row int, size uint64, ok bool) {
	private := t >= privateBlock
	n := t
	if private {
		n -= privateBlock
	}
	if n >= rowsPerBlock*sizesPerBlock {
		return 0, 0, false
	}
	return int(n / sizesPerBlock), blockSizes(private)[n%sizesPerBlock], true
}

// Valid reports whether t is one of the 30 known types. The methods below
// return zero values for a type that is not.
func (t ProofType) Valid() bool {
	_, _, ok := t.locate()
	return ok
}

// SectorSize returns the size of the sectors in bytes.
func (t ProofType) SectorSize() uint64 {
	_, size, _ := t.locate()
	return size
}

// Kind returns Window or Winning.
func (t ProofType) Kind() Kind {
	row, _, ok := t.locate()
	switch {
	case !ok:
		return 0
	case row == rowWinning:
		return Winning
	}
	return Window
}

// IsWinning reports whether t proves a block producer's right to win.
func (t ProofType) IsWinning() bool { return t.Kind() == Winning }

// APIVersion returns V1_2_0 for Window V1_1 and V1_0_0 for all others (spec 1).
func (t ProofType) APIVersion() APIVersion {
	if row, _, ok := t.locate(); ok && row == rowWindowV1_1 {
		return V1_2_0
	}
	return V1_0_0
}

// String returns the name of the type on the external-processor protocol, that
// of filecoin-proofs-api: "StackedDrgWindow32GiBV1_2" for what go-state-types
// calls StackedDrgWindow32GiBV1_1.
func (t ProofType) String() string {
	row, size, ok := t.locate()
	if !ok {
		return fmt.Sprintf("ProofType(%d)", uint64(t))
	}
	switch row {
	case rowWinning:
		return "StackedDrgWinning" + SizeName(size) + "V1"
	case rowWindowV1:
		return "StackedDrgWindow" + SizeName(size) + "V1"
	}
	return "StackedDrgWindow" + SizeName(size) + "V1_2"
}

// ParseProofType is the inverse of String.
func ParseProofType(name string) (ProofType, error) {
	for _, block := range []ProofType{0, privateBlock} {
		for i := range ProofType(rowsPerBlock * sizesPerBlock) {
			if t := block + i; t.String() == name {
				return t, nil
			}
		}
	}
	return 0, fmt.Errorf("%w %q, expected a name such as %s", ErrUnknownType, name, Window32GiBV1_1)
}
