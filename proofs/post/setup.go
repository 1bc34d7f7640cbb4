package post

import "fmt"

// Number of challenges a sector answers (the reference's api configuration).
const (
	windowChallenges  = 10
	winningChallenges = 66
)

// ProofSize is the length in bytes of the proof of one partition.
const ProofSize = 192

// Setup is the shape of one partition's circuit: the three values that name
// its parameters. A proof type has a standard one (ProofType.Setup);
// development keys may be made for fewer sectors in a partition.
type Setup struct {
	SectorSize uint64 // bytes
	Challenges int    // challenges of each sector block: 10 window, 1 winning
	Sectors    int    // sector blocks of one partition: 2349, 2300 or 2 window, 66 winning
}

// Setup returns the standard circuit setup (spec 4.2).
//
// Winning proves one sector with 66 challenges as 66 blocks of one challenge.
func (t ProofType) Setup() Setup {
	size := t.SectorSize()
	switch t.Kind() {
	case Winning:
		return Setup{SectorSize: size, Challenges: 1, Sectors: winningChallenges}
	case Window:
		return Setup{SectorSize: size, Challenges: windowChallenges, Sectors: windowSectors(size)}
	}
	return Setup{}
}

// Kind tells which proofs a circuit is for: winning blocks have one challenge.
func (s Setup) Kind() Kind {
	if s.Challenges == 1 {
		return Winning
	}
	return Window
}

// windowSectors returns the number of sectors in one WindowPoSt partition.
func windowSectors(sectorSize uint64) int {
	switch sectorSize {
	case 32 << 30:
		return 2349
	case 64 << 30:
		return 2300
	}
	return 2
}

// Challenges returns how many leaves of each sector a proof of this type
// opens, which is the number of inclusion proofs of a vanilla proof: 10 for
// window, 66 for winning.
func (t ProofType) Challenges() int {
	switch t.Kind() {
	case Winning:
		return winningChallenges
	case Window:
		return windowChallenges
	}
	return 0
}

// WithSectors returns s with another number of sectors in a partition.
func (s Setup) WithSectors(n int) Setup {
	s.Sectors = n
	return s
}

// Partitions returns how many partitions n sectors make: ⌈n/Sectors⌉.
func (s Setup) Partitions(n int) int { return (n + s.Sectors - 1) / s.Sectors }

// PublicInputs returns the number of public inputs of one partition, the
// constant ONE not counted: for each sector comm_r and its challenges.
func (s Setup) PublicInputs() int { return s.Sectors * (1 + s.Challenges) }

// Validate refuses setups that no circuit can have.
func (s Setup) Validate() error {
	if s.Challenges < 1 || s.Sectors < 1 {
		return fmt.Errorf("setup with %d challenges and %d sectors: both must be at least 1", s.Challenges, s.Sectors)
	}
	for _, size := range SectorSizes() {
		if size == s.SectorSize {
			return nil
		}
	}
	return fmt.Errorf("%w: setup for sectors of %d bytes", ErrUnknownType, s.SectorSize)
}

// String returns the form in which the reference names public parameters; its
// SHA-256 is the identity of a parameter file (spec 8.3).
func (s Setup) String() string {
	return fmt.Sprintf("FallbackPoSt::PublicParams{sector_size: %d, challenge_count: %d, sector_count: %d}",
		s.SectorSize, s.Challenges, s.Sectors)
}
