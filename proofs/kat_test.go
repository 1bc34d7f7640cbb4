package proofs_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// known is a deterministic case of spec 7.8: keys from fixed trapdoors, proofs
// with fixed blinding, made by bellperson.
type known struct {
	name          string
	setup         post.Setup
	sectors       int // of T(size, 1), T(size, 2)
	paramsSize    int
	params, vk    string // SHA-256
	counts        groth16.Counts
	proof         string
	paddedSectors int    // proven again with fewer sectors, …
	paddedProof   string // … filled up by repetition
}

var knownAnswers = []known{{
	name: "K1", setup: post.Setup{SectorSize: 2 << 10, Challenges: 1, Sectors: 1}, sectors: 1,
	paramsSize: 723_864,
	params:     "8a8a90dd7bbec0570126389da59333ea1633dcffd4cdd8dcbaa9d2a9f7199bc3",
	vk:         "593328b065f13da686149878c8849dde55060d43c0bded3b1084c4aa8c7348c5",
	counts:     groth16.Counts{IC: 3, H: 2047, L: 1389, A: 1053, B: 1013},
	proof:      "a6df2cf1a289586f584a3497bcee5ddbc845fb83776d6b590e52a7f2ef2df44931858855d3d3e7eb3001c0451266f51981718212ba12457d3a53b59a19fb53d7b953957e7dc43f7f48a039e32fe18c7aaf6a35cfcf16b097f14353d9ab128230144e524e306edeba0a94f1c5245cdafc87dc1dcad3168d9536f8b1577e47a8c24f63a075c353613064b1b58a37d0de00850e794483f1234120eec43793f8139f84b1b03d7e97193a606ccb898cd76f386b4135affe245bcd9231561b3d8ae2c0",
}, {
	name: "K2", setup: post.Setup{SectorSize: 2 << 10, Challenges: 10, Sectors: 2}, sectors: 2,
	paramsSize:    11_501_496,
	params:        "27859a7738b4c5cc39ca35fbb974cc572573969980795fd3adab12eb95afd94f",
	vk:            "10b8d12f66f0d795c836265eea7ced58e8389bc1f3aea2038764b95a78a515e8",
	counts:        groth16.Counts{IC: 23, H: 32767, L: 22128, A: 16793, B: 16029},
	proof:         "a28344bf348467aec7aeaa91f113bf71bcf3ed51710bb4704f7ba30116b8f72012685285edb9270985bee944ac924508866af82de21bae38bb0e7946d761c162a2ddd1b7c0577afa950a705934c4b4fe515357f45fb9296096298ff8f7ef180f0535b1814e5aa030db9b9457e000096d23886a361f6645b62743e4bbe69839bee4b11a6a28a21e5767a4ec083a803f7cb69e420b85691df7187221be9f5653f81d0679b428abfe9f3c5acda4ff2bfb03ff94c717fddbe18592b9aacaa21c0d33",
	paddedSectors: 1, // K3
	paddedProof:   "b6d395dabafb22ed60bed4aafe1f983a7c3c38e511c15c486042f9228ba4892d3135e6b0c186b866f7a648812ede8181b38895b7ce84acb58424881871349819060a9cac3b1b8e7b83f37ca570d7d7095b6de868884db34a53c66eac5d5456fa0a662345c76ff05c8bab437e18557d12f61915a9c6cfe6d8ff705199a6e6b8538352a06170f3e5bc92863cd5617c0dcaaf4aaf728584cd6e712f8a4686dcce318cb22eab2cf540971953efaa74dff3fddd24249fe7abb536188ab9fad51623f8",
}, {
	name: "K4", setup: post.Setup{SectorSize: 32 << 10, Challenges: 1, Sectors: 1}, sectors: 1,
	paramsSize: 1_243_800,
	params:     "35589c9bac4a3614e2f58c16740e33c6e2e0de57d5833bce7d5146e794ac61b0",
	vk:         "5b62b00668732deec4a18a5c1b8955eeb49829e3f3cd863fe6d41c577ea45801",
	counts:     groth16.Counts{IC: 3, H: 4095, L: 2241, A: 1697, B: 1637},
	proof:      "a4dd2c2c14db5d322c8d5a26e0372f3f7a293ee80e42e892118724ff3b7166b95190f474c27a30654c32f822d59ed7b2858544804b9dce24e0764075ea66da79c39be6a263f33665d37f15b235d570adfecc0cb101b30afe97f52568c7fb69dc04b5fcaaaa38abf98c267d888f26476312668488efd96038941525ebb75715861cbb1b7ee20bd976e87f6a0b6e9935e9a5e46a3846491bce95291be1f877779d6c919a1afcf8e63c8ef7a2302486dcba9cceb6944f8b486f023a7b8ef0043c22",
}}

// TestKnownAnswers makes keys and proofs of bellperson, byte for byte, under
// every kernel of this machine.
func TestKnownAnswers(t *testing.T) {
	for _, on := range kernel.All() {
		system := proofs.NewOn(on)
		for _, k := range knownAnswers {
			t.Run(on.String()+"/"+k.name, func(t *testing.T) { checkKnown(t, system, &k) })
		}
	}
}

func checkKnown(t *testing.T, system *proofs.System, k *known) {
	trapdoor := groth16.Trapdoor{
		Alpha: fr.NewElement(11), Beta: fr.NewElement(13), Gamma: fr.NewElement(17),
		Delta: fr.NewElement(19), Tau: fr.NewElement(23),
	}
	config := proofs.ProveConfig{Workers: 2}
	config.Blinding.R.SetUint64(29)
	config.Blinding.S.SetUint64(31)
	setup := groth16.SetupConfig{Workers: 2, Kernel: system.Kernel()}
	c, err := system.Circuit(k.setup)
	if err != nil {
		t.Fatal(err)
	}
	file := newFileDigest()
	if err := groth16.Setup(c, &trapdoor, file, setup); err != nil {
		t.Fatal(err)
	}
	if file.counts != k.counts {
		t.Errorf("counts %+v, want %+v", file.counts, k.counts)
	}
	if got := hex.EncodeToString(file.sum.Sum(nil)); got != k.params || file.size != k.paramsSize {
		t.Errorf(".params: %d bytes, SHA-256 %s; want %d, %s", file.size, got, k.paramsSize, k.params)
	}
	if got := sha256.Sum256(file.vk); hex.EncodeToString(got[:]) != k.vk {
		t.Errorf(".vk: SHA-256 %x, want %s", got, k.vk)
	}
	key, err := groth16.SetupInMemory(c, &trapdoor, setup)
	if err != nil {
		t.Fatal(err)
	}
	for sectors, want := range map[int]string{k.sectors: k.proof, k.paddedSectors: k.paddedProof} {
		if sectors == 0 {
			continue
		}
		task := testTask(t, system, k.setup, sectors)
		proof, err := system.Prove(key, task, config)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(proof); got != want {
			t.Errorf("proof of %d sectors\n%s, want\n%s", sectors, got, want)
		}
		verifier, err := groth16.NewVerifier(&key.VK, 2, system.Kernel())
		if err != nil {
			t.Fatal(err)
		}
		if err := system.Verify(verifier, task.Statement, proof); err != nil {
			t.Error(err)
		}
	}
}

// testRandomness is R0 of spec 4.5.
func testRandomness() [32]byte {
	var r [32]byte
	for i := range r {
		r[i] = byte(7*i + 1)
	}
	return post.MaskRandomness(r)
}

// testTask proves the sectors T(size, 1), T(size, 2), … of spec 5.1 with the
// numbers 42, 43, …
func testTask(t testing.TB, system *proofs.System, setup post.Setup, sectors int) *proofs.Task {
	t.Helper()
	typ, err := post.TypeOf(post.Window, setup.SectorSize, post.V1_2_0)
	if err != nil {
		t.Fatal(err)
	}
	task := &proofs.Task{Statement: &post.Statement{Type: typ, Setup: setup, Randomness: testRandomness()}}
	st := task.Statement
	opened := make([]*post.OpenSector, sectors)
	for i := range sectors {
		opened[i] = openTestSector(t, system.Hasher(), setup.SectorSize, uint64(i+1))
		st.Sectors = append(st.Sectors, post.Sector{Number: uint64(42 + i), CommR: opened[i].CommR()})
	}
	for i, sector := range st.Sectors {
		v, err := opened[i].Vanilla(post.VanillaConfig{Sector: sector, Challenges: st.Challenges(i), Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		task.Vanilla = append(task.Vanilla, v)
	}
	return task
}

// memoryFile is a merkle.File in memory.
type memoryFile struct{ *bytes.Reader }

func (f memoryFile) Size() int64 { return f.Reader.Size() }

// openTestSector builds T(size, tag): node i of the replica is u64le(i) ‖
// u64le(tag) ‖ zeros, comm_c is 1000 + tag.
func openTestSector(t testing.TB, h *merkle.Hasher, size, tag uint64) *post.OpenSector {
	t.Helper()
	replica := make([]byte, size)
	for i := range size / merkle.NodeSize {
		binary.LittleEndian.PutUint64(replica[merkle.NodeSize*i:], i)
		binary.LittleEndian.PutUint64(replica[merkle.NodeSize*i+8:], tag)
	}
	shape, err := merkle.ShapeOf(size)
	if err != nil {
		t.Fatal(err)
	}
	files := post.SectorFiles{Files: merkle.Files{Replica: memoryFile{bytes.NewReader(replica)}}}
	builder := merkle.Builder{Hasher: h, Layout: shape.DefaultLayout(), Workers: 2}
	var roots []fr.Element
	for base := range shape.BaseTrees() {
		content, err := builder.File(files.Replica, base)
		if err != nil {
			t.Fatal(err)
		}
		root, err := merkle.Node([32]byte(content[len(content)-32:]))
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
		files.Trees = append(files.Trees, memoryFile{bytes.NewReader(content)})
	}
	files.PAux = post.PAux{CommC: fr.NewElement(1000 + tag), CommRLast: h.Root(shape, roots)}.Encode()
	opened, err := post.Open(h, size, files)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// fileDigest hashes a key in the form of a .params file, spec 8.2.
type fileDigest struct {
	sum    hash.Hash
	size   int
	vk     []byte
	counts groth16.Counts
	starts map[int]uint64 // G1 points made before a vector → its length
	made   int
}

func newFileDigest() *fileDigest { return &fileDigest{sum: sha256.New()} }

func (d *fileDigest) write(b []byte) {
	d.sum.Write(b)
	d.size += len(b)
}

func (d *fileDigest) Begin(vk *groth16.VerifyingKey, counts groth16.Counts) error {
	var err error
	d.vk, err = vk.MarshalBinary()
	d.counts = counts
	d.write(d.vk)
	n := int(counts.H)
	d.starts = map[int]uint64{0: counts.H, n: counts.L, n + int(counts.L): counts.A, n + int(counts.L+counts.A): counts.B,
		n + int(counts.L+counts.A+counts.B): counts.B}
	return err
}

// start writes the length in front of a vector.
func (d *fileDigest) start() {
	if n, ok := d.starts[d.made]; ok {
		d.write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
}

func (d *fileDigest) G1(points []bls.G1Affine) error {
	d.start()
	for i := range points {
		d.write(groth16.AppendG1(nil, &points[i]))
	}
	d.made += len(points)
	return nil
}

func (d *fileDigest) G2(points []bls.G2Affine) error {
	d.start()
	for i := range points {
		d.write(groth16.AppendG2(nil, &points[i]))
	}
	d.made += len(points)
	return nil
}

func (d *fileDigest) End() error { return nil }
