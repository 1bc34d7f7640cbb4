package poster

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	miner10 "github.com/filecoin-project/go-state-types/builtin/v10/miner"
	miner14 "github.com/filecoin-project/go-state-types/builtin/v14/miner"
	miner18 "github.com/filecoin-project/go-state-types/builtin/v18/miner"
	miner8 "github.com/filecoin-project/go-state-types/builtin/v8/miner"
	"github.com/filecoin-project/go-state-types/network"
	"github.com/filecoin-project/go-state-types/proof"
	cbg "github.com/whyrusleeping/cbor-gen"

	"wdpost/internal/ledger"
	"wdpost/proofs/post"
)

func TestMaxPartitions(t *testing.T) {
	for _, tt := range []struct {
		nv      network.Version
		sectors uint64
		want    uint64
	}{
		{network.Version20, 2349, 10}, // 25,000 sectors
		{network.Version20, 2, 3000},
		{network.Version21, 2349, 3},
		{network.Version28, 2, 3},
		{network.VersionMax, 2300, 3}, // a network of tomorrow
		{network.Version28, 20_000, 1},
		{network.Version28, 30_000, 1},
		{network.Version28, 0, 3},
	} {
		if got := maxPartitions(tt.nv, tt.sectors); got != tt.want {
			t.Errorf("maxPartitions(%d, %d) = %d, want %d", tt.nv, tt.sectors, got, tt.want)
		}
	}
}

func partitionsOf(sizes ...int) []partition {
	var out []partition
	next := uint64(0)
	for i, n := range sizes {
		p := partition{index: uint64(i)}
		for range n {
			p.toProve = append(p.toProve, next)
			next++
		}
		out = append(out, p)
	}
	return out
}

func TestGroup(t *testing.T) {
	same := func(n, size int) []int {
		out := make([]int, n)
		for i := range out {
			out[i] = size
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		sizes []int
		per   uint64
		want  []int
	}{
		{"none", nil, 3, nil},
		{"14 at 5", same(14, 2), 5, []int{5, 5, 4}},
		{"14 at 3", same(14, 2349), 3, []int{3, 3, 3, 3, 2}},
		{"one", same(1, 2), 3, []int{1}},
		{"too many sectors", same(3, 12_000), 3, []int{2, 1}},
	} {
		var got []int
		for _, b := range group(partitionsOf(tt.sizes...), tt.per) {
			got = append(got, len(b.partitions))
		}
		if !equalInts(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestGroupRecoveries(t *testing.T) {
	var recs []recovery
	for _, p := range partitionsOf(10, 20, 24_990, 11) {
		recs = append(recs, recovery{Partition: p.index, Sectors: p.toProve})
	}
	for _, tt := range []struct {
		per  uint64
		want []int
	}{{0, []int{2, 1, 1}}, {1, []int{1, 1, 1, 1}}, {100_000, []int{2, 1, 1}}} {
		var got []int
		for _, g := range groupRecoveries(recs, tt.per) {
			got = append(got, len(g))
		}
		if !equalInts(got, tt.want) {
			t.Errorf("at %d: %v, want %v", tt.per, got, tt.want)
		}
	}
}

func TestSeedAndEntropy(t *testing.T) {
	maddr, err := address.NewIDAddress(1000)
	if err != nil {
		t.Fatal(err)
	}
	e, err := entropy(maddr)
	if err != nil || hex.EncodeToString(e) != "4300e807" { // as recorded from a node
		t.Errorf("entropy %x, %v", e, err)
	}
	seed, err := maskSeed(bytes.Repeat([]byte{0xff}, 32))
	if err != nil || seed[31] != 0x3f || seed[30] != 0xff {
		t.Errorf("seed %x, %v", seed, err)
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := maskSeed(make([]byte, n)); err == nil {
			t.Errorf("%d bytes of randomness were accepted", n)
		}
	}
}

// TestParamsOfARealMessage encodes a submission that a real node accepted.
func TestParamsOfARealMessage(t *testing.T) {
	raw, err := os.ReadFile("testdata/MpoolPushMessage-SubmitWindowedPoSt.json")
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Request struct{ Params []struct{ Params []byte } }
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	want := recorded.Request.Params[0].Params
	var real miner18.SubmitWindowedPoStParams
	if err := real.UnmarshalCBOR(bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	s := submission{
		Deadline: 1, Partitions: []submittedPartition{{Index: 0}}, ProofType: abi.RegisteredPoStProof_StackedDrgWindow2KiBV1_1,
		Proof: real.Proofs[0].ProofBytes, CommitEpoch: real.ChainCommitEpoch, CommitRand: real.ChainCommitRand,
	}
	if got, err := s.encode(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, %v, want %x", got, err, want)
	}
}

// TestParamsAreTheSameInEveryVersion holds what submission.encode rests on.
func TestParamsAreTheSameInEveryVersion(t *testing.T) {
	s := submission{
		Deadline: 47, Partitions: []submittedPartition{{Index: 2, Skipped: []uint64{5, 6, 9}}, {Index: 7}},
		ProofType: abi.RegisteredPoStProof_StackedDrgWindow32GiBV1_1, Proof: make([]byte, 2*post.ProofSize), CommitEpoch: 4_000_000, CommitRand: make([]byte, 32),
	}
	got, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	proofs := []proof.PoStProof{{PoStProof: s.ProofType, ProofBytes: s.Proof}}
	skipped := func() bitfield.BitField { return bitfield.NewFromSet([]uint64{5, 6, 9}) }
	for name, p := range map[string]cbg.CBORMarshaler{
		"v8": &miner8.SubmitWindowedPoStParams{Deadline: 47, Proofs: proofs, ChainCommitEpoch: s.CommitEpoch, ChainCommitRand: s.CommitRand,
			Partitions: []miner8.PoStPartition{{Index: 2, Skipped: skipped()}, {Index: 7, Skipped: bitfield.New()}}},
		"v10": &miner10.SubmitWindowedPoStParams{Deadline: 47, Proofs: proofs, ChainCommitEpoch: s.CommitEpoch, ChainCommitRand: s.CommitRand,
			Partitions: []miner10.PoStPartition{{Index: 2, Skipped: skipped()}, {Index: 7, Skipped: bitfield.New()}}},
		"v14": &miner14.SubmitWindowedPoStParams{Deadline: 47, Proofs: proofs, ChainCommitEpoch: s.CommitEpoch, ChainCommitRand: s.CommitRand,
			Partitions: []miner14.PoStPartition{{Index: 2, Skipped: skipped()}, {Index: 7, Skipped: bitfield.New()}}},
	} {
		var b bytes.Buffer
		if err := p.MarshalCBOR(&b); err != nil || !bytes.Equal(b.Bytes(), got) {
			t.Errorf("%s: %x, %v, want %x", name, b.Bytes(), err, got)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	key := ledger.RunKey{Miner: 1008, PeriodStart: 2880, Deadline: 7}
	id := postID(key, [32]byte{1}, ledger.Partitions{0, 1}, 1)
	if want := "wdpost-1008-2880-7-01d0fabd-0,1-1"; id != want {
		t.Errorf("id %q, want %q: an id must never change, messages in flight go by it", id, want)
	}
	if id == postID(key, [32]byte{2}, ledger.Partitions{0, 1}, 1) || id == postID(key, [32]byte{1}, ledger.Partitions{0, 1}, 2) {
		t.Error("other questions share the id")
	}
	a, b := recoveryID(key, []recovery{{0, []uint64{1}}}, 1), recoveryID(key, []recovery{{1, []uint64{1}}}, 1)
	if a == b {
		t.Error("declarations for other partitions share the id")
	}
}
