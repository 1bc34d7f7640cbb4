package merkle_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/merkle"
)

// testReplica is the replica of the reference's test sector T(size, tag):
// node i is u64le(i) ‖ u64le(tag) ‖ 16 zero bytes. Spec 5.1.
func testReplica(size int, tag uint64) []byte {
	b := make([]byte, size)
	for i := range size / merkle.NodeSize {
		binary.LittleEndian.PutUint64(b[merkle.NodeSize*i:], uint64(i))
		binary.LittleEndian.PutUint64(b[merkle.NodeSize*i+8:], tag)
	}
	return b
}

// zeros is an all-zero file.
type zeros int64

func (z zeros) Size() int64 { return int64(z) }
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := max(0, min(int64(len(p)), int64(z)-off))
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// zeroFiles are the files of an all-zero sector.
func zeroFiles(h *merkle.Hasher, s merkle.Shape) merkle.Files {
	files := merkle.Files{Replica: zeros(s.SectorSize)}
	content := merkle.ZeroFile(h, s.DefaultLayout())
	for range s.BaseTrees() {
		files.Trees = append(files.Trees, bytes.NewReader(content))
	}
	return files
}

func mustShape(t testing.TB, size uint64) merkle.Shape {
	t.Helper()
	s, err := merkle.ShapeOf(size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// build returns the contents of all tree files of a replica.
func build(t testing.TB, b merkle.Builder, replica io.ReaderAt) [][]byte {
	t.Helper()
	var out [][]byte
	for i := range b.Layout.BaseTrees() {
		content, err := b.File(replica, i)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, content)
	}
	return out
}

func open(replica []byte, trees [][]byte) merkle.Files {
	f := merkle.Files{Replica: bytes.NewReader(replica)}
	for _, tree := range trees {
		f.Trees = append(f.Trees, bytes.NewReader(tree))
	}
	return f
}

func nodeHex(e fr.Element) string {
	b := merkle.NodeBytes(e)
	return hex.EncodeToString(b[:])
}

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		size     uint64
		form     string
		files    int
		height   int
		discard  int
		fileSize int64
		last     string
	}{
		{2 << 10, "8-0-0", 1, 2, 1, 32, "sc-02-data-tree-r-last.dat"},
		{4 << 10, "8-2-0", 2, 2, 1, 32, "sc-02-data-tree-r-last-1.dat"},
		{16 << 10, "8-8-0", 8, 2, 1, 32, "sc-02-data-tree-r-last-7.dat"},
		{32 << 10, "8-8-2", 16, 2, 1, 32, "sc-02-data-tree-r-last-15.dat"},
		{8 << 20, "8-0-0", 1, 6, 2, 18_720, "sc-02-data-tree-r-last.dat"},
		{16 << 20, "8-2-0", 2, 6, 2, 18_720, "sc-02-data-tree-r-last-1.dat"},
		{512 << 20, "8-0-0", 1, 8, 2, 1_198_368, "sc-02-data-tree-r-last.dat"},
		{1 << 30, "8-2-0", 2, 8, 2, 1_198_368, "sc-02-data-tree-r-last-1.dat"},
		{32 << 30, "8-8-0", 8, 9, 2, 9_586_976, "sc-02-data-tree-r-last-7.dat"},
		{64 << 30, "8-8-2", 16, 9, 2, 9_586_976, "sc-02-data-tree-r-last-15.dat"},
	} {
		s := mustShape(t, c.size)
		l := s.DefaultLayout()
		names := s.FileNames()
		if s.String() != c.form || s.BaseTrees() != c.files || s.Height != c.height || l.Discard != c.discard || l.FileSize() != c.fileSize {
			t.Errorf("%d: %+v, files of %d", c.size, l, l.FileSize())
		}
		if len(names) != c.files || names[len(names)-1] != c.last {
			t.Errorf("%d: files %v", c.size, names)
		}
		leaves := uint64(1)
		for _, arity := range s.Levels() {
			leaves *= uint64(arity)
		}
		if leaves != s.Leaves() || leaves != s.BaseLeaves()*uint64(s.BaseTrees()) {
			t.Errorf("%d: levels %v", c.size, s.Levels())
		}
	}
	if _, err := merkle.ShapeOf(8 << 10); err == nil {
		t.Error("8 KiB sectors have a shape")
	}
}

// TestLayoutFromFileSize uses the lengths measured with the reference.
func TestLayoutFromFileSize(t *testing.T) {
	s := mustShape(t, 8<<20)
	for size, d := range map[int64]int{1_198_368: 0, 149_792: 1, 18_720: 2, 2_336: 3} {
		if l, err := s.LayoutOf("f", size); err != nil || l.Discard != d {
			t.Errorf("file of %d bytes: %d rows discarded, %v", size, l.Discard, err)
		}
	}
	for size, want := range map[int64]error{0: merkle.ErrShort, 18_719: merkle.ErrShort, 18_721: merkle.ErrLong, 9_586_976: merkle.ErrLong} {
		var fault *merkle.FileError
		if _, err := s.LayoutOf("f", size); !errors.Is(err, want) || !errors.As(err, &fault) || fault.File != "f" {
			t.Errorf("file of %d bytes: %v", size, err)
		}
	}
}

// TestTestSectors checks the roots of the reference's test sectors (spec 5.1)
// and proves every leaf of each.
func TestTestSectors(t *testing.T) {
	h := merkle.NewHasher()
	for _, c := range []struct {
		size, tag int
		root      string
	}{
		{2 << 10, 1, "342c760be4d71d6f2f8ac8b2def05065070b4a6422a2b553b2c7ca5b28a48d0d"},
		{2 << 10, 2, "7b8c1d4b5f0463b2031d4dcc4d242ffcd4e98d263981d1496f01af0ba0babd5f"},
		{4 << 10, 1, "3f60df7066358e22fcacdced331f1e9664b284b13ced5b86b6c4e1dca6cf3642"},
		{16 << 10, 1, "ac299eef15365b4ee4c2cb27b209c384ab6e063f99e46b9701de3930ecd1b800"},
		{32 << 10, 1, "839921d71135394349d05811c2fae914c7b8f0b79ddbe279d250036753169816"},
	} {
		t.Run(fmt.Sprintf("%d-%d", c.size, c.tag), func(t *testing.T) {
			s := mustShape(t, uint64(c.size))
			replica := testReplica(c.size, uint64(c.tag))
			var first []merkle.Proof
			for discard := s.Height - 1; discard >= 0; discard-- {
				b := merkle.Builder{Hasher: h, Layout: merkle.Layout{Shape: s, Discard: discard}, Workers: 2}
				files := open(replica, build(t, b, bytes.NewReader(replica)))
				tree, err := merkle.Open(h, s, files)
				if err != nil {
					t.Fatal(err)
				}
				if got := nodeHex(tree.Root()); got != c.root || tree.Layout() != b.Layout {
					t.Fatalf("root %s, layout %+v", got, tree.Layout())
				}
				proofs := proveAll(t, h, tree, files)
				if first == nil {
					first = proofs
				} else if !slices.EqualFunc(first, proofs, equalProofs) {
					t.Error("proofs differ with the number of rows discarded")
				}
			}
		})
	}
}

// proveAll proves and verifies each leaf (each 7th in larger sectors).
func proveAll(t *testing.T, h *merkle.Hasher, tree *merkle.Tree, files merkle.Files) []merkle.Proof {
	t.Helper()
	s := tree.Layout().Shape
	step := uint64(1)
	if s.Leaves() > 64 {
		step = 7
	}
	var out []merkle.Proof
	for c := uint64(0); c < s.Leaves(); c += step {
		p, err := tree.Prove(files, c, nil)
		if err != nil {
			t.Fatalf("leaf %d: %v", c, err)
		}
		if err := p.Verify(h, s, c); err != nil || p.Root != tree.Root() {
			t.Fatalf("leaf %d: %v", c, err)
		}
		out = append(out, p)
	}
	return out
}

func equalProofs(a, b merkle.Proof) bool {
	return a.Root == b.Root && a.Leaf == b.Leaf && slices.EqualFunc(a.Path, b.Path, func(x, y merkle.Level) bool {
		return x.Index == y.Index && slices.Equal(x.Siblings, y.Siblings)
	})
}

func TestSecondBaseRoot(t *testing.T) {
	const want = "1eb0a14e6ff765556f7c00e48dca0b39627678c49cb47620c5148a4569ccd267"
	b := merkle.Builder{Hasher: merkle.NewHasher(), Layout: mustShape(t, 4<<10).DefaultLayout(), Workers: 1}
	content, err := b.File(bytes.NewReader(testReplica(4<<10, 1)), 1)
	if err != nil {
		t.Fatal(err)
	}
	root, err := merkle.FileRoot(content)
	if err != nil || nodeHex(root) != want {
		t.Errorf("%s, %v", nodeHex(root), err)
	}
	if _, err := merkle.FileRoot(content[:31]); !errors.Is(err, merkle.ErrShort) {
		t.Errorf("root of a cut file: %v", err)
	}
}

// TestZeroTrees checks the trees of all-zero replicas against the reference:
// roots of spec 5.1, digests of whole files.
func TestZeroTrees(t *testing.T) {
	h := merkle.NewHasher()
	for _, c := range []struct {
		size       uint64
		root, file string
	}{
		{2 << 10, "643ff4d08bf7d20de2f3cf0506d75cfb763aa239971e24fad179a7970a06ef1f", ""},
		{4 << 10, "b28bc86f7bba454eb5a25824a72c896df274d21383a7ac45ef5a7a4eea2c960d", ""},
		{16 << 10, "4b621c74de11ac0ab579dc2f407036f542d689564e5e4bb48b4c70aeaba88435", ""},
		{32 << 10, "e1ec2c8fe1ecbed69cf58f5f65bc2f6242acc0acdf1f5bd140ad3591301f3267", ""},
		{8 << 20, "0c235abfbb5cf445d03109e9f54a0eaf5588e8c359193969ea830b7ee4928b63", ""},
		{16 << 20, "164eaf9c568428bc6ba4b4c7d55caa64ecb1ed9a86f9c85342a5e11d38081709", ""},
		{512 << 20, "7995c84d3fb91b4c0f7466fe0f5373795e808ad7760f63ee203b190596354959", "90f44f562adcb6517be485a037bc5a7f4f99458afcfeabaefcb1ef56e5fec609"},
		{1 << 30, "ef053bf4c15e40407650c766bb812d1671ce249a087f77c1ea86145692acf02b", "90f44f562adcb6517be485a037bc5a7f4f99458afcfeabaefcb1ef56e5fec609"},
		{32 << 30, "d5cd408ceb94566b8d39966d406ea4312018f98684ffe630ece1ea0cf3fe7d4d", "39f12c569efa867fdbcc5e426da77bb0bdd9b01b99ec0499ac0325683f07d63b"},
		{64 << 30, "f99f9b2043f2b35049dc23b9a442d58c69799a910a46bd3d034cae5e1ab82263", "39f12c569efa867fdbcc5e426da77bb0bdd9b01b99ec0499ac0325683f07d63b"},
	} {
		s := mustShape(t, c.size)
		content := merkle.ZeroFile(h, s.DefaultLayout())
		if sum := sha256.Sum256(content); c.file != "" && hex.EncodeToString(sum[:]) != c.file {
			t.Errorf("%d: tree file digest %x", c.size, sum)
		}
		files := zeroFiles(h, s)
		tree, err := merkle.Open(h, s, files)
		if err != nil {
			t.Fatal(err)
		}
		if got := nodeHex(tree.Root()); got != c.root {
			t.Errorf("%d: root %s", c.size, got)
		}
		for _, leaf := range []uint64{0, s.Leaves() / 3, s.Leaves() - 1} {
			p, err := tree.Prove(files, leaf, nil)
			if err == nil {
				err = p.Verify(h, s, leaf)
			}
			if err != nil {
				t.Errorf("%d: leaf %d: %v", c.size, leaf, err)
			}
		}
	}
}

// TestBuilderEqualsZeroFile builds a taller tree leaf by leaf.
func TestBuilderEqualsZeroFile(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes 37,449 nodes")
	}
	h := merkle.NewHasher()
	l := mustShape(t, 8<<20).DefaultLayout()
	got, err := merkle.Builder{Hasher: h, Layout: l, Workers: 2}.File(zeros(8<<20), 0)
	if err != nil || !bytes.Equal(got, merkle.ZeroFile(h, l)) {
		t.Errorf("content differs, %v", err)
	}
}

func TestBuilderStops(t *testing.T) {
	done := make(chan struct{})
	close(done)
	b := merkle.Builder{Hasher: merkle.NewHasher(), Layout: mustShape(t, 8<<20).DefaultLayout(), Workers: 2, Done: done}
	if _, err := b.File(zeros(8<<20), 0); !errors.Is(err, merkle.ErrCanceled) {
		t.Errorf("cancelled build: %v", err)
	}
}

func TestBuilderRefusesBadReplica(t *testing.T) {
	b := merkle.Builder{Hasher: merkle.NewHasher(), Layout: mustShape(t, 4<<10).DefaultLayout(), Workers: 2}
	replica := testReplica(4<<10, 1)
	var fault *merkle.FileError
	if _, err := b.File(bytes.NewReader(replica[:4095]), 1); !errors.Is(err, merkle.ErrShort) || !errors.As(err, &fault) {
		t.Errorf("short replica: %v", err)
	}
	for i := range merkle.NodeSize {
		replica[2048+64+i] = 0xff
	}
	if _, err := b.File(bytes.NewReader(replica), 1); !errors.Is(err, merkle.ErrNotCanonical) || !errors.As(err, &fault) || fault.Offset != 2048+64 {
		t.Errorf("leaf not in the field: %v", err)
	}
}
