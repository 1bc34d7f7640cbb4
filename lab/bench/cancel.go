package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"time"

	"wdpost/internal/prover"
	"wdpost/proofs"
	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// CancelJob makes a proof and then cancels proofs at Tries places spread evenly
// over its time. It works on the sectors and keys of a ProveJob.
type CancelJob struct {
	ProveJob
	Tries int `json:"tries"`
}

// CanceledProof is how long a canceled proof took to end.
type CanceledProof struct {
	Phase   string  `json:"phase"` // in which it was canceled
	Seconds float64 `json:"seconds"`
}

// The phases of a proof, in their order.
const (
	phaseRows       = "checks, rows, first transforms"
	phaseTransforms = "other transforms"
	phaseSumLH      = "sum over h and l"
	phaseSumA       = "sum over a"
	phaseSumB       = "sum over b in G2"
)

// phase is that of a partition's proof with so much of its progress done.
func phase(done uint64, c groth16.Counts) string {
	switch {
	case done == 0:
		return phaseRows
	case done <= c.H: // the domain is one larger
		return phaseTransforms
	case done <= c.H+c.H+c.L:
		return phaseSumLH
	case done <= c.H+c.H+c.L+c.A:
		return phaseSumA
	default:
		return phaseSumB
	}
}

func (j *CancelJob) run(ctx context.Context, log *slog.Logger) (result Result, err error) {
	read, err := j.read(ctx)
	if err != nil {
		return Result{}, err
	}
	keys := prover.NewKeys(j.keyConfig())
	defer func() { err = errors.Join(err, keys.Close()) }()
	key, err := keys.Proving(ctx, read.Statement.Setup)
	if err != nil {
		return Result{}, err
	}
	defer prover.SaveMemory()() // as the engine does
	system := prover.NewSystem()
	start := time.Now()
	if _, err := system.Prove(key.ProvingKey, read, proofs.ProveConfig{Workers: runtime.GOMAXPROCS(0), Done: ctx.Done()}); err != nil {
		return Result{}, err
	}
	whole := time.Since(start)
	for i := range j.Tries {
		after := time.Duration(float64(whole) * (float64(i) + 0.5) / float64(j.Tries))
		canceled, err := cancelProof(ctx, system, key, read, after)
		if err != nil {
			return Result{}, err
		}
		if canceled != nil {
			log.Debug("canceled", "after", after, "phase", canceled.Phase, "took", canceled.Seconds)
			result.Cancels = append(result.Cancels, *canceled)
		}
	}
	return result, nil
}

// cancelProof cancels a proof after a while; nil if it was done by then.
func cancelProof(ctx context.Context, system *proofs.System, key *prover.ProvingKey, read *proofs.Task, after time.Duration) (*CanceledProof, error) {
	counts := params.CountsOf(read.Statement.Setup)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	made := make(chan uint64, 1) // the progress, always there to be taken
	made <- 0
	type end struct {
		at  time.Time
		err error
	}
	ended := make(chan end, 1)
	go func() {
		_, err := system.Prove(key.ProvingKey, read, proofs.ProveConfig{
			Workers: runtime.GOMAXPROCS(0), Done: ctx.Done(), Ahead: key.Ahead,
			Progress: func(done, _ uint64) { <-made; made <- done },
		})
		ended <- end{time.Now(), err}
	}()
	select {
	case <-time.After(after):
	case e := <-ended:
		return nil, e.err
	}
	start := time.Now()
	cancel()
	done := <-made
	made <- done
	e := <-ended
	if e.err == nil {
		return nil, nil // it was just done
	}
	if !errors.Is(e.err, groth16.ErrCanceled) {
		return nil, e.err
	}
	return &CanceledProof{Phase: phase(done, counts), Seconds: e.at.Sub(start).Seconds()}, nil
}

// CancelConfig says how Cancel runs.
type CancelConfig struct {
	Place   Place
	Sectors int // of 32 GiB shape, in one partition
	Tries   int
}

// CancelReport is the outcome of Cancel.
type CancelReport struct {
	Circuit Circuit
	Proofs  []CanceledProof
	Others  float64 // cores that other programs took meanwhile
}

// cancelLimit is the target for the time from a cancellation to the proof's end.
const cancelLimit = 200 * time.Millisecond

// Cancel measures how long proofs go on after they are canceled.
func Cancel(ctx context.Context, cfg CancelConfig) (*CancelReport, error) {
	report := &CancelReport{Circuit: circuitOf(post.Window32GiBV1_1, cfg.Sectors)}
	randomness := [32]byte{byte(cfg.Sectors), byte(cfg.Sectors >> 8)}
	list, err := cfg.Place.ToProve(ctx, post.Window32GiBV1_1, cfg.Sectors, randomness)
	if err != nil {
		return nil, err
	}
	if err := cfg.Place.Key(ctx, report.Circuit, true); err != nil {
		return nil, err
	}
	job := &CancelJob{
		ProveJob: ProveJob{Circuit: report.Circuit, List: list, Keys: cfg.Place.KeyDir(), Randomness: randomness},
		Tries:    cfg.Tries,
	}
	result, usage, err := cfg.Place.Spawn.Run(ctx, Job{Cancel: job}, 0)
	if err != nil {
		return nil, err
	}
	report.Proofs, report.Others = result.Cancels, others([]Usage{usage})
	return report, nil
}

// Write prints a line for each phase and one for all.
func (r *CancelReport) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "| canceled in (%s) | proofs | median | 99%% | longest |\n|---|---|---|---|---|\n", r.Circuit)
	line := func(name string, seconds []float64) {
		if err != nil || len(seconds) == 0 {
			return
		}
		slices.Sort(seconds)
		at := func(share float64) float64 {
			return 1000 * seconds[int(math.Ceil(share*float64(len(seconds))))-1]
		}
		_, err = fmt.Fprintf(w, "| %s | %d | %.0f ms | %.0f ms | %.0f ms |\n", name, len(seconds), at(0.5), at(0.99), at(1))
	}
	var all []float64
	for _, phase := range []string{phaseRows, phaseTransforms, phaseSumLH, phaseSumA, phaseSumB} {
		var seconds []float64
		for _, p := range r.Proofs {
			if p.Phase == phase {
				seconds = append(seconds, p.Seconds)
			}
		}
		all = append(all, seconds...)
		line(phase, seconds)
	}
	line("all", all)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nTarget: %v. Other programs took %.1f cores meanwhile.\n", cancelLimit, r.Others)
	return err
}
