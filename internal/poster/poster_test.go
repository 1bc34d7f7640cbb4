package poster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/lotus"
)

// Deadline 2 of the simulation: Challenge 24, start 32, Open 40, submit 44, Close 60.
func oneDeadline(partitions int) map[uint64][][]uint64 {
	return map[uint64][][]uint64{2: sectorsOf(0, partitions)}
}

func TestStraightPath(t *testing.T) {
	for _, parallel := range []bool{false, true} {
		t.Run(fmt.Sprintf("parallel=%v", parallel), func(t *testing.T) {
			simulate(t, map[uint64][][]uint64{1: sectorsOf(100, 1), 2: sectorsOf(0, 7), 3: {{50}}}, func(s *sim) {
				s.conf.Parallel = parallel
				s.conf.MaxPartitionsPerPoStMessage = 5 // the network allows 3
				s.start()
				s.until(43)
				if n := s.sent("wdpost-1008-0-2"); n != 0 {
					t.Errorf("%d messages were sent before Open+4", n)
				}
				s.until(350)
				if got := s.sent("wdpost-1008-0-2"); got != 3 {
					t.Errorf("7 partitions went in %d messages, want 3, 3 and 1", got)
				}
				for key, n := range map[string]int{
					"Checked sectors": 1 + 3*5, "Submitted window post:": 1, "window post message succeeded:": 1, "deadline proven": 1, "it is capped": 1,
				} {
					if got := s.log.count(key); got < n {
						t.Errorf("the log has %q %d times, want at least %d", key, got, n)
					}
				}
				if n := s.log.count("it is capped"); n != 1 {
					t.Errorf("the cap is warned of %d times", n)
				}
			})
		})
	}
}

func TestStatus(t *testing.T) {
	simulate(t, oneDeadline(4), func(s *sim) {
		s.start()
		s.until(36)
		st := s.poster.Status()
		if len(st) != 1 || st[0].Head != 36 || st[0].Open.Index != 1 || len(st[0].Active) != 1 {
			t.Fatalf("status %+v", st)
		}
		if a := st[0].Active[0]; a.Phase != deadline.Working || len(a.Batches) != 2 || a.Batches[0].ID != "0,1,2" || a.Batches[0].Stage != deadline.Ready {
			t.Errorf("active %+v", a)
		}
		s.until(60)
		runs, err := s.poster.Recent(t.Context(), 1008, 5)
		if err != nil || len(runs) == 0 || runs[0].Ended == nil && runs[1].Ended == nil {
			t.Errorf("recent %+v, %v", runs, err)
		}
	})
}

// failFirst fails the first n calls of op; apply says whether they take effect
// all the same.
func failFirst(op string, n int, apply bool) fault {
	return func(o string, count int) (bool, error) {
		if o == op && count <= n {
			return apply, errInjected
		}
		return true, nil
	}
}

// TestBothHalvesOfEveryFailure lets each call fail a few times, with and
// without effect: the deadline is proven, with one message for each batch.
func TestBothHalvesOfEveryFailure(t *testing.T) {
	type target struct {
		op string
		of func(*sim) *faults
	}
	onSender := func(s *sim) *faults { return &s.sender.faults }
	onLedger := func(s *sim) *faults { return &s.ledger.faults }
	targets := []target{
		{"push", onSender}, {"find", onSender}, {"wait", onSender},
		{"prove", func(s *sim) *faults { return &s.prover.faults }},
		{"verify", func(s *sim) *faults { return &s.verifier.faults }},
		{"check", func(s *sim) *faults { return &s.checker.faults }},
	}
	for _, op := range []string{"OpenRun", "EndRun", "Runs", "PutProof", "Proofs", "PutMessage", "Messages"} {
		targets = append(targets, target{op, onLedger})
	}
	for _, tt := range targets {
		for _, apply := range []bool{false, true} {
			for _, times := range []int{1, 4} {
				t.Run(fmt.Sprintf("%s/apply=%v/%d times", tt.op, apply, times), func(t *testing.T) {
					simulate(t, oneDeadline(4), func(s *sim) {
						tt.of(s).set(failFirst(tt.op, times, apply))
						s.start()
						s.until(110)
						if n := s.sent("wdpost"); n != 2 {
							t.Errorf("%d messages for 2 batches", n)
						}
					})
				})
			}
		}
	}
}

func TestNodeFailures(t *testing.T) {
	for _, method := range []string{
		"ChainHead", "StateNetworkVersion", "StateMinerInfo", "StateMinerProvingDeadline", "StateMinerDeadlines",
		"StateMinerPartitions", "StateMinerSectors", "StateGetRandomnessFromTickets",
	} {
		t.Run(method, func(t *testing.T) {
			simulate(t, oneDeadline(4), func(s *sim) {
				left := 6
				s.chain.fail = func(m string) error {
					if m == method && left > 0 {
						left--
						return errInjected
					}
					return nil
				}
				s.start()
				s.until(110)
			})
		})
	}
}

func TestLedgerIsAwayAllTheTime(t *testing.T) {
	simulate(t, oneDeadline(4), func(s *sim) {
		s.noLedger = true
		s.ledger.set(func(string, int) (bool, error) { return false, errInjected })
		s.start()
		s.until(90)
		if s.log.count("deadline proven") != 1 {
			t.Error("the deadline was not proven")
		}
	})
}

// TestKilledAtEveryEpoch kills the manager at each epoch of a deadline and
// starts it again at the next: nothing is proven or sent twice.
func TestKilledAtEveryEpoch(t *testing.T) {
	for at := abi.ChainEpoch(30); at < 66; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			simulate(t, oneDeadline(4), func(s *sim) {
				s.conf.Parallel = true
				s.start()
				s.until(at)
				s.kill()
				s.tick()
				s.start()
				s.until(120)
				if n := s.sent("wdpost"); n != 2 {
					t.Errorf("%d messages for 2 batches", n)
				}
				most := 2
				if at >= 32 && at < 34 { // killed while proving
					most = 4
				}
				if n := s.prover.counted("prove"); n > most {
					t.Errorf("%d proofs for 2 batches", n)
				}
			})
		})
	}
}

// TestKilledAfterPushWasApplied loses the answer of a push and the process
// with it.
func TestKilledAfterPushWasApplied(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.sender.set(func(op string, n int) (bool, error) { return true, errInjected })
		s.start()
		s.until(44)
		s.kill()
		s.sender.set(nil)
		s.start()
		s.until(110)
		if n := s.sent("wdpost"); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

// TestPushIsNeverAnswered holds both halves over the whole window: the outcome
// is what the chain says.
func TestPushIsNeverAnswered(t *testing.T) {
	for _, apply := range []bool{false, true} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("apply=%v,killed=%v", apply, killed), func(t *testing.T) {
				simulate(t, oneDeadline(1), func(s *sim) {
					s.missedBy[window{0, 2}] = !apply
					s.sender.set(func(op string, _ int) (bool, error) {
						if op == "push" {
							return apply, errInjected
						}
						return true, nil
					})
					s.chain.mu.Lock() // the chain must not show it either before the end
					s.chain.hold = true
					s.chain.mu.Unlock()
					s.start()
					s.until(57)
					if killed {
						s.kill()
					}
					s.chain.mu.Lock()
					s.chain.hold = false
					s.chain.mu.Unlock()
					s.until(75)
					if killed {
						s.start()
					}
					s.until(125)
					if n := s.sent("wdpost"); n > 1 {
						t.Errorf("%d messages", n)
					}
					cause := "last error: push message wdpost-1008-0-2" // L9: not that it was never handed over
					if killed {
						cause = "the manager was not running when the window closed"
					}
					if n := s.log.count(cause); !apply && n == 0 {
						t.Error("the log does not tell why nothing was handed over")
					}
				})
			})
		}
	}
}

// TestAnotherProcessProves lets a message that is not ours prove some of the
// partitions before ours are sent.
func TestAnotherProcessProves(t *testing.T) {
	for _, tt := range []struct {
		name     string
		theirs   []uint64
		sent     int
		messages string
	}{
		{"a whole message", []uint64{0, 1, 2}, 1, "-3-1"},
		{"part of a message", []uint64{1}, 2, "-0,2-1"},
		{"everything", []uint64{0, 1, 2, 3}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, oneDeadline(4), func(s *sim) {
				s.start()
				s.until(41)
				s.chain.mu.Lock()
				for i, group := range [][]uint64{tt.theirs[:min(3, len(tt.theirs))], tt.theirs[min(3, len(tt.theirs)):]} {
					if len(group) > 0 {
						s.chain.pool = append(s.chain.pool, s.foreign(fmt.Sprint("theirs ", i), group))
					}
				}
				s.foreignIDs = "theirs"
				s.another = tt.name != "part of a message"
				s.chain.mu.Unlock()
				s.until(110)
				if n := s.sent("wdpost"); n != tt.sent {
					t.Errorf("%d messages, want %d", n, tt.sent)
				}
				if s.stood[condition.ProvenByAnother] == "" && tt.name != "part of a message" {
					t.Error("nobody is told that another manager works for the miner")
				}
				if tt.messages != "" && s.log.count(tt.messages) == 0 {
					t.Errorf("no message %s", tt.messages)
				}
			})
		})
	}
}

func TestMailboxKeepsTheLowestRevert(t *testing.T) {
	head := func(height, reverted abi.ChainEpoch) Head {
		return Head{TipSet: &lotus.TipSet{Height: height}, RevertedFrom: reverted}
	}
	b := newMailbox()
	b.put(head(10, 0))
	b.put(head(11, 9))
	b.put(head(12, 0))
	b.put(head(12, 11))
	if h, ok := b.take(); !ok || h.TipSet.Height != 12 || h.RevertedFrom != 9 {
		t.Errorf("took %+v, %v", h, ok)
	}
	if _, ok := b.take(); ok {
		t.Error("took twice")
	}
	b.put(head(13, 0))
	b.putBack(head(12, 8))
	if h, ok := b.take(); !ok || h.TipSet.Height != 13 || h.RevertedFrom != 8 {
		t.Errorf("took %+v, %v", h, ok)
	}
	b.putBack(head(12, 8))
	if h, ok := b.take(); !ok || h.TipSet.Height != 12 || h.RevertedFrom != 8 {
		t.Errorf("took %+v, %v", h, ok)
	}
}

// TestAwayAcrossClose is away from before the close of a window till after it.
func TestAwayAcrossClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed abi.ChainEpoch
		missed bool
	}{{"before the proof", 32, true}, {"proof kept", 40, true}, {"message sent", 45, false}, {"landed", 50, false}} {
		t.Run(tt.name, func(t *testing.T) {
			simulate(t, oneDeadline(2), func(s *sim) {
				s.missedBy[window{0, 2}] = tt.missed
				s.start()
				s.until(tt.killed)
				s.kill()
				s.until(75)
				s.start()
				s.until(130)
			})
		})
	}
}

func TestMissingSectors(t *testing.T) {
	t.Run("some are skipped", func(t *testing.T) {
		simulate(t, oneDeadline(3), func(s *sim) {
			s.checker.lose(map[uint64]bool{1: true, 4: true})
			s.start()
			s.until(110)
			if got := s.chain.state().parts[2]; !slices.Equal(got[0].faulty, []uint64{1}) || !slices.Equal(got[2].faulty, []uint64{4}) || len(got[1].faulty) > 0 {
				t.Errorf("partitions %+v", got)
			}
		})
	})
	t.Run("a whole partition, for a while", func(t *testing.T) {
		simulate(t, oneDeadline(3), func(s *sim) {
			s.checker.lose(map[uint64]bool{2: true, 3: true})
			s.start()
			s.until(48)
			if n := s.sent("wdpost"); n != 1 {
				t.Errorf("%d messages while partition 1 is away", n)
			}
			s.checker.lose(nil)
			s.until(110)
		})
	})
	t.Run("a whole partition, for good", func(t *testing.T) {
		simulate(t, oneDeadline(3), func(s *sim) {
			s.checker.lose(map[uint64]bool{2: true, 3: true})
			s.missedBy[window{0, 2}] = true
			s.start()
			s.until(110)
			s.ledger.inner.Lock()
			reason := s.ledger.runs[ledger.RunKey{Miner: 1008, Deadline: 2}].Ended.Reason
			s.ledger.inner.Unlock()
			if !strings.Contains(reason, "partitions 1") || !strings.Contains(reason, "no sealed file") {
				t.Errorf("reason %q", reason)
			}
		})
	})
}

func TestProverFindsBrokenSectors(t *testing.T) {
	for _, peer := range []bool{false, true} {
		t.Run(fmt.Sprintf("peer=%v", peer), func(t *testing.T) {
			simulate(t, oneDeadline(3), func(s *sim) {
				s.prover.peer = peer
				s.prover.broken = map[uint64]bool{0: true, 1: true, 5: true}
				s.missedBy[window{0, 2}] = true // partition 0 has nothing left
				s.start()
				s.until(110)
				if got := s.chain.state().parts[2]; !slices.Equal(got[2].faulty, []uint64{5}) || len(got[1].faulty) > 0 {
					t.Errorf("partitions %+v", got)
				}
			})
		})
	}
}

func TestWrongProofsAreNeverSent(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.prover.wrong = true
		s.missedBy[window{0, 2}] = true
		s.start()
		s.until(110)
		if n := s.sent("wdpost"); n != 0 {
			t.Errorf("%d messages with wrong proofs", n)
		}
	})
}

func TestProverPanics(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.prover.set(func(_ string, n int) (bool, error) {
			if n <= 2 {
				panic("defect")
			}
			return true, nil
		})
		s.start()
		s.until(110)
	})
}

func TestFailedReceiptIsSentAgain(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.start()
		s.until(43)
		s.tick() // the message is pushed at 44, executed from 45 on
		s.chain.mu.Lock()
		s.chain.pool[0].outcome = 7 // out of gas
		s.chain.mu.Unlock()
		s.until(120)
		if n := s.sent("wdpost"); n != 2 {
			t.Errorf("%d messages, want the failed one and another", n)
		}
		if n := s.prover.counted("prove"); n != 1 {
			t.Errorf("%d proofs", n)
		}
	})
}

func TestMessageLandsAfterClose(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.sloppy = true
		s.missedBy[window{0, 2}] = true
		s.start()
		s.until(44)
		s.chain.mu.Lock()
		s.chain.pool[0].held, s.chain.pool[0].stuck = true, true
		s.chain.mu.Unlock()
		s.until(62)
		s.chain.mu.Lock()
		s.chain.pool[0].held = false
		s.chain.mu.Unlock()
		s.until(120)
	})
}

func TestReorgs(t *testing.T) {
	for _, at := range []abi.ChainEpoch{33, 39, 41, 45, 46, 49, 55} {
		for _, depth := range []abi.ChainEpoch{1, 3, 8, 20, 30} {
			t.Run(fmt.Sprintf("at %d depth %d", at, depth), func(t *testing.T) {
				simulate(t, oneDeadline(4), func(s *sim) {
					s.reopened = true
					s.sloppy = at-depth < 24 // sent with tickets of the other fork
					s.start()
					s.until(at)
					s.reorg(max(at-depth+1, 22))
					s.until(120)
				})
			})
		}
	}
}

func TestBeaconChanges(t *testing.T) {
	simulate(t, oneDeadline(1), func(s *sim) {
		s.start()
		s.until(42)
		s.chain.mu.Lock()
		s.chain.salt++
		s.chain.mu.Unlock()
		s.until(110)
		if n := s.prover.counted("prove"); n != 2 {
			t.Errorf("%d proofs, want one for each randomness", n)
		}
		if n := s.sent("wdpost"); n != 1 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestHeadsStopForAWhile(t *testing.T) {
	simulate(t, map[uint64][][]uint64{2: sectorsOf(0, 1), 4: sectorsOf(10, 1)}, func(s *sim) {
		s.start()
		s.until(30)
		s.missedBy[window{0, 2}] = true
		for range 40 { // the chain grows, nobody tells
			time.Sleep(simDelay)
			s.chain.grow(0)
		}
		if n := s.log.count("no new head"); n != 4 { // after 3, 6, 12 and 24 epochs
			t.Errorf("the silence is told %d times", n)
		}
		s.until(200)
	})
}

// otherMiners is a node that knows one miner; about all others it says nothing
// for as long as it is asked.
type otherMiners struct{ *simChain }

func (c otherMiners) StateMinerProvingDeadline(ctx context.Context, maddr address.Address, tsk lotus.TipSetKey) (*dline.Info, error) {
	if id, err := address.IDFromAddress(maddr); err != nil || id != uint64(c.miner) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return c.simChain.StateMinerProvingDeadline(ctx, maddr, tsk)
}

func TestAMinerThatHangsCostsOnlyItself(t *testing.T) {
	simulate(t, oneDeadline(2), func(s *sim) {
		s.adjust = func(cfg *Config) {
			cfg.Chain = otherMiners{s.chain}
			cfg.Miners = append([]MinerConfig{{Miner: 7}}, cfg.Miners...)
		}
		s.start()
		s.until(110)
		if st := s.poster.Status(); len(st) != 2 || st[0].Open != nil || st[1].Head != 110 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestBadConfig(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "block delay"},
		{Config{BlockDelay: 1, Miners: []MinerConfig{{Miner: 1}, {Miner: 1}}}, "configured twice"},
		{Config{BlockDelay: 1, Miners: []MinerConfig{{Miner: 1, ChallengeConfidence: -1}}}, "ChallengeConfidence"},
		{Config{BlockDelay: 1, Miners: []MinerConfig{{Miner: 1, SubmitConfidence: -1}}}, "SubmitConfidence"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q in it", tt.cfg, err, tt.want)
		}
	}
}

func TestNullRounds(t *testing.T) {
	simulate(t, map[uint64][][]uint64{2: sectorsOf(0, 1), 3: sectorsOf(10, 2)}, func(s *sim) {
		s.start()
		r := rand.New(rand.NewPCG(1, 2))
		for s.chain.head().Height < 150 {
			nulls := abi.ChainEpoch(r.IntN(3))
			time.Sleep(time.Duration(nulls) * simDelay)
			s.chain.grow(nulls)
			s.tick()
		}
	})
}

// TestRandomTrouble lets everything fail now and then, kills the manager and
// reorganises the chain: every window is proven and told right.
func TestRandomTrouble(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			simulate(t, map[uint64][][]uint64{0: sectorsOf(0, 4), 2: sectorsOf(20, 1), 3: {{40}, {41, 42}}, 4: sectorsOf(60, 7)}, func(s *sim) {
				r := rand.New(rand.NewPCG(seed, 7))
				s.sloppy, s.reopened = true, true
				s.conf.Parallel = r.IntN(2) == 0
				var mu sync.Mutex
				draw := func(n int) int {
					mu.Lock()
					defer mu.Unlock()
					return r.IntN(n)
				}
				trouble := func(string, int) (bool, error) {
					if draw(8) == 0 {
						return draw(2) == 0, errInjected
					}
					return true, nil
				}
				s.sender.set(trouble)
				s.prover.set(trouble)
				s.checker.set(trouble)
				s.verifier.set(trouble)
				s.start()
				for s.chain.head().Height < 400 && !t.Failed() {
					s.tick()
					switch draw(25) {
					case 0:
						s.kill()
						s.tick()
						s.start()
					case 1:
						s.reorg(max(s.chain.head().Height-abi.ChainEpoch(draw(4)), s.began+1))
					}
				}
			})
		})
	}
}
