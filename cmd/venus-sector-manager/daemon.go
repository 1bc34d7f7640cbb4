package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/chain"
	"wdpost/internal/config"
	"wdpost/internal/endpoint"
	"wdpost/internal/extprover"
	"wdpost/internal/ledger"
	"wdpost/internal/ledger/mongo"
	"wdpost/internal/ledger/sqlite"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
	"wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	payers "wdpost/internal/message/sender"
	"wdpost/internal/poster"
	"wdpost/internal/prover"
	"wdpost/internal/run"
	"wdpost/internal/sector"
	"wdpost/internal/winning"
	"wdpost/proofs/post"
)

// daemon is the manager as a running whole. What needs the node is built when
// the node first answers.
type daemon struct {
	opts daemonOptions
	cfg  config.Manager
	log  *slog.Logger
	keys prover.KeyConfig

	node     *chain.Node
	guard    *sector.Guard
	locator  *sector.Locator
	presence *sector.Presence
	host     *extprover.Host // nil without --ext-prover

	joined atomic.Pointer[joined]
}

// joined is the part that needed the node's answers. cold says why this process
// cannot prove yet, mute why it could not send.
type joined struct {
	clock    chain.Clock
	ledger   ledger.Ledger
	engine   *prover.Engine
	proving  *proving
	messages message.Sender
	payers   *payers.Chooser
	pace     *message.Pace
	poster   *poster.Poster   // nil without --poster
	winning  *winning.Service // nil without --miner
	types    []post.ProofType // what this process proves, for the warm-up
	cold     atomic.Pointer[error]
	mute     atomic.Pointer[error] // why no message can be sent for a miner
}

// newDaemon reads and checks everything that can be checked without the node.
func (a *app) newDaemon(ctx context.Context, opts daemonOptions) (*daemon, error) {
	cfg, err := a.managerConfig(opts.confDir)
	if err != nil {
		return nil, err
	}
	d := &daemon{opts: opts, cfg: cfg, log: a.log}
	if err := d.checkMiners(); err != nil {
		return nil, err
	}
	if d.keys, err = prover.KeyConfigFromEnv(a.getenv); err != nil {
		return nil, err
	}
	d.keys.Log = a.log
	if err := checkAddresses(cfg.Common.API); err != nil {
		return nil, err
	}
	if d.node, err = newNode(cfg, a.log); err != nil {
		return nil, err
	}
	if err := d.openStores(ctx); err != nil {
		return nil, err
	}
	if opts.extProver {
		if d.host, err = newHost(opts, a.log); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// checkAddresses reads the addresses of all services, so that a slip in one is
// told at the start and by the name of its key.
func checkAddresses(api config.API) error {
	if len(api.Chain) == 0 && len(api.Gateway) == 0 {
		return fmt.Errorf("%s has no Common.API.Chain: give the node's address, like /ip4/127.0.0.1/tcp/1234/ws", config.ManagerFile)
	}
	lists := map[string][]string{"Common.API.Chain": api.Chain, "Common.API.Gateway": api.Gateway}
	if api.Messager != "" && api.Messager != "none" {
		lists["Common.API.Messager"] = []string{api.Messager}
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(lists)) {
		for _, addr := range lists[key] {
			_, err := endpoint.Parse(addr, "", endpoint.Service{Name: key})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// checkMiners requires a miner for each kind of work that is asked for.
func (d *daemon) checkMiners() error {
	if !d.opts.poster && !d.opts.miner {
		d.log.Warn("neither --poster nor --miner is given: nothing will be proven")
	}
	if d.opts.poster && len(d.miners(posts)) == 0 {
		return fmt.Errorf("--poster has no miner to work for: in %s set Actor in a [[Miners]] section, and Enabled in its [Miners.PoSt]", config.ManagerFile)
	}
	if d.opts.miner && len(d.miners(wins)) == 0 {
		d.log.Warn("--miner has no miner to answer for: set Enabled in a [Miners.Proof]")
	}
	return nil
}

func posts(m config.Miner) bool { return m.PoSt.Enabled }
func wins(m config.Miner) bool  { return m.Proof.Enabled }

// miners lists the configured miners of one kind.
func (d *daemon) miners(kind func(config.Miner) bool) []config.Miner {
	var out []config.Miner
	for _, m := range d.cfg.Miners {
		if m.Actor != 0 && kind(m) {
			out = append(out, m)
		}
	}
	return out
}

func newNode(cfg config.Manager, log *slog.Logger) (*chain.Node, error) {
	api := cfg.Common.API
	endpoints := []string(api.Chain)
	if len(endpoints) == 0 && len(api.Gateway) > 0 {
		endpoints = api.Gateway[:1]
	}
	return chain.New(chain.Config{
		Endpoints: endpoints, Token: api.Token, EventInterval: api.ChainEventInterval.D(), Log: log.With("room", "chain"),
	})
}

// openStores holds the configured stores against the index and looks whether
// they are there.
func (d *daemon) openStores(ctx context.Context) error {
	p := d.cfg.Common.Proving
	d.guard = sector.NewGuard(sector.GuardConfig{
		Timeout: p.SingleCheckTimeout.D(), Parallel: p.ParallelCheckLimit, MaxStuck: p.MaxStuck,
	})
	var stores []sector.Store
	for _, s := range d.cfg.Common.PersistStores {
		stores = append(stores, sector.Store{Name: s.Name, Path: s.Path, Allows: s.Allows})
	}
	if len(stores) == 0 && (d.opts.poster || d.opts.miner) {
		return fmt.Errorf("no [[Common.PersistStores]] with a Path in %s: run `venus-sector-manager util storage attach` and add the section it prints", config.ManagerFile)
	}
	var err error
	if d.locator, err = sector.NewLocator(sector.OpenIndex(d.opts.home), stores, d.log); err != nil {
		return err
	}
	d.presence = sector.NewPresence(stores, d.log)
	return d.presence.Look(ctx)
}

// run serves the pages and works, until ctx ends.
func (d *daemon) run(ctx context.Context, lis net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return run.ServeHTTP(ctx, lis, d.pages()) })
	group.Go(func() error { return d.node.Run(ctx) })
	group.Go(func() error { d.presence.Run(ctx, time.Minute); return nil })
	group.Go(func() error { return d.work(ctx) })
	err := group.Wait()
	d.node.Close()
	return err
}

// work runs the children, joins what needs the node, and works. The children
// outlast those who ask them.
func (d *daemon) work(ctx context.Context) error {
	children, stopChildren := context.WithCancel(context.WithoutCancel(ctx))
	childrenGone := make(chan struct{})
	go func() {
		defer close(childrenGone)
		if d.host != nil {
			d.host.Run(children)
		}
	}()
	defer func() { stopChildren(); <-childrenGone }()

	j, err := d.join(ctx)
	if err != nil {
		return err
	}
	d.joined.Store(j)
	group, workCtx := errgroup.WithContext(ctx)
	if d.opts.warmup {
		group.Go(func() error { d.warmUp(workCtx, j); return nil })
	}
	if j.poster != nil {
		group.Go(func() error { return j.poster.Run(workCtx) })
		group.Go(func() error {
			return d.node.Follow(workCtx, func(_ context.Context, e chain.HeadEvent) {
				j.pace.Saw(e.Head.Height)
				j.poster.OnHead(headOf(e))
			})
		})
		group.Go(func() error { d.pruneLedger(workCtx, j.ledger); return nil })
		group.Go(func() error { d.checkSenders(workCtx, j); return nil })
	}
	if j.winning != nil {
		group.Go(func() error { return j.winning.Run(workCtx) })
	}
	err = group.Wait()
	return errors.Join(err, j.close())
}

// close gives back what was opened so far.
func (j *joined) close() error {
	var errs []error
	if j.ledger != nil {
		errs = append(errs, j.ledger.Close())
	}
	if j.engine != nil {
		errs = append(errs, j.engine.Close())
	}
	return errors.Join(append(errs, j.proving.keys.Close())...)
}

// nodePause is the wait between two tries to reach the node at the start;
// nodeReminder, how often the log is told that it still does not answer.
const (
	nodePause    = 5 * time.Second
	nodeReminder = 10 * time.Minute
)

// untilAnswered asks the node again and again until it answers. Only a refused
// token, or an actor that does not exist, is final.
func untilAnswered[T any](ctx context.Context, d *daemon, ask func(context.Context) (T, error)) (T, error) {
	var told time.Time
	for {
		v, err := ask(ctx)
		final := errors.Is(err, endpoint.ErrToken) || errors.Is(err, endpoint.ErrPermission) || errors.Is(err, chain.ErrNotFound)
		switch {
		case err == nil || final:
			return v, err
		case ctx.Err() != nil:
			return v, context.Cause(ctx)
		}
		if time.Since(told) >= nodeReminder {
			d.log.Error("the node does not answer; nothing can be proven before it does", "err", err, "askedEvery", nodePause)
			told = time.Now()
		}
		select {
		case <-ctx.Done():
			return v, context.Cause(ctx)
		case <-time.After(nodePause):
		}
	}
}

// join builds what needs the node: clock, ledger, provers, poster, winning.
func (d *daemon) join(ctx context.Context) (*joined, error) {
	network, err := untilAnswered(ctx, d, d.node.StateNetworkName)
	if err != nil {
		return nil, err
	}
	lotus.UseNetwork(network)
	j := &joined{}
	if j.clock, err = untilAnswered(ctx, d, d.node.Clock); err != nil {
		return nil, err
	}
	infos, err := d.minerInfos(ctx)
	if err != nil {
		return nil, err
	}
	d.log.Info("node connected", "network", network, "blockDelay", j.clock.BlockDelay, "miners", len(infos))
	partitionSectors, err := oddPartition(infos)
	if err != nil {
		return nil, err
	}
	if err := d.joinProvers(j, infos, partitionSectors); err != nil {
		return nil, err
	}
	if j.ledger, err = d.openLedger(ctx, network); err != nil {
		return nil, errors.Join(err, j.close())
	}
	j.pace = message.NewPace(func() abi.ChainEpoch { return j.clock.EpochAt(time.Now()) })
	if j.messages, err = d.newSender(j.clock, j.pace); err != nil {
		return nil, errors.Join(err, j.close())
	}
	if err := errors.Join(d.joinPoster(j), d.joinWinning(j, infos)); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// minerInfos asks the node about every miner that is worked for.
func (d *daemon) minerInfos(ctx context.Context) (map[uint64]*lotus.MinerInfo, error) {
	infos := map[uint64]*lotus.MinerInfo{}
	for _, m := range d.miners(func(m config.Miner) bool { return posts(m) || wins(m) }) {
		addr, err := address.NewIDAddress(m.Actor)
		if err != nil {
			return nil, fmt.Errorf("miner %d: %w", m.Actor, err)
		}
		info, err := untilAnswered(ctx, d, func(ctx context.Context) (*lotus.MinerInfo, error) {
			return d.node.StateMinerInfo(ctx, addr, lotus.TipSetKey{})
		})
		if err != nil {
			return nil, fmt.Errorf("miner %s of the config file: %w", addr, err)
		}
		if typ := post.ProofType(info.WindowPoStProofType); !typ.Valid() {
			return nil, fmt.Errorf("miner %s has the WindowPoSt proof type %d, which this program does not know", addr, info.WindowPoStProofType)
		}
		infos[m.Actor] = info
	}
	return infos, nil
}

// oddPartition is the number of sectors in a window partition where the network
// uses another than the real ones do, else 0.
func oddPartition(infos map[uint64]*lotus.MinerInfo) (int, error) {
	miners := slices.Sorted(maps.Keys(infos))
	odd := 0
	for i, miner := range miners {
		info := infos[miner]
		n := int(info.WindowPoStPartitionSectors)
		if n == post.ProofType(info.WindowPoStProofType).Setup().Sectors {
			n = 0
		}
		if i > 0 && n != odd {
			return 0, fmt.Errorf("miners %d and %d differ in the number of sectors in a partition (0 is the network's): %d and %d; run a manager for each",
				miners[0], miner, odd, n)
		}
		odd = n
	}
	return odd, nil
}

// openLedger opens the manager's records: MongoDB where it is enabled, else a
// file in the home.
func (d *daemon) openLedger(ctx context.Context, network string) (ledger.Ledger, error) {
	if m := d.cfg.Common.MongoKVStore; m.Enable {
		l, err := mongo.Open(ctx, mongo.Config{DSN: m.DSN, DatabaseName: m.DatabaseName, Network: network})
		if err != nil {
			return nil, err // not l, which would be a nil *Ledger in the interface
		}
		return l, nil
	}
	l, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(d.opts.home, "ledger.db"), Network: network})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// ledgerKeeps is how long ended runs stay in the ledger; ledgerSweep how often
// older ones are deleted.
const (
	ledgerKeeps = 30 * 24 * time.Hour
	ledgerSweep = 6 * time.Hour
)

func (d *daemon) pruneLedger(ctx context.Context, l ledger.Ledger) {
	tick := time.NewTicker(ledgerSweep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n, err := l.Prune(ctx, now.Add(-ledgerKeeps))
			d.log.Log(ctx, levelOf(err), "ledger swept", "runs", n, "err", err)
		}
	}
}

func levelOf(err error) slog.Level {
	if err != nil {
		return slog.LevelError
	}
	return slog.LevelDebug
}

// newSender sends through the messager, or through the node when the config
// says "none".
func (d *daemon) newSender(clock chain.Clock, pace *message.Pace) (message.Sender, error) {
	api := d.cfg.Common.API
	addr := api.Messager
	if addr == "" && len(api.Gateway) > 0 {
		addr = api.Gateway[0]
	}
	if addr == "" || addr == "none" {
		return node.New(node.Config{API: d.node, PollInterval: clock.BlockDelay / 2, Epoch: pace.Epoch}), nil
	}
	return messager.New(messager.Config{Address: addr, Token: api.Token, PollInterval: clock.BlockDelay / 2, Epoch: pace.Epoch})
}

// headOf is a move of the head in the poster's words.
func headOf(e chain.HeadEvent) poster.Head {
	h := poster.Head{TipSet: e.Head}
	for _, ts := range e.Revert {
		if h.RevertedFrom == 0 || ts.Height < h.RevertedFrom {
			h.RevertedFrom = ts.Height
		}
	}
	return h
}

func (d *daemon) joinPoster(j *joined) error {
	if !d.opts.poster {
		return nil
	}
	checks := &sectorChecker{checker: sector.NewChecker(d.locator, d.guard), limit: d.cfg.Common.Proving.PartitionCheckTimeout.D(), strict: map[abi.ActorID]bool{}}
	j.payers = payers.New(payers.Config{State: d.node, Service: j.messages, Keep: j.clock.BlockDelay / 2, Log: d.log})
	cfg := poster.Config{
		Chain: d.node, Prover: j.proving, Verifier: j.proving, Sectors: checks,
		Sender: &sender{Sender: j.messages, Chooser: j.payers},
		Ledger: j.ledger, Log: d.log, BlockDelay: j.clock.BlockDelay,
	}
	for _, m := range d.miners(posts) {
		checks.strict[abi.ActorID(m.Actor)] = m.PoSt.StrictCheck
		cfg.Miners = append(cfg.Miners, posterMiner(m))
	}
	var err error
	j.poster, err = poster.New(cfg)
	return err
}

func posterMiner(m config.Miner) poster.MinerConfig {
	p := m.PoSt
	var senders []address.Address
	for _, s := range p.AllSenders() {
		senders = append(senders, s.Address)
	}
	return poster.MinerConfig{
		Miner:               abi.ActorID(m.Actor),
		Senders:             senders,
		AllowWorkerFallback: p.AllowWorkerFallback, AllowOwnerFallback: p.AllowOwnerFallback,
		Fees:                p.Fees(),
		Escalation:          escalate.Limits{Off: !p.EscalateFees, MaxFee: p.MaxFee.Amount(), MaxFeePerDay: p.MaxFeePerDay.Amount()},
		Confidence:          p.Confidence,
		ChallengeConfidence: abi.ChainEpoch(p.ChallengeConfidence), SubmitConfidence: abi.ChainEpoch(p.SubmitConfidence),
		Parallel:                        p.Parallel,
		MaxPartitionsPerPoStMessage:     p.MaxPartitionsPerPoStMessage,
		MaxPartitionsPerRecoveryMessage: p.MaxPartitionsPerRecoveryMessage,
		MaxRecoverSectorLimit:           p.MaxRecoverSectorLimit,
	}
}

func (d *daemon) joinWinning(j *joined, infos map[uint64]*lotus.MinerInfo) error {
	miners := d.miners(wins)
	if !d.opts.miner || len(miners) == 0 {
		return nil
	}
	cfg := winning.Config{
		Gateways: d.cfg.Common.API.Gateway, Token: d.cfg.Common.API.Token,
		Prover: j.proving, Locator: copies{d.locator}, Clock: j.clock, Log: d.log,
	}
	for _, m := range miners {
		addr, err := address.NewIDAddress(m.Actor)
		if err != nil {
			return fmt.Errorf("miner %d: %w", m.Actor, err)
		}
		cfg.Miners = append(cfg.Miners, winning.Miner{Address: addr, SectorSize: uint64(infos[m.Actor].SectorSize)})
	}
	var err error
	j.winning, err = winning.New(cfg)
	return err
}
