package post_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/post"
)

// TestChallengesKnownAnswers uses spec 4.5 and, for 32 GiB, the chain vector of
// section 10.
func TestChallengesKnownAnswers(t *testing.T) {
	first := []uint64{62, 42, 34, 7, 62, 46, 42, 43, 20, 23}
	window32KiB, err := post.TypeOf(post.Window, 32<<10, post.V1_2_0)
	if err != nil {
		t.Fatal(err)
	}
	const chain = "2fb40fd7043336d645cd138963c6f960f649db53a0f532e264598e9f53e2ed23"
	for _, c := range []struct {
		typ        post.ProofType
		randomness string
		sector     uint64
		position   int
		want       []uint64
	}{
		{post.Window2KiBV1_1, r0, 42, 0, first},
		{post.Window2KiBV1_1, r0, 43, 1, []uint64{13, 55, 59, 10, 50, 56, 53, 30, 50, 1}},
		{post.Window2KiBV1_1, r0, 77, 2, []uint64{38, 37, 13, 57, 56, 27, 63, 30, 26, 19}},
		{post.Window2KiBV1, r0, 42, 0, first},
		{post.Window2KiBV1, r0, 43, 1, []uint64{25, 59, 41, 16, 28, 42, 59, 2, 12, 10}},
		{post.Window2KiBV1, r0, 77, 2, []uint64{25, 33, 54, 15, 14, 56, 1, 29, 47, 38}},
		{window32KiB, r0, 42, 0, []uint64{894, 1002, 866, 967, 190, 174, 234, 875, 212, 727}},
		{window32KiB, r0, 77, 5, []uint64{934, 357, 589, 889, 760, 539, 127, 862, 410, 339}},
		{post.Winning2KiB, r0, 42, 0, first[:6]},
		{post.Window32GiBV1_1, chain, 132, 0, []uint64{396119802, 277217811, 436245381, 243087716, 706056829, 128152768, 598990178, 81580961, 470132133, 332920863}},
	} {
		got := c.typ.ChallengedLeaves(hex32(t, c.randomness), c.sector, c.position)
		if len(got) != c.typ.Challenges() || !slices.Equal(got[:len(c.want)], c.want) {
			t.Errorf("%s sector %d: %v", c.typ, c.sector, got)
		}
	}
}

func TestWinningSector(t *testing.T) {
	id := post.ProverID(1000)
	if id != hex32(t, "e807000000000000000000000000000000000000000000000000000000000000") {
		t.Errorf("prover id %x", id)
	}
	if got := post.ProverID(3751); got[0] != 0xa7 || got[1] != 0x1d || got[2] != 0 {
		t.Errorf("prover id %x", got)
	}
	if got := post.ProverID(math.MaxUint64); got[9] != 1 || got[10] != 0 {
		t.Errorf("prover id %x", got)
	}
	if i, err := post.WinningSector(id, hex32(t, r0), 1000); err != nil || i != 699 {
		t.Errorf("index %d, %v", i, err)
	}
	if _, err := post.WinningSector(id, hex32(t, r0), 0); !errors.Is(err, post.ErrNoSectors) {
		t.Errorf("empty set: %v", err)
	}
}

func TestMaskRandomness(t *testing.T) {
	all := [32]byte{}
	for i := range all {
		all[i] = 0xff
	}
	masked := post.MaskRandomness(all)
	if masked[31] != 0x3f || masked[30] != 0xff || all[31] != 0xff {
		t.Errorf("%x", masked)
	}
	s := windowStatement(1)
	s.Randomness = all
	if err := s.Validate(); !errors.Is(err, post.ErrStatement) {
		t.Errorf("unmasked randomness: %v", err)
	}
	s.Randomness = masked
	if err := s.Validate(); err != nil {
		t.Errorf("masked randomness: %v", err)
	}
}

// windowStatement claims n sectors 10, 20, … with comm_r 1, 2, ….
func windowStatement(n int) *post.Statement {
	s := &post.Statement{Type: post.Window2KiBV1}
	for i := range n {
		s.Sectors = append(s.Sectors, post.Sector{Number: uint64(10 * (i + 1)), CommR: [32]byte{byte(i + 1)}})
	}
	return s
}

func TestStatementRefusals(t *testing.T) {
	for name, change := range map[string]func(*post.Statement){
		"no sectors":          func(s *post.Statement) { s.Sectors = nil },
		"descending":          func(s *post.Statement) { slices.Reverse(s.Sectors) },
		"repeated":            func(s *post.Statement) { s.Sectors[1].Number = 10 },
		"zero comm_r":         func(s *post.Statement) { s.Sectors[2].CommR = [32]byte{} },
		"comm_r too large":    func(s *post.Statement) { s.Sectors[2].CommR[31] = 0x74 },
		"two winning":         func(s *post.Statement) { s.Type = post.Winning2KiB },
		"setup of other size": func(s *post.Statement) { s.Setup = post.Window8MiBV1.Setup() },
	} {
		s := windowStatement(3)
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		change(s)
		if err := s.Validate(); !errors.Is(err, post.ErrStatement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := windowStatement(1)
	s.Type = 15
	if err := s.Validate(); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("type 15: %v", err)
	}
}

// TestPartitionsAndPadding: five sectors in partitions of two; the last one is
// filled with its own sector, challenges included.
func TestPartitionsAndPadding(t *testing.T) {
	s := windowStatement(5)
	if s.Partitions() != 3 {
		t.Fatalf("%d partitions", s.Partitions())
	}
	for partition, want := range [][]int{{0, 1}, {2, 3}, {4, 4}} {
		inputs, err := s.PublicInputs(partition)
		if err != nil || len(inputs) != s.Type.Setup().PublicInputs() {
			t.Fatalf("partition %d: %d inputs, %v", partition, len(inputs), err)
		}
		for b, sector := range want {
			expected := []fr.Element{fr.NewElement(uint64(sector + 1))}
			for _, leaf := range s.Challenges(sector) {
				expected = append(expected, fr.NewElement(leaf))
			}
			if !slices.Equal(inputs[11*b:11*(b+1)], expected) {
				t.Errorf("partition %d block %d is not of sector %d", partition, b, sector)
			}
		}
	}
}

func TestWinningInputs(t *testing.T) {
	s := windowStatement(1)
	s.Type = post.Winning2KiB
	inputs, err := s.PublicInputs(0)
	if err != nil || s.Partitions() != 1 || len(inputs) != 132 {
		t.Fatalf("%d inputs, %v", len(inputs), err)
	}
	for i, leaf := range s.Challenges(0) {
		if inputs[2*i] != fr.NewElement(1) || inputs[2*i+1] != fr.NewElement(leaf) {
			t.Errorf("block %d: %v", i, inputs[2*i:2*i+2])
		}
	}
}

// TestSmallerSetup: development keys with one sector and one challenge.
func TestSmallerSetup(t *testing.T) {
	s := windowStatement(2)
	s.Type = post.Window2KiBV1_1
	s.Randomness = hex32(t, r0)
	s.Sectors[0].Number = 42
	s.Sectors[1].Number = 43
	s.Setup = post.Setup{SectorSize: 2 << 10, Challenges: 1, Sectors: 1}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	inputs, err := s.PublicInputs(1)
	want := []fr.Element{fr.NewElement(2), fr.NewElement(13)}
	if err != nil || s.Partitions() != 2 || !slices.Equal(inputs, want) {
		t.Errorf("%v, %v", inputs, err)
	}
}
