package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/internal/sectorfile"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// FullConfig says how Full runs.
type FullConfig struct {
	Place Place
	// Sectors of the partition; 0 is the network's 2,349, or as many as the
	// disk has room for.
	Sectors int
	Log     *slog.Logger
}

// fullReserve is the disk that stays free beside key and sectors.
const fullReserve = 2 << 30

// Full makes sparse 32 GiB sectors (see challenged) and development keys for a
// whole partition, proves it and verifies the proof. Every stage is done once: an
// interrupted run continues with the stage that was not finished, and the key
// with the points that it lacks.
func Full(ctx context.Context, cfg FullConfig) error {
	n, err := cfg.sectors()
	if err != nil {
		return err
	}
	f := &full{FullConfig: cfg, n: n, circuit: circuitOf(post.Window32GiBV1_1, n)}
	if f.setup, err = f.circuit.setup(); err != nil {
		return err
	}
	if err := f.checkMemory(); err != nil {
		return err
	}
	record, err := OpenRecord(cfg.recordPath(), f.circuit.String())
	if err != nil {
		return err
	}
	cfg.Log.Info("full partition", "machine", Machine(), "sectors", n, "constraints", params.Constraints(f.setup), "key", bytesText(params.RawBytes(f.setup)))
	return record.Continue(ctx, f.stages(), cfg.Log)
}

// full is one run of Full.
type full struct {
	FullConfig
	n       int
	circuit Circuit
	setup   post.Setup
}

func (cfg *FullConfig) recordPath() string {
	return filepath.Join(cfg.Place.Dir, "full-partition.json")
}

// sectors is how many sectors the partition has: those of the run that was
// begun, else fewer than the network's only where the disk is too small.
func (cfg *FullConfig) sectors() (int, error) {
	if cfg.Sectors > 0 {
		return cfg.Sectors, nil
	}
	standard := post.Window32GiBV1_1.Setup().Sectors
	begun := recordedRun(cfg.recordPath())
	for n := 1; n <= standard && begun != ""; n++ {
		if circuitOf(post.Window32GiBV1_1, n).String() == begun {
			return n, nil
		}
	}
	if cfg.Place.hasKey(scaleSetup(standard), true) {
		return standard, nil
	}
	free, err := keytool.FreeSpace(cfg.Place.Dir)
	if err != nil {
		return 0, err
	}
	unfinished := (&keytool.Tool{Out: cfg.Place.KeyDir()}).Unfinished(scaleSetup(standard))
	n := sectorsThatFit(free+unfinished, standard)
	switch {
	case n == 0:
		return 0, fmt.Errorf("%s has %s free, not enough for the key of a single sector", cfg.Place.Dir, bytesText(free))
	case n < standard:
		cfg.Log.Warn("the disk is too small for the whole partition: fewer sectors are proven, and the result is not that of a full partition",
			"sectors", n, "whole", standard, "free", bytesText(free), "needed", bytesText(params.RawBytes(scaleSetup(standard))+fullReserve))
	}
	return n, nil
}

// sectorsThatFit is the largest number of sectors, up to most, whose key leaves
// fullReserve of the free bytes.
func sectorsThatFit(free uint64, most int) int {
	low, high := 0, most // the key of low fits, or low is 0
	for low < high {
		mid := (low + high + 1) / 2
		if params.RawBytes(scaleSetup(mid))+fullReserve <= free {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

func (f *full) checkMemory() error {
	available, err := prover.AvailableMemory()
	if err != nil {
		return err
	}
	if need := bytesPerConstraint * params.Constraints(f.setup); available < need {
		return fmt.Errorf("the proof may take %s of memory and %s are available; end other programs, or take fewer --sectors", bytesText(need), bytesText(available))
	}
	return nil
}

func (f *full) proofPath() string {
	return filepath.Join(f.Place.Dir, fmt.Sprintf("full-partition-%d.proof", f.n))
}

func (f *full) listPath() string {
	return filepath.Join(f.Place.challengedDir(post.Window32GiBV1_1, f.n, f.randomness()), listName)
}

// randomness of the proof; any will do.
func (f *full) randomness() [32]byte { return [32]byte{byte(f.n), byte(f.n >> 8)} }

func (f *full) stages() []Stage {
	return []Stage{
		{Name: "sectors", Lasting: f.haveSectors, Run: func(ctx context.Context) (Usage, error) {
			_, err := f.Place.ToProve(ctx, post.Window32GiBV1_1, f.n, f.randomness())
			return Usage{}, err
		}},
		{Name: "key", Lasting: f.haveKey, Run: func(ctx context.Context) (Usage, error) {
			if f.haveKey() { // of any sectors
				return Usage{}, nil
			}
			_, usage, err := f.Place.Spawn.Run(ctx, Job{Key: &KeyJob{Circuit: f.circuit, Dir: f.Place.KeyDir(), RawOnly: true}}, 0)
			return usage, err
		}},
		{Name: "proof", Lasting: f.haveProof, Run: f.prove},
		{Name: "verification", Run: f.verify},
	}
}

func (f *full) haveSectors() bool {
	_, err := sectorfile.ReadList(f.listPath())
	return err == nil
}

func (f *full) haveKey() bool { return f.Place.hasKey(f.setup, true) }

func (f *full) haveProof() bool {
	_, err := os.Stat(f.proofPath())
	return err == nil
}

func (f *full) prove(ctx context.Context) (Usage, error) {
	job := &ProveJob{Circuit: f.circuit, List: f.listPath(), Keys: f.Place.KeyDir(), Randomness: f.randomness()}
	result, usage, err := f.Place.Spawn.Run(ctx, Job{Prove: job}, 0)
	if err != nil {
		return usage, err
	}
	constraints := float64(params.Constraints(f.setup))
	f.Log.Info("proof made", "vanilla", result.Seconds["vanilla"], "keys", result.Seconds["keys"], "prove", result.Seconds["prove"],
		"verify", result.Seconds["verify"], "µs a constraint", result.Seconds["prove"]/constraints*1e6,
		"bytes a constraint", float64(usage.PeakAnon)/constraints)
	return usage, writeWhole(f.proofPath(), result.Proof)
}

// verify checks the proof in the file against the sectors' commitments.
func (f *full) verify(ctx context.Context) (usage Usage, err error) {
	proof, err := os.ReadFile(f.proofPath())
	if err != nil {
		return usage, err
	}
	list, err := sectorfile.ReadList(f.listPath())
	if err != nil {
		return usage, err
	}
	claim := prover.Claim{Type: post.Window32GiBV1_1, Randomness: post.MaskRandomness(f.randomness()), Proof: proof}
	for _, s := range list.Sectors {
		claim.Sectors = append(claim.Sectors, post.Sector{Number: s.Number, CommR: s.CommR})
	}
	keys := prover.NewKeys(prover.KeyConfig{ParamsDir: f.Place.KeyDir(), RawDirs: []string{f.Place.KeyDir()}})
	defer func() { err = errors.Join(err, keys.Close()) }()
	if err := prover.NewVerifier(keys, f.n).VerifyWindow(ctx, claim); err != nil {
		return usage, err
	}
	f.Log.Info("the proof verifies", "sectors", f.n, "proof", f.proofPath())
	return usage, nil
}
