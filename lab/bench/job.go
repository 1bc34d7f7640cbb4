package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"wdpost/internal/keytool"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sectorfile"
	"wdpost/internal/task"
	"wdpost/proofs"
	"wdpost/proofs/post"
)

// Job is the work of one child process. Exactly one field is set.
type Job struct {
	Key      *KeyJob      `json:"key,omitempty"`
	Prove    *ProveJob    `json:"prove,omitempty"`
	Verify   *VerifyJob   `json:"verify,omitempty"`
	Poseidon *PoseidonJob `json:"poseidon,omitempty"`
	Reading  *ReadingJob  `json:"reading,omitempty"`
	Cancel   *CancelJob   `json:"cancel,omitempty"`
}

// Result is what a job brings.
type Result struct {
	// Seconds of the job's steps, by name; see the jobs.
	Seconds map[string]float64 `json:"seconds,omitempty"`
	Proof   []byte             `json:"proof,omitempty"`
	Reads   *ReadingResult     `json:"reads,omitempty"`
	Cancels []CanceledProof    `json:"cancels,omitempty"`
	Runs    []Run              `json:"runs,omitempty"`
}

// KeyJob makes development keys. Its step is "key".
type KeyJob struct {
	Circuit Circuit `json:"circuit"`
	Dir     string  `json:"dir"`
	// RawOnly makes the raw cache alone, without a .params file: half the disk.
	RawOnly bool `json:"raw_only"`
}

// ProveJob proves the sectors of a list that lies beside their files. Its steps
// are "vanilla" (files read and checked), "keys" (proving key mapped), "prove"
// and "verify".
type ProveJob struct {
	Circuit    Circuit  `json:"circuit"`
	List       string   `json:"list"`
	Keys       string   `json:"keys"` // directory
	Randomness [32]byte `json:"randomness"`
	// Profile is the path of a CPU profile of the "prove" step; empty for none.
	Profile string `json:"profile,omitempty"`
	// Record is a number of workers to prove with while every piece of work is
	// recorded; 0 for none.
	Record int `json:"record,omitempty"`
}

func (j Job) name() string {
	switch {
	case j.Key != nil:
		return "make key of " + j.Key.Circuit.String()
	case j.Prove != nil:
		return "prove " + j.Prove.Circuit.String()
	case j.Verify != nil:
		return "verify " + j.Verify.Proofs
	case j.Poseidon != nil:
		return "poseidon"
	case j.Cancel != nil:
		return "cancel proofs of " + j.Cancel.Circuit.String()
	default:
		return "read sectors"
	}
}

// RunJob is the child's side of Spawner: one Job in JSON from in, its Result to
// out. What takes long tells of its progress through log.
func RunJob(ctx context.Context, in io.Reader, out io.Writer, log *slog.Logger) error {
	var job Job
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	var result Result
	var err error
	switch {
	case job.Key != nil:
		result, err = job.Key.run(ctx, log)
	case job.Prove != nil:
		result, err = job.Prove.run(ctx, log)
	case job.Verify != nil:
		result, err = job.Verify.run()
	case job.Poseidon != nil:
		result, err = job.Poseidon.run()
	case job.Reading != nil:
		result, err = job.Reading.run(ctx)
	case job.Cancel != nil:
		result, err = job.Cancel.run(ctx, log)
	default:
		err = errors.New("the job is empty")
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// laps times steps that follow each other.
type laps struct {
	seconds map[string]float64
	last    time.Time
}

func newLaps() *laps { return &laps{seconds: map[string]float64{}, last: time.Now()} }

func (l *laps) lap(step string) {
	now := time.Now()
	l.seconds[step] = now.Sub(l.last).Seconds()
	l.last = now
}

func (j *KeyJob) run(ctx context.Context, log *slog.Logger) (Result, error) {
	setup, err := j.Circuit.setup()
	if err != nil {
		return Result{}, err
	}
	l := newLaps()
	report := newReporter(log, "key generation", j.Circuit.String())
	tool := keytool.Tool{
		ParamsDir: j.Dir, Out: j.Dir, Trust: true, Generate: true, Log: log,
		Progress: report.stage,
	}
	if j.RawOnly {
		err = tool.MakeRaw(ctx, setup)
	} else {
		_, err = tool.Make(ctx, setup)
	}
	if err != nil {
		return Result{}, err
	}
	l.lap("key")
	return Result{Seconds: l.seconds}, nil
}

func (j *ProveJob) run(ctx context.Context, log *slog.Logger) (result Result, err error) {
	keys := prover.NewKeys(j.keyConfig())
	defer func() { err = errors.Join(err, keys.Close()) }()
	l := newLaps()
	read, err := j.read(ctx)
	if err != nil {
		return Result{}, err
	}
	l.lap("vanilla")
	key, err := keys.Proving(ctx, read.Statement.Setup)
	if err != nil {
		return Result{}, err
	}
	l.lap("keys")
	stop, err := startProfile(j.Profile)
	if err != nil {
		return Result{}, err
	}
	report := newReporter(log, "proving", j.Circuit.String())
	defer prover.SaveMemory()() // as the engine does
	config := proofs.ProveConfig{Workers: runtime.GOMAXPROCS(0), Done: ctx.Done(), Progress: report.points, Ahead: key.Ahead}
	var recorded *recorder
	system := prover.NewSystem()
	if j.Record > 0 {
		if _, err := system.Circuit(read.Statement.Setup); err != nil { // as a warm engine has it
			return Result{}, errors.Join(err, stop())
		}
		recorded = newRecorder()
		config.Workers, config.Observer = j.Record, recorded
	}
	proof, err := system.Prove(key.ProvingKey, read, config)
	runs := recorded.end()
	if err = errors.Join(err, stop()); err != nil {
		return Result{}, err
	}
	l.lap("prove")
	verdicts := prover.NewVerifier(keys, j.Circuit.PartitionSectors).VerifyAll(ctx, []prover.Claim{{
		Type: read.Statement.Type, Randomness: read.Statement.Randomness, Sectors: read.Statement.Sectors, Proof: proof,
	}})
	if verdicts[0] != nil {
		return Result{}, fmt.Errorf("the proof just made: %w", verdicts[0])
	}
	l.lap("verify")
	return Result{Seconds: l.seconds, Proof: proof, Runs: runs}, nil
}

func (j *ProveJob) keyConfig() prover.KeyConfig {
	return prover.KeyConfig{ParamsDir: j.Keys, RawDirs: []string{j.Keys}}
}

// read reads all sectors of the job's list; one that cannot be proven is an
// error.
func (j *ProveJob) read(ctx context.Context) (*proofs.Task, error) {
	question, err := j.question()
	if err != nil {
		return nil, err
	}
	engine, err := prover.New(prover.Config{
		Reader: sector.NewReader(sector.NewGuard(sector.GuardConfig{})), Keys: j.keyConfig(),
		PartitionSectors: j.Circuit.PartitionSectors,
	})
	if err != nil {
		return nil, err
	}
	read, err := engine.Read(ctx, question)
	if err == nil && len(read.Faults) > 0 {
		err = fmt.Errorf("faults %v: %s", read.Faults, read.Reasons[0])
	}
	if err != nil {
		return nil, fmt.Errorf("read sectors: %w", err)
	}
	return read.Task, nil
}

// question is the proving task over all sectors of the job's list.
func (j *ProveJob) question() (task.Question, error) {
	typ, err := post.ParseProofType(j.Circuit.Type)
	if err != nil {
		return task.Question{}, err
	}
	list, err := sectorfile.ReadList(j.List)
	if err != nil {
		return task.Question{}, err
	}
	return questionOf(typ, list, j.List, j.Randomness), nil
}

// startProfile writes a CPU profile to a path until stop is called; an empty
// path means none.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// reporter logs how far long work is, at most every reportPeriod.
type reporter struct {
	log      *slog.Logger
	work, on string
	start    time.Time // of the first report
	from     uint64    // what was done then
	next     time.Time
}

const reportPeriod = 30 * time.Second

func newReporter(log *slog.Logger, work, on string) *reporter {
	return &reporter{log: log, work: work, on: on}
}

// stage is points for work in several stages.
func (r *reporter) stage(name string, done, total uint64) {
	if name != r.work {
		*r = *newReporter(r.log, name, r.on)
	}
	r.points(done, total)
}

// points tells that done of total are done.
func (r *reporter) points(done, total uint64) {
	now := time.Now()
	if r.start.IsZero() {
		r.start, r.from, r.next = now, done, now.Add(reportPeriod)
	}
	if now.Before(r.next) || total == 0 {
		return
	}
	r.next = now.Add(reportPeriod)
	spent := now.Sub(r.start)
	left := time.Duration(float64(spent) * float64(total-min(done, total)) / float64(max(done-r.from, 1)))
	r.log.Info(r.work, "circuit", r.on, "done", done, "total", total, "left", left.Round(time.Second))
}
