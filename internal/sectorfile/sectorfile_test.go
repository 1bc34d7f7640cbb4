package sectorfile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"wdpost/internal/sectorfile"
	"wdpost/lab/golden"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// open opens a made sector the way a prover does.
func open(t *testing.T, h *merkle.Hasher, s sectorfile.Sector) *post.OpenSector {
	t.Helper()
	shape, err := merkle.ShapeOf(s.Size)
	if err != nil {
		t.Fatal(err)
	}
	file := func(path string) merkle.File {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return io.NewSectionReader(f, 0, info.Size())
	}
	aux, err := os.ReadFile(filepath.Join(s.Cache(), post.PAuxName))
	if err != nil {
		t.Fatal(err)
	}
	files := post.SectorFiles{PAux: aux}
	files.Replica = file(s.Replica())
	for _, name := range shape.FileNames() {
		files.Trees = append(files.Trees, file(filepath.Join(s.Cache(), name)))
	}
	sector, err := post.Open(h, s.Size, files)
	if err != nil {
		t.Fatal(err)
	}
	return sector
}

// prove makes and checks a vanilla proof of a made sector.
func prove(t *testing.T, h *merkle.Hasher, s sectorfile.Sector, commR [32]byte) {
	t.Helper()
	typ, err := post.TypeOf(post.Window, s.Size, post.V1_2_0)
	if err != nil {
		t.Fatal(err)
	}
	st := post.Statement{Type: typ, Randomness: [32]byte{1, 2, 3}, Sectors: []post.Sector{{Number: s.Number, CommR: commR}}}
	v, err := open(t, h, s).Vanilla(post.VanillaConfig{Sector: st.Sectors[0], Challenges: st.Challenges(0), Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Check(h, 0, v); err != nil {
		t.Error(err)
	}
}

func TestRandomSectors(t *testing.T) {
	h := merkle.NewHasher()
	m := sectorfile.NewMaker(h, 2)
	dir := t.TempDir()
	commitments := map[[32]byte]bool{}
	for i, size := range []uint64{2 << 10, 4 << 10, 16 << 10, 32 << 10} {
		s := sectorfile.Sector{Dir: dir, Miner: 1008, Number: uint64(i), Size: size}
		commR, err := m.Random(t.Context(), s, sectorfile.Seeded("seed", s.Miner, s.Number))
		if err != nil {
			t.Fatal(err)
		}
		prove(t, h, s, commR)
		commitments[commR] = true
	}
	if len(commitments) != 4 {
		t.Error("sectors share a comm_r")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".making-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSeededSectorsRepeat: the same seed makes the same sector.
func TestSeededSectorsRepeat(t *testing.T) {
	m := sectorfile.NewMaker(merkle.NewHasher(), 1)
	s := sectorfile.Sector{Dir: t.TempDir(), Miner: 1008, Number: 7, Size: 2 << 10}
	first, err := m.Random(t.Context(), s, sectorfile.Seeded("a", s.Miner, s.Number))
	if err != nil {
		t.Fatal(err)
	}
	s.Dir = t.TempDir()
	again, err := m.Random(t.Context(), s, sectorfile.Seeded("a", s.Miner, s.Number))
	if err != nil || again != first {
		t.Errorf("%x, want %x: %v", again, first, err)
	}
	s.Dir = t.TempDir()
	other, err := m.Random(t.Context(), s, sectorfile.Seeded("b", s.Miner, s.Number))
	if err != nil || other == first {
		t.Errorf("other seed gives %x: %v", other, err)
	}
}

func TestFauxSectors(t *testing.T) {
	h := merkle.NewHasher()
	m := sectorfile.NewMaker(h, 2)
	dir := t.TempDir()
	for i, size := range post.SectorSizes() {
		s := sectorfile.Sector{Dir: dir, Miner: 1008, Number: uint64(i), Size: size}
		commR, err := m.Faux(s)
		if err != nil {
			if errors.Is(err, errors.ErrUnsupported) || strings.Contains(err.Error(), "file too large") {
				t.Skipf("the file system has no files of %d bytes: %v", size, err)
			}
			t.Fatal(err)
		}
		prove(t, h, s, commR)
	}
}

// TestFauxSectorsShareTrees: two sectors of one directory link to one file,
// and differ in comm_r.
func TestFauxSectorsShareTrees(t *testing.T) {
	m := sectorfile.NewMaker(merkle.NewHasher(), 1)
	dir := t.TempDir()
	var infos []os.FileInfo
	var commitments [][32]byte
	for n := range uint64(2) {
		s := sectorfile.Sector{Dir: dir, Miner: 1000, Number: n, Size: 16 << 20}
		commR, err := m.Faux(s)
		if err != nil {
			t.Fatal(err)
		}
		commitments = append(commitments, commR)
		for i := range 2 {
			info, err := os.Stat(filepath.Join(s.Cache(), fmt.Sprintf("sc-02-data-tree-r-last-%d.dat", i)))
			if err != nil {
				t.Fatal(err)
			}
			infos = append(infos, info)
		}
	}
	for _, info := range infos[1:] {
		if !os.SameFile(infos[0], info) {
			t.Error("tree files are not shared")
		}
	}
	if commitments[0] == commitments[1] {
		t.Error("sectors share a comm_r")
	}
}

// TestGoldenZeroSectors makes the reference's zero sectors again with their
// comm_c: same tree files, same comm_r.
func TestGoldenZeroSectors(t *testing.T) {
	h := merkle.NewHasher()
	lists, err := filepath.Glob(filepath.Join(golden.Dir(t), "sectors", "zero-*", "sectors-*.json"))
	if err != nil || len(lists) == 0 {
		t.Fatalf("no golden sectors: %v", err)
	}
	m := sectorfile.NewMaker(h, 2)
	for _, path := range lists {
		list, err := sectorfile.ReadList(path)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, e := range list.Sectors {
			s := sectorfile.Sector{Dir: dir, Miner: list.Miner, Number: e.Number, Size: list.SectorSize}
			golden := sectorfile.Sector{Dir: filepath.Dir(path), Miner: list.Miner, Number: e.Number}
			want, err := os.ReadFile(filepath.Join(golden.Cache(), post.PAuxName))
			if err != nil {
				t.Fatal(err)
			}
			s.CommC = [32]byte(want)
			commR, err := m.Faux(s)
			if err != nil || sectorfile.CommR(commR) != e.CommR {
				t.Fatalf("%s sector %d: comm_r %x, %v", path, e.Number, commR, err)
			}
			if got, err := os.ReadFile(filepath.Join(s.Cache(), post.PAuxName)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("p_aux differs, %v", err)
			}
			trees, _ := filepath.Glob(filepath.Join(s.Cache(), "sc-02-*"))
			tree, err := os.ReadFile(trees[0])
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(tree); !bytes.Contains(raw, fmt.Appendf(nil, "%x", sum)) {
				t.Errorf("%s: tree file digest %x", path, sum)
			}
		}
	}
}

func TestUpdatedSector(t *testing.T) {
	h := merkle.NewHasher()
	m := sectorfile.NewMaker(h, 1)
	sealed := sectorfile.Sector{Dir: t.TempDir(), Miner: 1008, Number: 3, Size: 2 << 10}
	updated := sealed
	updated.Update = true
	if _, err := m.Random(t.Context(), updated, sectorfile.Seeded("u", 1008, 3)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("update of a sector that is not there: %v", err)
	}
	before, err := m.Random(t.Context(), sealed, sectorfile.Seeded("s", 1008, 3))
	if err != nil {
		t.Fatal(err)
	}
	after, err := m.Random(t.Context(), updated, sectorfile.Seeded("u", 1008, 3))
	if err != nil || before == after {
		t.Fatalf("comm_r %x after %x: %v", after, before, err)
	}
	prove(t, h, updated, after)
	prove(t, h, sealed, before)
	a, err1 := os.ReadFile(filepath.Join(sealed.Cache(), post.PAuxName))
	b, err2 := os.ReadFile(filepath.Join(updated.Cache(), post.PAuxName))
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a[:32], b[:32]) || bytes.Equal(a[32:], b[32:]) {
		t.Errorf("p_aux of the update: %x after %x, %v", b, a, err)
	}
	if want := filepath.Join(sealed.Dir, "update-cache", "s-t01008-3"); updated.Cache() != want {
		t.Errorf("cache at %s", updated.Cache())
	}
}

// TestMakeFailures: nothing stays of a sector that could not be made, and
// nothing is overwritten.
func TestMakeFailures(t *testing.T) {
	m := sectorfile.NewMaker(merkle.NewHasher(), 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("content broke")
	good := sectorfile.Seeded("", 0, 0)
	for _, c := range []struct {
		name    string
		ctx     context.Context
		change  func(*sectorfile.Sector)
		content io.Reader
		want    error
	}{
		{"no content", t.Context(), nil, bytes.NewReader(nil), io.EOF},
		{"content ends", t.Context(), nil, io.LimitReader(good, 100), io.EOF},
		{"content fails", t.Context(), nil, io.MultiReader(io.LimitReader(good, 64), iotest.ErrReader(broken)), broken},
		{"cancelled", cancelled, nil, good, context.Canceled},
		{"comm_c not in the field", t.Context(), func(s *sectorfile.Sector) { s.CommC[31] = 0xff }, good, merkle.ErrNotCanonical},
	} {
		s := sectorfile.Sector{Dir: t.TempDir(), Miner: 1, Number: 2, Size: 2 << 10}
		if c.change != nil {
			c.change(&s)
		}
		if _, err := m.Random(c.ctx, s, c.content); !errors.Is(err, c.want) || !strings.Contains(err.Error(), "s-t01-2") {
			t.Errorf("%s: %v", c.name, err)
		}
		filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() || strings.Contains(path, "s-t01-2") {
				t.Errorf("%s: left %s", c.name, path)
			}
			return err
		})
	}
	if _, err := m.Faux(sectorfile.Sector{Dir: t.TempDir(), Size: 3000}); err == nil {
		t.Error("faux sector of 3000 bytes")
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	m := sectorfile.NewMaker(merkle.NewHasher(), 1)
	for _, existing := range []string{"sealed/s-t01-2", "cache/s-t01-2"} {
		s := sectorfile.Sector{Dir: t.TempDir(), Miner: 1, Number: 2, Size: 2 << 10}
		path := filepath.Join(s.Dir, existing)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Faux(s); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s is there: %v", existing, err)
		}
	}
	// What an interrupted attempt left behind is no obstacle.
	s := sectorfile.Sector{Dir: t.TempDir(), Miner: 1, Number: 2, Size: 2 << 10}
	if err := os.MkdirAll(filepath.Join(s.Dir, "cache", ".making-s-t01-2", "junk"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Faux(s); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	l := &sectorfile.List{Miner: 1008, SectorSize: 2 << 10}
	for _, n := range []uint64{5, 1, 3} {
		if err := l.Add(n, [32]byte{byte(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Add(3, [32]byte{9}); !errors.Is(err, sectorfile.ErrList) {
		t.Errorf("repeated number: %v", err)
	}
	path := filepath.Join(t.TempDir(), l.FileName())
	if err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := sectorfile.ReadList(path)
	if err != nil || back.Miner != 1008 || filepath.Base(path) != "sectors-1008-1.json" {
		t.Fatalf("%s: %v", path, err)
	}
	if !slices.Equal(back.Sectors, l.Sectors) || back.Sectors[1] != (sectorfile.Entry{Number: 3, CommR: sectorfile.CommR{3}}) {
		t.Errorf("%v", back.Sectors)
	}
}

func TestListRefusals(t *testing.T) {
	const one = `{"miner":1,"sector_size":2048,"sectors":[{"number":1,"comm_r":"` + "01" + `%s"}]}`
	zeros := strings.Repeat("00", 31)
	if _, err := sectorfile.ParseList(fmt.Appendf(nil, one, zeros)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"not JSON":         "sectors",
		"short comm_r":     fmt.Sprintf(one, zeros[2:]),
		"comm_r not an Fr": fmt.Sprintf(one, zeros[2:]+"ff"),
		"no comm_r":        `{"miner":1,"sector_size":2048,"sectors":[{"number":1}]}`,
		"no sectors":       `{"miner":1,"sector_size":2048,"sectors":[]}`,
		"sector size":      strings.Replace(fmt.Sprintf(one, zeros), "2048", "2049", 1),
		"repeated":         `{"sector_size":2048,"sectors":[{"number":1,"comm_r":"01` + zeros + `"},{"number":1,"comm_r":"01` + zeros + `"}]}`,
	} {
		if _, err := sectorfile.ParseList([]byte(text)); !errors.Is(err, sectorfile.ErrList) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sectorfile.ReadList(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add([]byte(`{"miner":1,"sector_size":2048,"sectors":[{"number":1,"comm_r":"00"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := sectorfile.ParseList(data)
		if err == nil && l.FileName() == "" {
			t.Error("a list without name")
		}
	})
}
