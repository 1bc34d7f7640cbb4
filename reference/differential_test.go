//go:build differential

// Package reference compares our prover with rust-fil-proofs, each judging the
// other's work: `make differential`.
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
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of sectors and randomness; 0 draws one")

// rig is both implementations and a directory to work in.
type rig struct {
	t      *testing.T
	dir    string
	bin    string // our programs
	theirs string // post-processor
	rng    *rand.Rand
}

// proofCase is the part of a proof file that is compared.
type proofCase struct {
	Proof   string `json:"proof"`
	Sectors []struct {
		Number     uint64   `json:"number"`
		Challenges []uint64 `json:"challenges"`
		Vanilla    string   `json:"vanilla"`
	} `json:"sectors"`
}

func newRig(t *testing.T) *rig {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d (repeat with -args -seed %d)", seed, seed)
	r := &rig{t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0))}
	r.bin = filepath.Join(r.dir, "bin")
	build := exec.Command("go", "build", "-o", r.bin+string(os.PathSeparator), "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build our programs: %v\n%s", err, out)
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = "target"
	}
	if out, err := exec.Command("cargo", "build", "--release", "--locked").CombinedOutput(); err != nil {
		t.Fatalf("build the reference: %v\n%s", err, out)
	}
	theirs, err := filepath.Abs(filepath.Join(target, "release", "post-processor"))
	if err != nil {
		t.Fatal(err)
	}
	r.theirs = theirs
	return r
}

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

func (r *rig) our(program string) string { return filepath.Join(r.bin, program) }

// makeParams makes window and winning parameters of a size, ours or theirs.
func (r *rig) makeParams(size uint64, name string, ours bool) string {
	r.t.Helper()
	dir := filepath.Join(r.dir, fmt.Sprintf("params-%s-%v", name, ours))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for _, typ := range []string{"window", "winning"} {
		if ours {
			sub := map[string]string{"window": "wdpost-param", "winning": "winpost-param"}[typ]
			r.run(dir, r.our("gen_cache_and_param_blst"), sub, "--size", name, "--params-dir", dir, "--generate", "--out", dir)
		} else {
			r.run(dir, r.theirs, "params", "--type", typ, "--size", fmt.Sprint(size))
		}
	}
	return dir
}

func (r *rig) read(file string) proofCase {
	r.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	var c proofCase
	if err := json.Unmarshal(b, &c); err != nil {
		r.t.Fatalf("%s: %v", file, err)
	}
	return c
}

// compare proves one call with both, compares all vanilla bytes, lets each
// verify the other's proof, and shows a damaged proof to both.
func (r *rig) compare(params, sectors, typ string, numbers []uint64) {
	r.t.Helper()
	randomness := make([]byte, 32)
	for i := range randomness {
		randomness[i] = byte(r.rng.Uint32())
	}
	randomness[31] &= 0x3f
	joined := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(numbers)), ","), "[]")
	common := []string{"--type", typ, "--dir", sectors, "--list", filepath.Join(sectors, "sectors-1008-1.json"),
		"--numbers", joined, "--miner", "1008", "--randomness", hex.EncodeToString(randomness)}
	oursFile, theirsFile := filepath.Join(sectors, "ours.json"), filepath.Join(sectors, "theirs.json")
	manager := r.our("venus-sector-manager")

	r.run(params, append([]string{manager, "util", "post", "prove"}, append(common, "--out", oursFile)...)...)
	r.run(params, append([]string{r.theirs, "prove"}, append(common, "--out", theirsFile)...)...)
	ours, theirs := r.read(oursFile), r.read(theirsFile)

	if len(ours.Proof) != len(theirs.Proof) || len(ours.Sectors) != len(theirs.Sectors) {
		r.t.Fatalf("ours: %d proof digits, %d sectors; theirs: %d, %d",
			len(ours.Proof), len(ours.Sectors), len(theirs.Proof), len(theirs.Sectors))
	}
	for i, s := range ours.Sectors {
		if s.Vanilla == "" || s.Number != theirs.Sectors[i].Number || s.Vanilla != theirs.Sectors[i].Vanilla {
			r.t.Fatalf("vanilla proof of sector %d differs from the reference's", s.Number)
		}
	}
	r.run(params, r.theirs, "verify", "--in", oursFile)
	r.run(params, manager, "util", "post", "verify", "--in", theirsFile)
	r.refuseDamaged(params, oursFile)
}

// refuseDamaged changes one public fact of a proof file and expects both to refuse it.
func (r *rig) refuseDamaged(params, file string) {
	r.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		r.t.Fatal(err)
	}
	text := c["randomness"].(string)
	flipped := "0"
	if text[0] == '0' {
		flipped = "1"
	}
	c["randomness"] = flipped + text[1:]
	if b, err = json.Marshal(c); err != nil {
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

func TestDifferential(t *testing.T) {
	r := newRig(t)
	shapes := []struct {
		size uint64
		name string
	}{{2 << 10, "2KiB"}, {4 << 10, "4KiB"}, {16 << 10, "16KiB"}, {32 << 10, "32KiB"}}
	for i, shape := range shapes {
		t.Run(shape.name, func(t *testing.T) {
			sub := *r
			sub.t = t
			sectors := filepath.Join(t.TempDir(), "sectors")
			sub.run("", sub.theirs, "sectors", "--dir", sectors, "--size", fmt.Sprint(shape.size),
				"--count", "5", "--seed", fmt.Sprint(sub.rng.Uint32()))
			// The smallest shape is tried under both makers' parameters, the others alternate.
			makers := []bool{i%2 == 0}
			if i == 0 {
				makers = []bool{true, false}
			}
			for _, ours := range makers {
				params := sub.makeParams(shape.size, shape.name, ours)
				sub.compare(params, sectors, "window", []uint64{1, 2})
				sub.compare(params, sectors, "window", []uint64{4})
				sub.compare(params, sectors, "window", []uint64{1, 2, 3, 4, 5})
				sub.compare(params, sectors, "winning", []uint64{1, 2, 3, 4, 5})
			}
		})
	}
}
