package post_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"wdpost/proofs/post"
)

func TestProofTypeNumbersAndNames(t *testing.T) {
	for _, c := range []struct {
		typ     post.ProofType
		name    string
		kind    post.Kind
		size    uint64
		version post.APIVersion
	}{
		{0, "StackedDrgWinning2KiBV1", post.Winning, 2 << 10, post.V1_0_0},
		{4, "StackedDrgWinning64GiBV1", post.Winning, 64 << 30, post.V1_0_0},
		{5, "StackedDrgWindow2KiBV1", post.Window, 2 << 10, post.V1_0_0},
		{8, "StackedDrgWindow32GiBV1", post.Window, 32 << 30, post.V1_0_0},
		{10, "StackedDrgWindow2KiBV1_2", post.Window, 2 << 10, post.V1_2_0},
		{11, "StackedDrgWindow8MiBV1_2", post.Window, 8 << 20, post.V1_2_0},
		{12, "StackedDrgWindow512MiBV1_2", post.Window, 512 << 20, post.V1_2_0},
		{14, "StackedDrgWindow64GiBV1_2", post.Window, 64 << 30, post.V1_2_0},
		{1000, "StackedDrgWinning4KiBV1", post.Winning, 4 << 10, post.V1_0_0},
		{1006, "StackedDrgWindow16KiBV1", post.Window, 16 << 10, post.V1_0_0},
		{1014, "StackedDrgWindow1GiBV1_2", post.Window, 1 << 30, post.V1_2_0},
	} {
		if got := c.typ.String(); got != c.name {
			t.Errorf("type %d is %q, want %q", c.typ, got, c.name)
		}
		if c.typ.Kind() != c.kind || c.typ.SectorSize() != c.size || c.typ.APIVersion() != c.version {
			t.Errorf("%s: kind %s size %d version %s", c.name, c.typ.Kind(), c.typ.SectorSize(), c.typ.APIVersion())
		}
		if got, err := post.ParseProofType(c.name); err != nil || got != c.typ {
			t.Errorf("ParseProofType(%q) = %d, %v", c.name, got, err)
		}
		if got, err := post.TypeOf(c.kind, c.size, c.version); err != nil || got != c.typ {
			t.Errorf("TypeOf(%s) = %d, %v", c.name, got, err)
		}
	}
}

func TestProofTypeRefusals(t *testing.T) {
	for _, n := range []post.ProofType{15, 999, 1015, 1 << 63} {
		if n.Valid() || n.SectorSize() != 0 || n.Kind() != 0 || n.Setup() != (post.Setup{}) || n.Challenges() != 0 {
			t.Errorf("type %d is taken for real", n)
		}
	}
	for _, name := range []string{"", "StackedDrgWindow2KiBV1_1", "StackedDrgWinning2KiBV1_2", "StackedDrgWindow3KiBV1"} {
		if _, err := post.ParseProofType(name); !errors.Is(err, post.ErrUnknownType) {
			t.Errorf("ParseProofType(%q): %v", name, err)
		}
	}
	if _, err := post.TypeOf(post.Winning, 2<<10, post.V1_2_0); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("winning with V1_2_0: %v", err)
	}
	if _, err := post.TypeOf(post.Window, 3<<10, post.V1_2_0); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("3 KiB sectors: %v", err)
	}
	if a, _ := post.TypeOf(post.Window, 2<<10, post.V1_1_0); a != post.Window2KiBV1 {
		t.Errorf("window 1.1 is %s", a)
	}
}

func TestSectorSizeNames(t *testing.T) {
	for _, size := range post.SectorSizes() {
		got, err := post.ParseSectorSize(post.SizeName(size))
		if err != nil || got != size {
			t.Errorf("%d: %d, %v", size, got, err)
		}
	}
	if _, err := post.ParseSectorSize("2kib"); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("2kib: %v", err)
	}
}

// TestSetupIdentity checks the standard setups through the parameter hashes of
// spec 8.3.
func TestSetupIdentity(t *testing.T) {
	for typ, want := range map[post.ProofType]string{
		post.Winning2KiB:     "3ea05428c9d11689f23529cde32fd30aabd50f7d2c93657c1d3650bca3e8ea9e",
		post.Window2KiBV1_1:  "0170db1f394b35d995252228ee359194b13199d259380541dc529fb0099096b0",
		post.Window2KiBV1:    "0170db1f394b35d995252228ee359194b13199d259380541dc529fb0099096b0",
		post.Window32GiBV1_1: "0377ded656c6f524f1618760bffe4e0a1c51d5a70c4509eedae8a27555733edc",
		post.Window64GiBV1_1: "2627e4006b67f99cef990c0a47d5426cb7ab0a0ad58fc1061547bf2d28b09def",
		post.Winning64GiB:    "b62098629d07946e9028127e70295ed996fe3ed25b0f9f88eb610a0ab4385a3c",
	} {
		sum := sha256.Sum256([]byte(typ.Setup().String()))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s: %s", typ, got)
		}
		if err := typ.Setup().Validate(); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
	}
	s := post.Window2KiBV1_1.Setup()
	for n, want := range map[int]int{1: 1, 2: 1, 3: 2, 5: 3} {
		if got := s.Partitions(n); got != want {
			t.Errorf("%d sectors make %d partitions", n, got)
		}
	}
	if got := post.Window32GiBV1_1.Setup().PublicInputs(); got != 25839 {
		t.Errorf("32 GiB window has %d public inputs", got)
	}
	if s.WithSectors(0).Validate() == nil || (post.Setup{SectorSize: 3000, Challenges: 1, Sectors: 1}).Validate() == nil {
		t.Error("impossible setup accepted")
	}
}

func TestAPIVersion(t *testing.T) {
	for s, want := range map[string]post.APIVersion{"1.0": post.V1_0_0, "1.1.0": post.V1_1_0, "1.2": post.V1_2_0, "1.2.0": post.V1_2_0} {
		if got, err := post.ParseAPIVersion(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if _, err := post.ParseAPIVersion("1.3"); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("1.3: %v", err)
	}
	for _, k := range []post.Kind{post.Window, post.Winning} {
		if got, err := post.ParseKind(k.String()); err != nil || got != k {
			t.Errorf("%s: %v, %v", k, got, err)
		}
	}
	if _, err := post.ParseKind("spacetime"); !errors.Is(err, post.ErrUnknownType) {
		t.Errorf("bad kind: %v", err)
	}
}
