package merkle_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wdpost/proofs/merkle"
)

// brokenFile fails every read with an error of its own.
type brokenFile struct {
	size int64
	err  error
}

func (b brokenFile) Size() int64                           { return b.size }
func (b brokenFile) ReadAt(p []byte, _ int64) (int, error) { return 0, b.err }

// lyingFile says it is longer than it is.
type lyingFile struct {
	io.ReaderAt
	size int64
}

func (f lyingFile) Size() int64 { return f.size }

func TestOpenFaults(t *testing.T) {
	h := merkle.NewHasher()
	s := mustShape(t, 4<<10)
	replica := testReplica(4<<10, 1)
	trees := build(t, merkle.Builder{Hasher: h, Layout: s.DefaultLayout(), Workers: 1}, bytes.NewReader(replica))
	stale := errors.New("stale file handle")

	for _, c := range []struct {
		name   string
		damage func(*merkle.Files)
		file   string
		want   error
	}{
		{"replica missing", func(f *merkle.Files) { f.Replica = nil }, "replica", merkle.ErrMissing},
		{"replica short", func(f *merkle.Files) { f.Replica = bytes.NewReader(replica[:4095]) }, "replica", merkle.ErrShort},
		{"replica long", func(f *merkle.Files) { f.Replica = bytes.NewReader(append(slices.Clone(replica), 0)) }, "replica", merkle.ErrLong},
		{"tree missing", func(f *merkle.Files) { f.Trees[1] = nil }, "sc-02-data-tree-r-last-1.dat", merkle.ErrMissing},
		{"trees missing", func(f *merkle.Files) { f.Trees = f.Trees[:1] }, "sc-02-data-tree-r-last-1.dat", merkle.ErrMissing},
		{"tree empty", func(f *merkle.Files) { f.Trees[0] = bytes.NewReader(nil) }, "sc-02-data-tree-r-last-0.dat", merkle.ErrShort},
		{"tree long", func(f *merkle.Files) { f.Trees[1] = bytes.NewReader(make([]byte, 2336)) }, "sc-02-data-tree-r-last-1.dat", merkle.ErrLong},
		{"trees of two layouts", func(f *merkle.Files) { f.Trees[1] = bytes.NewReader(make([]byte, 288)) }, "sc-02-data-tree-r-last-1.dat", merkle.ErrMismatch},
		{"root not in the field", func(f *merkle.Files) { f.Trees[1] = bytes.NewReader(bytes.Repeat([]byte{0xff}, 32)) }, "sc-02-data-tree-r-last-1.dat", merkle.ErrNotCanonical},
		{"read error", func(f *merkle.Files) { f.Trees[0] = brokenFile{32, stale} }, "sc-02-data-tree-r-last-0.dat", stale},
		{"shrinks after the size was taken", func(f *merkle.Files) { f.Trees[0] = lyingFile{bytes.NewReader(nil), 32} }, "sc-02-data-tree-r-last-0.dat", merkle.ErrShort},
	} {
		files := open(replica, trees)
		c.damage(&files)
		_, err := merkle.Open(h, s, files)
		var fault *merkle.FileError
		if !errors.Is(err, c.want) || !errors.As(err, &fault) || fault.File != c.file {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestProveFaults damages one place at a time of an 8 MiB zero sector whose
// files keep all rows but two.
func TestProveFaults(t *testing.T) {
	h := merkle.NewHasher()
	s := mustShape(t, 8<<20)
	layout := s.DefaultLayout()
	content := merkle.ZeroFile(h, layout)
	const leaf = 123_456
	plan := layout.Plan(leaf)

	type damage struct {
		name string
		read int // index in the plan
		at   int // byte in the read
		to   byte
		file string
		want error
	}
	cases := []damage{
		{"challenged leaf", 0, leaf % 512 * 32, 1, "sc-02-data-tree-r-last.dat", merkle.ErrMismatch},
		{"last leaf of the segment", 0, 511 * 32, 1, "sc-02-data-tree-r-last.dat", merkle.ErrMismatch},
		{"leaf not in the field", 0, 7*32 + 31, 0xff, "replica", merkle.ErrNotCanonical},
	}
	for i, r := range plan[1:] {
		cases = append(cases,
			damage{"first node of a group", i + 1, 0, content[r.Offset] + 1, "sc-02-data-tree-r-last.dat", merkle.ErrMismatch},
			damage{"last node of a group", i + 1, 7 * 32, content[r.Offset] + 1, "sc-02-data-tree-r-last.dat", merkle.ErrMismatch},
			damage{"node not in the field", i + 1, 3*32 + 31, 0xff, "sc-02-data-tree-r-last.dat", merkle.ErrNotCanonical})
	}
	for _, c := range cases {
		tree, err := merkle.Open(h, s, merkle.Files{Replica: zeros(8 << 20), Trees: []merkle.File{bytes.NewReader(content)}})
		if err != nil {
			t.Fatal(err)
		}
		data := make([][]byte, len(plan))
		for i, r := range plan {
			data[i] = make([]byte, r.Length)
			if i > 0 {
				copy(data[i], content[r.Offset:])
			}
		}
		if _, err := tree.Assemble(leaf, data); err != nil {
			t.Fatalf("undamaged: %v", err)
		}
		data[c.read][c.at] = c.to
		_, err = tree.Assemble(leaf, data)
		var fault *merkle.FileError
		if !errors.Is(err, c.want) || !errors.As(err, &fault) || fault.File != c.file {
			t.Errorf("%s in read %d: %v", c.name, c.read, err)
		}
		if c.want == merkle.ErrNotCanonical && fault.Offset != plan[c.read].Offset+int64(c.at/32*32) {
			t.Errorf("%s in read %d: reported at %d", c.name, c.read, fault.Offset)
		}
	}
}

func TestAssembleWrongReads(t *testing.T) {
	h := merkle.NewHasher()
	s := mustShape(t, 2<<10)
	replica := testReplica(2<<10, 1)
	files := open(replica, build(t, merkle.Builder{Hasher: h, Layout: s.DefaultLayout(), Workers: 1}, bytes.NewReader(replica)))
	tree, err := merkle.Open(h, s, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Assemble(0, nil); err == nil {
		t.Error("proof assembled from nothing")
	}
	if _, err := tree.Assemble(0, [][]byte{replica[:2047]}); !errors.Is(err, merkle.ErrShort) {
		t.Errorf("short read: %v", err)
	}
	files.Replica = lyingFile{bytes.NewReader(replica[:100]), 2048}
	if _, err := tree.Prove(files, 0, nil); !errors.Is(err, merkle.ErrShort) {
		t.Errorf("replica that shrank: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	h := merkle.NewHasher()
	s := mustShape(t, 32<<10)
	replica := testReplica(32<<10, 1)
	files := open(replica, build(t, merkle.Builder{Hasher: h, Layout: s.DefaultLayout(), Workers: 1}, bytes.NewReader(replica)))
	tree, err := merkle.Open(h, s, files)
	if err != nil {
		t.Fatal(err)
	}
	const leaf = 777
	for name, change := range map[string]func(*merkle.Proof){
		"leaf":            func(p *merkle.Proof) { p.Leaf.SetUint64(1) },
		"root":            func(p *merkle.Proof) { p.Root.SetUint64(1) },
		"level missing":   func(p *merkle.Proof) { p.Path = p.Path[:len(p.Path)-1] },
		"index":           func(p *merkle.Proof) { p.Path[0].Index ^= 1 },
		"index too large": func(p *merkle.Proof) { p.Path[3].Index = 2 },
		"index negative":  func(p *merkle.Proof) { p.Path[3].Index = -1 },
		"sibling missing": func(p *merkle.Proof) { p.Path[1].Siblings = p.Path[1].Siblings[:6] },
		"base sibling":    func(p *merkle.Proof) { p.Path[1].Siblings[2].SetUint64(5) },
		"sub sibling":     func(p *merkle.Proof) { p.Path[2].Siblings[6].SetUint64(5) },
		"top sibling":     func(p *merkle.Proof) { p.Path[3].Siblings[0].SetUint64(5) },
	} {
		p, err := tree.Prove(files, leaf, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(h, s, leaf); err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(h, s, leaf+1); !errors.Is(err, merkle.ErrInvalidProof) {
			t.Errorf("other leaf: %v", err)
		}
		good := slices.Repeat([]merkle.Proof{p}, 9)
		p.Path = slices.Clone(p.Path)
		for k := range p.Path {
			p.Path[k].Siblings = slices.Clone(p.Path[k].Siblings)
		}
		change(&p)
		if err := p.Verify(h, s, leaf); !errors.Is(err, merkle.ErrInvalidProof) {
			t.Errorf("%s: %v", name, err)
		}
		challenges := slices.Repeat([]uint64{leaf}, 9)
		if err := merkle.VerifyAll(h, s, good, challenges); err != nil {
			t.Errorf("nine sound proofs: %v", err)
		}
		good[8] = p
		if err := merkle.VerifyAll(h, s, good, challenges); !errors.Is(err, merkle.ErrInvalidProof) || !strings.Contains(err.Error(), "proof 8") {
			t.Errorf("%s in the last of nine: %v", name, err)
		}
		if err := merkle.VerifyAll(h, s, good, challenges[:8]); !errors.Is(err, merkle.ErrInvalidProof) {
			t.Errorf("nine proofs for eight challenges: %v", err)
		}
	}
}

// TestPlanStaysInside checks that no plan reads outside the files.
func TestPlanStaysInside(t *testing.T) {
	for _, size := range []uint64{2 << 10, 32 << 10, 16 << 20, 64 << 30} {
		s := mustShape(t, size)
		for d := range min(4, s.Height) {
			l := merkle.Layout{Shape: s, Discard: d}
			for _, leaf := range []uint64{0, 1, 511, 512, s.BaseLeaves() - 1, s.Leaves() / 2, s.Leaves() - 1} {
				if leaf >= s.Leaves() {
					continue
				}
				for i, r := range l.Plan(leaf) {
					limit := l.FileSize()
					if r.File == merkle.Replica {
						limit = int64(size)
					}
					if (r.File == merkle.Replica) != (i == 0) || r.Offset < 0 || r.Offset+int64(r.Length) > limit {
						t.Fatalf("%s, %d rows discarded, leaf %d: read %+v", s, d, leaf, r)
					}
				}
			}
		}
	}
}

// TestTopsSaveReads counts what is read of a sector with ten challenges, p_aux
// included: at most 48 reads and 450 KiB of 32 GiB, 52 reads of 64 GiB. A top
// ends with the root, and small trees have tops too.
func TestTopsSaveReads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	for _, tt := range []struct{ size, reads, bytes uint64 }{
		{32 << 30, 48, 450 << 10}, {64 << 30, 52, 1 << 20}, {512 << 20, 52, 450 << 10}, {2 << 10, 24, 64 << 10}, {16 << 10, 40, 64 << 10},
	} {
		l := mustShape(t, tt.size).DefaultLayout()
		for range 2000 {
			challenges := make([]uint64, 10)
			for i := range challenges {
				challenges[i] = rnd.Uint64N(l.Leaves())
			}
			tops := l.Tops(challenges)
			if len(tops) != l.BaseTrees() {
				t.Fatalf("%s: %d tops of %d files", l.Shape, len(tops), l.BaseTrees())
			}
			reads, bytes := uint64(1), uint64(64)
			for i, r := range tops {
				reads, bytes = reads+1, bytes+uint64(r.Length)
				if r.File != i || r.Offset < 0 || r.Offset+int64(r.Length) != l.FileSize() {
					t.Fatalf("%s: top %+v of file %d, of %d bytes", l.Shape, r, i, l.FileSize())
				}
			}
			for _, c := range challenges {
				for _, r := range l.Plan(c) {
					if r.File == merkle.Replica || r.Offset < tops[r.File].Offset {
						reads, bytes = reads+1, bytes+uint64(r.Length)
					}
				}
			}
			if reads > tt.reads || bytes > tt.bytes {
				t.Fatalf("%s, %d bytes: challenges %v take %d reads of %d bytes, at most %d of %d wanted", l.Shape, tt.size, challenges, reads, bytes, tt.reads, tt.bytes)
			}
		}
	}
}

// FuzzAssemble feeds arbitrary file contents: whatever is accepted must verify.
func FuzzAssemble(f *testing.F) {
	h := merkle.NewHasher()
	s := mustShape(f, 4<<10)
	replica := testReplica(4<<10, 1)
	trees := build(f, merkle.Builder{Hasher: h, Layout: s.DefaultLayout(), Workers: 1}, bytes.NewReader(replica))
	f.Add(replica, trees[0], trees[1], uint16(5))
	f.Add(replica, trees[1], trees[0], uint16(100))
	f.Add(replica[:100], []byte{}, trees[0], uint16(64))
	f.Fuzz(func(t *testing.T, replica, first, second []byte, leaf uint16) {
		files := open(replica, [][]byte{first, second})
		tree, err := merkle.Open(h, s, files)
		if err != nil {
			return
		}
		c := uint64(leaf) % s.Leaves()
		p, err := tree.Prove(files, c, nil)
		if err != nil {
			return
		}
		if err := p.Verify(h, s, c); err != nil || p.Root != tree.Root() {
			t.Errorf("accepted proof of leaf %d: %v", c, err)
		}
	})
}
