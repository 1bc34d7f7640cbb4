package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// CompareConfig says what Compare measures and how often.
type CompareConfig struct {
	Place Place
	// Reference is measured in turns with ours; nil leaves it out.
	Reference *Reference
	// Rounds is how often each work is done by each side; the median counts.
	Rounds int
	// Only selects the works whose name contains it; empty means all.
	Only string
	// Profiles is a directory for CPU profiles of our proofs; empty for none.
	Profiles string
	Log      *slog.Logger
}

// comparison is one run of Compare.
type comparison struct {
	CompareConfig
	lines []Line
	usage []Usage // of all children that prove
}

// Comparison is what Compare has measured.
type Comparison struct {
	Lines []Line
	// Others is the mean number of cores that other programs took while proofs
	// were made: above zero, times are longer than they need be.
	Others float64
}

// work is one thing that both sides do.
type work struct {
	name string
	run  func(ctx context.Context, name string) error
}

// Compare measures the table of works, ours beside the reference's. With an
// error it returns what was measured before.
func Compare(ctx context.Context, cfg CompareConfig) (*Comparison, error) {
	cfg.Rounds = max(cfg.Rounds, 1)
	c := &comparison{CompareConfig: cfg}
	for _, w := range c.works() {
		if !strings.Contains(strings.ToLower(w.name), strings.ToLower(cfg.Only)) {
			continue
		}
		cfg.Log.Info("measuring", "work", w.name)
		if err := w.run(ctx, w.name); err != nil {
			return c.result(), fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return c.result(), nil
}

func (c *comparison) result() *Comparison {
	return &Comparison{Lines: c.lines, Others: others(c.usage)}
}

// bytesPerConstraint is the most that a proof may take, mapped files aside.
const bytesPerConstraint = 130

// Limits of single works in seconds, on two cores.
const (
	limitWindow2KiB = 1.3
	limitKeys2KiB   = 30
)

// works is the table, with its targets.
func (c *comparison) works() []work {
	proof := func(w proofWork) func(context.Context, string) error {
		return func(ctx context.Context, name string) error { return c.prove(ctx, name, w) }
	}
	return []work{
		{"WinningPoSt 32GiB", proof(proofWork{
			circuit: circuitOf(post.Winning32GiB, 0), sectors: 1, time: 0.30, memory: 0.3,
		})},
		{"WindowPoSt 32GiB, 19 sectors", proof(proofWork{
			circuit: circuitOf(post.Window32GiBV1_1, 19), sectors: 19, time: 0.30, memory: 0.15, byConstraint: true,
		})},
		{"WindowPoSt 2KiB", proof(proofWork{
			circuit: circuitOf(post.Window2KiBV1_1, 0), sectors: 2, time: 0.25, limit: limitWindow2KiB,
		})},
		{"Poseidon arity 8, one core", c.poseidon},
		{"keys 2KiB window + winning", c.keys},
		{"verify 25,839 inputs", c.verify},
		{"reading", c.reading},
	}
}

// proofWork is a proof with its targets.
type proofWork struct {
	circuit      Circuit
	sectors      int
	time, memory float64 // ratios
	limit        float64 // seconds
	byConstraint bool    // the memory limit for each constraint applies
}

// prove measures a proof, from the files of sectors and keys to the proof.
func (c *comparison) prove(ctx context.Context, name string, w proofWork) error {
	setup, err := w.circuit.setup()
	if err != nil {
		return err
	}
	typ, err := post.ParseProofType(w.circuit.Type)
	if err != nil {
		return err
	}
	randomness := [32]byte{1}
	list, err := c.Place.ToProve(ctx, typ, w.sectors, randomness)
	if err != nil {
		return err
	}
	if err := c.Place.Key(ctx, w.circuit, false); err != nil {
		return err
	}
	var ours, theirs series
	for range c.Rounds {
		job := ProveJob{Circuit: w.circuit, List: list, Keys: c.Place.KeyDir(), Randomness: randomness}
		if c.Profiles != "" {
			job.Profile = filepath.Join(c.Profiles, strings.Map(fileRune, name)+".prof")
		}
		result, usage, err := c.Place.Spawn.Run(ctx, Job{Prove: &job}, 0)
		if err != nil {
			return err
		}
		s := result.Seconds
		ours.add(s["vanilla"]+s["keys"]+s["prove"], usage)
		c.Log.Info("ours", "work", name, "vanilla", s["vanilla"], "keys", s["keys"], "prove", s["prove"], "cpu", usage.CPU,
			"anon", bytesText(usage.PeakAnon), "rss", bytesText(usage.PeakRSS))
		if c.Reference == nil {
			continue
		}
		if result, usage, err = c.Reference.prove(ctx, &job); err != nil {
			return err
		}
		s = result.Seconds
		theirs.add(s["vanilla"]+s["prove"], usage)
		c.Log.Info("reference", "work", name, "vanilla", s["vanilla"], "prove", s["prove"], "cpu", usage.CPU,
			"anon", bytesText(usage.PeakAnon), "rss", bytesText(usage.PeakRSS))
	}
	c.usage = slices.Concat(c.usage, ours.usage, theirs.usage)
	memory := Line{Work: name + ": peak memory, mapped files aside", Unit: Bytes, Ours: ours.anon(), Reference: theirs.anon(), AtMost: w.memory}
	if w.byConstraint {
		memory.Limit = bytesPerConstraint * float64(params.Constraints(setup))
	}
	c.lines = append(c.lines,
		Line{Work: name + ": time", Ours: ours.time(), Reference: theirs.time(), AtMost: w.time, Limit: w.limit},
		Line{Work: name + ": CPU time of all cores", Ours: ours.cpu(), Reference: theirs.cpu()},
		memory,
		Line{Work: name + ": peak memory, mapped files included", Unit: Bytes, Ours: ours.rss(), Reference: theirs.rss()},
	)
	return nil
}

// fileRune keeps what is safe in file names.
func fileRune(r rune) rune {
	if strings.ContainsRune(" ,:", r) {
		return '-'
	}
	return r
}

// series collects repeated measurements of one side.
type series struct {
	seconds []float64
	usage   []Usage
}

func (s *series) add(seconds float64, u Usage) {
	s.seconds, s.usage = append(s.seconds, seconds), append(s.usage, u)
}

// time is the median; 0 of nothing.
func (s *series) time() float64 {
	if len(s.seconds) == 0 {
		return 0
	}
	return middle(slices.Clone(s.seconds))
}

// cpu is the median of the whole processes' CPU time; 0 of nothing.
func (s *series) cpu() float64 {
	var all series
	for _, u := range s.usage {
		all.seconds = append(all.seconds, u.CPU.Seconds())
	}
	return all.time()
}

// anon and rss are the largest peaks.
func (s *series) anon() (peak float64) {
	for _, u := range s.usage {
		peak = max(peak, float64(u.PeakAnon))
	}
	return peak
}

func (s *series) rss() (peak float64) {
	for _, u := range s.usage {
		peak = max(peak, float64(u.PeakRSS))
	}
	return peak
}

// poseidon measures one hash.
func (c *comparison) poseidon(ctx context.Context, name string) error {
	job := &PoseidonJob{Rounds: 1001, Hashes: 64} // short ones, which other programs seldom disturb
	var single, batched, theirs series
	for range c.Rounds {
		result, usage, err := c.Place.Spawn.Run(ctx, Job{Poseidon: job}, 1)
		if err != nil {
			return err
		}
		single.add(result.Seconds["single"], usage)
		batched.add(result.Seconds["batched"], usage)
		if c.Reference == nil {
			continue
		}
		took, err := c.Reference.poseidon(ctx, job)
		if err != nil {
			return err
		}
		theirs.add(took, Usage{})
	}
	c.lines = append(c.lines,
		Line{Work: name + ": one hash", Ours: single.time(), Reference: theirs.time(), AtMost: 0.35},
		Line{Work: name + ": a hash of a batch", Ours: batched.time(), Reference: theirs.time(), AtMost: 0.2},
	)
	return nil
}

// keys measures the making of development keys, files included.
func (c *comparison) keys(ctx context.Context, name string) error {
	circuits := []Circuit{circuitOf(post.Window2KiBV1_1, 0), circuitOf(post.Winning2KiB, 0)}
	var ours, theirs series
	for range c.Rounds {
		total := 0.0
		err := inTemp(c.Place.Dir, func(dir string) error {
			for _, circuit := range circuits {
				_, usage, err := c.Place.Spawn.Run(ctx, Job{Key: &KeyJob{Circuit: circuit, Dir: dir}}, 0)
				if err != nil {
					return err
				}
				total += usage.Wall.Seconds()
			}
			return nil
		})
		if err != nil {
			return err
		}
		ours.add(total, Usage{})
		if c.Reference == nil {
			continue
		}
		total = 0
		err = inTemp(c.Place.Dir, func(dir string) error {
			for _, circuit := range circuits {
				usage, err := c.Reference.key(ctx, circuit, dir)
				if err != nil {
					return err
				}
				total += usage.Wall.Seconds()
			}
			return nil
		})
		if err != nil {
			return err
		}
		theirs.add(total, Usage{})
	}
	c.lines = append(c.lines, Line{
		Work: name, Ours: ours.time(), Reference: theirs.time(), AtMost: 0.2, Limit: limitKeys2KiB,
	})
	return nil
}

// inTemp runs f with a new directory that is removed afterwards.
func inTemp(parent string, f func(dir string) error) error {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "round-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(dir)
}

// verify measures the verification of one proof of a full 32 GiB partition and
// of ten at once.
func (c *comparison) verify(ctx context.Context, name string) error {
	const batch, rounds = 10, 5
	job, err := Simulate(filepath.Join(c.Place.Dir, "simulated"), post.Window32GiBV1_1.Setup().Sectors, batch)
	if err != nil {
		return err
	}
	job.Rounds = rounds * c.Rounds // preparing the key takes the reference half a minute: all rounds in one process
	result, _, err := c.Place.Spawn.Run(ctx, Job{Verify: job}, 0)
	if err != nil {
		return err
	}
	var one, all float64
	if c.Reference != nil {
		if one, all, err = c.Reference.verify(ctx, job); err != nil {
			return err
		}
	}
	c.lines = append(c.lines,
		Line{Work: name + ": one proof", Ours: result.Seconds["one"], Reference: one, AtMost: 0.5},
		Line{Work: fmt.Sprintf("%s: batch of %d", name, batch), Ours: result.Seconds["all"], Reference: all, AtMost: 0.5})
	return nil
}

// reading measures what the reference has no like of.
func (c *comparison) reading(ctx context.Context, _ string) error {
	lines, err := Reading(ctx, c.Place, c.Rounds)
	c.lines = append(c.lines, lines...)
	return err
}
