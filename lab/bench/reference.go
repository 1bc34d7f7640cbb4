package bench

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"wdpost/proofs/post"
)

// Reference is the reference implementation's program, post-processor of
// reference/.
type Reference struct {
	Program string
}

// BuildReference builds the program from its source directory with cargo, into
// CARGO_TARGET_DIR where that is set.
func BuildReference(ctx context.Context, source string) (*Reference, error) {
	build := exec.CommandContext(ctx, "cargo", "build", "--release", "--locked", "--quiet")
	build.Dir, build.Stderr = source, os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("build the reference in %s with cargo: %w; without it use --no-reference", source, err)
	}
	target := os.Getenv("CARGO_TARGET_DIR")
	if target == "" {
		target = filepath.Join(source, "target")
	}
	return &Reference{Program: filepath.Join(target, "release", "post-processor")}, nil
}

func (r *Reference) command(ctx context.Context, keys string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.Program, args...)
	cmd.Env = append(os.Environ(), "FIL_PROOFS_PARAMETER_CACHE="+keys)
	return cmd
}

// prove does a ProveJob. Seconds are those that the program takes itself:
// "vanilla", "prove" (reading its parameters included) and "verify".
func (r *Reference) prove(ctx context.Context, j *ProveJob) (Result, Usage, error) {
	typ, err := post.ParseProofType(j.Circuit.Type)
	if err != nil {
		return Result{}, Usage{}, err
	}
	out, err := os.CreateTemp("", "reference-proof-*.json")
	if err != nil {
		return Result{}, Usage{}, err
	}
	defer os.Remove(out.Name())
	randomness := post.MaskRandomness(j.Randomness)
	_, usage, err := measure(r.command(ctx, j.Keys, "prove", "--type", typ.Kind().String(),
		"--dir", filepath.Dir(j.List), "--list", j.List, "--miner", strconv.Itoa(miner),
		"--randomness", hex.EncodeToString(randomness[:]),
		"--partition-sectors", strconv.Itoa(j.Circuit.PartitionSectors), "--out", out.Name()))
	if err != nil {
		return Result{}, usage, errors.Join(err, out.Close())
	}
	var proof struct {
		Verified bool               `json:"verified"`
		Timing   map[string]float64 `json:"timing_ms"`
		Proof    string             `json:"proof"`
	}
	if err := errors.Join(json.NewDecoder(out).Decode(&proof), out.Close()); err != nil {
		return Result{}, usage, fmt.Errorf("the reference's proof: %w", err)
	}
	if !proof.Verified {
		return Result{}, usage, errors.New("the reference's proof does not verify")
	}
	result := Result{Seconds: map[string]float64{}}
	for step, ms := range proof.Timing {
		result.Seconds[step] = ms / 1000
	}
	result.Proof, err = hex.DecodeString(proof.Proof)
	return result, usage, err
}

// key makes development parameters of a registered circuit in an empty
// directory.
func (r *Reference) key(ctx context.Context, c Circuit, dir string) (Usage, error) {
	setup, err := c.setup()
	if err != nil {
		return Usage{}, err
	}
	typ, err := post.ParseProofType(c.Type)
	if err != nil {
		return Usage{}, err
	}
	_, usage, err := measure(r.command(ctx, dir, "params", "--type", typ.Kind().String(),
		"--size", strconv.FormatUint(setup.SectorSize, 10), "--partition-sectors", strconv.Itoa(c.PartitionSectors)))
	return usage, err
}

// poseidon is the seconds of one hash of eight elements.
func (r *Reference) poseidon(ctx context.Context, j *PoseidonJob) (float64, error) {
	var out struct{ NS float64 }
	err := r.timed(ctx, &out, "time-poseidon", "--rounds", strconv.Itoa(j.Rounds), "--hashes", strconv.Itoa(j.Hashes))
	return out.NS * 1e-9, err
}

// verify does a VerifyJob and returns the seconds of one proof and of all.
func (r *Reference) verify(ctx context.Context, j *VerifyJob) (one, all float64, err error) {
	var out struct {
		One float64 `json:"one_us"`
		All float64 `json:"all_us"`
	}
	err = r.timed(ctx, &out, "time-verify", "--vk", j.VK, "--proofs", j.Proofs, "--inputs", j.Inputs, "--rounds", strconv.Itoa(j.Rounds))
	return out.One * 1e-6, out.All * 1e-6, err
}

func (r *Reference) timed(ctx context.Context, out any, args ...string) error {
	text, _, err := measure(r.command(ctx, "", args...))
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return json.Unmarshal(text, out)
}
