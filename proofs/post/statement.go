package post

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
)

// ErrStatement is wrapped by every refusal of a statement as such.
var ErrStatement = errors.New("invalid statement")

// Sector is a sector as the chain knows it.
type Sector struct {
	Number uint64
	CommR  [32]byte // sealed commitment, or that of the update; field element, little-endian
}

// Statement is what a proof of spacetime claims: that the replicas behind these
// commitments are stored. Prover and verifier derive the same challenges and
// public inputs from it.
type Statement struct {
	Type       ProofType
	Setup      Setup    // the zero value stands for Type.Setup()
	Randomness [32]byte // masked
	Sectors    []Sector // ascending numbers without repetition; exactly one for winning
}

// setup returns the setup in force.
func (s *Statement) setup() Setup {
	if s.Setup == (Setup{}) {
		return s.Type.Setup()
	}
	return s.Setup
}

// perSector returns how many leaves each sector opens in the setup in force.
func (s *Statement) perSector() int {
	if s.Type.IsWinning() {
		return s.setup().Challenges * s.setup().Sectors
	}
	return s.setup().Challenges
}

// Validate refuses statements that can be neither proven nor verified. The
// other methods rely on it.
func (s *Statement) Validate() error {
	if !s.Type.Valid() {
		return fmt.Errorf("%w %d", ErrUnknownType, uint64(s.Type))
	}
	setup := s.setup()
	if err := setup.Validate(); err != nil {
		return err
	}
	if setup.SectorSize != s.Type.SectorSize() {
		return fmt.Errorf("%w: setup for sectors of %d bytes, type %s", ErrStatement, setup.SectorSize, s.Type)
	}
	if len(s.Sectors) == 0 {
		return fmt.Errorf("%w: %w", ErrStatement, ErrNoSectors)
	}
	if s.Type.IsWinning() && len(s.Sectors) != 1 {
		return fmt.Errorf("%w: %d sectors, winning proves one", ErrStatement, len(s.Sectors))
	}
	if _, err := merkle.Node(s.Randomness); err != nil {
		return fmt.Errorf("%w: randomness: %w; clear its two top bits", ErrStatement, err)
	}
	for i, sector := range s.Sectors {
		if i > 0 && sector.Number <= s.Sectors[i-1].Number {
			return fmt.Errorf("%w: sector %d follows %d, want ascending numbers", ErrStatement, sector.Number, s.Sectors[i-1].Number)
		}
		if sector.CommR == ([32]byte{}) {
			return fmt.Errorf("%w: sector %d: comm_r is all zero", ErrStatement, sector.Number)
		}
		if _, err := merkle.Node(sector.CommR); err != nil {
			return fmt.Errorf("%w: sector %d: comm_r: %w", ErrStatement, sector.Number, err)
		}
	}
	return nil
}

// Partitions returns how many partitions the proof has; it is 192 bytes long
// for each.
func (s *Statement) Partitions() int {
	if s.Type.IsWinning() {
		return 1
	}
	return s.setup().Partitions(len(s.Sectors))
}

// Challenges returns the leaves that Sectors[i] must open.
func (s *Statement) Challenges(i int) []uint64 {
	return challenges(s.Type.APIVersion(), s.Type.SectorSize(), s.perSector(), s.Randomness, s.Sectors[i].Number, i)
}

// Block says which vanilla proof fills one sector block of a circuit: the
// inclusion proofs First to First+Setup.Challenges−1 of Sectors[Sector].
type Block struct {
	Sector int
	First  int
}

// Blocks returns the blocks of a partition in circuit order. A window partition
// that lacks sectors is filled by repeating its last one, challenges included
// (spec 4.3); winning spreads the challenges of its sector over all blocks.
func (s *Statement) Blocks(partition int) []Block {
	setup := s.setup()
	blocks := make([]Block, setup.Sectors)
	for i := range blocks {
		if s.Type.IsWinning() {
			blocks[i].First = i * setup.Challenges
		} else {
			blocks[i].Sector = min(partition*setup.Sectors+i, len(s.Sectors)-1)
		}
	}
	return blocks
}

// PublicInputs returns the public inputs of a partition, the constant ONE not
// included: for each block comm_r and then the leaf indices. Spec 6.5.
func (s *Statement) PublicInputs(partition int) ([]fr.Element, error) {
	setup := s.setup()
	inputs := make([]fr.Element, 0, setup.PublicInputs())
	var leaves []uint64
	last := -1
	for _, b := range s.Blocks(partition) {
		sector := s.Sectors[b.Sector]
		commR, err := merkle.Node(sector.CommR)
		if err != nil {
			return nil, fmt.Errorf("%w: sector %d: comm_r: %w", ErrStatement, sector.Number, err)
		}
		if b.Sector != last {
			leaves, last = s.Challenges(b.Sector), b.Sector
		}
		inputs = append(inputs, commR)
		for _, leaf := range leaves[b.First : b.First+setup.Challenges] {
			inputs = append(inputs, fr.NewElement(leaf))
		}
	}
	return inputs, nil
}

// Check verifies the vanilla proof of Sectors[i]: that it is the proof of that
// sector with that commitment, and everything of Vanilla.Verify. For winning
// all 66 challenges are checked. Spec 4.4.
func (s *Statement) Check(h *merkle.Hasher, i int, v *Vanilla) error {
	sector := s.Sectors[i]
	if v.Sector != sector.Number {
		return fmt.Errorf("%w: it is of sector %d, want %d", ErrInvalidVanilla, v.Sector, sector.Number)
	}
	if merkle.NodeBytes(v.CommR) != sector.CommR {
		return fmt.Errorf("%w: sector %d: comm_r %x, want %x", ErrInvalidVanilla, v.Sector, merkle.NodeBytes(v.CommR), sector.CommR)
	}
	shape, err := merkle.ShapeOf(s.Type.SectorSize())
	if err != nil {
		return err
	}
	return v.Verify(h, shape, s.Challenges(i))
}
