package manager

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/config"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
	"wdpost/internal/patience"
	"wdpost/internal/poster"
	"wdpost/internal/winning"
	"wdpost/proofs/post"
)

// miners are those of the configuration, each admitted and run by itself.
type miners struct {
	m  *Manager
	wg sync.WaitGroup

	mu      sync.Mutex
	running map[uint64]*minerRun
	head    *poster.Head // the latest
	ctx     context.Context
}

// minerRun is the work for one miner under one version of its settings.
type minerRun struct {
	conf   config.Miner
	cancel context.CancelCauseFunc
	done   chan struct{}
	joined atomic.Pointer[joinedMiner] // nil until admitted
	why    atomic.Pointer[error]       // why it is not admitted
}

// joinedMiner is an admitted miner.
type joinedMiner struct {
	info    *lotus.MinerInfo
	prover  *minerProver
	poster  Poster  // nil where WindowPoSt is not made
	winning Winning // nil where WinningPoSt is not answered
}

func newMiners(m *Manager) *miners { return &miners{m: m, running: map[uint64]*minerRun{}} }

// run works for the miners until ctx ends.
func (ms *miners) run(ctx context.Context) {
	ms.mu.Lock()
	ms.ctx = ctx
	ms.mu.Unlock()
	ms.apply(ms.m.settings.Load().manager.Miners)
	<-ctx.Done()
	ms.wg.Wait()
}

// apply makes the miners those of a configuration: new ones are admitted, those
// that are gone stopped, those whose settings changed taken up anew.
func (ms *miners) apply(wanted []config.Miner) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.ctx == nil || ms.ctx.Err() != nil {
		return // not begun, or over
	}
	keep := map[uint64]bool{}
	for _, conf := range wanted {
		if !ms.m.worksFor(conf) {
			continue
		}
		keep[conf.Actor] = true
		old := ms.running[conf.Actor]
		if old != nil && sameMiner(old.conf, conf) {
			continue
		}
		if old != nil {
			old.cancel(errReload)
		}
		ms.start(conf, old)
	}
	for actor, r := range ms.running {
		if !keep[actor] {
			r.cancel(errors.New("the miner is no longer configured"))
			delete(ms.running, actor)
		}
	}
}

// worksFor reports whether anything is to be done for a miner.
func (m *Manager) worksFor(conf config.Miner) bool {
	return m.cfg.Poster && posts(conf) || m.cfg.Winning && wins(conf)
}

// sameMiner reports whether nothing that is in force differs.
func sameMiner(a, b config.Miner) bool {
	return reflect.DeepEqual(a.PoSt, b.PoSt) && reflect.DeepEqual(a.Proof, b.Proof)
}

// start runs a miner, after its predecessor has stopped. mu is held.
func (ms *miners) start(conf config.Miner, after *minerRun) {
	ctx, cancel := context.WithCancelCause(ms.ctx)
	r := &minerRun{conf: conf, cancel: cancel, done: make(chan struct{})}
	ms.running[conf.Actor] = r
	ms.wg.Go(func() {
		defer close(r.done)
		if after != nil {
			<-after.done
		}
		ms.m.figures.miner(subject(conf.Actor))
		ms.m.keep(ctx, fmt.Sprintf("miner %d", conf.Actor), func(ctx context.Context) error { return ms.work(ctx, r) })
		ms.forget(r)
	})
}

// forget ends what stands about a miner that no longer runs.
func (ms *miners) forget(r *minerRun) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if now := ms.running[r.conf.Actor]; now == nil || now == r {
		ms.m.board.Clear(condition.MinerNotAdmitted, subject(r.conf.Actor))
		ms.m.board.Clear(condition.MinerNoStore, subject(r.conf.Actor))
		if n := ms.m.network.Load(); n != nil {
			if addr, err := address.NewIDAddress(r.conf.Actor); err == nil {
				n.payers.Forget(addr)
			}
		}
	}
}

// subject names a miner in conditions, as it is written everywhere.
func subject(actor uint64) string { return attr.Miner(abi.ActorID(actor)).Value.String() }

// work admits the miner and then works for it until ctx ends.
func (ms *miners) work(ctx context.Context, r *minerRun) error {
	defer r.joined.Store(nil)
	pause := patience.Backoff{Min: time.Second, Max: 30 * time.Second}
	var outage patience.Outage
	about := attr.Miner(abi.ActorID(r.conf.Actor))
	for {
		j, err := ms.admit(ctx, r.conf)
		if err == nil {
			r.why.Store(nil)
			outage.Over(ms.m.log, "miner admitted", about)
			ms.m.board.Clear(condition.MinerNotAdmitted, subject(r.conf.Actor))
			return ms.serve(ctx, r, j)
		}
		if ctx.Err() != nil {
			return nil
		}
		r.why.Store(&err)
		ms.m.board.Set(condition.Condition{Kind: condition.MinerNotAdmitted, Subject: subject(r.conf.Actor), Detail: err.Error(), Remedy: admissionRemedy(err)})
		outage.Failed(ms.m.log, "nothing can be proven for this miner; retrying", err.Error(), about, attr.Err(err))
		if pause.Wait(ctx) != nil {
			return nil
		}
	}
}

// admissionRemedy is what to do about a miner that is not admitted; empty for
// the catalogue's.
func admissionRemedy(err error) string {
	if errors.Is(err, chain.ErrNotFound) {
		return "check Actor in its [[Miners]] section; a node that is still syncing does not know it yet, so it is asked again"
	}
	return accessRemedy(err)
}

// admit asks the node about the miner and builds what works for it.
func (ms *miners) admit(ctx context.Context, conf config.Miner) (*joinedMiner, error) {
	addr, err := address.NewIDAddress(conf.Actor)
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := ms.m.node.StateMinerInfo(call, addr, lotus.TipSetKey{})
	if err != nil {
		return nil, err
	}
	if info == nil {
		return nil, errors.New("the node's answer is empty")
	}
	n, err := needOf(ms.m.cfg, conf, info)
	if err != nil {
		return nil, err
	}
	prover, err := ms.m.provers.of(n)
	if err != nil {
		return nil, err
	}
	j := &joinedMiner{info: info, prover: prover}
	if n.post {
		if j.poster, err = ms.m.newPoster(conf, prover); err != nil {
			return nil, err
		}
	}
	if n.win {
		if j.winning, err = ms.m.newWinning(addr, info, prover); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// needOf says what a miner has proven, and refuses what this program cannot.
func needOf(cfg Config, conf config.Miner, info *lotus.MinerInfo) (need, error) {
	n := need{window: post.ProofType(info.WindowPoStProofType), post: cfg.Poster && posts(conf), win: cfg.Winning && wins(conf)}
	if !n.window.Valid() {
		return n, fmt.Errorf("its WindowPoSt proof type %d is not known to this program: update it", info.WindowPoStProofType)
	}
	if sectors := int(info.WindowPoStPartitionSectors); sectors != n.window.Setup().Sectors {
		n.odd = sectors
	}
	var err error
	n.winning, err = post.TypeOf(post.Winning, uint64(info.SectorSize), post.V1_0_0)
	return n, err
}

// serve runs an admitted miner.
func (ms *miners) serve(ctx context.Context, r *minerRun, j *joinedMiner) error {
	ms.mu.Lock()
	r.joined.Store(j)
	if j.poster != nil && ms.head != nil {
		j.poster.OnHead(poster.Head{TipSet: ms.head.TipSet})
	}
	ms.mu.Unlock()
	ms.m.log.Info("miner is worked for", attr.Miner(abi.ActorID(r.conf.Actor)), attr.WindowPoSt(j.poster != nil), attr.WinningPoSt(j.winning != nil))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	failed := make(chan error, 3)
	part := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := ms.m.guarded(ctx, name, f); err != nil {
				failed <- err
				stop(err)
			}
		})
	}
	if j.poster != nil {
		part("poster", j.poster.Run)
		part("senders", func(ctx context.Context) error { return ms.checkSender(ctx, r.conf) })
	}
	if j.winning != nil {
		part("winning", j.winning.Run)
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// onHead passes a move of the head on to every miner.
func (ms *miners) onHead(_ context.Context, e chain.HeadEvent) {
	h := headOf(e)
	ms.m.network.Load().pace.Saw(e.Head.Height)
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.head = &h
	for _, r := range ms.running {
		if j := r.joined.Load(); j != nil && j.poster != nil {
			j.poster.OnHead(h)
		}
	}
}

// headOf is a move of the head in the poster's words.
func headOf(e chain.HeadEvent) poster.Head {
	h := poster.Head{TipSet: e.Head, Reset: e.Reset}
	for _, ts := range e.Revert {
		if h.RevertedFrom == 0 || ts.Height < h.RevertedFrom {
			h.RevertedFrom = ts.Height
		}
	}
	return h
}

// each calls f for every miner that runs, ascending.
func (ms *miners) each(f func(actor uint64, r *minerRun)) {
	ms.mu.Lock()
	running := maps.Clone(ms.running)
	ms.mu.Unlock()
	for _, actor := range slices.Sorted(maps.Keys(running)) {
		f(actor, running[actor])
	}
}

// senderLook is how often the senders of a miner are looked at between windows.
const senderLook = 20 * time.Second

// checkSender looks whether there is a sender for the miner, so that a wrong
// one is known before the first window needs it.
func (ms *miners) checkSender(ctx context.Context, conf config.Miner) error {
	wish, err := wishOf(conf)
	if err != nil {
		return err
	}
	for {
		call, cancel := context.WithTimeout(ctx, senderLook)
		_, err := ms.m.network.Load().payers.Senders(call, wish) // it raises what is wrong
		cancel()
		if err != nil && ctx.Err() == nil {
			ms.m.log.Debug("senders looked at", attr.Miner(wish.Miner), attr.Err(err))
		}
		if patience.Sleep(ctx, senderLook) != nil {
			return nil
		}
	}
}

// wishOf says who may pay for a miner's messages, and what the next two cost.
func wishOf(conf config.Miner) (message.Wish, error) {
	addr, err := address.NewIDAddress(conf.Actor)
	c := minerConfig(conf)
	return message.Wish{Miner: addr, Configured: c.Senders, WorkerFallback: c.AllowWorkerFallback, OwnerFallback: c.AllowOwnerFallback, Need: c.Fees.Need(2)}, err
}

// newPoster makes the poster of one miner.
func (m *Manager) newPoster(conf config.Miner, p *minerProver) (Poster, error) {
	n := m.network.Load()
	return m.cfg.Parts.Poster(poster.Config{
		Chain: m.node, Prover: p, Verifier: p, Sectors: m.stores,
		Sender: &sender{Sender: n.messages, Payers: n.payers},
		Ledger: m.records, Log: m.log, BlockDelay: n.clock.BlockDelay, Genesis: n.clock.Genesis, Board: m.board, Outcomes: m.outcome,
		Miners: []poster.MinerConfig{minerConfig(conf)},
	})
}

// minerConfig is one [Miners.PoSt] in the poster's words.
func minerConfig(m config.Miner) poster.MinerConfig {
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

// newWinning makes the winning service of one miner.
func (m *Manager) newWinning(addr address.Address, info *lotus.MinerInfo, p *minerProver) (Winning, error) {
	api := m.settings.Load().manager.Common.API
	return m.cfg.Parts.Winning(winning.Config{
		Gateways: api.Gateway, Token: api.Token,
		Prover: p, Locator: m.stores, Clock: m.network.Load().clock, Board: m.board, Log: m.log,
		Miners: []winning.Miner{{Address: addr, SectorSize: uint64(info.SectorSize)}},
	})
}
