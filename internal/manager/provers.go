package manager

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/extprover"
	"wdpost/internal/patience"
	"wdpost/internal/prover"
	"wdpost/internal/sector"
	"wdpost/internal/task"
	"wdpost/proofs/post"
)

// provers make and check proofs for all miners: the external processors where
// there are some for the kind of proof, else this process.
type provers struct {
	m     *Manager
	keys  *prover.Keys
	asked *joiner

	mu     sync.Mutex
	engine Engine // made for the first miner that needs it
	odd    int    // its sectors in a partition
	warm   map[post.ProofType]bool
	loads  sync.WaitGroup
	base   context.Context
}

func newProvers(m *Manager) *provers {
	keys := m.cfg.Keys
	keys.Log = m.log
	return &provers{m: m, keys: prover.NewKeys(keys), asked: newJoiner(), warm: map[post.ProofType]bool{}}
}

// begin sets how long proofs may last: until ctx ends, whoever asks.
func (p *provers) begin(ctx context.Context) { p.base = ctx }

// close waits for what runs; the context of begin has ended.
func (p *provers) close() error {
	p.asked.wait()
	p.loads.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.engine != nil {
		err = p.engine.Close()
	}
	return errors.Join(err, p.keys.Close())
}

// minerProver is the provers in the words of poster and winning, for the
// partitions of one miner.
type minerProver struct {
	p        *provers
	window   WindowProver
	winning  WinningProver
	verifier Verifier
}

// need is what a miner has proven.
type need struct {
	window, winning post.ProofType
	post, win       bool
	odd             int // sectors of a window partition where the network's number differs, else 0
}

// of finds who proves for a miner. An error is one that may pass.
func (p *provers) of(n need) (*minerProver, error) {
	mp := &minerProver{p: p, verifier: p.m.cfg.Parts.Verifier(p.keys, n.odd)}
	if p.m.host != nil {
		mp.window, mp.winning = p.m.host, p.m.host
	}
	nativeWindow := n.post && p.m.host == nil
	nativeWinning := n.win && (p.m.host == nil || !p.m.host.Has(extprover.StageWinningPoSt))
	if !nativeWindow && !nativeWinning {
		return mp, nil
	}
	engine, err := p.nativeEngine(n.odd)
	if err != nil {
		return nil, err
	}
	if nativeWindow {
		mp.window = engine
		p.warmUp(engine, n.window)
	}
	if nativeWinning {
		mp.winning = engine
		p.warmUp(engine, n.winning)
	}
	return mp, nil
}

func (p *provers) nativeEngine(odd int) (Engine, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.engine != nil {
		if p.odd != odd {
			return nil, fmt.Errorf("other miners here have another number of sectors in a partition (0 is the network's): %d, this one %d; run a manager for each", p.odd, odd)
		}
		return p.engine, nil
	}
	keys := p.m.cfg.Keys
	keys.Log = p.m.log
	engine, err := p.m.cfg.Parts.Engine(prover.Config{
		Reader: sector.NewReader(p.m.stores.guard), Keys: keys, PartitionSectors: odd, Log: p.m.log,
	})
	if err != nil {
		return nil, err
	}
	p.engine, p.odd = engine, odd
	return engine, nil
}

// warmUp loads parameters before they are needed, once for each type, until it
// succeeds: the files may still come, and sectors are checked meanwhile.
func (p *provers) warmUp(engine Engine, t post.ProofType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.m.cfg.WarmUp || p.warm[t] {
		return
	}
	p.warm[t] = true
	ctx := p.base
	p.loads.Go(func() {
		p.m.keep(ctx, "parameters "+t.String(), func(ctx context.Context) error { p.load(ctx, engine, t); return nil })
	})
}

func (p *provers) load(ctx context.Context, engine Engine, t post.ProofType) {
	kind := condition.ParametersMissing
	if t.IsWinning() {
		kind = condition.WinningParametersMissing
	}
	var outage patience.Outage
	for {
		start := time.Now()
		err := engine.WarmUp(ctx, t)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			outage.Over(p.m.log, "parameters can be loaded")
			p.m.board.Clear(kind, t.String())
			p.m.log.Info("parameters loaded", attr.ProofType(t.String()), attr.Took(time.Since(start)))
			return
		}
		p.m.board.Set(condition.Condition{Kind: kind, Subject: t.String(), Detail: err.Error()})
		outage.Failed(p.m.log, "parameters not loaded; no proof of this type can be made", err.Error(), attr.ProofType(t.String()), attr.Err(err))
		if patience.Sleep(ctx, time.Minute) != nil {
			return
		}
	}
}

// ProveWindowPoSt implements poster.Prover.
func (mp *minerProver) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	start := time.Now()
	answer, err := mp.p.asked.do(ctx, mp.p.base, q, mp.window.ProveWindowPoSt)
	if err == nil {
		mp.p.m.figures.proved(q.MinerID, "window", time.Since(start))
		mp.p.m.stores.doubt(q, answer)
	}
	return answer, err
}

// ProveWinningPoSt implements winning.Prover: what it returns is verified,
// whoever made it.
func (mp *minerProver) ProveWinningPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	start := time.Now()
	answer, err := mp.winning.ProveWinningPoSt(ctx, q)
	if err != nil {
		return task.Answer{}, err
	}
	if err := mp.verifier.VerifyWinningPoSt(ctx, q, answer); err != nil {
		return task.Answer{}, err
	}
	mp.p.m.figures.proved(q.MinerID, "winning", time.Since(start))
	return answer, nil
}

// VerifyWindowPoSt implements poster.Verifier.
func (mp *minerProver) VerifyWindowPoSt(ctx context.Context, q task.Question, proof []byte) (bool, error) {
	err := mp.verifier.VerifyWindowPoSt(ctx, q, task.Answer{Proofs: [][]byte{proof}})
	if errors.Is(err, task.ErrBadAnswer) {
		return false, nil
	}
	return err == nil, err
}
