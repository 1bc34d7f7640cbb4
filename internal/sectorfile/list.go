package sectorfile

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"wdpost/internal/durable"
	"wdpost/proofs/merkle"
)

// CommR is a sealed commitment, in JSON 64 hexadecimal digits: the 32 bytes of
// a field element, little-endian.
type CommR [32]byte

// MarshalText writes the hexadecimal digits.
func (c CommR) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(c[:])), nil }

// UnmarshalText accepts exactly 64 hexadecimal digits of a field element.
func (c *CommR) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(c) {
		return fmt.Errorf("comm_r %q is not 64 hexadecimal digits", text)
	}
	if _, err := merkle.Node([32]byte(raw)); err != nil {
		return fmt.Errorf("comm_r %q: %w", text, err)
	}
	*c = CommR(raw)
	return nil
}

// Entry is one sector of a list.
type Entry struct {
	CommR  CommR  `json:"comm_r"`
	Number uint64 `json:"number"`
}

// List names the sectors of a storage directory with their commitments: what
// the chain would know of them. It lies beside sealed/ and cache/.
type List struct {
	Miner      uint64  `json:"miner"`
	SectorSize uint64  `json:"sector_size"` // bytes
	Sectors    []Entry `json:"sectors"`     // ascending numbers
}

// FileName returns the customary name of the list's file:
// sectors-<miner>-<first number>.json.
func (l *List) FileName() string {
	return fmt.Sprintf("sectors-%d-%d.json", l.Miner, l.Sectors[0].Number)
}

// ErrList is wrapped by every refusal of a list.
var ErrList = errors.New("invalid sector list")

// ParseList reads a list from JSON. Unknown keys are ignored; a sector size
// without a tree shape, no sectors, or numbers that repeat or descend are not.
func ParseList(data []byte) (*List, error) {
	l := &List{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	if _, err := merkle.ShapeOf(l.SectorSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	if len(l.Sectors) == 0 {
		return nil, fmt.Errorf("%w: no sectors", ErrList)
	}
	for i, e := range l.Sectors {
		if i > 0 && e.Number <= l.Sectors[i-1].Number {
			return nil, fmt.Errorf("%w: sector %d follows %d, want ascending numbers", ErrList, e.Number, l.Sectors[i-1].Number)
		}
		if e.CommR == (CommR{}) {
			return nil, fmt.Errorf("%w: sector %d has no comm_r", ErrList, e.Number)
		}
	}
	return l, nil
}

// ReadList reads the list in a file.
func ReadList(path string) (*List, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	l, err := ParseList(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// Write writes the list to a file, in whole or not at all, replacing what was
// there.
func (l *List) Write(path string) error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(path, append(raw, '\n'), fileMode)
}

// Add puts a sector into the list, keeping the numbers ascending. It refuses
// one that is there.
func (l *List) Add(number uint64, commR [32]byte) error {
	at, found := slices.BinarySearchFunc(l.Sectors, number, func(e Entry, n uint64) int {
		return cmp.Compare(e.Number, n)
	})
	if found {
		return fmt.Errorf("%w: sector %d is there already", ErrList, number)
	}
	l.Sectors = slices.Insert(l.Sectors, at, Entry{CommR: commR, Number: number})
	return nil
}
