package proofs_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/kernel"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// BenchmarkWindow32GiB19 proves 19 sectors of the 32 GiB shape: 1,013,327
// constraints.
func BenchmarkWindow32GiB19(b *testing.B) {
	benchmarkZero(b, post.Window32GiBV1_1, post.Window32GiBV1_1.Setup().WithSectors(19), 19)
}

// BenchmarkWinning32GiB proves 66 challenges of a 32 GiB sector: 370,590
// constraints.
func BenchmarkWinning32GiB(b *testing.B) {
	benchmarkZero(b, post.Winning32GiB, post.Winning32GiB.Setup(), 1)
}

// benchmarkZero proves all-zero sectors with a key in a mapped file, and reports
// the memory that the proof took beside it.
func benchmarkZero(b *testing.B, typ post.ProofType, setup post.Setup, sectors int) {
	system := proofs.New()
	task := zeroTask(b, system, typ, setup, sectors)
	key := mappedKey(b, system, setup)
	v, err := groth16.NewVerifier(&key.VK, 2, kernel.Auto)
	if err != nil {
		b.Fatal(err)
	}
	debug.FreeOSMemory() // what making the key left
	stop := watchMemory()
	var proof []byte
	for b.Loop() {
		if proof, err = system.Prove(key, task, proofs.ProveConfig{Workers: 2}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(stop())/1e6, "peak-MB")
	if err := system.Verify(v, task.Statement, proof); err != nil {
		b.Fatal(err)
	}
}

// zeroFile is a file of zeros.
type zeroFile int64

func (f zeroFile) Size() int64 { return int64(f) }

func (f zeroFile) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// zeroTask is about sectors whose replicas are all zero; their tree is computed
// row by row.
func zeroTask(b testing.TB, system *proofs.System, typ post.ProofType, setup post.Setup, sectors int) *proofs.Task {
	b.Helper()
	h := system.Hasher()
	shape, err := merkle.ShapeOf(setup.SectorSize)
	if err != nil {
		b.Fatal(err)
	}
	content := merkle.ZeroFile(h, shape.DefaultLayout())
	tree := memoryFile{bytes.NewReader(content)}
	root, err := merkle.Node([32]byte(content[len(content)-merkle.NodeSize:]))
	if err != nil {
		b.Fatal(err)
	}
	roots := make([]fr.Element, shape.BaseTrees())
	for i := range roots {
		roots[i] = root
	}
	files := post.SectorFiles{Files: merkle.Files{Replica: zeroFile(setup.SectorSize)}}
	for range shape.BaseTrees() {
		files.Trees = append(files.Trees, tree)
	}
	files.PAux = post.PAux{CommC: fr.NewElement(1), CommRLast: h.Root(shape, roots)}.Encode()
	opened, err := post.Open(h, setup.SectorSize, files)
	if err != nil {
		b.Fatal(err)
	}
	task := &proofs.Task{Statement: &post.Statement{Type: typ, Setup: setup, Randomness: testRandomness()}}
	for i := range sectors {
		task.Statement.Sectors = append(task.Statement.Sectors, post.Sector{Number: uint64(i + 1), CommR: opened.CommR()})
	}
	for i, sector := range task.Statement.Sectors {
		vanilla, err := opened.Vanilla(post.VanillaConfig{Sector: sector, Challenges: task.Statement.Challenges(i), Workers: 2})
		if err != nil {
			b.Fatal(err)
		}
		task.Vanilla = append(task.Vanilla, vanilla)
	}
	return task
}

// mappedKey generates a key into a file and maps it, as a prover maps its
// parameter cache.
func mappedKey(b *testing.B, system *proofs.System, setup post.Setup) *groth16.ProvingKey {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "key"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	sink := &mappedSink{w: bufio.NewWriterSize(f, 1<<20)}
	if err := system.GenerateKey(setup, sink, proofs.KeyConfig{Workers: 2}); err != nil {
		b.Fatal(err)
	}
	size := int(96*(sink.n.H+sink.n.L+sink.n.A+sink.n.B) + 192*sink.n.B)
	data, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = syscall.Munmap(data) })
	g1 := unsafe.Slice((*bls.G1Affine)(unsafe.Pointer(&data[0])), size/96)
	key := &groth16.ProvingKey{VK: sink.vk}
	for _, v := range []struct {
		to *[]bls.G1Affine
		n  uint64
	}{{&key.H, sink.n.H}, {&key.L, sink.n.L}, {&key.A, sink.n.A}, {&key.B1, sink.n.B}} {
		*v.to, g1 = g1[:v.n], g1[v.n:]
	}
	key.B2 = unsafe.Slice((*bls.G2Affine)(unsafe.Pointer(&g1[0])), sink.n.B)
	return key
}

// mappedSink writes the points as they lie in memory.
type mappedSink struct {
	w  *bufio.Writer
	vk groth16.VerifyingKey
	n  groth16.Counts
}

func (s *mappedSink) Begin(vk *groth16.VerifyingKey, n groth16.Counts) error {
	s.vk, s.n = *vk, n
	return nil
}

func (s *mappedSink) G1(points []bls.G1Affine) error {
	_, err := s.w.Write(unsafe.Slice((*byte)(unsafe.Pointer(&points[0])), 96*len(points)))
	return err
}

func (s *mappedSink) G2(points []bls.G2Affine) error {
	_, err := s.w.Write(unsafe.Slice((*byte)(unsafe.Pointer(&points[0])), 192*len(points)))
	return err
}

func (s *mappedSink) End() error { return s.w.Flush() }

// watchMemory samples the anonymous memory of the process and returns a function
// that ends it and returns the maximum in bytes.
func watchMemory() (stop func() int64) {
	var peak atomic.Int64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			status, _ := os.ReadFile("/proc/self/status")
			for line := range strings.Lines(string(status)) {
				var kb int64
				if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kb); err == nil {
					peak.Store(max(peak.Load(), kb<<10))
				}
			}
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() int64 {
		close(done)
		<-ended
		return peak.Load()
	}
}
