package poster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-bitfield"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
	"wdpost/internal/task"
)

// slowChain answers every call late.
type slowChain struct {
	*simChain
	by time.Duration
}

func (c slowChain) ask(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.by):
		return nil
	}
}

func (c slowChain) ChainHead(ctx context.Context) (*lotus.TipSet, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.simChain.ChainHead(ctx)
}

func (c slowChain) StateMinerInfo(ctx context.Context, a address.Address, k lotus.TipSetKey) (*lotus.MinerInfo, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.simChain.StateMinerInfo(ctx, a, k)
}

func (c slowChain) StateMinerPartitions(ctx context.Context, a address.Address, d uint64, k lotus.TipSetKey) ([]lotus.Partition, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.simChain.StateMinerPartitions(ctx, a, d, k)
}

func (c slowChain) StateMinerDeadlines(ctx context.Context, a address.Address, k lotus.TipSetKey) ([]lotus.Deadline, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.simChain.StateMinerDeadlines(ctx, a, k)
}

func (c slowChain) StateMinerSectors(ctx context.Context, a address.Address, b *bitfield.BitField, k lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	return c.simChain.StateMinerSectors(ctx, a, b, k)
}

// TestPosterF2SlowNode: a node that is slow on every call and fails none (x30b,
// field F22: one limit for the whole row of calls missed every window).
func TestPosterF2SlowNode(t *testing.T) {
	for _, by := range []time.Duration{5 * time.Second, 8 * time.Second, 20 * time.Second} {
		t.Run(by.String(), func(t *testing.T) {
			simulate(t, oneDeadline(4), func(s *sim) {
				s.adjust = func(cfg *Config) { cfg.Chain = slowChain{s.chain, by} }
				s.start()
				s.until(110)
			})
		})
	}
}

// hangingProver hangs over the question of one partition.
type hangingProver struct {
	*simProver
	partition uint64
}

func (p hangingProver) ProveWindowPoSt(ctx context.Context, q task.Question) (task.Answer, error) {
	if slices.Contains(q.Partitions, p.partition) {
		<-ctx.Done()
		return task.Answer{}, ctx.Err()
	}
	return p.simProver.ProveWindowPoSt(ctx, q)
}

// TestPosterF6OneBatchHangs: with Parallel=false a prover that hangs over one
// batch held the gate for all others.
func TestPosterF6OneBatchHangs(t *testing.T) {
	for first, proven := range map[uint64]int{0: 4, 3: 4, 6: 6} { // one of them is first at the gate
		simulate(t, oneDeadline(7), func(s *sim) {
			s.adjust = func(cfg *Config) { cfg.Prover = hangingProver{s.prover, first} }
			s.missedBy[window{0, 2}] = true // its own partitions are lost
			s.start()
			s.until(110)
			if got := s.chain.state().proven[window{0, 2}]; len(got) != proven {
				t.Errorf("partition %d hangs: proven %v, want %d", first, got, proven)
			}
			if s.stood[condition.PartitionStuck] == "" {
				t.Error("nobody is told that partitions have no proof")
			}
		})
	}
}

// slowChecker takes its time over the sectors of one partition.
type slowChecker struct {
	*simChecker
	sector uint64
}

func (c slowChecker) CheckSectors(ctx context.Context, miner abi.ActorID, sectors []Sector, thorough bool) (CheckResult, error) {
	if slices.ContainsFunc(sectors, func(s Sector) bool { return s.Number == c.sector }) {
		<-ctx.Done()
		return CheckResult{}, ctx.Err()
	}
	return c.simChecker.CheckSectors(ctx, miner, sectors, thorough)
}

// TestPosterF6OneCheckHangs: a check that hangs over one batch holds no gate.
func TestPosterF6OneCheckHangs(t *testing.T) {
	simulate(t, oneDeadline(7), func(s *sim) {
		s.adjust = func(cfg *Config) { cfg.Sectors = slowChecker{s.checker, 0} }
		s.missedBy[window{0, 2}] = true
		s.start()
		s.until(41)
		if n := s.prover.counted("prove"); n != 2 {
			t.Errorf("%d proofs before the window opens, want 2", n)
		}
		s.until(110)
		if got := s.chain.state().proven[window{0, 2}]; len(got) != 4 {
			t.Errorf("proven %v, want partitions 3 to 6", got)
		}
	})
}

// TestPosterF7RecoveryOverRestart: a declaration that was sent before a restart
// is watched, and repeated when it fails.
func TestPosterF7RecoveryOverRestart(t *testing.T) {
	simulate(t, map[uint64][][]uint64{3: sectorsOf(0, 1)}, func(s *sim) {
		s.chain.states[0].parts[3][0].faulty = []uint64{0, 1}
		s.start()
		s.chain.mu.Lock()
		s.chain.pool[0].outcome = 7
		s.chain.mu.Unlock()
		s.kill()
		s.tick()
		s.start()
		s.until(29)
		if n := s.sent("recover-1008-0-3"); n != 2 {
			t.Errorf("%d declarations, want the failed one and another", n)
		}
		if got := s.chain.state().parts[3][0].recovering; len(got) != 2 {
			t.Errorf("recovering %v", got)
		}
		s.sloppy = true
		s.until(140)
	})
}

// TestPosterF7RecoveryReorged: a declaration that a reorg took off the chain and
// out of the pool is repeated.
func TestPosterF7RecoveryReorged(t *testing.T) {
	simulate(t, map[uint64][][]uint64{4: sectorsOf(0, 1)}, func(s *sim) {
		s.chain.states[0].parts[4][0].faulty = []uint64{0, 1}
		s.reopened = true
		s.start()
		s.until(43) // deadline 2 is open; the cut-off of 4 is at 50
		if n := s.sent("recover"); n != 1 {
			t.Fatalf("%d declarations", n)
		}
		s.chain.mu.Lock()
		s.chain.pool = nil
		s.chain.mu.Unlock()
		s.reorg(40)
		s.until(49)
		if got := s.chain.state().parts[4][0].recovering; len(got) != 2 {
			t.Errorf("recovering %v", got)
		}
		s.until(180)
	})
}

// TestPosterF10LateFailure: a message that fails late in the window is repaired
// while that is possible, whatever the confidence.
func TestPosterF10LateFailure(t *testing.T) {
	for at := abi.ChainEpoch(46); at <= 57; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			simulate(t, oneDeadline(1), func(s *sim) {
				s.conf.Confidence = 10
				s.start()
				s.until(44)
				s.chain.mu.Lock()
				s.chain.pool[0].held, s.chain.pool[0].outcome = true, 7
				s.chain.mu.Unlock()
				s.until(at - 1)
				s.chain.mu.Lock()
				s.chain.pool[0].held = false
				s.chain.mu.Unlock()
				s.until(140)
				if s.stood[condition.MessageFailed] == "" {
					t.Error("nobody is told that a message failed")
				}
			})
		})
	}
}

// TestPosterF14ProvenStaysProven: a restart with the node away told a proven
// deadline as missed.
func TestPosterF14ProvenStaysProven(t *testing.T) {
	for _, at := range []abi.ChainEpoch{50, 55, 59} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			simulate(t, oneDeadline(2), func(s *sim) {
				s.start()
				s.until(at)
				s.kill()
				s.chain.mu.Lock()
				s.chain.fail = func(m string) error {
					if m == "ChainHead" || m == "StateMinerPartitions" {
						return errInjected
					}
					return nil
				}
				s.chain.mu.Unlock()
				s.start()
				s.until(75)
				s.chain.mu.Lock()
				s.chain.fail = nil
				s.chain.mu.Unlock()
				s.until(140)
				if n := s.log.count("deadline missed"); n != 0 {
					t.Errorf("told as missed %d times", n)
				}
				if n := s.log.count(`"deadline started" miner=f01008 deadline=2 periodStart=0`); n != 1 {
					t.Errorf("started %d times", n)
				}
			})
		})
	}
}

// TestPosterF16DownOverWholeWindows: windows that passed while the manager was
// down were never told.
func TestPosterF16DownOverWholeWindows(t *testing.T) {
	simulate(t, map[uint64][][]uint64{1: sectorsOf(40, 1), 2: sectorsOf(0, 2), 3: sectorsOf(10, 1), 4: {}}, func(s *sim) {
		s.start()
		s.until(39)
		s.kill()
		s.missedBy[window{0, 2}], s.missedBy[window{0, 3}] = true, true
		for s.chain.head().Height < 85 {
			time.Sleep(simDelay)
			s.chain.grow(0)
		}
		s.start()
		s.until(95)
		if n := s.log.count("deadline missed"); n != 2 {
			t.Errorf("%d windows are told as missed, want 2", n)
		}
		s.until(150) // the checker holds the ledger against the chain
		if s.stood[condition.DeadlineMissed] == "" {
			t.Error("no condition tells of the missed windows")
		}
	})
}

// TestFieldF7OtherSlaveReads: one slave without a mount faulted healthy sectors
// while another that has them was idle.
func TestFieldF7OtherSlaveReads(t *testing.T) {
	simulate(t, oneDeadline(3), func(s *sim) {
		s.prover.blind = map[uint64]int{0: 1, 3: 2}
		s.start()
		s.until(110)
		for i, p := range s.chain.state().parts[2] {
			if len(p.faulty) > 0 {
				t.Errorf("partition %d: %v are faulty", i, p.faulty)
			}
		}
		if s.log.count("they are asked for again") == 0 {
			t.Error("the log does not tell of it")
		}
	})
}

// TestFieldF6OtherCopyIsRead: a damaged first copy hid the healthy second one.
func TestFieldF6OtherCopyIsRead(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.checker.copies = map[uint64][]Files{1: {{CacheDir: "/bad", SealedFile: "/bad/s"}, {CacheDir: "/good", SealedFile: "/good/s"}}}
		s.prover.badDir = "/bad"
		s.start()
		s.until(110)
		if got := s.chain.state().parts[2][0].faulty; len(got) > 0 {
			t.Errorf("%v are faulty", got)
		}
		if !slices.Contains(s.checker.doubted, 1) {
			t.Error("the checker is not told that a copy could not be read")
		}
	})
}

// TestPartialProofIsSentInTime: what nobody can read is left out, in time, and
// told with the reason.
func TestPartialProofIsSentInTime(t *testing.T) {
	for name, blind := range map[string]int{"for ever": 1000} {
		t.Run(name, func(t *testing.T) {
			simulate(t, oneDeadline(3), func(s *sim) {
				s.prover.blind = map[uint64]int{5: blind}
				s.prover.took = 5 * simDelay
				s.start()
				s.until(110)
				if got := s.chain.state().parts[2][2].faulty; !slices.Equal(got, []uint64{5}) {
					t.Errorf("faulty %v", got)
				}
				if d := s.stood[condition.SectorsSkipped]; !strings.Contains(d, "sector 5") || !strings.Contains(d, "no such file") || !strings.Contains(d, "/sealed") {
					t.Errorf("condition %q", d)
				}
			})
		})
	}
}

// TestStorageF12SectorsAreReadBeforeTheyAreDeclared: existence was enough for a
// declaration, which was retracted every day.
func TestStorageF12SectorsAreReadBeforeTheyAreDeclared(t *testing.T) {
	simulate(t, map[uint64][][]uint64{3: sectorsOf(0, 1)}, func(s *sim) {
		s.chain.states[0].parts[3][0].faulty = []uint64{1}
		s.checker.damaged = map[uint64]bool{1: true}
		s.start()
		s.until(250)
		if n := s.sent("recover"); n != 0 {
			t.Errorf("%d declarations of a damaged sector", n)
		}
		if s.stood[condition.RecoveryStuck] == "" {
			t.Error("nobody is told")
		}
	})
}

// TestFieldF10UselessRecoveriesBackOff: a sector that is readable here and by no
// slave is not declared every day.
func TestFieldF10UselessRecoveriesBackOff(t *testing.T) {
	simulate(t, map[uint64][][]uint64{3: {{0, 1}}}, func(s *sim) {
		s.chain.states[0].parts[3][0].faulty = []uint64{1}
		s.prover.broken = map[uint64]bool{1: true}
		s.start()
		s.until(930) // ten periods
		if n := s.sent("recover"); n < 2 || n > 5 {
			t.Errorf("%d declarations in ten periods", n)
		}
		if s.stood[condition.RecoveryUseless] == "" {
			t.Error("nobody is told")
		}
	})
}

// TestPosterF1PendingIsReplaced: a message under a risen base fee was never
// touched, and nobody was told.
func TestPosterF1PendingIsReplaced(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.start()
		s.until(44)
		s.chain.mu.Lock()
		m := s.chain.pool[0]
		m.held, m.cheap = true, true
		s.chain.mu.Unlock()
		s.until(110)
		if n := s.sender.counted("replace"); n == 0 {
			t.Error("never replaced")
		}
		if s.stood[condition.MessageStuck] == "" {
			t.Error("nobody is told")
		}
	})
}

// TestFieldF5EmptySenderIsLeft: an empty sender's message waited for ever.
func TestFieldF5EmptySenderIsLeft(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.start()
		s.until(44)
		s.chain.mu.Lock()
		m := s.chain.pool[0]
		m.held, m.unsigned, m.reason = true, true, "not enough funds"
		s.chain.mu.Unlock()
		s.until(110)
		s.chain.mu.Lock()
		defer s.chain.mu.Unlock()
		for _, m := range s.chain.pool {
			if id, err := address.IDFromAddress(m.msg.From); err != nil || id != 101 {
				t.Errorf("message %s went from %s", m.id, m.msg.From)
			}
		}
	})
}

// TestRealL8NoFundsAtPush: the sender that was refused is not chosen again.
func TestRealL8NoFundsAtPush(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		first, err := address.NewIDAddress(100)
		if err != nil {
			t.Fatal(err)
		}
		s.adjust = func(cfg *Config) { cfg.Sender = emptySender{s.sender, first} }
		s.start()
		s.until(110)
	})
}

// emptySender refuses what comes from one address.
type emptySender struct {
	*simSender
	empty address.Address
}

func (s emptySender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	if msg.From == s.empty {
		return message.Handle{}, message.Refuse(errors.New("not enough funds: 5 < 15"))
	}
	return s.simSender.Push(ctx, id, msg, spec)
}

// oddChain answers nonsense.
type oddChain struct {
	*simChain
	nilSectors bool
	oddUntil   abi.ChainEpoch
}

func (c oddChain) StateMinerSectors(ctx context.Context, a address.Address, b *bitfield.BitField, k lotus.TipSetKey) ([]*lotus.SectorOnChainInfo, error) {
	list, err := c.simChain.StateMinerSectors(ctx, a, b, k)
	if c.nilSectors {
		list = append(list, nil)
	}
	return append(list, list...), err
}

func (c oddChain) StateMinerProvingDeadline(ctx context.Context, a address.Address, k lotus.TipSetKey) (*dline.Info, error) {
	di, err := c.simChain.StateMinerProvingDeadline(ctx, a, k)
	if di != nil && di.CurrentEpoch <= c.oddUntil {
		odd := deadline.At(*di, deadline.Key{PeriodStart: di.PeriodStart - 1_000_000_000, Index: di.Index})
		return &odd, err
	}
	return di, err
}

// TestPosterF4AndF8NonsenseAnswers: null in a list killed the process, a
// deadline of 1e9 epochs ago killed the miner.
func TestPosterF4AndF8NonsenseAnswers(t *testing.T) {
	simulate(t, map[uint64][][]uint64{2: sectorsOf(0, 2), 3: sectorsOf(20, 1)}, func(s *sim) {
		s.chain.states[0].parts[3][0].faulty = []uint64{20}
		s.adjust = func(cfg *Config) { cfg.Chain = oddChain{s.chain, true, 23} }
		s.start()
		s.until(110)
		if n := s.sent("recover"); n != 1 {
			t.Errorf("%d declarations", n)
		}
	})
}

// TestFieldF15NothingIsSentForAWindowThatIsOver: a node that lags days behind
// made the manager send for windows of the past (also L11).
func TestFieldF15NothingIsSentForAWindowThatIsOver(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.genesis = s.genesis.Add(-200 * simDelay) // the clock says 221
		s.missedBy[window{0, 2}] = true
		s.start()
		for range 40 { // it catches up, five epochs at a time
			time.Sleep(simDelay)
			for range 5 {
				s.poster.OnHead(Head{TipSet: s.chain.grow(0)})
			}
		}
		if n := s.sent("wdpost-1008-0-2"); n != 0 {
			t.Errorf("%d messages for a window that was over", n)
		}
	})
}

// TestAWrongClockCostsNoWindow: this machine's clock is wrong, the node is not.
func TestAWrongClockCostsNoWindow(t *testing.T) {
	for _, by := range []abi.ChainEpoch{-100, 100} {
		t.Run(fmt.Sprint(by), func(t *testing.T) {
			simulate(t, map[uint64][][]uint64{3: sectorsOf(0, 1)}, func(s *sim) {
				s.genesis = s.genesis.Add(-time.Duration(by) * simDelay)
				s.start()
				s.until(110)
				if s.stood[condition.ClockUntrusted] == "" {
					t.Error("nobody is told")
				}
			})
		})
	}
}

// TestOutcomesAreTold: figures are counted from one stream.
func TestOutcomesAreTold(t *testing.T) {
	simulate(t, oneDeadline(4), func(s *sim) {
		s.start()
		s.until(110)
		got := map[What]int{}
		for _, o := range s.outcomes {
			if o.Kind == deadline.PoSt && o.Deadline == (deadline.Key{Index: 2}) {
				got[o.What]++
			}
			if o.What == RunEnded && o.Deadline == (deadline.Key{Index: 2}) && o.Kind == deadline.PoSt && (o.Verdict != deadline.Proven || o.Proven != 4 || o.Miner != 1008) {
				t.Errorf("%+v", o)
			}
		}
		for what, want := range map[What]int{RunEnded: 1, ProofMade: 2, MessagePushed: 2, MessageEnded: 2} {
			if got[what] != want {
				t.Errorf("%s is told %d times, want %d", what, got[what], want)
			}
		}
	})
}
