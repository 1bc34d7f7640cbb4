package bench

import (
	"context"
	"fmt"
	"io"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// CoresConfig says what Cores replays.
type CoresConfig struct {
	Place   Place
	Sectors int   // in the window of 32 GiB shape
	Workers []int // of the machines that are simulated
}

// CoresReport is the outcome of Cores.
type CoresReport struct {
	Sectors     int
	Constraints uint64
	Points      []CoresPoint
}

// CoresPoint is one simulated machine.
type CoresPoint struct {
	Replay
	Runs, Pieces int
	// Waits are the runs in which most time is waited.
	Waits []string
}

// Cores makes a proof with the division of work for each number of workers,
// records the CPU time of every piece, and replays the pieces on so many
// workers. What it cannot see is what cores take from each other: memory
// bandwidth, clock, caches.
func Cores(ctx context.Context, cfg CoresConfig) (*CoresReport, error) {
	setup, circuit := scaleSetup(cfg.Sectors), circuitOf(post.Window32GiBV1_1, cfg.Sectors)
	report := &CoresReport{Sectors: cfg.Sectors, Constraints: params.Constraints(setup)}
	randomness := [32]byte{byte(cfg.Sectors), byte(cfg.Sectors >> 8)}
	list, err := cfg.Place.ToProve(ctx, post.Window32GiBV1_1, cfg.Sectors, randomness)
	if err != nil {
		return nil, err
	}
	if !cfg.Place.hasKey(setup, true) {
		if err := cfg.Place.Key(ctx, circuit, true); err != nil {
			return nil, err
		}
	}
	for _, n := range cfg.Workers {
		job := ProveJob{Circuit: circuit, List: list, Keys: cfg.Place.KeyDir(), Randomness: randomness, Record: n}
		result, _, err := cfg.Place.Spawn.Run(ctx, Job{Prove: &job}, 0)
		if err != nil {
			return report, err
		}
		p := CoresPoint{Replay: replay(result.Runs, n), Runs: len(result.Runs)}
		for _, r := range result.Runs {
			p.Pieces += len(r.Pieces)
		}
		for _, i := range slowest(result.Runs, n, 4) {
			r := result.Runs[i]
			one := replay(result.Runs[i:i+1], n)
			p.Waits = append(p.Waits, fmt.Sprintf("run %d: %s before, %d pieces of %s in %s", i,
				Seconds.text(r.Before), len(r.Pieces), Seconds.text(one.Work-one.Serial), Seconds.text(one.Makespan-one.Serial)))
		}
		report.Points = append(report.Points, p)
	}
	return report, nil
}

// Write writes the report for people.
func (r *CoresReport) Write(w io.Writer) error {
	fmt.Fprintf(w, "A window of %d sectors of 32 GiB, %d constraints, replayed from the CPU time of its pieces:\n\n", r.Sectors, r.Constraints)
	rows := [][]string{{"workers", "time", "busy", "idle", "work", "between the runs", "longest chain", "runs", "pieces"}}
	for _, p := range r.Points {
		rows = append(rows, []string{
			fmt.Sprint(p.Workers), Seconds.text(p.Makespan), fmt.Sprintf("%.1f %%", 100*p.Busy()), Seconds.text(p.Idle()), Seconds.text(p.Work),
			Seconds.text(p.Serial), Seconds.text(p.Chain), fmt.Sprint(p.Runs), fmt.Sprint(p.Pieces),
		})
	}
	if err := writeRows(w, rows); err != nil {
		return err
	}
	for _, p := range r.Points {
		fmt.Fprintf(w, "\nMost waited with %d workers:\n", p.Workers)
		for _, line := range p.Waits {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	return nil
}
