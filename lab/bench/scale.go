package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"time"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// ScaleConfig says how far Scale goes.
type ScaleConfig struct {
	Place  Place
	Budget time.Duration // no circuit is begun that would exceed it
	// MaxSectors bounds the sectors of the largest window; 0 is no bound.
	MaxSectors int
	Log        *slog.Logger
}

// ScalePoint is what one circuit took.
type ScalePoint struct {
	Sectors     int
	Constraints uint64
	Domain      uint64  // rows of the FFT, the next power of two
	Read        float64 // seconds to read the sectors
	Prove       float64 // seconds
	CPU         float64 // seconds of all cores, of the whole process
	Key         float64 // seconds to make the key; 0 if it was there
	Anon, RSS   uint64  // peaks in bytes
	usage       Usage
}

// ScaleReport is the outcome of Scale.
type ScaleReport struct {
	Points []ScalePoint
	Cores  int
	// OneCore is the prove time of SerialSectors on one core, SerialProve that
	// on all; 0 if there was no time for it or the machine was not quiet.
	SerialSectors        int
	OneCore, SerialProve float64
	Others               float64 // cores that other programs took meanwhile
	Stopped              string  // why it went no further
}

// Scale proves windows of 1, 2, 4, … sectors of 32 GiB shape.
func Scale(ctx context.Context, cfg ScaleConfig) (*ScaleReport, error) {
	report := &ScaleReport{Cores: workers()}
	end := time.Now().Add(cfg.Budget)
	var last time.Duration
	for n := 1; ; n *= 2 {
		left := time.Until(end)
		if len(report.Points) > 0 { // what is kept for the proof on one core
			left -= report.aloneTime(report.Points[len(report.Points)-1])
		}
		if report.Stopped = cfg.obstacle(n, left, last); report.Stopped != "" {
			break
		}
		start := time.Now()
		p, err := cfg.point(ctx, n, 0)
		if err != nil {
			return report, err
		}
		last = time.Since(start)
		cfg.Log.Info("proved", "sectors", n, "constraints", p.Constraints, "prove", p.Prove, "cpu", p.CPU, "read", p.Read, "key", p.Key, "anon", bytesText(p.Anon))
		report.Points = append(report.Points, p)
	}
	var usage []Usage
	for _, p := range report.Points {
		usage = append(usage, p.usage)
	}
	if report.Others = others(usage); report.Others > quietMachine {
		return report, nil // times on one core and on all could not be compared
	}
	// On one core the largest circuit takes Cores times as long; the largest
	// for which there is time tells the share of work that does not spread.
	for i := len(report.Points) - 1; i >= 0; i-- {
		p := report.Points[i]
		if time.Until(end) < report.aloneTime(p) && i > 0 {
			continue
		}
		one, err := cfg.point(ctx, p.Sectors, 1)
		if err != nil {
			return report, err
		}
		report.SerialSectors, report.OneCore, report.SerialProve = p.Sectors, one.Prove, p.Prove
		break
	}
	return report, nil
}

// aloneTime is about how long a proof takes on one core.
func (r *ScaleReport) aloneTime(p ScalePoint) time.Duration {
	return time.Duration(float64(r.Cores) * 1.1 * (p.Prove + p.Read) * float64(time.Second))
}

// obstacle says why a window of n sectors is not to be begun, or nothing. last
// is what the one of half the size took.
func (cfg *ScaleConfig) obstacle(n int, left, last time.Duration) string {
	setup := scaleSetup(n)
	if cfg.MaxSectors > 0 && n > cfg.MaxSectors {
		return fmt.Sprintf("%d sectors are the set maximum", cfg.MaxSectors)
	}
	if need := 2 * last; left < need {
		return fmt.Sprintf("%d sectors would take about %v, %v are left", n, need.Round(time.Second), left.Round(time.Second))
	}
	if free, err := keytool.FreeSpace(cfg.Place.Dir); err == nil && free < params.RawBytes(setup) {
		return fmt.Sprintf("the key of %d sectors takes %s of disk, %s are free", n, bytesText(params.RawBytes(setup)), bytesText(free))
	}
	need := bytesPerConstraint * params.Constraints(setup)
	if available, err := prover.AvailableMemory(); err == nil && available < need {
		return fmt.Sprintf("%d sectors may take %s of memory, %s are available", n, bytesText(need), bytesText(available))
	}
	return ""
}

func scaleSetup(n int) post.Setup { return post.Window32GiBV1_1.Setup().WithSectors(n) }

// point proves a window of n sectors; procs is as in Spawner.Run. The key is
// made before, and removed again unless it is small.
func (cfg *ScaleConfig) point(ctx context.Context, n, procs int) (ScalePoint, error) {
	const small = 64 << 20
	setup, circuit := scaleSetup(n), circuitOf(post.Window32GiBV1_1, n)
	p := ScalePoint{Sectors: n, Constraints: params.Constraints(setup)}
	p.Domain = 1 << bits.Len64(p.Constraints+uint64(setup.PublicInputs()))
	randomness := [32]byte{byte(n), byte(n >> 8)}
	list, err := cfg.Place.ToProve(ctx, post.Window32GiBV1_1, n, randomness)
	if err != nil {
		return p, err
	}
	if !cfg.Place.hasKey(setup, true) {
		start := time.Now()
		if err := cfg.Place.Key(ctx, circuit, true); err != nil {
			return p, err
		}
		p.Key = time.Since(start).Seconds()
	}
	job := ProveJob{Circuit: circuit, List: list, Keys: cfg.Place.KeyDir(), Randomness: randomness}
	result, usage, err := cfg.Place.Spawn.Run(ctx, Job{Prove: &job}, procs)
	if err != nil {
		return p, err
	}
	if half := scaleSetup(max(n/2, 1)); n > 1 && params.RawBytes(half) > small {
		if err := os.Remove(rawPath(cfg.Place.KeyDir(), half)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return p, err
		}
	}
	p.Read, p.Prove = result.Seconds["vanilla"], result.Seconds["prove"]
	p.CPU, p.Anon, p.RSS, p.usage = usage.CPU.Seconds(), usage.PeakAnon, usage.PeakRSS, usage
	return p, nil
}

// fullConstraints is the size of a real partition: 2,349 sectors of 32 GiB.
func fullConstraints() uint64 { return params.Constraints(post.Window32GiBV1_1.Setup()) }

// Line of least squares.
type fit struct{ slope, intercept, r2 float64 }

// fitLine fits y = slope·x + intercept; r2 is the share of the variance of y
// that it explains. Two different x at least are needed.
func fitLine(x, y []float64) fit {
	var mx, my float64
	for i := range x {
		mx += x[i] / float64(len(x))
		my += y[i] / float64(len(y))
	}
	var xx, xy, yy float64
	for i := range x {
		xx += (x[i] - mx) * (x[i] - mx)
		xy += (x[i] - mx) * (y[i] - my)
		yy += (y[i] - my) * (y[i] - my)
	}
	f := fit{slope: xy / xx}
	f.intercept = my - f.slope*mx
	f.r2 = 1
	if yy > 0 {
		f.r2 = xy * xy / (xx * yy)
	}
	return f
}

func (f fit) at(x float64) float64 { return f.slope*x + f.intercept }

// serialShare is the share f of one core's time that does not spread over
// cores, by Amdahl's law T(n) = T(1)·(f + (1−f)/n) from the times on one core
// and on n; never negative.
func serialShare(one, many float64, n int) float64 {
	if n < 2 || one <= 0 {
		return 0
	}
	k := float64(n)
	return min(1, max(0, (k*many/one-1)/(k-1)))
}

// onCores is the time on n cores of what takes one on one core.
func onCores(one, serial float64, n int) float64 { return one * (serial + (1-serial)/float64(n)) }

// Write writes the report for people.
func (r *ScaleReport) Write(w io.Writer) error {
	rows := [][]string{{"sectors", "constraints", "read", "prove", "µs a constraint", "CPU", "CPU µs a constraint", "peak memory",
		"bytes a constraint", "bytes a row of the FFT", "with mapped files", "key"}}
	for _, p := range r.Points {
		c := float64(p.Constraints)
		key := ""
		if p.Key > 0 {
			key = Seconds.text(p.Key)
		}
		rows = append(rows, []string{
			fmt.Sprint(p.Sectors), fmt.Sprint(p.Constraints), Seconds.text(p.Read), Seconds.text(p.Prove), fmt.Sprintf("%.2f", p.Prove/c*1e6),
			Seconds.text(p.CPU), fmt.Sprintf("%.2f", p.CPU/c*1e6),
			bytesText(p.Anon), fmt.Sprintf("%.0f", float64(p.Anon)/c), fmt.Sprintf("%.0f", float64(p.Anon)/float64(p.Domain)), bytesText(p.RSS), key,
		})
	}
	if err := writeRows(w, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nIt went no further because %s.\nOther programs took %.2f of %d cores meanwhile.\n", r.Stopped, r.Others, r.Cores)
	if len(r.Points) < 2 {
		return nil
	}
	return r.extrapolate(w)
}

// memoryPoints is how many of the largest circuits tell how memory grows: in
// small ones what does not depend on the size covers it.
const memoryPoints = 3

// extrapolate states what a full partition takes, with the reasoning.
func (r *ScaleReport) extrapolate(w io.Writer) error {
	column := func(points []ScalePoint, of func(p ScalePoint) float64) (out []float64) {
		for _, p := range points {
			out = append(out, of(p))
		}
		return out
	}
	x := column(r.Points, func(p ScalePoint) float64 { return float64(p.Constraints) })
	wall := fitLine(x, column(r.Points, func(p ScalePoint) float64 { return p.Prove }))
	cpu := fitLine(x, column(r.Points, func(p ScalePoint) float64 { return p.CPU }))
	large := r.Points[max(0, len(r.Points)-memoryPoints):]
	memory := fitLine(column(large, func(p ScalePoint) float64 { return float64(p.Domain) }),
		column(large, func(p ScalePoint) float64 { return float64(p.Anon) }))
	full := float64(fullConstraints())
	rows := math.Exp2(math.Ceil(math.Log2(full)))
	fmt.Fprintf(w, `
Least squares:
  time    %.3f µs a constraint + %.2f s (R² = %.5f)
  CPU     %.3f µs a constraint + %.2f s (R² = %.5f)
  memory  %.1f bytes a row of the FFT + %.0f MiB (R² = %.5f, the %d largest); rows are the next power of two above the constraints
A full 32 GiB partition of 2,349 sectors has %.0f constraints and %.0f rows. Reading aside it takes
  memory              %s
  on these %d cores    %s by the fit of time, %s by the fit of CPU ÷ cores, which is what it would be alone on the machine
`, wall.slope*1e6, wall.intercept, wall.r2, cpu.slope*1e6, cpu.intercept, cpu.r2, memory.slope, memory.intercept/(1<<20), memory.r2, len(large),
		full, rows, bytesText(uint64(memory.at(rows))), r.Cores, minutes(wall.at(full)), minutes(cpu.at(full)/float64(r.Cores)))
	return r.extrapolateCores(w, cpu.at(full))
}

// extrapolateCores states the time on more cores of what takes cpu seconds of
// one.
func (r *ScaleReport) extrapolateCores(w io.Writer, cpu float64) error {
	var serial float64
	reason := "how much of the work does not spread over cores was not measured: other programs were running, or time was short"
	if r.OneCore > 0 {
		serial = serialShare(r.OneCore, r.SerialProve, r.Cores)
		reason = fmt.Sprintf("%d sectors take %s on one core and %s on %d: by Amdahl's law %.2f %% of one core's time does not spread",
			r.SerialSectors, Seconds.text(r.OneCore), Seconds.text(r.SerialProve), r.Cores, 100*serial)
	}
	for _, n := range []int{32, 96} {
		line := fmt.Sprintf("  on %d such cores    %s if all of it spreads", n, minutes(onCores(cpu, 0, n)))
		if r.OneCore > 0 {
			line += fmt.Sprintf(", %s with the share that does not", minutes(onCores(cpu, serial, n)))
		}
		fmt.Fprintln(w, line)
	}
	_, err := fmt.Fprintf(w, "(%s. Cores that share memory bandwidth, lower their clock under load or are hyperthreads give less.)\n", reason)
	return err
}

// minutes writes seconds for people.
func minutes(s float64) string {
	return (time.Duration(s) * time.Second).String()
}
