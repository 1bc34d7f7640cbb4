package daemon

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/extprover"
	"wdpost/internal/parts"
	"wdpost/internal/patience"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/slave"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// backend makes proofs: natively or by external processors.
type backend struct {
	local    parts.Local // proves what was read
	verifier slave.Verifier
	survey   *prover.Survey
	pace     *prover.Pace
	log      *slog.Logger
	close    func() error

	host   *extprover.Host // nil: native
	engine *prover.Engine  // nil: external
	warm   []post.ProofType
}

// newBackend joins what the plan asks for. Sectors are read under the guard in
// either case.
func newBackend(p plan, env environment, guard *sector.Guard, log *slog.Logger) (*backend, error) {
	b := &backend{log: log, warm: p.warm}
	if env.sectorSize != 0 {
		log.Info("taking tasks of one sector size only (FORCE_SECTOR_SIZE)", attr.SectorSize(post.SizeName(env.sectorSize)))
	}
	p.engine.Log, p.engine.Keys.Log = log, log
	p.engine.Reader = prover.GivenFirst{Next: sector.NewReader(guard)}
	b.pace = prover.OpenPace(p.pace, log)
	b.survey = prover.NewSurvey(prover.SurveyConfig{Reader: p.engine.Reader, PartitionSectors: p.engine.PartitionSectors, Log: log})
	if len(p.processors) > 0 {
		return b, b.external(p)
	}
	return b, b.native(p, env)
}

// external prepares the processors. They inherit the whole environment.
func (b *backend) external(p plan) error {
	host, err := extprover.NewHost(extprover.HostConfig{WindowPoSt: p.processors, Log: b.log, AbandonTimeout: abandonTimeout})
	if err != nil {
		return err
	}
	p.readFirst.Survey = prover.NewSurvey(prover.SurveyConfig{Reader: p.engine.Reader, PartitionSectors: p.engine.PartitionSectors})
	p.readFirst.Backend, p.readFirst.Pace, p.readFirst.Log = host, b.pace, b.log
	keys := prover.NewKeys(p.engine.Keys)
	b.host, b.local, b.close = host, prover.NewReadFirst(p.readFirst), keys.Close
	b.verifier = prover.NewVerifier(keys, p.engine.PartitionSectors)
	b.log.Info("external processors prove what was read here; BELLMAN_ variables and CUDA_VISIBLE_DEVICES are theirs", attr.Count(len(p.processors)))
	return nil
}

// native prepares the prover of this process.
func (b *backend) native(p plan, env environment) error {
	if len(env.idle) > 0 {
		b.log.Info("the native prover uses the CPU: these environment variables are without effect on it", attr.Variables(strings.Join(env.idle, " ")))
	}
	if env.loadSHM {
		b.log.Info("raw parameter caches are mapped from shared memory (BELLMAN_LOAD_SHM)", attr.Path(prover.DefaultRawDir))
	}
	engine, err := prover.New(p.engine)
	if err != nil {
		return err
	}
	b.engine, b.local, b.verifier, b.close = engine, native{engine}, engine.Verifier(), engine.Close
	return nil
}

// native is the engine as the other rooms see it.
type native struct{ *prover.Engine }

// Progress says in a few words how far a task is.
func (n native) Progress(taskID string) (string, bool) {
	p, ok := n.Engine.Progress(taskID)
	return p.String(), ok
}

// spreader answers whole tasks with what this slave does itself.
func (b *backend) spreader(p plan, master parts.Master) *parts.Spreader {
	c := p.spread
	c.Survey, c.Master, c.Verifier, c.Pace, c.Log = b.survey, master, b.verifier, b.pace, b.log
	if (task.Want{Roles: p.worker.Roles}).Does(task.RoleProve) {
		c.Local = b.local
	}
	return parts.NewSpreader(c)
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
// task is claimed before: another slave would have to prove it after us. tell
// is called with each reason why it is not done yet. It returns false when ctx
// ends first.
func (b *backend) warmUp(ctx context.Context, tell func(error)) bool {
	if b.engine == nil {
		return ctx.Err() == nil
	}
	if len(b.warm) == 0 {
		b.log.Info("parameters are loaded with the first task; set FORCE_SECTOR_SIZE to load them at the start")
		return ctx.Err() == nil
	}
	var outage patience.Outage
	for ctx.Err() == nil {
		begin := time.Now()
		err := b.engine.WarmUp(ctx, b.warm...)
		if err == nil {
			b.log.Info("parameters loaded", attr.Took(time.Since(begin).Round(time.Millisecond)))
			return true
		}
		if ctx.Err() != nil {
			break
		}
		if outage.Since().IsZero() {
			b.log.Error("no task is taken before the parameters are there, retrying", attr.Err(err), attr.In(warmRetry))
		}
		outage.Failed(b.log, "no task is taken before the parameters are there, retrying", err.Error(), attr.Err(err), attr.In(warmRetry))
		tell(err)
		_ = patience.Sleep(ctx, warmRetry)
	}
	return false
}
