package poster

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
)

// simDelay is the length of an epoch.
const simDelay = 30 * time.Second

// simConfidence is the message confidence, in epochs.
const simConfidence = 3

// sim is a poster on a model chain, in simulated time.
type sim struct {
	t        *testing.T
	conf     MinerConfig
	chain    *simChain
	sender   *simSender
	prover   *simProver
	verifier *simVerifier
	checker  *simChecker
	ledger   *memLedger
	log      *logBuffer

	board    *condition.Board
	genesis  time.Time
	mu       sync.Mutex
	outcomes []Outcome
	stood    map[condition.Kind]string // every kind that ever stood, with a detail

	adjust func(*Config) // before each start
	poster *Poster
	stop   func()
	began  abi.ChainEpoch
	// expected relaxes the checker, where a test breaks what it holds.
	missedBy   map[window]bool // windows that the chain shows as missed
	sloppy     bool            // messages may fail on the chain
	reopened   bool            // runs may end more than once
	noLedger   bool            // the ledger is not to be trusted
	foreignIDs string          // how the ids of another's messages begin
	another    bool            // its messages prove what is due
}

// logBuffer keeps the log of the poster.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// simulate runs f in a bubble of simulated time with a poster at epoch 21, in
// deadline 1 of a period of five; parts are the partitions of each deadline.
func simulate(t *testing.T, parts map[uint64][][]uint64, f func(*sim)) {
	synctest.Test(t, func(t *testing.T) {
		chain := newSimChain(t, 21, parts)
		s := &sim{
			t: t, chain: chain, sender: &simSender{chain: chain}, prover: &simProver{took: 2 * simDelay}, verifier: &simVerifier{},
			checker: &simChecker{}, ledger: newMemLedger(), log: &logBuffer{}, missedBy: map[window]bool{}, began: 21,
			conf:  MinerConfig{Miner: chain.miner, Confidence: simConfidence},
			board: condition.NewBoard(), genesis: time.Now().Add(-21 * simDelay), stood: map[condition.Kind]string{},
		}
		s.board.Watch(func(c condition.Change) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.Began {
				s.stood[c.Condition.Kind] = c.Condition.Subject + ": " + c.Condition.Detail
			}
		})
		defer func() {
			if s.stop != nil {
				s.kill()
			}
			if t.Failed() {
				t.Log(s.log.b.String())
			}
		}()
		f(s)
	})
}

// start begins a new process over the same ledger.
func (s *sim) start() {
	s.t.Helper()
	cfg := Config{
		Chain: s.chain, Prover: s.prover, Verifier: s.verifier, Sectors: s.checker, Sender: s.sender, Ledger: s.ledger,
		Log:    slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Miners: []MinerConfig{s.conf}, BlockDelay: simDelay, Board: s.board, Genesis: s.genesis,
		Outcomes: func(o Outcome) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.outcomes = append(s.outcomes, o)
		},
	}
	if s.adjust != nil {
		s.adjust(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	s.poster = p
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
	p.OnHead(Head{TipSet: s.chain.head()})
	synctest.Wait()
}

// kill ends the process.
func (s *sim) kill() {
	s.stop()
	s.poster, s.stop = nil, nil
}

// tick lets one epoch pass and checks the whole state.
func (s *sim) tick() {
	s.t.Helper()
	time.Sleep(simDelay)
	ts := s.chain.grow(0)
	if s.poster != nil {
		s.poster.OnHead(Head{TipSet: ts})
	}
	synctest.Wait()
	s.check()
}

// until ticks until the head is at the given epoch.
func (s *sim) until(epoch abi.ChainEpoch) {
	s.t.Helper()
	for s.chain.head().Height < epoch && !s.t.Failed() {
		s.tick()
	}
}

// reorg takes off the tipsets from height on and grows back to where it was.
func (s *sim) reorg(from abi.ChainEpoch) {
	s.t.Helper()
	top := s.chain.head().Height
	s.chain.reorg(from)
	for s.chain.head().Height < top {
		s.chain.grow(0)
	}
	s.poster.OnHead(Head{TipSet: s.chain.head(), RevertedFrom: from})
	synctest.Wait()
}

// check is the whole-state checker: what must hold after every step, whatever
// happened.
func (s *sim) check() {
	s.t.Helper()
	state := s.chain.state()
	s.checkMessages(state)
	epoch := s.chain.head().Height
	for di := s.chain.info(s.began); di.Close < epoch; di = deadline.Ahead(di, 1) {
		s.checkWindow(state, di, epoch)
	}
}

// checkMessages holds: no message fails on the chain, none is there twice, and
// each has a row in the ledger.
func (s *sim) checkMessages(state *simState) {
	s.t.Helper()
	s.chain.mu.Lock()
	pool := slices.Clone(s.chain.pool)
	s.chain.mu.Unlock()
	forced := map[string]bool{}
	for _, m := range pool {
		forced[m.id] = m.outcome != 0
	}
	for id, out := range state.executed {
		if out.ExitCode != 0 && !forced[id] && !s.sloppy {
			s.t.Errorf("message %s failed with exit code %d at %d", id, out.ExitCode, out.Height)
		}
	}
	s.ledger.inner.Lock()
	defer s.ledger.inner.Unlock()
	for _, m := range pool {
		ours := s.foreignIDs == "" || !strings.HasPrefix(m.id, s.foreignIDs)
		if _, ok := s.ledger.messages[m.id]; !ok && ours && s.ledger.fault == nil && !s.noLedger {
			s.t.Errorf("message %s is not in the ledger", m.id)
		}
	}
}

// checkWindow holds a closed window against the ledger.
func (s *sim) checkWindow(state *simState, di dline.Info, epoch abi.ChainEpoch) {
	s.t.Helper()
	w := window{di.PeriodStart, di.Index}
	missed := false
	for _, i := range state.due[w] {
		if n := state.proven[w][i]; n != 1 {
			missed = true
		}
	}
	if missed != s.missedBy[w] {
		s.t.Errorf("window %v: due %v, proven %v, missed %v", w, state.due[w], state.proven[w], missed)
		s.missedBy[w] = missed // said once
	}
	if s.noLedger || s.poster == nil || epoch < di.Close+simConfidence+40 {
		return // its outcome may still be on the way
	}
	s.ledger.inner.Lock()
	defer s.ledger.inner.Unlock()
	key := ledger.RunKey{Miner: uint64(s.chain.miner), PeriodStart: int64(w.start), Deadline: w.index}
	run, ok := s.ledger.runs[key]
	want := deadline.Proven
	switch {
	case missed:
		want = deadline.Missed
	case len(state.due[w]) == 0 && len(state.parts[w.index]) > 0:
		want = deadline.AllFaulty
	case len(state.due[w]) == 0:
		want = deadline.NothingToProve
	case s.another:
		want = deadline.ProvenByAnother
	}
	switch {
	case !ok || run.Ended == nil:
		s.t.Fatalf("window %v has no outcome in the ledger", w)
	case run.Ended.Verdict != want.String():
		s.t.Fatalf("window %v ended as %q (%s), the chain says %q", w, run.Ended.Verdict, run.Ended.Reason, want)
	case s.ledger.changes[key] > 0 && !s.reopened:
		s.t.Fatalf("window %v changed its end %d times", w, s.ledger.changes[key])
	}
}

// sent counts the messages in the pool, by the beginning of their ids.
func (s *sim) sent(prefix string) int {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	n := 0
	for _, m := range s.chain.pool {
		if strings.HasPrefix(m.id, prefix) {
			n++
		}
	}
	return n
}

// sectorsOf makes partitions of two sectors each, numbered from first on.
func sectorsOf(first uint64, partitions int) [][]uint64 {
	var out [][]uint64
	for range partitions {
		out = append(out, []uint64{first, first + 1})
		first += 2
	}
	return out
}

// foreign is another process's proof of partitions of deadline 2. The caller
// holds the chain's lock.
func (s *sim) foreign(id string, partitions []uint64) *simMessage {
	s.t.Helper()
	c := s.chain
	head := c.heads[c.last()].Height
	di := c.info(head)
	seed, err := maskSeed(c.beacon(di.Challenge))
	if err != nil {
		s.t.Fatal(err)
	}
	sub := submission{Deadline: di.Index, ProofType: simProof, CommitEpoch: di.Challenge, CommitRand: c.ticket(di.Challenge)}
	var sectors []uint64
	for _, i := range partitions {
		sectors = union(sectors, c.states[c.last()].parts[di.Index][i].toProve())
		sub.Partitions = append(sub.Partitions, submittedPartition{Index: i})
	}
	sub.Proof = simProve(seed, sectors)
	params, err := sub.encode()
	if err != nil {
		s.t.Fatal(err)
	}
	return &simMessage{id: id, pushed: head, msg: newMessage(address.Undef, address.Undef, methodSubmit, params)}
}
