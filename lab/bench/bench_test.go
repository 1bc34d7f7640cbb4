package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"wdpost/proofs/groth16"
	"wdpost/proofs/params"
)

// envJob makes the test program a child that does a job.
const envJob = "WDPOST_BENCH_TEST_JOB"

func TestMain(m *testing.M) {
	if os.Getenv(envJob) != "" {
		if err := RunJob(context.Background(), os.Stdin, os.Stdout, slog.New(slog.DiscardHandler)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testPlace is a place whose children are this test program.
func testPlace(t *testing.T) Place {
	t.Helper()
	t.Setenv(envJob, "1")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Place{Dir: t.TempDir(), Spawn: Spawner{Program: program}}
}

func TestLineVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		line Line
		want Verdict
	}{
		{"no target", Line{Ours: 1, Reference: 2}, NoGoal},
		{"at the ratio", Line{Ours: 1, Reference: 4, AtMost: 0.25}, Met},
		{"above the ratio", Line{Ours: 1.01, Reference: 4, AtMost: 0.25}, NotMet},
		{"no reference", Line{Ours: 1, AtMost: 0.25}, Open},
		{"at the limit", Line{Ours: 1, Limit: 1}, Met},
		{"above the limit", Line{Ours: 1.01, Limit: 1}, NotMet},
		{"above the limit, no reference", Line{Ours: 2, Limit: 1, AtMost: 0.5}, NotMet},
		{"below the limit, no reference", Line{Ours: 1, Limit: 2, AtMost: 0.5}, Open},
		{"below the limit, above the ratio", Line{Ours: 1, Reference: 1, Limit: 2, AtMost: 0.5}, NotMet},
	} {
		if got := c.line.Verdict(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWriteTable(t *testing.T) {
	var b strings.Builder
	err := WriteTable(&b, []Line{
		{Work: "time", Ours: 1.5, Reference: 6, AtMost: 0.3, Limit: 2},
		{Work: "µs", Ours: 25e-6},
		{Work: "memory", Unit: Bytes, Ours: 3 << 20, Reference: 1.5 * (1 << 30), AtMost: 0.001},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `| work   | ours  | reference | ratio | target          |         |
| ------ | ----- | --------- | ----- | --------------- | ------- |
| time   | 1.5 s | 6 s       | 0.250 | ≤ 0.30 ×, ≤ 2 s | met     |
| µs     | 25 µs |           |       |                 | –       |
| memory | 3 MiB | 1.50 GiB  | 0.002 | ≤ 0.00 ×        | NOT MET |
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1, 2}, 2}, {[]float64{9, 1, 1, 1}, 1}} {
		if got := middle(slices.Clone(c.of)); got != c.want {
			t.Errorf("middle of %v: %v, want %v", c.of, got, c.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	rss, anon := parseStatus([]byte("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t  1024 kB\nRssAnon:\t     512 kB\nRssFile:\t 512 kB\n"))
	if rss != 2<<20 || anon != 512<<10 {
		t.Errorf("got %d and %d bytes", rss, anon)
	}
	if rss, anon = parseStatus([]byte("State:\tZ (zombie)\n")); rss != 0 || anon != 0 {
		t.Errorf("a process without memory: %d and %d bytes", rss, anon)
	}
}

func TestParseBusy(t *testing.T) {
	for _, c := range []struct {
		line string
		want time.Duration
	}{
		{"cpu  1 2 4 1000 1000 8 16 32 5 5", 630 * time.Millisecond},
		{"cpu0 1 2 4 1000 1000 8 16 32 5 5", 0},
		{"cpu  1 2 4", 0},
		{"cpu  1 2 x 1000 1000 8 16 32", 0},
	} {
		if got := parseBusy(c.line); got != c.want {
			t.Errorf("%q: %v, want %v", c.line, got, c.want)
		}
	}
}

func TestOthers(t *testing.T) {
	got := others([]Usage{{Wall: time.Second, Others: time.Second}, {Wall: 3 * time.Second, Others: time.Second}})
	if got != 0.5 || others(nil) != 0 {
		t.Errorf("got %v and %v", got, others(nil))
	}
}

func TestFitLine(t *testing.T) {
	x := []float64{1, 2, 4, 8}
	f := fitLine(x, []float64{5, 7, 11, 19})
	if near(f.slope, 2) && near(f.intercept, 3) && near(f.r2, 1) && near(f.at(100), 203) {
		return
	}
	t.Errorf("got %+v", f)
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestSerialShare(t *testing.T) {
	for _, want := range []float64{0, 0.01, 0.5, 1} {
		for _, n := range []int{2, 8} {
			if got := serialShare(10, onCores(10, want, n), n); !near(got, want) {
				t.Errorf("%d cores: share %v, want %v", n, got, want)
			}
		}
	}
	if got := serialShare(10, 4, 2); got != 0 {
		t.Errorf("better than all cores can be: share %v", got)
	}
	if got := serialShare(10, 10, 1); got != 0 {
		t.Errorf("one core tells nothing: share %v", got)
	}
}

func TestSectorsThatFit(t *testing.T) {
	const most = 2349
	need := func(n int) uint64 { return params.RawBytes(scaleSetup(n)) + fullReserve }
	for _, c := range []struct {
		free uint64
		want int
	}{
		{0, 0}, {need(1) - 1, 0}, {need(1), 1}, {need(100) - 1, 99}, {need(100), 100},
		{need(most) - 1, most - 1}, {need(most), most}, {math.MaxUint64, most},
	} {
		if got := sectorsThatFit(c.free, most); got != c.want {
			t.Errorf("%d bytes: %d sectors, want %d", c.free, got, c.want)
		}
	}
}

// TestSimulate holds simulated proofs to a real verifier, and a wrong input too.
func TestSimulate(t *testing.T) {
	job, err := Simulate(t.TempDir(), 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := job.run(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(job.Inputs)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-fr.Bytes]++
	if err := os.WriteFile(job.Inputs, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := job.run(); err == nil || !strings.Contains(err.Error(), groth16.ErrInvalidProof.Error()) {
		t.Errorf("a wrong input: %v", err)
	}
	if err := os.WriteFile(job.Inputs, b[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := job.run(); err == nil || !strings.Contains(err.Error(), job.Inputs) {
		t.Errorf("a short file: %v", err)
	}
}

// TestCompare measures the smallest works with real children.
func TestCompare(t *testing.T) {
	if testing.Short() {
		t.Skip("makes keys and proves")
	}
	cfg := CompareConfig{Place: testPlace(t), Rounds: 2, Log: slog.New(slog.DiscardHandler), Profiles: t.TempDir()}
	for only, want := range map[string]int{"windowpost 2kib": 4, "poseidon": 2} {
		cfg.Only = only
		got, err := Compare(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Lines) != want {
			t.Fatalf("%s: %d lines, want %d", only, len(got.Lines), want)
		}
		for _, l := range got.Lines {
			if !(l.Ours > 0) || l.Reference != 0 {
				t.Errorf("%+v", l)
			}
		}
	}
}

// TestChildFails: what a child says reaches the caller.
func TestChildFails(t *testing.T) {
	place := testPlace(t)
	_, _, err := place.Spawn.Run(t.Context(), Job{Prove: &ProveJob{Circuit: Circuit{Type: "nothing"}}}, 0)
	if err == nil || !strings.Contains(err.Error(), "nothing") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v", err)
	}
}

// TestCancel cancels proofs of one sector.
func TestCancel(t *testing.T) {
	if testing.Short() {
		t.Skip("makes keys and proves")
	}
	report, err := Cancel(t.Context(), CancelConfig{Place: testPlace(t), Sectors: 1, Tries: 4})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	// On a busy machine a proof may be done before it is canceled, but not all.
	if n := len(report.Proofs); n < 1 || n > 4 || !strings.Contains(b.String(), "| all | ") || !strings.Contains(b.String(), "Target: 200ms") {
		t.Errorf("%d proofs canceled, in words\n%s", n, b.String())
	}
}

// TestPhase: the boundaries are where Prove moves on.
func TestPhase(t *testing.T) {
	c := groth16.Counts{H: 7, L: 5, A: 4, B: 3}
	for done, want := range map[int]string{0: phaseRows, 1: phaseTransforms, 7: phaseTransforms, 8: phaseSumLH, 19: phaseSumLH, 20: phaseSumA, 23: phaseSumA, 24: phaseSumB} {
		if p := phase(uint64(done), c); p != want {
			t.Errorf("%d done: %q, want %q", done, p, want)
		}
	}
}

// TestScale proves windows of one and two sectors of 32 GiB shape.
func TestScale(t *testing.T) {
	if testing.Short() {
		t.Skip("makes keys and proves")
	}
	place := testPlace(t)
	report, err := Scale(t.Context(), ScaleConfig{Place: place, Budget: 1 << 40, MaxSectors: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Points) != 2 || (report.SerialSectors == 0) != (report.Others > quietMachine) || report.Points[1].Constraints != 2*report.Points[0].Constraints {
		t.Fatalf("got %+v", report)
	}
	var b strings.Builder
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"set maximum", "125279217 constraints", "on these", "on 32 such cores", "on 96 such cores"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
