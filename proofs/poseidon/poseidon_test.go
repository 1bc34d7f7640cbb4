package poseidon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// fromHex reads 32 bytes little-endian.
func fromHex(t testing.TB, s string) fr.Element {
	t.Helper()
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != fr.Bytes {
		t.Fatalf("element %q: %v", s, err)
	}
	e, err := fr.LittleEndian.Element((*[fr.Bytes]byte)(raw))
	if err != nil {
		t.Fatalf("element %q: %v", s, err)
	}
	return e
}

func toHex(e fr.Element) string {
	var b [fr.Bytes]byte
	fr.LittleEndian.PutElement(&b, e)
	return hex.EncodeToString(b[:])
}

// digest is the SHA-256 of concatenated little-endian elements.
func digest(lists ...[]fr.Element) string {
	h := sha256.New()
	var b [fr.Bytes]byte
	for _, list := range lists {
		for _, e := range list {
			fr.LittleEndian.PutElement(&b, e)
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sequence returns 0, 1, …, n−1.
func sequence(n int) []fr.Element {
	out := make([]fr.Element, n)
	for i := range out {
		out[i].SetUint64(uint64(i))
	}
	return out
}

// pseudoRandom returns n reproducible elements.
func pseudoRandom(seed uint64, n int) []fr.Element {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]fr.Element, n)
	for i := range out {
		var b [64]byte
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		out[i].SetBytes(b[:])
	}
	return out
}

// TestConstants pins every generated constant to the reference by the digests
// of spec 3.6.
func TestConstants(t *testing.T) {
	for _, c := range []struct {
		arity, round, compressed            int
		rc, first, comp, mds, dense, sparse string
	}{
		{2, 189, 79,
			"cf4dfb7448132022e22b32e3dce6b125cb06329448f9e8d8fe53a71c73cbe6d4",
			"d8d36e9d000a32a7368b75a292ac1e50244abb1d8651bd237ae13afa4b069f66",
			"b768b730ce5198394d948d76421ab53b08cc16ec1ac082cf503f370192253e16",
			"b55e71db69c416c830c28ca9871f933b6c27220eae309801c981ee3b0885ee51",
			"13d6e8e5ba45b0d2096617d055499f36adad1aab6853de143ed42b14eea9a0f6",
			"a2fe507a83bddb8d57e5a00e7e58e79800c272b0db7dd4141943f6e567e99138"},
		{4, 320, 96,
			"91e463d6553415b3901b9f26b2ad53e6298ac3e5ab0ef260d397bafe8bdde98e",
			"ca15e2c7852207210958b717e3d9d3feb18e330a7d4c2cf32e5f0e6a7319c945",
			"3e4ec19ded2c86a89f3d6bddc13d9571a0cc5473e7207cfbaf6a8169a69f5709",
			"42a9ccbf22e42dc598fbe106f6b5019b46d545a725eb7538ba6bcf3765b350ab",
			"aee67dfb1ae8c43eca89f5742a745c6309f2d302ab741b75d2641b7025d87413",
			"f1c3c3a9fe9ea4a3c38c91971e5f379da38123fe1dcf960b461d84c5ba759f2b"},
		{8, 585, 129,
			"9a4a743575f0eaf285c93d73f8adaf4e7ef4042c2445b42bddaf1a64e5face72",
			"f9c2f4f25441984394d48ce4e74a2bc54ad86d77dbad3c8ce05f04c4120de96c",
			"f5a94aea73a583d080abdf7d71259fab9107f5523a4a1eddc41468f94564dd16",
			"82d366586a4b49ae74f4c5bbc94bbed0a0eb064584097367d926ae1f11e30894",
			"dcfbdaea3eb7e347664c8f881c5443b1895f10c85cab0878022eb287defa8587",
			"3f823785875d8cc161c963d2a62d103a3fefab30eb4244cef877d8e624fb79f4"},
		{11, 780, 153,
			"479dc0d71d694cd50d853dec0c94aeb37df2a69929eaa23b545a52b1226aec06",
			"e4bc89d06b09dee67db73a0f8ef106d5e00289f3c5bf997304b548e676956c1f",
			"2d7c0e4e9b98eda82102b69f1a964ae59ccf98b0008b6d3d632d86f4fea79d1d",
			"7ef350e5db367cae7828071ca354fefd25c59fe77e31261d27fb2ce8f14ff956",
			"f2a7353f0ce5ad724a7a58bf2db0e37f7c5662f064a6c97466021af83279a96e",
			"810a4d7f126f6e5fb3eb1980b57c70f90bb835219373d955726e30b3ca931556"},
	} {
		p := New(c.arity)
		raw := roundConstants(p.Width(), p.PartialRounds())
		if len(raw) != c.round || len(p.Constants()) != c.compressed {
			t.Errorf("arity %d: %d round constants, %d compressed", c.arity, len(raw), len(p.Constants()))
		}
		var sparse [][]fr.Element
		for _, s := range p.SparseMatrices() {
			sparse = append(sparse, s.WHat, s.VRest)
		}
		for _, d := range []struct{ what, got, want string }{
			{"first round constant", toHex(raw[0]), c.first},
			{"round constants", digest(raw), c.rc},
			{"compressed constants", digest(p.Constants()), c.comp},
			{"M", digest(p.MDS()...), c.mds},
			{"pre-sparse matrix", digest(p.PreSparse()...), c.dense},
			{"sparse matrices", digest(sparse...), c.sparse},
		} {
			if d.got != d.want {
				t.Errorf("arity %d: %s: %s, want %s", c.arity, d.what, d.got, d.want)
			}
		}
	}
}

func TestHashKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		arity            int
		sequential, zero string
	}{
		{2, "ffe7029a363c202e9da6059d33a9fba661e1ef02d90f9e736ba5765ed7086539", "d413460e7f14e58b413d1defe188d36fb761afe5c6a733db6c6f1931130bfe48"},
		{4, "5d076266ff149801ec2713bf05466bfb99932279653cdb008a84e5a9104ba558", "bc11972b952e47641b62832393589af9eed366b878b8130f5f7e1ed875c4ce65"},
		{8, "e6a5386df534992ad9aec49c9d2e684b777067114200011255dea5a31d619423", "3a9bffca31b48234d189b30de60b7c33f529c08b0836a004f98938b614e6793f"},
		{11, "6331692bc3bbe3cec18fb0ccd8dcf3097ae8eb32e237a56c287f22e5b2c10f0c", "94fe4fc1d1b7c885c9538810707ed5691b68a11db65e2118cf928634ea2d1f44"},
	} {
		p := New(c.arity)
		if got := toHex(p.Hash(sequence(c.arity))); got != c.sequential {
			t.Errorf("arity %d: H(0,1,…) = %s", c.arity, got)
		}
		if got := toHex(p.Hash(make([]fr.Element, c.arity))); got != c.zero {
			t.Errorf("arity %d: H(0,0,…) = %s", c.arity, got)
		}
	}
	p := New(2)
	ten, one := p.Hash([]fr.Element{fr.One(), {}}), p.Hash([]fr.Element{{}, fr.One()})
	if got := toHex(ten); got != "5e0b807960ff39b3af9430dcb30759ec264fa274cc03c093c36b78beff942f04" {
		t.Errorf("H(1,0) = %s", got)
	}
	if got := toHex(p.Hash([]fr.Element{ten, one})); got != "71e691e2e38bbbefd25a2bcbb872cc77ae746bae8563eb30ebd96ab2b7ebff1e" {
		t.Errorf("H(H(1,0),H(0,1)) = %s", got)
	}
}

// TestHashGolden compares with hashes made by the reference.
func TestHashGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/poseidon.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Arity    int
		Preimage []string
		Hash     string
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	params := map[int]*Params{2: New(2), 4: New(4), 8: New(8)}
	for i, c := range cases {
		var preimage []fr.Element
		for _, s := range c.Preimage {
			preimage = append(preimage, fromHex(t, s))
		}
		if got := toHex(params[c.Arity].Hash(preimage)); got != c.Hash {
			t.Errorf("case %d: %s, want %s", i, got, c.Hash)
		}
	}
}

// textbook is the permutation as the Poseidon paper writes it: every round
// adds t constants, applies the S-boxes and multiplies by M.
func textbook(p *Params, preimage []fr.Element) fr.Element {
	t := p.Width()
	s := append([]fr.Element{p.Tag()}, preimage...)
	k := roundConstants(t, p.partial)
	for r := range FullRounds + p.partial {
		for i := range s {
			s[i].Add(&s[i], &k[r*t+i])
			if i == 0 || r < halfRounds || r >= halfRounds+p.partial {
				var fourth fr.Element
				fourth.Square(&s[i]).Square(&fourth)
				s[i].Mul(&s[i], &fourth)
			}
		}
		s = p.mds.apply(s)
	}
	return s[1]
}

func TestHashEqualsTextbook(t *testing.T) {
	for _, arity := range []int{2, 4, 8, 11} {
		p := New(arity)
		edge := make([]fr.Element, arity)
		for i := range edge {
			edge[i].SetInt64(-1)
		}
		inputs := [][]fr.Element{edge}
		for seed := range uint64(20) {
			inputs = append(inputs, pseudoRandom(seed, arity))
		}
		want := make([]fr.Element, len(inputs))
		for i, in := range inputs {
			want[i] = textbook(p, in)
		}
		check := func(way string) {
			for i, in := range inputs {
				if got := p.Hash(in); got != want[i] {
					t.Fatalf("arity %d, %s: %s, textbook %s", arity, way, toHex(got), toHex(want[i]))
				}
			}
		}
		check("as this processor does it")
		p.rounds.observer = nil
		check("scalar")
	}
}

// TestTrace replays the constraints of spec 6.4 over the recorded values.
func TestTrace(t *testing.T) {
	for arity, length := range map[int]int{2: 311, 4: 377, 8: 505} {
		p := New(arity)
		if p.TraceLen() != length {
			t.Fatalf("arity %d: trace of %d values, want %d", arity, p.TraceLen(), length)
		}
		in := pseudoRandom(uint64(arity), arity)
		trace, scalar := make([]fr.Element, length), make([]fr.Element, length)
		p.Trace(trace, in)
		if got := replay(t, p, in, trace); got != p.Hash(in) {
			t.Errorf("arity %d: circuit digest %s", arity, toHex(got))
		}
		p.rounds.observer = nil
		p.Trace(scalar, in)
		if !slices.Equal(trace, scalar) {
			t.Errorf("arity %d: traces differ between scalar and vector", arity)
		}
	}
}

// replay walks the legacy circuit and checks each allocated value against the
// linear combinations formed from those before it.
func replay(t *testing.T, p *Params, in, trace []fr.Element) fr.Element {
	c := p.Constants()
	preSparse, sparse := p.PreSparse(), p.SparseMatrices()
	next := func(list *[]fr.Element) fr.Element {
		e := (*list)[0]
		*list = (*list)[1:]
		return e
	}
	check := func(what string, got, want fr.Element) {
		if got != want {
			t.Fatalf("arity %d: %s: %s, want %s", p.arity, what, toHex(got), toHex(want))
		}
	}
	power := func(v fr.Element, n int) fr.Element {
		out := fr.One()
		for range n {
			out.Mul(&out, &v)
		}
		return out
	}
	s := append([]fr.Element{p.Tag()}, in...)
	for i := range s {
		k := next(&c)
		s[i].Add(&s[i], &k)
	}
	for r := range FullRounds + p.partial {
		full := r < halfRounds || r >= halfRounds+p.partial
		for i := range s {
			if !full && i > 0 {
				break
			}
			var k fr.Element
			if r < FullRounds+p.partial-1 {
				k = next(&c)
			}
			fifth := power(s[i], 5)
			fifth.Add(&fifth, &k)
			if r > 0 {
				check("v", next(&trace), s[i])
			}
			if r > 0 || i > 0 {
				check("v²", next(&trace), power(s[i], 2))
				check("v⁴", next(&trace), power(s[i], 4))
				check("v⁵+k", next(&trace), fifth)
			}
			s[i] = fifth
		}
		switch {
		case r == halfRounds-1:
			s = matrix(preSparse).apply(s)
		case full:
			s = p.mds.apply(s)
		default:
			m := sparse[r-halfRounds]
			old := slices.Clone(s)
			s[0].SetZero()
			for i := range old {
				var term fr.Element
				s[0].Add(&s[0], term.Mul(&old[i], &m.WHat[i]))
				if i > 0 {
					s[i].Add(&old[i], term.Mul(&old[0], &m.VRest[i-1]))
				}
			}
		}
	}
	check("digest", next(&trace), s[1])
	if len(trace) != 0 || len(c) != 0 {
		t.Fatalf("arity %d: %d trace values and %d constants left over", p.arity, len(trace), len(c))
	}
	return s[1]
}

// TestModulus checks the modulus and its negated inverse mod 2^64, which the
// reductions have as constants.
func TestModulus(t *testing.T) {
	words := []uint64{q3, q2, q1, q0}
	got := new(big.Int)
	for _, w := range words {
		got.Lsh(got, 64)
		got.Or(got, new(big.Int).SetUint64(w))
	}
	if got.Cmp(fr.Modulus()) != 0 {
		t.Errorf("modulus %x", got)
	}
	inv := negInv
	if product := q0 * inv; product != ^uint64(0) {
		t.Errorf("q·(−q⁻¹) = %x", product)
	}
}

// TestForms compares linear forms over extreme and random values with field
// arithmetic.
func TestForms(t *testing.T) {
	top := make([]fr.Element, 2*maxArity+1)
	for i := range top {
		top[i] = fr.Element{q0 - 1, q1, q2, q3} // the largest value in memory
	}
	for _, c := range []struct{ a, w []fr.Element }{
		{top, top},
		{pseudoRandom(1, 23), pseudoRandom(2, 23)},
		{sequence(9), pseudoRandom(3, 9)},
		{pseudoRandom(4, 1), top[:1]},
		{top, sequence(23)},
	} {
		f := newFieldForm(c.w)
		w := f.eval(c.a)
		var got, want, term fr.Element
		w.reduce(&got)
		for i := range c.a {
			want.Add(&want, term.Mul(&c.a[i], &c.w[i]))
		}
		if got != want {
			t.Errorf("form of %d terms: %s, want %s", len(c.a), toHex(got), toHex(want))
		}
		words := make([]uint64, len(c.a))
		for i := range words {
			words[i] = c.w[i][0] | 1<<63
		}
		var fast, generic sum
		addDot(&fast, c.a, words)
		addDotGeneric(&generic, c.a, words)
		if fast != generic {
			t.Errorf("dot of %d terms: %x, want %x", len(words), fast, generic)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	p := New(8)
	in, trace := pseudoRandom(1, 8), make([]fr.Element, p.TraceLen())
	if n := testing.AllocsPerRun(10, func() { p.Hash(in) }); n != 0 {
		t.Errorf("Hash allocates %v times", n)
	}
	if n := testing.AllocsPerRun(10, func() { p.Trace(trace, in) }); n != 0 {
		t.Errorf("Trace allocates %v times", n)
	}
}

func TestMisusePanics(t *testing.T) {
	p := New(2)
	for name, f := range map[string]func(){
		"arity 3":         func() { New(3) },
		"short preimage":  func() { p.Hash(sequence(1)) },
		"long preimage":   func() { p.Hash(sequence(3)) },
		"trace too short": func() { p.Trace(make([]fr.Element, 310), sequence(2)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkHash(b *testing.B) {
	for _, arity := range []int{2, 8} {
		p := New(arity)
		in := pseudoRandom(1, arity)
		b.Run(fmt.Sprintf("arity=%d", arity), func(b *testing.B) {
			for b.Loop() {
				p.Hash(in)
			}
		})
		p.rounds.observer = nil
		b.Run(fmt.Sprintf("scalar/arity=%d", arity), func(b *testing.B) {
			for b.Loop() {
				p.Hash(in)
			}
		})
	}
}

func BenchmarkTrace(b *testing.B) {
	for _, arity := range []int{2, 8} {
		p := New(arity)
		in := pseudoRandom(1, arity)
		trace := make([]fr.Element, p.TraceLen())
		b.Run(fmt.Sprintf("arity=%d", arity), func(b *testing.B) {
			for b.Loop() {
				p.Trace(trace, in)
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(8)
	}
}
