package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"wdpost/internal/access"
	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/endpoint"
	"wdpost/internal/history"
	"wdpost/internal/prover"
	"wdpost/internal/run"
)

// Config is what a Manager is made of. The configuration files are read from
// ConfDir, at the start and at each reload.
type Config struct {
	Home       string // index, records, control socket
	ConfDir    string // sector-manager.cfg and ext-prover.cfg
	ProgramDir string // where damocles-worker lies beside us
	Build      string // version of this program

	Poster    bool // make WindowPoSt
	Winning   bool // answer WinningPoSt requests
	ExtProver bool // prove through ext-prover.cfg
	WarmUp    bool // load parameters at the start

	Keys  prover.KeyConfig
	Log   *slog.Logger
	Level *slog.LevelVar // changed at run time; nil where it cannot be
	Parts Parts
}

// Manager is the running whole.
type Manager struct {
	cfg     Config
	log     *slog.Logger
	board   *condition.Board
	started time.Time

	settings   atomic.Pointer[settings] // in force
	node       Node
	host       Host // nil without external processors
	stores     *stores
	records    *records
	provers    *provers
	miners     *miners
	network    atomic.Pointer[network] // nil before the node's first answer
	figures    *figures
	book       *history.Book
	diary      *diary
	viewers    viewers
	notifier   Notifier
	today      tally
	folded     atomic.Int64 // when the verdict was last made, in Unix nanoseconds
	teller     *teller
	reloads    chan reload
	rehearsing sync.Mutex           // held by the one that is under way
	down       map[string]time.Time // processors by name: not ready since; of fold
}

// New reads the configuration. It refuses only what could never prove anything.
func New(ctx context.Context, cfg Config) (*Manager, error) {
	m := &Manager{
		cfg: cfg, log: cfg.Log, board: condition.NewBoard(), started: time.Now(),
		reloads: make(chan reload), down: map[string]time.Time{},
	}
	m.book = history.New(filepath.Join(cfg.Home, "history"), cfg.Log)
	m.diary, m.viewers.now = newDiary(), make(chan struct{})
	m.teller = newTeller(cfg.Log)
	m.board.Watch(m.teller.changed)
	m.board.Watch(func(condition.Change) { m.changed() })
	s, warnings, err := loadSettings(cfg.ConfDir, cfg.ExtProver)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		m.log.Warn(w)
	}
	if err := m.check(s); err != nil {
		return nil, err
	}
	m.settings.Store(s)
	if m.node, err = cfg.Parts.Node(nodeConfig(s.manager.Common.API, m.board, m.log)); err != nil {
		return nil, err
	}
	m.figures = newFigures(s.manager.Miners)
	if m.notifier, err = cfg.Parts.Notifier(notifyConfig(s.manager.Common.Notify, m.board, m.log)); err != nil {
		return nil, err
	}
	m.board.Watch(m.notifier.Changed)
	m.stores = newStores(m, s.manager.Common.Proving)
	m.records = newRecords(m)
	if cfg.ExtProver {
		if m.host, err = cfg.Parts.Host(hostConfig(s.ext, cfg.ProgramDir, m.log)); err != nil {
			return nil, err
		}
	}
	m.provers = newProvers(m)
	m.miners = newMiners(m)
	m.stores.load(ctx, s.manager.Common)
	if cfg.Poster || cfg.Winning {
		return m, m.stores.usable(ctx)
	}
	return m, nil
}

// tokens are those of the home, for requests from other machines.
func (m *Manager) tokens() (*access.Keeper, error) { return access.Open(m.cfg.Home) }

// check refuses a configuration with which nothing could be proven.
func (m *Manager) check(s *settings) error {
	if err := checkAddresses(s.manager.Common.API); err != nil {
		return err
	}
	if !m.cfg.Poster && !m.cfg.Winning {
		m.log.Warn("neither --poster nor --miner is given: nothing will be proven")
		return nil
	}
	if m.cfg.Poster && !slices.ContainsFunc(s.manager.Miners, posts) {
		return fmt.Errorf("--poster has no miner to work for: in %s set Actor in a [[Miners]] section, and Enabled in its [Miners.PoSt]", config.ManagerFile)
	}
	if m.cfg.Winning && !slices.ContainsFunc(s.manager.Miners, wins) {
		m.log.Warn("--miner has no miner to answer for: set Enabled in a [Miners.Proof]")
	}
	if len(s.manager.Common.PersistStores) == 0 {
		return fmt.Errorf("no [[Common.PersistStores]] with a Path in %s: run `venus-sector-manager util storage attach` and add the section it prints", config.ManagerFile)
	}
	if m.cfg.ExtProver && m.cfg.Poster && len(s.ext.WdPost) == 0 {
		return fmt.Errorf("%s has no [[WdPost]] section: add one, or leave --ext-prover out to prove in this process", config.ExtProverFile)
	}
	return nil
}

func posts(m config.Miner) bool { return m.Actor != 0 && m.PoSt.Enabled }
func wins(m config.Miner) bool  { return m.Actor != 0 && m.Proof.Enabled }

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

// Run serves the pages on lis and works, until ctx ends and everything has
// stopped in order. It returns nil after an orderly stop.
func (m *Manager) Run(ctx context.Context, lis net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return run.ServeHTTP(ctx, lis, access.Guard(m.pages(), m.tokens, m.log)) })
	group.Go(func() error { return m.serveControl(ctx) })
	for name, part := range map[string]func(context.Context) error{
		"notifications": m.notifier.Run, "summary": m.summaries, "service manager": m.tellServiceManager,
		"node": m.node.Run, "stores": m.stores.run, "verdict": m.watch, "records": m.records.run, "reload": m.takeReloads,
		"history": m.book.Run,
	} {
		group.Go(func() error { m.keep(ctx, name, part); return nil })
	}
	group.Go(func() error { m.work(ctx); return nil })
	err := group.Wait()
	m.node.Close()
	return errors.Join(err, m.records.close(), m.stores.files.Close())
}

// work runs the processors and the miners. The processors outlast those who ask
// them.
func (m *Manager) work(ctx context.Context) {
	outlast, stop := context.WithCancel(context.WithoutCancel(ctx))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if m.host != nil {
			m.host.Run(outlast)
		}
	}()
	m.provers.begin(outlast)
	if m.joinNetwork(ctx) {
		follow := make(chan struct{})
		go func() {
			defer close(follow)
			m.keep(ctx, "chain", func(ctx context.Context) error { return m.node.Follow(ctx, m.miners.onHead) })
		}()
		m.miners.run(ctx)
		<-follow
	}
	stop()
	if err := m.provers.close(); err != nil {
		m.log.Warn("provers not closed", attr.Err(err))
	}
	<-gone
}
