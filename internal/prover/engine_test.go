package prover_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/internal/task"
	"wdpost/lab/golden"
	"wdpost/proofs/groth16"
	"wdpost/proofs/merkle"
	"wdpost/proofs/post"
)

// testDir lives as long as the tests of the package.
var testDir string

func TestMain(m *testing.M) {
	var err error
	if testDir, err = os.MkdirTemp("", "prover-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(testDir)
	os.Exit(code)
}

var oneSector = post.Window2KiBV1_1.Setup().WithSectors(1)

// devKeys are keys of 2 KiB sectors, one in a partition, made once for all
// tests of the package.
var devKeys = sync.OnceValues(func() (string, error) {
	tool := &keytool.Tool{ParamsDir: testDir, Out: testDir}
	_, err := tool.Make(context.Background(), oneSector)
	return testDir, err
})

// replica content of test sector n: word i is 32·n+i, little-endian.
type sector struct {
	files post.SectorFiles
	commR [32]byte
}

type memFile []byte

func (f memFile) Size() int64 { return int64(len(f)) }

func (f memFile) ReadAt(b []byte, at int64) (int, error) {
	return copy(b, f[at:]), nil
}

var hasher = sync.OnceValue(merkle.NewHasher)

func makeSector(t testing.TB, n uint64) sector {
	t.Helper()
	shape, err := merkle.ShapeOf(2 << 10)
	if err != nil {
		t.Fatal(err)
	}
	replica := make(memFile, 2<<10)
	for i := 0; i < len(replica); i += 32 {
		replica[i], replica[i+1] = byte(n), byte(i/32)
	}
	tree, err := merkle.Builder{Hasher: hasher(), Layout: shape.DefaultLayout(), Workers: 1}.File(replica, 0)
	if err != nil {
		t.Fatal(err)
	}
	var aux post.PAux
	aux.CommC.SetUint64(1000 + n)
	if aux.CommRLast, err = merkle.FileRoot(tree); err != nil {
		t.Fatal(err)
	}
	return sector{
		files: post.SectorFiles{Files: merkle.Files{Replica: replica, Trees: []merkle.File{memFile(tree)}}, PAux: aux.Encode()},
		commR: merkle.NodeBytes(aux.CommR(hasher())),
	}
}

// reader serves sectors from memory.
type reader struct {
	sectors map[uint64]sector
	fail    map[uint64]error
	calls   atomic.Int64
	before  func(ctx context.Context, sector uint64)
	edit    func(sector uint64, v *post.Vanilla) *post.Vanilla
}

func (r *reader) ReadVanilla(ctx context.Context, size uint64, replica task.Replica, challenges []uint64) (*post.Vanilla, error) {
	r.calls.Add(1)
	if r.before != nil {
		r.before(ctx, replica.SectorID)
	}
	if err := r.fail[replica.SectorID]; err != nil {
		return nil, err
	}
	open, err := post.Open(hasher(), size, r.sectors[replica.SectorID].files)
	if err != nil {
		return nil, err
	}
	v, err := open.Vanilla(post.VanillaConfig{
		Sector:     post.Sector{Number: replica.SectorID, CommR: replica.CommR},
		Challenges: challenges, Workers: 1, Done: ctx.Done(),
	})
	if r.edit != nil && err == nil {
		v = r.edit(replica.SectorID, v)
	}
	return v, err
}

// bench is an engine over sectors 1…n of 2 KiB, one in a partition.
type bench struct {
	engine   *prover.Engine
	reader   *reader
	question task.Question
}

func newBench(t *testing.T, n uint64, edit func(*prover.Config)) *bench {
	t.Helper()
	dir, err := devKeys()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{reader: &reader{sectors: map[uint64]sector{}, fail: map[uint64]error{}}}
	b.question = task.Question{MinerID: 1000, ProofType: post.Window2KiBV1_1.String(), Seed: task.Hash32{1, 2, 3}}
	for i := n; i > 0; i-- { // descending: the engine sorts
		s := makeSector(t, i)
		b.reader.sectors[i] = s
		b.question.Replicas = append(b.question.Replicas, task.Replica{SectorID: i, CommR: s.commR})
	}
	cfg := prover.Config{
		Reader: b.reader, PartitionSectors: 1, Memory: 4 << 30,
		Keys: prover.KeyConfig{ParamsDir: dir, RawDirs: []string{dir}},
		Log:  slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	if b.engine, err = prover.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// verify checks the answer's proof over the question without its faults.
func (b *bench) verify(t *testing.T, answer task.Answer) error {
	t.Helper()
	if len(answer.Proofs) != 1 {
		t.Fatalf("%d proofs", len(answer.Proofs))
	}
	typ, err := post.ParseProofType(b.question.ProofType)
	if err != nil {
		t.Fatal(err)
	}
	return b.engine.Verifier().VerifyWindow(t.Context(), prover.Claim{
		Type: typ, Randomness: b.question.Seed, Sectors: b.claimed(answer.Faults), Proof: answer.Proofs[0],
	})
}

func (b *bench) claimed(faults []uint64) []post.Sector {
	var out []post.Sector
	for _, r := range b.question.Without(faults).Replicas {
		out = append(out, post.Sector{Number: r.SectorID, CommR: r.CommR})
	}
	return out
}

func TestProveWindow(t *testing.T) {
	b := newBench(t, 2, nil)
	if err := b.engine.WarmUp(t.Context(), post.Window2KiBV1_1); err != nil {
		t.Fatal(err)
	}
	answer, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Faults) != 0 || len(answer.Proofs) != 1 || len(answer.Proofs[0]) != 2*groth16.ProofSize {
		t.Fatalf("%d faults, %d proofs", len(answer.Faults), len(answer.Proofs))
	}
	if err := b.verify(t, answer); err != nil {
		t.Error(err)
	}
	if n := b.reader.calls.Load(); n != 2 {
		t.Errorf("%d reads of 2 sectors", n)
	}
	v := b.engine.Verifier()
	if err := v.VerifyWindowPoSt(t.Context(), b.question, answer); err != nil {
		t.Error(err)
	}
	answer.Proofs[0][50] ^= 1
	if err := b.verify(t, answer); !errors.Is(err, groth16.ErrInvalidProof) {
		t.Errorf("tampered proof: %v", err)
	}
	if err := v.VerifyWindowPoSt(t.Context(), b.question, answer); !errors.Is(err, task.ErrBadAnswer) {
		t.Errorf("tampered proof as an answer: %v", err)
	}
}

func TestSkipping(t *testing.T) {
	broken := errors.New("disk gone")
	for _, c := range []struct {
		name   string
		typ    post.ProofType
		allow  bool
		fail   []uint64
		faults []uint64
		proofs int // partitions
		reads  int64
	}{
		{"one of three is skipped", post.Window2KiBV1_1, true, []uint64{2}, []uint64{2}, 2, 3},
		{"all are skipped", post.Window2KiBV1_1, true, []uint64{1, 2, 3}, []uint64{1, 2, 3}, 0, 3},
		{"skipping not allowed", post.Window2KiBV1_1, false, []uint64{1, 3}, []uint64{1, 3}, 0, 3},
		// With V1 the challenges depend on the position: 2 and 3 move up.
		{"V1 reads again what moved up", post.Window2KiBV1, true, []uint64{1}, []uint64{1}, 2, 5},
		{"V1 fault at the end", post.Window2KiBV1, true, []uint64{3}, []uint64{3}, 2, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 3, nil)
			b.question.ProofType = c.typ.String()
			b.question.AllowSkip = c.allow
			for _, n := range c.fail {
				b.reader.fail[n] = broken
			}
			answer, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(answer.Faults, c.faults) {
				t.Errorf("faults %v, want %v", answer.Faults, c.faults)
			}
			if n := b.reader.calls.Load(); n != c.reads {
				t.Errorf("%d reads, want %d", n, c.reads)
			}
			if c.proofs == 0 {
				if len(answer.Proofs) != 0 {
					t.Error("a proof nevertheless")
				}
				return
			}
			if len(answer.Proofs) != 1 || len(answer.Proofs[0]) != c.proofs*groth16.ProofSize {
				t.Fatalf("%d proofs", len(answer.Proofs))
			}
			if err := b.verify(t, answer); err != nil {
				t.Error(err)
			}
		})
	}
}

// A reader that lies or dies costs the sector, not the proof.
func TestBadReader(t *testing.T) {
	b := newBench(t, 4, nil)
	b.question.AllowSkip = true
	b.reader.before = func(_ context.Context, n uint64) {
		if n == 4 {
			panic("bug")
		}
	}
	b.reader.edit = func(n uint64, v *post.Vanilla) *post.Vanilla {
		switch n {
		case 1:
			v.Inclusion[3].Leaf.SetUint64(12345)
		case 2:
			return nil
		}
		return v
	}
	answer, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(answer.Faults, []uint64{1, 2, 4}) {
		t.Errorf("faults %v", answer.Faults)
	}
	if err := b.verify(t, answer); err != nil {
		t.Error(err)
	}
}

func TestBadQuestions(t *testing.T) {
	b := newBench(t, 2, nil)
	for name, edit := range map[string]func(*task.Question){
		"no sectors":        func(q *task.Question) { q.Replicas = nil },
		"sector twice":      func(q *task.Question) { q.Replicas[1].SectorID = q.Replicas[0].SectorID },
		"unknown type":      func(q *task.Question) { q.ProofType = "StackedDrgWindow3KiBV1" },
		"winning type":      func(q *task.Question) { q.ProofType = post.Winning2KiB.String() },
		"comm_r zero":       func(q *task.Question) { q.Replicas[0].CommR = task.Hash32{} },
		"comm_r too large":  func(q *task.Question) { q.Replicas[0].CommR[31] = 0xff },
		"randomness at top": func(q *task.Question) { q.Seed[31] = 0xff },
	} {
		t.Run(name, func(t *testing.T) {
			q := b.question
			q.Replicas = slices.Clone(q.Replicas)
			edit(&q)
			_, err := b.engine.ProveWindowPoSt(t.Context(), q)
			if !errors.Is(err, task.ErrBadQuestion) || task.VerdictOf(err).Kind != task.KindPermanent {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := b.engine.ProveWinningPoSt(t.Context(), b.question); !errors.Is(err, task.ErrBadQuestion) {
		t.Errorf("window question to winning: %v", err)
	}
	two := b.question
	two.ProofType = post.Winning2KiB.String()
	if _, err := b.engine.ProveWinningPoSt(t.Context(), two); !errors.Is(err, task.ErrBadQuestion) {
		t.Errorf("winning over two sectors: %v", err)
	}
	if n := b.reader.calls.Load(); n != 0 {
		t.Errorf("%d reads for questions that are none", n)
	}
}

func TestMissingKeysAndMemory(t *testing.T) {
	empty := t.TempDir()
	b := newBench(t, 1, func(c *prover.Config) { c.Keys = prover.KeyConfig{ParamsDir: empty, RawDirs: []string{empty}} })
	_, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
	var missing *prover.MissingKeyError
	if !errors.As(err, &missing) || !errors.Is(err, task.ErrUnable) || !strings.Contains(err.Error(), "gen_cache_and_param_blst") {
		t.Errorf("no keys: %v", err)
	}
	if err := b.engine.WarmUp(t.Context(), post.Window2KiBV1_1); !errors.As(err, &missing) {
		t.Errorf("warm-up without keys: %v", err)
	}
	small := newBench(t, 1, func(c *prover.Config) { c.Memory = 50 << 20 })
	_, err = small.engine.ProveWindowPoSt(t.Context(), small.question)
	if !errors.Is(err, prover.ErrTooLarge) || !errors.Is(err, task.ErrUnable) || !strings.Contains(err.Error(), "10933 constraints") || !strings.Contains(err.Error(), "50.0 MiB") {
		t.Errorf("too small a budget: %v", err)
	}
	if n := b.reader.calls.Load() + small.reader.calls.Load(); n != 0 {
		t.Errorf("%d reads for proofs that cannot be made", n)
	}
}

func TestCancel(t *testing.T) {
	stop := errors.New("lease lost")
	t.Run("while reading, by a reader that hangs", func(t *testing.T) {
		b := newBench(t, 2, nil)
		if err := b.engine.WarmUp(t.Context(), post.Window2KiBV1_1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		release := make(chan struct{})
		b.reader.before = func(context.Context, uint64) {
			cancel(stop)
			<-release
		}
		_, err := b.engine.ProveWindowPoSt(ctx, b.question)
		if !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
		close(release)
	})
	t.Run("a reader that reports the cancellation as its error", func(t *testing.T) {
		b := newBench(t, 2, nil)
		b.question.AllowSkip = true
		ctx, cancel := context.WithCancelCause(t.Context())
		b.reader.before = func(context.Context, uint64) { cancel(stop) }
		b.reader.fail[1], b.reader.fail[2] = context.Canceled, context.Canceled
		if answer, err := b.engine.ProveWindowPoSt(ctx, b.question); !errors.Is(err, stop) {
			t.Errorf("got %+v, %v: cancellation is no fault", answer, err)
		}
	})
	t.Run("window closed", func(t *testing.T) {
		b := newBench(t, 1, nil)
		b.question.NotAfter = time.Now().Add(-time.Second).Unix()
		_, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
		if !errors.Is(err, prover.ErrWindowClosed) || task.VerdictOf(err).Kind != task.KindPermanent {
			t.Errorf("got %v", err)
		}
	})
}

// Proofs wait for one another in the order of asking, and a cancelled one
// leaves the line.
func TestAdmissionLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := prover.NewAdmission(1<<30, 1)
		if err != nil {
			t.Fatal(err)
		}
		leave, err := a.Enter(t.Context(), oneSector)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, prover.ErrWindowClosed)
		defer cancel()
		if _, err := a.Enter(ctx, oneSector); !errors.Is(err, prover.ErrWindowClosed) {
			t.Errorf("entered beside another, or: %v", err)
		}
		var second atomic.Bool
		go func() {
			leave, err := a.Enter(t.Context(), oneSector)
			if err != nil {
				t.Error(err)
				return
			}
			second.Store(true)
			leave()
		}()
		synctest.Wait()
		if second.Load() {
			t.Error("two at once")
		}
		leave()
		leave() // harmless
		synctest.Wait()
		if !second.Load() {
			t.Error("the line does not move")
		}
		if err := a.Check(post.Window32GiBV1_1.Setup()); !errors.Is(err, prover.ErrTooLarge) {
			t.Errorf("32 GiB partition in 1 GiB: %v", err)
		}
	})
}

// Pinned keys take their share of the budget once.
func TestAdmissionPin(t *testing.T) {
	a, err := prover.NewAdmission(200<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	key := &prover.ProvingKey{Path: "k", HeapBytes: 90 << 20}
	for range 2 {
		if err := a.Pin(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Check(oneSector); err != nil {
		t.Errorf("proof beside one key: %v", err)
	}
	if err := a.Pin(t.Context(), &prover.ProvingKey{Path: "l", HeapBytes: 40 << 20}); err != nil {
		t.Fatal(err)
	}
	if err := a.Check(oneSector); !errors.Is(err, prover.ErrTooLarge) {
		t.Errorf("proof beside two keys: %v", err)
	}
	if err := a.Pin(t.Context(), &prover.ProvingKey{Path: "m", HeapBytes: 1 << 30}); !errors.Is(err, prover.ErrTooLarge) {
		t.Errorf("key larger than the budget: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Pin(ctx, &prover.ProvingKey{Path: "n", HeapBytes: 100 << 20}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	b := newBench(t, 3, nil)
	b.reader.fail[2] = errors.New("gone")
	read, err := b.engine.Read(t.Context(), b.question)
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Task.Vanilla) != 2 || !slices.Equal(read.Faults, []uint64{2}) || read.Task.Statement.Sectors[1].Number != 3 {
		t.Errorf("%d vanilla proofs, faults %v", len(read.Task.Vanilla), read.Faults)
	}
}

func TestVerifierRefuses(t *testing.T) {
	b := newBench(t, 1, nil)
	v := b.engine.Verifier()
	sectors := b.claimed(nil)
	for name, c := range map[string]prover.Claim{
		"no proof":         {Type: post.Window2KiBV1_1, Sectors: sectors},
		"zero bytes":       {Type: post.Window2KiBV1_1, Sectors: sectors, Proof: make([]byte, 192)},
		"no sectors":       {Type: post.Window2KiBV1_1, Proof: make([]byte, 192)},
		"sector twice":     {Type: post.Window2KiBV1_1, Sectors: append(sectors, sectors...), Proof: make([]byte, 192)},
		"winning":          {Type: post.Winning2KiB, Sectors: sectors, Proof: make([]byte, 192)},
		"no type":          {Type: 99, Sectors: sectors, Proof: make([]byte, 192)},
		"no key of a size": {Type: post.Window8MiBV1_1, Sectors: sectors, Proof: make([]byte, 192)},
	} {
		if err := v.VerifyWindow(t.Context(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	errs := v.VerifyAll(t.Context(), []prover.Claim{{Type: post.Window2KiBV1_1, Sectors: sectors}, {Type: post.Winning2KiB}})
	if len(errs) != 2 || errs[0] == nil || errs[1] == nil {
		t.Errorf("%v", errs)
	}
}

// The reference's proving key, from .params and from a raw cache made of it.
func TestProveWithReferenceKey(t *testing.T) {
	dir := filepath.Join(golden.Dir(t), "params")
	out := t.TempDir()
	for _, raw := range []bool{false, true} {
		if raw {
			tool := &keytool.Tool{ParamsDir: dir, Out: out}
			if _, err := tool.Make(t.Context(), post.Window2KiBV1_1.Setup()); err != nil {
				t.Fatal(err)
			}
		}
		b := newBench(t, 3, func(c *prover.Config) {
			c.PartitionSectors = 0
			c.Keys = prover.KeyConfig{ParamsDir: dir, RawDirs: []string{out}}
		})
		answer, err := b.engine.ProveWindowPoSt(t.Context(), b.question)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.verify(t, answer); err != nil || len(answer.Proofs[0]) != 2*groth16.ProofSize {
			t.Errorf("raw cache %t: %d bytes, %v", raw, len(answer.Proofs[0]), err)
		}
	}
}

// The proofs that the reference made verify with the reference's keys.
func TestGoldenProofsVerify(t *testing.T) {
	dir := golden.Dir(t)
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: filepath.Join(dir, "params"), RawDirs: []string{}})
	v := prover.NewVerifier(keys, 0)
	for _, file := range []string{"window-2KiB-full-v1_1", "window-2KiB-full-v1", "window-2KiB-3-partitions-v1_1", "window-32KiB-v1_1", "winning-2KiB"} {
		b, err := os.ReadFile(filepath.Join(dir, "proofs", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var g struct {
			Type       string
			SectorSize uint64 `json:"sector_size"`
			API        string `json:"api_version"`
			Randomness string
			Proof      string
			Sectors    []struct {
				Number uint64
				CommR  string `json:"comm_r"`
			}
		}
		if err := json.Unmarshal(b, &g); err != nil {
			t.Fatal(err)
		}
		kind, err := post.ParseKind(strings.ToLower(g.Type))
		if err != nil {
			t.Fatal(err)
		}
		version, err := post.ParseAPIVersion(g.API)
		if err != nil {
			t.Fatal(err)
		}
		c := prover.Claim{Proof: unhex(t, g.Proof), Randomness: [32]byte(unhex(t, g.Randomness))}
		if c.Type, err = post.TypeOf(kind, g.SectorSize, version); err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Sectors {
			c.Sectors = append(c.Sectors, post.Sector{Number: s.Number, CommR: [32]byte(unhex(t, s.CommR))})
		}
		slices.Reverse(c.Sectors)
		if err := v.VerifyAll(t.Context(), []prover.Claim{c})[0]; err != nil {
			t.Errorf("%s: %v", file, err)
		}
		c.Sectors[0].Number++
		if err := v.VerifyAll(t.Context(), []prover.Claim{c})[0]; !errors.Is(err, groth16.ErrInvalidProof) {
			t.Errorf("%s with another sector: %v", file, err)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
