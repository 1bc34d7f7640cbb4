package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/sector/store/process"
	"wdpost/internal/slave"
	"wdpost/proofs/post"
)

// meter is the native prover's progress as the slave reads it.
type meter struct{ engine *prover.Engine }

// Progress implements slave.Meter.
func (m meter) Progress(taskID string) (string, bool) {
	p, ok := m.engine.Progress(taskID)
	return p.String(), ok
}

// environment is what the guide's variables say.
type environment struct {
	sectorSize uint64 // FORCE_SECTOR_SIZE; 0: any
	loadSHM    bool   // BELLMAN_LOAD_SHM
	keys       prover.KeyConfig
}

// readEnvironment reads and checks the variables.
func readEnvironment(getenv func(string) string) (environment, error) {
	var e environment
	if v := getenv("FORCE_SECTOR_SIZE"); v != "" {
		size, err := strconv.ParseUint(v, 10, 64)
		if err != nil || !slices.Contains(post.SectorSizes(), size) {
			return e, fmt.Errorf("environment variable FORCE_SECTOR_SIZE=%q: no such sector size; write it in bytes, e.g. 34359738368 for 32GiB", v)
		}
		e.sectorSize = size
	}
	if v := getenv("BELLMAN_LOAD_SHM"); v != "" {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return e, fmt.Errorf("environment variable BELLMAN_LOAD_SHM=%q: use 1 or 0", v)
		}
		e.loadSHM = on
	}
	var err error
	if e.keys, err = prover.KeyConfigFromEnv(getenv); err != nil {
		return e, err
	}
	params := cmp.Or(e.keys.ParamsDir, prover.DefaultParamsDir)
	e.keys.RawDirs = []string{params}
	if e.loadSHM {
		e.keys.RawDirs = []string{prover.DefaultRawDir, params}
	}
	return e, nil
}

// sectorSizes is what this slave takes.
func (e environment) sectorSizes() []uint64 {
	if e.sectorSize == 0 {
		return nil
	}
	return []uint64{e.sectorSize}
}

// backend makes proofs: natively or by external processors.
type backend struct {
	prover   slave.Prover
	verifier slave.Verifier
	meter    slave.Meter // nil: external
	log      *slog.Logger
	close    func() error

	host   *extprover.Host // nil: native
	guard  *sector.Guard   // nil: external
	engine *prover.Engine  // nil: external
	types  []post.ProofType
}

// backend joins what slave.toml asks for.
func (a *app) backend(cfg config.Slave, env environment) (*backend, error) {
	b := &backend{log: a.log}
	if env.sectorSize != 0 {
		a.log.Info("taking tasks of one sector size only (FORCE_SECTOR_SIZE)", "sector_size", post.SizeName(env.sectorSize))
		t, err := post.TypeOf(post.Window, env.sectorSize, post.V1_2_0)
		if err != nil {
			return nil, err
		}
		b.types = []post.ProofType{t}
	}
	env.keys.Log = a.log
	env.keys.MemoryLimit = uint64(cfg.Slave.Memory) / 2
	if len(cfg.Slave.Processor) > 0 {
		return b, b.external(cfg, env)
	}
	return b, b.native(cfg, env, a.environ)
}

// abandonTimeout is how long a processor may go on with a task that was taken
// away from this slave: until then its place is not free.
const abandonTimeout = time.Minute

// external prepares the processors. They inherit the whole environment.
func (b *backend) external(cfg config.Slave, env environment) error {
	var processors []extprover.Processor
	for _, p := range cfg.Slave.Processor {
		processors = append(processors, extprover.Processor{
			Bin: p.Bin, Args: p.Args, Envs: p.Envs, Concurrent: p.Concurrent, ReadyTimeout: p.ReadyTimeout.D(),
		})
	}
	host, err := extprover.NewHost(extprover.HostConfig{WindowPoSt: processors, Log: b.log, AbandonTimeout: abandonTimeout})
	if err != nil {
		return err
	}
	keys := prover.NewKeys(env.keys)
	b.host, b.prover, b.verifier, b.close = host, host, prover.NewVerifier(keys, cfg.Slave.PartitionSectors), keys.Close
	b.log.Info("external processors prove; BELLMAN_ variables and CUDA_VISIBLE_DEVICES are theirs", "processors", len(processors))
	return nil
}

// native prepares the prover of this process.
func (b *backend) native(cfg config.Slave, env environment, environ []string) error {
	if idle := withoutEffect(environ); len(idle) > 0 {
		b.log.Info("the native prover uses the CPU: these environment variables are without effect on it", "variables", strings.Join(idle, " "))
	}
	if env.loadSHM {
		b.log.Info("raw parameter caches are mapped from shared memory (BELLMAN_LOAD_SHM)", "directory", prover.DefaultRawDir)
	}
	reading := process.New(b.log)
	b.guard = sector.NewGuard(sector.GuardConfig{
		Timeout: cfg.Read.Timeout.D(), Parallel: cfg.Read.Parallel, MaxStuck: cfg.Read.MaxStuck, Backend: reading, Log: b.log,
	})
	engine, err := prover.New(prover.Config{
		Reader: sector.NewReader(b.guard), Keys: env.keys, Memory: uint64(cfg.Slave.Memory),
		PartitionSectors: cfg.Slave.PartitionSectors, Log: b.log,
	})
	if err != nil {
		return err
	}
	b.meter = meter{engine}
	b.engine, b.prover, b.verifier = engine, engine, engine.Verifier()
	b.close = func() error { return errors.Join(engine.Close(), reading.Close()) }
	return nil
}

// withoutEffect names the variables in the environment that only GPU provers
// understand.
func withoutEffect(environ []string) []string {
	var idle []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "BELLMAN_") && name != "BELLMAN_LOAD_SHM" || name == "CUDA_VISIBLE_DEVICES" {
			idle = append(idle, name)
		}
	}
	slices.Sort(idle)
	return idle
}

// run keeps external processors running until ctx ends.
func (b *backend) run(ctx context.Context) {
	if b.host != nil {
		b.host.Run(ctx)
	}
}

// warmRetry is the wait before parameters that are not there are looked for
// again.
const warmRetry = 30 * time.Second

// warmUp loads the parameters of FORCE_SECTOR_SIZE into the native prover. No
// task is claimed before: another slave would have to prove it after us. It
// returns false when ctx ends first.
func (b *backend) warmUp(ctx context.Context) bool {
	if b.engine == nil {
		return ctx.Err() == nil
	}
	if len(b.types) == 0 {
		b.log.Info("parameters are loaded with the first task; set FORCE_SECTOR_SIZE to load them at the start")
		return ctx.Err() == nil
	}
	for ctx.Err() == nil {
		begin := time.Now()
		err := b.engine.WarmUp(ctx, b.types...)
		if err == nil {
			b.log.Info("parameters loaded", "took", time.Since(begin).Round(time.Millisecond))
			return true
		}
		if ctx.Err() != nil {
			break
		}
		b.log.Error("no task is taken before the parameters are there; trying again", "err", err, "after", warmRetry)
		select {
		case <-time.After(warmRetry):
		case <-ctx.Done():
		}
	}
	return false
}
