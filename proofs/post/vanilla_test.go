package post_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// r0 is the randomness of the known answers of spec 4.5.
const r0 = "01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd31a"

// testSector is the reference's test sector T(size, tag), spec 5.1.
func testSector(t testing.TB, h *merkle.Hasher, size uint64, tag uint64) post.SectorFiles {
	t.Helper()
	shape, err := merkle.ShapeOf(size)
	if err != nil {
		t.Fatal(err)
	}
	replica := make([]byte, size)
	for i := range shape.Leaves() {
		binary.LittleEndian.PutUint64(replica[merkle.NodeSize*i:], i)
		binary.LittleEndian.PutUint64(replica[merkle.NodeSize*i+8:], tag)
	}
	files := post.SectorFiles{Files: merkle.Files{Replica: bytes.NewReader(replica)}}
	b := merkle.Builder{Hasher: h, Layout: shape.DefaultLayout(), Workers: 2}
	var roots []fr.Element
	for i := range shape.BaseTrees() {
		content, err := b.File(files.Replica, i)
		if err != nil {
			t.Fatal(err)
		}
		root, err := merkle.FileRoot(content)
		if err != nil {
			t.Fatal(err)
		}
		files.Trees = append(files.Trees, bytes.NewReader(content))
		roots = append(roots, root)
	}
	files.PAux = post.PAux{CommC: fr.NewElement(1000 + tag), CommRLast: h.Root(shape, roots)}.Encode()
	return files
}

// TestTestSectorsKnownAnswers covers the four shapes, window and winning.
func TestTestSectorsKnownAnswers(t *testing.T) {
	h := merkle.NewHasher()
	for _, c := range []struct {
		size                    uint64
		commR, window, winning  string
		windowSize, winningSize int
	}{
		{2 << 10, "f9508437c337cb3e84be6d3dce298ff60554db95b00cdf041f6ea404cb952c31",
			"030f9ce6904b6f796d3ba94031ffcca588dc3967d699f8b9d6c5ee59764e54d5",
			"7b3dd31d08553724d65180ead2142360a7cd982ccfdf81c8692d690d6253772b", 5_680, 36_816},
		{4 << 10, "1d2ed5c5403f21540e9c94cf515724d4e88aea6dc9684728d0d90f0ba5455c03",
			"374c97a1843025260b71b95787b8bfb4965e8258658602acff922bda618bd859",
			"0b75244a32ba2a5cf483dfadb084ce36c1a4febe2958de906f6b118dfd661ff2", 6_240, 40_512},
		{16 << 10, "40d168ac3fc8dfc85e9c99684807f2bd5c1f509a2406702c9d51ae91596e1955",
			"69de252f9ad8eb5897b7b50072683522ac5667111d2c823f9f02d78c0d804eb0",
			"3b9f9481623f20f26753637a9afe5c6be374c0f83c0d077d8607e4f29d034d7e", 8_160, 53_184},
		{32 << 10, "8c7dce023683368be299ce72ee651026230bee7ba4edc9a049c8e298aaece43c",
			"465368c6f773f43cbf2cc3d25f702c54d7e5e2ebfb265950714a7bd0f36c94ed",
			"98a197a5a62886cde037dc8321b117331a52d3dae8963364aaaa8c472299129a", 8_720, 56_880},
	} {
		shape, err := merkle.ShapeOf(c.size)
		if err != nil {
			t.Fatal(err)
		}
		open, err := post.Open(h, c.size, testSector(t, h, c.size, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", open.CommR()); got != c.commR {
			t.Errorf("%d: comm_r %s", c.size, got)
		}
		sector := post.Sector{Number: 42, CommR: open.CommR()}
		for _, p := range []struct {
			kind    post.Kind
			version post.APIVersion
			digest  string
			size    int
		}{
			{post.Window, post.V1_2_0, c.window, c.windowSize},
			{post.Winning, post.V1_0_0, c.winning, c.winningSize},
		} {
			typ, err := post.TypeOf(p.kind, c.size, p.version)
			if err != nil {
				t.Fatal(err)
			}
			s := post.Statement{Type: typ, Randomness: hex32(t, r0), Sectors: []post.Sector{sector}}
			v, err := open.Vanilla(post.VanillaConfig{Sector: sector, Challenges: s.Challenges(0), Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			data := v.Encode(shape)
			if sum := sha256.Sum256(data); len(data) != p.size || hex.EncodeToString(sum[:]) != p.digest {
				t.Errorf("%s: %d bytes, digest %x", typ, len(data), sum)
			}
			if err := s.Check(h, 0, v); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestEncodedSizes compares with the table of spec 5.
func TestEncodedSizes(t *testing.T) {
	for size, want := range map[uint64][2]int{
		2 << 10: {5_680, 36_816}, 32 << 10: {8_720, 56_880}, 8 << 20: {15_280, 100_176}, 16 << 20: {15_840, 103_872},
		512 << 20: {20_080, 131_856}, 1 << 30: {20_640, 135_552}, 32 << 30: {24_960, 164_064}, 64 << 30: {25_520, 167_760},
	} {
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]int{post.EncodedSize(shape, 10), post.EncodedSize(shape, 66)}; got != want {
			t.Errorf("%d: %v, want %v", size, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	h := merkle.NewHasher()
	good := testSector(t, h, 2<<10, 1)
	for _, c := range []struct {
		name   string
		damage func(*post.SectorFiles)
		want   error
	}{
		{"p_aux missing", func(f *post.SectorFiles) { f.PAux = nil }, merkle.ErrShort},
		{"p_aux short", func(f *post.SectorFiles) { f.PAux = f.PAux[:63] }, merkle.ErrShort},
		{"p_aux not in the field", func(f *post.SectorFiles) { f.PAux[63] = 0xff }, merkle.ErrNotCanonical},
		{"p_aux of another replica", func(f *post.SectorFiles) { f.PAux[32] ^= 1 }, merkle.ErrMismatch},
		{"replica missing", func(f *post.SectorFiles) { f.Replica = nil }, merkle.ErrMissing},
	} {
		files := good
		files.PAux = slices.Clone(good.PAux)
		c.damage(&files)
		var fault *merkle.FileError
		if _, err := post.Open(h, 2<<10, files); !errors.Is(err, c.want) || !errors.As(err, &fault) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := post.Open(h, 3<<10, good); err == nil {
		t.Error("3 KiB sector opened")
	}
	long := good
	long.PAux = append(slices.Clone(good.PAux), 1, 2, 3)
	if _, err := post.Open(h, 2<<10, long); err != nil {
		t.Errorf("p_aux with trailing bytes: %v", err)
	}
}

func TestVanillaRefuses(t *testing.T) {
	h := merkle.NewHasher()
	open, err := post.Open(h, 2<<10, testSector(t, h, 2<<10, 1))
	if err != nil {
		t.Fatal(err)
	}
	sector := post.Sector{Number: 42, CommR: open.CommR()}
	other := sector
	other.CommR[0] ^= 1
	if _, err := open.Vanilla(post.VanillaConfig{Sector: other, Challenges: []uint64{1}}); !errors.Is(err, post.ErrOtherSector) {
		t.Errorf("other comm_r: %v", err)
	}
	if _, err := open.Vanilla(post.VanillaConfig{Sector: sector, Challenges: []uint64{1, 64}}); err == nil {
		t.Error("challenge outside the sector")
	}
	done := make(chan struct{})
	close(done)
	if _, err := open.Vanilla(post.VanillaConfig{Sector: sector, Challenges: []uint64{1}, Done: done}); !errors.Is(err, merkle.ErrCanceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// slowFile waits for a permit before each read and counts how many wait.
type slowFile struct {
	merkle.File
	permit chan struct{}
}

func (f slowFile) ReadAt(p []byte, off int64) (int, error) {
	<-f.permit
	return f.File.ReadAt(p, off)
}

// TestVanillaReadsConcurrently holds all reads back: with n workers exactly n
// challenges wait in the replica, and one failure ends the others.
func TestVanillaReadsConcurrently(t *testing.T) {
	h := merkle.NewHasher()
	files := testSector(t, h, 2<<10, 1)
	synctest.Test(t, func(t *testing.T) {
		permit := make(chan struct{})
		files.Replica = slowFile{files.Replica, permit}
		open, err := post.Open(h, 2<<10, files)
		if err != nil {
			t.Fatal(err)
		}
		sector := post.Sector{Number: 42, CommR: open.CommR()}
		finished := make(chan error, 1)
		go func() {
			_, err := open.Vanilla(post.VanillaConfig{Sector: sector, Challenges: []uint64{3, 1, 4, 1, 5, 9}, Workers: 4})
			finished <- err
		}()
		for served, waiting := 0, 4; served < 6; served += waiting {
			waiting = min(4, 6-served)
			synctest.Wait()
			for i := range waiting {
				select {
				case permit <- struct{}{}:
				default:
					t.Fatalf("only %d readers wait after %d reads", i, served)
				}
			}
			synctest.Wait()
		}
		if err := <-finished; err != nil {
			t.Error(err)
		}
	})
}

// tracedFile notes where it is read.
type tracedFile struct {
	merkle.File
	offsets *[]int64
}

func (f tracedFile) ReadAt(p []byte, off int64) (int, error) {
	*f.offsets = append(*f.offsets, off)
	return f.File.ReadAt(p, off)
}

// TestVanillaReadsInOrder: one worker goes through the replica once, whatever
// the order of the challenges, and reads nothing else of it.
func TestVanillaReadsInOrder(t *testing.T) {
	h := merkle.NewHasher()
	files := testSector(t, h, 32<<10, 1)
	var offsets []int64
	files.Replica = tracedFile{files.Replica, &offsets}
	open, err := post.Open(h, 32<<10, files)
	if err != nil {
		t.Fatal(err)
	}
	challenges := []uint64{1000, 3, 700, 64, 5, 512}
	v, err := open.Vanilla(post.VanillaConfig{Sector: post.Sector{Number: 42, CommR: open.CommR()}, Challenges: challenges, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if want := []int64{0, 0, 2048, 16384, 20480, 30720}; !slices.Equal(offsets, want) {
		t.Errorf("replica read at %v, want %v", offsets, want)
	}
	for i, c := range challenges {
		if got := v.Inclusion[i].Challenge(); got != c {
			t.Errorf("proof %d is of leaf %d, want %d", i, got, c)
		}
	}
}

// TestCheckRefuses changes a sound winning proof in one place at a time.
func TestCheckRefuses(t *testing.T) {
	h := merkle.NewHasher()
	open, err := post.Open(h, 32<<10, testSector(t, h, 32<<10, 1))
	if err != nil {
		t.Fatal(err)
	}
	typ, err := post.TypeOf(post.Winning, 32<<10, post.V1_0_0)
	if err != nil {
		t.Fatal(err)
	}
	s := post.Statement{Type: typ, Randomness: hex32(t, r0), Sectors: []post.Sector{{Number: 42, CommR: open.CommR()}}}
	for name, damage := range map[string]func(*post.Vanilla){
		"other sector":       func(v *post.Vanilla) { v.Sector++ },
		"comm_r":             func(v *post.Vanilla) { v.CommR.SetOne() },
		"comm_c":             func(v *post.Vanilla) { v.CommC.SetOne() },
		"comm_r_last":        func(v *post.Vanilla) { v.CommRLast.SetOne() },
		"challenge missing":  func(v *post.Vanilla) { v.Inclusion = v.Inclusion[:65] },
		"challenges swapped": func(v *post.Vanilla) { v.Inclusion[0], v.Inclusion[1] = v.Inclusion[1], v.Inclusion[0] },
		"last root":          func(v *post.Vanilla) { v.Inclusion[65].Root.SetOne() },
		"last leaf":          func(v *post.Vanilla) { v.Inclusion[65].Leaf.SetOne() },
		"last top sibling":   func(v *post.Vanilla) { v.Inclusion[65].Path[3].Siblings[0].SetOne() },
	} {
		v, err := open.Vanilla(post.VanillaConfig{Sector: s.Sectors[0], Challenges: s.Challenges(0), Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		damage(v)
		if err := s.Check(h, 0, v); !errors.Is(err, post.ErrInvalidVanilla) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	h := merkle.NewHasher()
	open, err := post.Open(h, 4<<10, testSector(t, h, 4<<10, 1))
	if err != nil {
		t.Fatal(err)
	}
	v, err := open.Vanilla(post.VanillaConfig{Sector: post.Sector{Number: 42, CommR: open.CommR()}, Challenges: []uint64{3, 70}})
	if err != nil {
		t.Fatal(err)
	}
	shape := open.Tree().Layout().Shape
	good := v.Encode(shape)
	if _, err := post.DecodeVanilla(shape, 2, good); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":               func(b []byte) []byte { return nil },
		"truncated":           func(b []byte) []byte { return b[:len(b)-1] },
		"trailing byte":       func(b []byte) []byte { return append(b, 0) },
		"no sector proof":     func(b []byte) []byte { b[40] = 0; return b },
		"inclusion count":     func(b []byte) []byte { b[48] = 3; return b },
		"tag":                 func(b []byte) []byte { b[56] = 0; return b },
		"path elements":       func(b []byte) []byte { b[60] = 3; return b },
		"siblings":            func(b []byte) []byte { b[68] = 8; return b },
		"sibling not an Fr":   func(b []byte) []byte { b[68+8+31] = 0xff; return b },
		"index":               func(b []byte) []byte { b[76+224] = 8; return b },
		"index beyond int":    func(b []byte) []byte { b[76+224+7] = 0x80; return b },
		"comm_r not an Fr":    func(b []byte) []byte { b[39] = 0xff; return b },
		"comm_c not an Fr":    func(b []byte) []byte { b[len(b)-33] = 0xff; return b },
		"root last not an Fr": func(b []byte) []byte { b[len(b)-1] = 0xff; return b },
	} {
		if _, err := post.DecodeVanilla(shape, 2, damage(slices.Clone(good))); !errors.Is(err, post.ErrInvalidVanilla) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeVanilla: no input panics, and what is accepted encodes to the same
// bytes.
func FuzzDecodeVanilla(f *testing.F) {
	h := merkle.NewHasher()
	for _, size := range []uint64{2 << 10, 4 << 10, 32 << 10} {
		open, err := post.Open(h, size, testSector(f, h, size, 1))
		if err != nil {
			f.Fatal(err)
		}
		v, err := open.Vanilla(post.VanillaConfig{Sector: post.Sector{Number: 42, CommR: open.CommR()}, Challenges: []uint64{3}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(size, v.Encode(open.Tree().Layout().Shape))
	}
	f.Fuzz(func(t *testing.T, size uint64, data []byte) {
		shape, err := merkle.ShapeOf(size)
		if err != nil {
			return
		}
		v, err := post.DecodeVanilla(shape, 1, data)
		if err != nil {
			return
		}
		if !bytes.Equal(v.Encode(shape), data) {
			t.Error("encoding again gives other bytes")
		}
	})
}

// FuzzParsePAux: no input panics, and what is accepted encodes to its first 64
// bytes.
func FuzzParsePAux(f *testing.F) {
	f.Add(make([]byte, 64))
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Add(make([]byte, 63))
	f.Fuzz(func(t *testing.T, data []byte) {
		aux, err := post.ParsePAux(data)
		if err == nil && !bytes.Equal(aux.Encode(), data[:post.PAuxSize]) {
			t.Error("encoding again gives other bytes")
		}
	})
}
