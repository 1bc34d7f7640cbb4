package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"wdpost/internal/config"
	"wdpost/internal/extprover"
	"wdpost/internal/lotus"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// proving chooses who makes a proof: the external processors where there are
// some for its kind, else this process. It verifies with the network's keys.
type proving struct {
	window interface {
		ProveWindowPoSt(context.Context, task.Question) (task.Answer, error)
	}
	winning interface {
		ProveWinningPoSt(context.Context, task.Question) (task.Answer, error)
	}
	verifier *prover.Verifier
	keys     *prover.Keys
}

// ProveWindowPoSt implements poster.Prover.
func (p *proving) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	return p.window.ProveWindowPoSt(ctx, q)
}

// ProveWinningPoSt implements winning.Prover: what it returns is verified,
// whoever made it.
func (p *proving) ProveWinningPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	answer, err := p.winning.ProveWinningPoSt(ctx, q)
	if err != nil {
		return task.Answer{}, err
	}
	if err := p.verifier.VerifyWinningPoSt(ctx, q, answer); err != nil {
		return task.Answer{}, err
	}
	return answer, nil
}

// VerifyWindowPoSt implements poster.Verifier.
func (p *proving) VerifyWindowPoSt(ctx context.Context, q task.Question, proof []byte) (bool, error) {
	err := p.verifier.VerifyWindowPoSt(ctx, q, task.Answer{Proofs: [][]byte{proof}})
	if errors.Is(err, task.ErrBadAnswer) {
		return false, nil
	}
	return err == nil, err
}

// newHost reads ext-prover.cfg and prepares its children.
func newHost(opts daemonOptions, log *slog.Logger) (*extprover.Host, error) {
	path := filepath.Join(opts.confDir, config.ExtProverFile)
	cfg, err := config.LoadExtProver(path)
	if err != nil {
		return nil, err
	}
	if opts.poster && len(cfg.WdPost) == 0 {
		return nil, fmt.Errorf("%s has no [[WdPost]] section: add one, or leave --ext-prover out to prove in this process", path)
	}
	processors := func(stage string, entries []config.ExtProcessor) []extprover.Processor {
		var out []extprover.Processor
		for _, e := range entries {
			bin, args := e.Bin, e.Args
			if bin == "" {
				bin, args = filepath.Join(programDir(), "damocles-worker"), []string{"processor", stage}
			}
			out = append(out, extprover.Processor{
				Bin: bin, Args: args, Envs: e.Envs, Concurrent: e.Concurrent, Weight: e.Weight, ReadyTimeout: e.ReadyTimeout(),
			})
		}
		return out
	}
	return extprover.NewHost(extprover.HostConfig{
		WindowPoSt:  processors(extprover.StageWindowPoSt, cfg.WdPost),
		WinningPoSt: processors(extprover.StageWinningPoSt, cfg.WinPost),
		Log:         log,
	})
}

// programDir is the folder of this program.
func programDir() string {
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	return filepath.Dir(exe)
}

// joinProvers decides who proves what. The engine is made only where this
// process has something to prove.
func (d *daemon) joinProvers(j *joined, infos map[uint64]*lotus.MinerInfo, partitionSectors int) error {
	nativeWindow := d.opts.poster && d.host == nil
	nativeWinning := d.opts.miner && (d.host == nil || !d.host.Has(extprover.StageWinningPoSt))
	if err := d.proofTypes(j, infos, nativeWindow, nativeWinning); err != nil {
		return err
	}
	j.proving = &proving{keys: prover.NewKeys(d.keys)}
	if d.host != nil {
		j.proving.window, j.proving.winning = d.host, d.host
	}
	j.proving.verifier = prover.NewVerifier(j.proving.keys, partitionSectors)
	if !nativeWindow && !nativeWinning {
		return nil
	}
	engine, err := prover.New(prover.Config{
		Reader: sector.NewReader(d.guard), Keys: d.keys, PartitionSectors: partitionSectors, Log: d.log,
	})
	if err != nil {
		return err
	}
	j.engine = engine
	j.proving.verifier = engine.Verifier()
	if nativeWindow {
		j.proving.window = engine
	}
	if nativeWinning {
		j.proving.winning = engine
	}
	return nil
}

// proofTypes lists what the engine will have to prove for the miners.
func (d *daemon) proofTypes(j *joined, infos map[uint64]*lotus.MinerInfo, window, winning bool) error {
	add := func(t post.ProofType) {
		if !slices.Contains(j.types, t) {
			j.types = append(j.types, t)
		}
	}
	for _, m := range d.cfg.Miners {
		info := infos[m.Actor]
		if info == nil {
			continue
		}
		if window && posts(m) {
			add(post.ProofType(info.WindowPoStProofType))
		}
		if winning && wins(m) {
			t, err := post.TypeOf(post.Winning, uint64(info.SectorSize), post.V1_0_0)
			if err != nil {
				return fmt.Errorf("miner %d: %w", m.Actor, err)
			}
			add(t)
		}
	}
	return nil
}

// warmUp loads the parameters. A failure is no reason to stop: the files may
// still come, and sectors are checked and recovered meanwhile.
func (d *daemon) warmUp(ctx context.Context, j *joined) {
	if j.engine == nil || len(j.types) == 0 {
		return
	}
	const pause = time.Minute
	told := ""
	for {
		start := time.Now()
		err := j.engine.WarmUp(ctx, j.types...)
		if err == nil {
			j.cold.Store(nil)
			d.log.Info("parameters loaded", "types", len(j.types), "took", time.Since(start))
			return
		}
		if ctx.Err() != nil {
			return
		}
		j.cold.Store(&err)
		if err.Error() != told { // one line for each reason
			told = err.Error()
			d.log.Error("no proof can be made yet; trying again", "err", err, "every", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
