//go:build differential

package reference

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of sectors and randomness; 0 draws one")

// programs are built once for all tests.
type programs struct {
	bin    string // directory of ours
	theirs string // post-processor
}

var builtDir string

func TestMain(m *testing.M) {
	var err error
	if builtDir, err = os.MkdirTemp("", "differential-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(builtDir)
	os.Exit(code)
}

var built = sync.OnceValues(func() (programs, error) {
	p := programs{bin: filepath.Join(builtDir, "bin")}
	build := exec.Command("go", "build", "-o", p.bin+string(os.PathSeparator), "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build our programs: %w\n%s", err, out)
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = "target"
	}
	if out, err := exec.Command("cargo", "build", "--release", "--locked").CombinedOutput(); err != nil {
		return p, fmt.Errorf("build the reference: %w\n%s", err, out)
	}
	theirs, err := filepath.Abs(filepath.Join(target, "release", "post-processor"))
	p.theirs = theirs
	return p, err
})

// rig is both implementations, a directory to work in, and what is random.
type rig struct {
	programs
	t   *testing.T
	dir string
	rng *rand.Rand
}

func newRig(t *testing.T) *rig {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (repeat with -args -seed %d)", seed, seed)
	p, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return &rig{programs: p, t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0))}
}

// in is the rig of a subtest.
func (r *rig) in(t *testing.T) *rig {
	sub := *r
	sub.t, sub.dir = t, t.TempDir()
	return &sub
}

func (r *rig) our(program string) string { return filepath.Join(r.bin, program) }

// run runs a program with a parameter directory and fails the test if it fails.
func (r *rig) run(params string, argv ...string) {
	r.t.Helper()
	if out, err := r.try(params, argv...); err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

func (r *rig) try(params string, argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "FIL_PROOFS_PARAMETER_CACHE="+params)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// makeSectors makes sectors 1…count of miner 1008 with the reference.
func (r *rig) makeSectors(size uint64, count int) string {
	r.t.Helper()
	dir := filepath.Join(r.dir, "sectors")
	r.run("", r.theirs, "sectors", "--dir", dir, "--size", fmt.Sprint(size),
		"--count", fmt.Sprint(count), "--seed", fmt.Sprint(r.rng.Uint32()))
	return dir
}

// makeParams makes the parameters of one kind and size, ours or theirs.
func (r *rig) makeParams(dir string, s shape, typ string, ours bool) {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if !ours {
		r.run(dir, r.theirs, "params", "--type", typ, "--size", fmt.Sprint(s.size))
		return
	}
	sub := map[string]string{"window": "wdpost-param", "winning": "winpost-param"}[typ]
	r.run(dir, r.our("gen_cache_and_param_blst"), sub, "--size", s.name, "--params-dir", dir, "--generate", "--out", dir)
}

// randomness draws a challenge seed, a field element.
func (r *rig) randomness() (b [32]byte) {
	for i := range b {
		b[i] = byte(r.rng.Uint32())
	}
	b[31] &= 0x3f
	return b
}

// proofCase is the part of a proof file that is compared.
type proofCase struct {
	Proof   string `json:"proof"`
	Sectors []struct {
		Number     uint64   `json:"number"`
		CommR      string   `json:"comm_r"`
		Challenges []uint64 `json:"challenges"`
		Vanilla    string   `json:"vanilla"`
	} `json:"sectors"`
}

func (r *rig) read(file string) (c proofCase) {
	r.t.Helper()
	readJSON(r.t, file, &c)
	return c
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// call is one proof call that both make.
type call struct {
	params, sectors string // directories
	typ             string // window or winning
	api             string // empty: what belongs to the type
	numbers         []uint64
	// singlePartitions lets the reference prove partition by partition.
	singlePartitions bool
}

// compare proves one call with both, compares all vanilla bytes, lets each
// verify the other's proof, and shows a damaged proof to both.
func (r *rig) compare(c call) {
	r.t.Helper()
	randomness := r.randomness()
	joined := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(c.numbers)), ","), "[]")
	common := []string{"--type", c.typ, "--dir", c.sectors, "--list", filepath.Join(c.sectors, "sectors-1008-1.json"),
		"--numbers", joined, "--miner", "1008", "--randomness", hex.EncodeToString(randomness[:])}
	if c.api != "" {
		common = append(common, "--api", c.api)
	}
	oursFile, theirsFile := filepath.Join(r.dir, "ours.json"), filepath.Join(r.dir, "theirs.json")
	manager := r.our("venus-sector-manager")

	r.run(c.params, append([]string{manager, "util", "post", "prove", "--out", oursFile}, common...)...)
	common = append(common, "--out", theirsFile)
	if c.singlePartitions {
		common = append(common, "--single-partitions")
	}
	r.run(c.params, append([]string{r.theirs, "prove"}, common...)...)
	ours, theirs := r.read(oursFile), r.read(theirsFile)

	if len(ours.Proof) == 0 || len(ours.Proof) != len(theirs.Proof) || len(ours.Sectors) != len(theirs.Sectors) {
		r.t.Fatalf("ours: %d proof digits, %d sectors; theirs: %d, %d",
			len(ours.Proof), len(ours.Sectors), len(theirs.Proof), len(theirs.Sectors))
	}
	for i, s := range ours.Sectors {
		if s.Vanilla == "" || s.Number != theirs.Sectors[i].Number || s.Vanilla != theirs.Sectors[i].Vanilla {
			r.t.Fatalf("vanilla proof of sector %d differs from the reference's", s.Number)
		}
	}
	r.run(c.params, r.theirs, "verify", "--in", oursFile)
	r.run(c.params, manager, "util", "post", "verify", "--in", theirsFile)
	r.refuseDamaged(c.params, oursFile)
}

// refuseDamaged changes one public fact of a proof file and expects both to
// refuse it.
func (r *rig) refuseDamaged(params, file string) {
	r.t.Helper()
	var c map[string]any
	readJSON(r.t, file, &c)
	text := c["randomness"].(string)
	flipped := "0"
	if text[0] == '0' {
		flipped = "1"
	}
	c["randomness"] = flipped + text[1:]
	b, err := json.Marshal(c)
	if err != nil {
		r.t.Fatal(err)
	}
	damaged := file + ".damaged"
	if err := os.WriteFile(damaged, b, 0o644); err != nil {
		r.t.Fatal(err)
	}
	if out, err := r.try(params, r.theirs, "verify", "--in", damaged); err == nil {
		r.t.Fatalf("the reference accepts a proof for other randomness: %s", out)
	}
	if out, err := r.try(params, r.our("venus-sector-manager"), "util", "post", "verify", "--in", damaged); err == nil {
		r.t.Fatalf("we accept a proof for other randomness: %s", out)
	}
}
