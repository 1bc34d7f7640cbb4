package params_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

const kib, mib, gib = 1 << 10, 1 << 20, 1 << 30

// setup is the standard setup of a size and kind.
func setup(t testing.TB, size uint64, kind post.Kind) post.Setup {
	t.Helper()
	version := post.V1_2_0
	if kind == post.Winning {
		version = post.V1_0_0
	}
	typ, err := post.TypeOf(kind, size, version)
	if err != nil {
		t.Fatal(err)
	}
	return typ.Setup()
}

// Spec section 8.3.
func TestCacheID(t *testing.T) {
	for _, c := range []struct {
		size            uint64
		shape           string
		winning, window string
	}{
		{2 * kib, "8-0-0", "3ea05428c9d11689f23529cde32fd30aabd50f7d2c93657c1d3650bca3e8ea9e", "0170db1f394b35d995252228ee359194b13199d259380541dc529fb0099096b0"},
		{4 * kib, "8-2-0", "1b919095872c3abb6e84fb6060425159f5ddd55c982df1853100e66919c70d34", "cc42931263e38853659466f248a6d623b702bf9ec49f687b2a931cef727c1069"},
		{16 * kib, "8-8-0", "fb97aa10509b0b9a3663c412f4362c4899d88bc4fcd680ab5898a4b5c594c9ca", "457fef4290dae6633b426166ae92f2e7732fe528b75fec3226dc479ce7c95662"},
		{32 * kib, "8-8-2", "46ced5cb1fda8c92490b22b2af7bd1adedace49a0a40539f96bea1082b740ebc", "0f2270b825bd80be1b341ad648b96c9cbf744a38c50921dc734e4a251a48447b"},
		{8 * mib, "8-0-0", "50c7368dea9593ed0989e70974d28024efa9d156d585b7eea1be22b2e753f331", "5294475db5237a2e83c3e52fd6c2b03859a1831d45ed08c4f35dbf9a803165a9"},
		{16 * mib, "8-2-0", "6f17428086c4e8ebe4fe3cb08be628669bf3e16652c22a78e1fa53e9e83feaf4", "8feba84565cc48dcdb48c9b2957754a8b91e1bfa1fc1348791d1a3fda9b5ea09"},
		{512 * mib, "8-0-0", "7d739b8cf60f1b0709eeebee7730e297683552e4b69cab6984ec0285663c5781", "0cfb4f178bbb71cf2ecfcd42accce558b27199ab4fb59cb78f2483fe21ef36d9"},
		{gib, "8-2-0", "bbd6dae94a7b8b69d4d020e0562f8640033a09b4a500ad3ab68f696fcf521519", "f3aab9038a63efce6e3dc362dc6a7f7a01f078100441320740f23d626e3dd4cb"},
		{32 * gib, "8-8-0", "559e581f022bb4e4ec6e719e563bf0e026ad6de42e56c18714a2c692b1b88d7e", "0377ded656c6f524f1618760bffe4e0a1c51d5a70c4509eedae8a27555733edc"},
		{64 * gib, "8-8-2", "b62098629d07946e9028127e70295ed996fe3ed25b0f9f88eb610a0ab4385a3c", "2627e4006b67f99cef990c0a47d5426cb7ab0a0ad58fc1061547bf2d28b09def"},
	} {
		const prefix = "v28-proof-of-spacetime-fallback-merkletree-poseidon_hasher-"
		for kind, hash := range map[post.Kind]string{post.Winning: c.winning, post.Window: c.window} {
			if got, want := params.CacheID(setup(t, c.size, kind)), prefix+c.shape+"-"+hash; got != want {
				t.Errorf("%s %s: %s, want %s", post.SizeName(c.size), kind, got, want)
			}
		}
	}
	custom := setup(t, 32*gib, post.Window).WithSectors(19)
	if _, err := os.Stat(filepath.Join("testdata", params.CacheID(custom)+params.MetaExt)); err != nil {
		t.Errorf("19 sectors of 32 GiB in a partition: the name differs from the reference's: %v", err)
	}
}

// Spec section 8.4, and the known answers of 7.8.
func TestCounts(t *testing.T) {
	window := func(size uint64) post.Setup { return setup(t, size, post.Window) }
	winning := func(size uint64) post.Setup { return setup(t, size, post.Winning) }
	for _, c := range []struct {
		setup           post.Setup
		ic, m, l, a, b  uint64
		vkBytes, params uint64
	}{
		{winning(2 * kib), 133, 1 << 17, 91674, 69433, 66793, 13636, 47299128},
		{window(2 * kib), 23, 1 << 15, 22128, 16793, 16029, 3076, 11501496},
		{winning(8 * mib), 133, 1 << 18, 233442, 176881, 169489, 13636, 113383224},
		{window(8 * mib), 23, 1 << 16, 65088, 49353, 47149, 3076, 30859704},
		{winning(512 * mib), 133, 1 << 19, 304326, 230605, 220837, 13636, 165299640},
		{window(512 * mib), 23, 1 << 17, 86568, 65633, 62709, 3076, 45257400},
		{winning(32 * gib), 133, 1 << 19, 375210, 284329, 272185, 13636, 192050232},
		{window(32 * gib), 25840, 1 << 27, 126902376, 96205645, 91925767, 2481508, 60780374232},
		{winning(64 * gib), 133, 1 << 19, 396000, 299971, 287695, 13636, 200014584},
		{window(64 * gib), 25301, 1 << 27, 131500200, 99649801, 95413201, 2429764, 62556733560},
		{post.Setup{SectorSize: 2 * kib, Challenges: 1, Sectors: 1}, 3, 2048, 1389, 1053, 1013, 1156, 723864},
		{post.Setup{SectorSize: 32 * kib, Challenges: 1, Sectors: 1}, 3, 4096, 2241, 1697, 1637, 1156, 1243800},
	} {
		got := params.CountsOf(c.setup)
		if want := (groth16.Counts{IC: c.ic, H: c.m - 1, L: c.l, A: c.a, B: c.b}); got != want {
			t.Errorf("%s: %+v, want %+v", c.setup, got, want)
		}
		if params.VKBytes(c.setup) != c.vkBytes || params.ParamsBytes(c.setup) != c.params {
			t.Errorf("%s: .vk %d and .params %d bytes, want %d and %d", c.setup, params.VKBytes(c.setup), params.ParamsBytes(c.setup), c.vkBytes, c.params)
		}
		if raw := params.RawBytes(c.setup); raw < c.params || raw > c.params+9<<16 {
			t.Errorf("%s: raw cache of %d bytes for .params of %d", c.setup, raw, c.params)
		}
	}
}

func TestPublished(t *testing.T) {
	for _, size := range post.SectorSizes() {
		registered := size == 2*kib || size == 8*mib || size == 512*mib || size == 32*gib || size == 64*gib
		for _, kind := range []post.Kind{post.Window, post.Winning} {
			s := setup(t, size, kind)
			p, ok := params.LookupPublished(s)
			if ok != registered {
				t.Errorf("%s: published %t, want %t", s, ok, registered)
			}
			if !ok {
				continue
			}
			if err := p.VK.Check(p.VK.Digest); err != nil {
				t.Error(err)
			}
			if err := p.Params.Check(p.VK.Digest); !errors.Is(err, params.ErrDigest) {
				t.Errorf("another digest: %v", err)
			}
		}
	}
	if _, ok := params.LookupPublished(setup(t, 32*gib, post.Window).WithSectors(1)); ok {
		t.Error("a development partition size counts as published")
	}
	p, _ := params.LookupPublished(setup(t, 32*gib, post.Window))
	if p.VK.Digest.String() != "0f8ec542485568fa3468c066e9fed82b" {
		t.Errorf("32 GiB window .vk: %s", p.VK.Digest)
	}
}

// BLAKE2b-512 of "abc" begins ba80a53f981c4d0d6a2797b69f12f6e9 (RFC 7693 appendix A).
func TestHasher(t *testing.T) {
	h := params.NewHasher()
	h.Write([]byte("abc"))
	if got := h.Digest().String(); got != "ba80a53f981c4d0d6a2797b69f12f6e9" {
		t.Error(got)
	}
}

func TestMeta(t *testing.T) {
	files, err := filepath.Glob("testdata/*" + params.MetaExt)
	if err != nil || len(files) < 8 {
		t.Fatalf("golden .meta files: %d, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		size, err := params.ParseMeta(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := params.Meta(post.Setup{SectorSize: size}); string(got) != string(b) {
			t.Errorf("%s: wrote %s, want %s", f, got, b)
		}
	}
	for _, bad := range []string{"", "{}", "2048", `{"sector_size":-1}`, `{"sector_size":"2048"}`, `{"sector_size":2048} x`} {
		if size, err := params.ParseMeta([]byte(bad)); err == nil {
			t.Errorf("%q read as %d", bad, size)
		}
	}
}
