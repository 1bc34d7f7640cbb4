package chaos

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	commcid "github.com/filecoin-project/go-fil-commcid"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	stnet "github.com/filecoin-project/go-state-types/network"

	"wdpost/internal/chain"
	"wdpost/internal/condition"
	"wdpost/internal/ledger"
	"wdpost/internal/ledger/sqlite"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
	courier "wdpost/internal/message/messager"
	"wdpost/internal/message/node"
	"wdpost/internal/message/sender"
	"wdpost/internal/poster"
	"wdpost/lab/devnet/actor"
	"wdpost/lab/devnet/messager"
	"wdpost/lab/devnet/simchain"
	"wdpost/proofs/post"
)

// The network of a world.
const (
	epochTime  = 30 * time.Second
	minerID    = 1000
	ownerID    = 100
	workerID   = 101
	controlID  = 102
	firstOpen  = abi.ChainEpoch(100) // of deadline 0
	deadlines  = 6                   // of a period
	confidence = 5
)

// partitionsOf is how many partitions each deadline has.
var partitionsOf = [deadlines]int{4, 1, 3, 2, 7, 2}

// maxFee is the most that one message may cost: 2 FIL.
var maxFee = big.Mul(big.NewInt(2), big.NewInt(1e18))

// policy is that of the main network with a shorter period.
func policy() *actor.Policy {
	p := actor.Mainnet()
	p.PeriodDeadlines = deadlines
	return &p
}

// world is one chain and one manager in a bubble of simulated time.
type world struct {
	t      *testing.T
	rand   *rand.Rand
	chain  *simchain.Chain
	door   *door
	plant  *plant
	book   *book
	board  *condition.Board
	log    *lockedBuffer
	hosts  []string
	mail   *messager.Messager
	byMail bool // messages go through the messager

	mu      sync.Mutex
	stood   []standing // every condition that ever stood
	process *process
	deaf    bool // heads are not passed on
	resets  bool // the way to every head is unknown
	rival   *process
	planted map[window]*planted
	checked map[window]bool
	tally   *tally
	events  []event
	nulls   int    // so many epochs have no block
	target  window // of the fault that begins
	// faultyBefore is what was faulty when a window opened.
	faultyBefore map[window][]uint64
}

// standing is a condition and when it stood, in epochs.
type standing struct {
	condition.Condition
	from, to abi.ChainEpoch // to is 0 while it stands
}

// process is the product as one process.
type process struct {
	cancel context.CancelFunc
	done   chan struct{}
	poster *poster.Poster
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// key makes up the key address of an account.
func key(t *testing.T, id uint64) address.Address {
	raw := make([]byte, address.BlsPublicKeyBytes)
	for i := range raw {
		raw[i] = byte(id*31 + uint64(i)*7)
	}
	a, err := address.NewBLSAddress(raw)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newWorld makes a world at epoch 60, before the first challenge.
func newWorld(t *testing.T, seed uint64, nodes int, total *tally) *world {
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 11)), plant: &plant{took: 2 * time.Minute}, board: condition.NewBoard(), log: &lockedBuffer{},
		planted: map[window]*planted{}, checked: map[window]bool{}, tally: total, faultyBefore: map[window][]uint64{},
	}
	window, err := post.TypeOf(post.Window, 2048, post.V1_2_0)
	if err != nil {
		t.Fatal(err)
	}
	var placed []actor.Placement
	n := uint64(0)
	for d := range uint64(deadlines) {
		for range partitionsOf[d] * partitionSectors {
			r := commR(n)
			c, err := commcid.ReplicaCommitmentV1ToCID(r[:])
			if err != nil {
				t.Fatal(err)
			}
			placed = append(placed, actor.Placement{
				Sector:   actor.Sector{Number: abi.SectorNumber(n), SealProof: abi.RegisteredSealProof_StackedDrg2KiBV1_1, SealedCID: c},
				Deadline: &d,
			})
			n++
		}
	}
	m, err := actor.NewMiner(actor.Info{
		ID: minerID, Owner: ownerID, Worker: workerID, Control: []abi.ActorID{controlID}, SectorSize: 2048,
		WindowProof: abi.RegisteredPoStProof(window), PartitionSectors: partitionSectors, ProvingStart: firstOpen, PeriodOffset: firstOpen,
	}, policy(), placed)
	if err != nil {
		t.Fatal(err)
	}
	fil := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e18)) }
	w.chain, err = simchain.New(simchain.Config{
		Seed: fmt.Sprint(seed), NetworkName: "chaos", NetworkVersion: stnet.Version25, GenesisTime: time.Now(), EpochDuration: epochTime,
		Miners: []*actor.Miner{m}, Verifier: network{}, BaseFee: usualFee, Nodes: nodes, Log: slog.New(slog.DiscardHandler),
		Accounts: []simchain.Account{
			{ID: ownerID, Key: key(t, ownerID), Balance: fil(1000)}, {ID: workerID, Key: key(t, workerID), Balance: fil(500)}, {ID: controlID, Key: key(t, controlID), Balance: fil(100)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.chain.SetBaseFee(usualFee, 0)
	for i := range nodes {
		w.hosts = append(w.hosts, fmt.Sprintf("node%d", i))
	}
	w.mail, w.byMail = messager.New(w.chain, slog.New(slog.DiscardHandler)), seed%3 == 2
	w.door = newDoor(w.chain, w.hosts, w.mail)
	w.book = &book{Ledger: newLedger(t)}
	w.board.Watch(w.note)
	for range 60 {
		w.advance(false)
	}
	return w
}

// newLedger is an empty ledger in a file.
func newLedger(t *testing.T) ledger.Ledger {
	t.Helper()
	l, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "ledger.db"), Network: "chaos"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // in the bubble, after everything ended
	return l
}

// note keeps which conditions stood when.
func (w *world) note(c condition.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Began {
		w.stood = append(w.stood, standing{Condition: c.Condition, from: w.chain.Epoch()})
		return
	}
	for i := range w.stood {
		if s := &w.stood[i]; s.to == 0 && s.Kind == c.Condition.Kind && s.Subject == c.Condition.Subject {
			s.to = w.chain.Epoch()
		}
	}
}

// start begins the manager's process.
func (w *world) start() {
	w.t.Helper()
	w.book.set(func(b *book) { b.dead = false })
	w.process = w.launch(w.book, w.board)
}

// launch begins a process over a ledger.
func (w *world) launch(records ledger.Ledger, board *condition.Board) *process {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var endpoints []string
	for _, h := range w.hosts {
		endpoints = append(endpoints, "http://"+h+":1234/rpc/v1")
	}
	full, err := chain.New(chain.Config{Endpoints: endpoints, Token: "x", Transport: w.door, Board: board, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	clock := chain.Clock{Genesis: w.chain.Config().GenesisTime, BlockDelay: epochTime}
	pace := message.NewPace(func() abi.ChainEpoch { return clock.EpochAt(time.Now()) })
	mail := w.messages(full, pace)
	payers := sender.New(sender.Config{State: full, Service: mail, Keep: epochTime / 2, Board: board, Log: log})
	p, err := poster.New(poster.Config{
		Chain: full, Prover: w.plant, Verifier: w.plant, Sectors: w.plant,
		Sender: struct {
			message.Sender
			*sender.Chooser
		}{mail, payers},
		Ledger: records, Log: log, Board: board, BlockDelay: epochTime, Genesis: clock.Genesis,
		Miners: []poster.MinerConfig{{
			Miner: minerID, Confidence: confidence, AllowWorkerFallback: true, AllowOwnerFallback: true, Parallel: w.rand.IntN(2) == 0,
			Fees: message.Fees{GasOverEstimation: 1.2, GasFeeCap: big.NewInt(5e9)}, Escalation: escalate.Limits{MaxFee: maxFee},
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	pr := &process{cancel: cancel, done: make(chan struct{}), poster: p}
	var wg sync.WaitGroup
	wg.Go(func() { _ = full.Run(ctx) })
	wg.Go(func() { _ = p.Run(ctx) })
	wg.Go(func() {
		_ = full.Follow(ctx, func(_ context.Context, e chain.HeadEvent) {
			w.mu.Lock()
			deaf, resets := w.deaf, w.resets
			w.mu.Unlock()
			if deaf {
				return
			}
			pace.Saw(e.Head.Height)
			h := poster.Head{TipSet: e.Head, Reset: e.Reset || resets}
			for _, ts := range e.Revert {
				if h.RevertedFrom == 0 || ts.Height < h.RevertedFrom {
					h.RevertedFrom = ts.Height
				}
			}
			p.OnHead(h)
		})
	})
	go func() {
		wg.Wait()
		full.Close()
		close(pr.done)
	}()
	synctest.Wait()
	return pr
}

// end stops a process in good order.
func (p *process) end() {
	p.cancel()
	<-p.done
}

// messages is the way of messages: the node's, or the messager's.
func (w *world) messages(full *chain.Node, pace *message.Pace) message.Sender {
	if !w.byMail {
		return node.New(node.Config{API: full, PollInterval: epochTime / 2, Epoch: pace.Epoch})
	}
	s, err := courier.New(courier.Config{Address: "http://messager:39812", Token: "x", PollInterval: epochTime / 2, Epoch: pace.Epoch, Transport: w.door})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// kill ends the process as kill -9 does: what was not yet written is lost.
func (w *world) kill() {
	w.book.set(func(b *book) { b.dead = true })
	w.stop()
}

// stop ends the process in good order.
func (w *world) stop() {
	if w.process == nil {
		return
	}
	w.process.end()
	w.process = nil
}

// advance lets one epoch pass.
func (w *world) advance(null bool) {
	w.t.Helper()
	time.Sleep(time.Until(w.chain.TimeOf(w.chain.Epoch() + 1)))
	if _, err := w.chain.Advance(w.t.Context(), null); err != nil {
		w.t.Fatal(err)
	}
	w.mail.OnHead(w.t.Context())
	if w.process != nil {
		time.Sleep(time.Second) // the heads are polled
	}
	synctest.Wait()
}

// window names one deadline of one period, counted from the first.
type window struct {
	start abi.ChainEpoch // of the period
	index uint64
}

// open is the first epoch of the n-th window.
func open(n int) abi.ChainEpoch { return firstOpen + abi.ChainEpoch(n)*60 }

// windowAt names the n-th window.
func windowAt(n int) window {
	return window{start: firstOpen + abi.ChainEpoch(n/deadlines*deadlines)*60, index: uint64(n % deadlines)}
}
