package chaos

import (
	"net/http"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
	"wdpost/internal/task"
	"wdpost/lab/devnet/simchain"
)

// fault is one thing that goes wrong and ends again.
type fault struct {
	name string
	long bool // it may last for the whole window, and still the window can be proven
	// begin makes it so, end undoes it.
	begin func(w *world, p *planted) (end func())
}

// planted is what a window's faults excuse.
type planted struct {
	names   []string
	skipped map[uint64]bool // sectors that nobody can read
	missed  map[uint64]bool // partitions that nothing can save
	killed  bool            // the ledger may lack what was known
}

// onDoor is a fault of calls that match.
func onDoor(name string, long bool, makeWay func(w *world) func(host, method string) *way) fault {
	return fault{name: name, long: long, begin: func(w *world, _ *planted) func() { return w.door.set(makeWay(w)) }}
}

// everywhere hits every call of every node; first only those of the first of
// two nodes, which may last.
func everywhere(name string, some way) fault {
	return onDoor(name, false, func(*world) func(string, string) *way {
		return func(string, string) *way { return &some }
	})
}

func first(name string, some way) fault {
	return onDoor(name, true, func(w *world) func(string, string) *way {
		return func(host, _ string) *way {
			if host == "node0" && len(w.hosts) > 1 {
				return &some
			}
			return nil
		}
	})
}

// thrice hits the next three calls of a method.
func thrice(name, method string, some way) fault {
	return onDoor(name, true, func(*world) func(string, string) *way {
		left := 3
		return func(_, m string) *way {
			if left == 0 || !strings.HasPrefix(m, method) {
				return nil
			}
			left--
			return &some
		}
	})
}

// ofMethod hits every call of one method for a while.
func ofMethod(method string, some way) fault {
	return onDoor("only "+method+" fails", false, func(*world) func(string, string) *way {
		return func(_, m string) *way {
			if m == method {
				return &some
			}
			return nil
		}
	})
}

// onNode is a fault of the simulated node itself.
func onNode(name string, long bool, set func(n *simchain.Node, on bool)) fault {
	return fault{name: name, long: long, begin: func(w *world, _ *planted) func() {
		n := w.chain.NodeAt(0)
		set(n, true)
		return func() { set(n, false) }
	}}
}

// onPlant is a fault of provers and stores.
func onPlant(name string, set, unset func(p *plant)) fault {
	return fault{name: name, begin: func(w *world, _ *planted) func() {
		w.plant.set(set)
		return func() { w.plant.set(unset) }
	}}
}

// catalogue lists every fault.
func catalogue() []fault {
	return append(append(nodeFaults(), moneyFaults()...), ownFaults()...)
}

func nodeFaults() []fault {
	list := []fault{
		everywhere("the nodes hang", way{hang: true}),
		everywhere("the nodes are slow", way{slow: 8 * time.Second}),
		everywhere("the nodes answer 500", way{refuse: http.StatusInternalServerError}),
		everywhere("the nodes answer 401", way{refuse: http.StatusUnauthorized}),
		everywhere("the nodes answer 429", way{refuse: http.StatusTooManyRequests}),
		everywhere("the nodes answer garbage", way{odd: true}),
		first("the first node hangs", way{hang: true}),
		first("the first node refuses", way{refuse: http.StatusBadGateway}),
		first("the first node answers errors", way{failed: "state is pruned"}),
		thrice("the answer of a push is lost", "MpoolPush", way{lost: true}),
		thrice("a push is refused", "MpoolPush", way{failed: "mpool is full"}),
		thrice("the messager's answer is lost", "PushMessageWithId", way{lost: true}),
		thrice("the messager refuses", "PushMessageWithId", way{failed: "database is locked"}),
		onDoor("the messager hangs", false, func(*world) func(string, string) *way {
			return func(host, _ string) *way {
				if host == "messager" {
					return &way{hang: true}
				}
				return nil
			}
		}),
		thrice("a signature is refused", "WalletSign", way{failed: "wallet is locked"}),
		ofMethod("StateMinerPartitions", way{failed: "state is pruned"}),
		ofMethod("StateMinerDeadlines", way{hang: true}),
		ofMethod("StateMinerSectors", way{odd: true}),
		ofMethod("StateGetRandomnessFromBeacon", way{failed: "no beacon entry"}),
		ofMethod("StateSearchMsg", way{failed: "ipld: could not find bafy"}),
		ofMethod("GasEstimateGasLimit", way{hang: true}),
		ofMethod("MpoolPending", way{hang: true}),
		ofMethod("ChainHead", way{refuse: http.StatusBadGateway}),
		onNode("the head stands still", false, func(n *simchain.Node, on bool) { n.Freeze(on) }),
		onNode("the node answers an old head", false, func(n *simchain.Node, on bool) { n.AnswerOld(on) }),
		onNode("the node lags", false, func(n *simchain.Node, on bool) {
			if on {
				n.Lag(3)
			} else {
				n.Lag(0)
			}
		}),
		onNode("messages do not leave the node", false, func(n *simchain.Node, on bool) { n.Cut(on) }),
		{name: "the node is set up anew", long: true, begin: func(w *world, _ *planted) func() {
			w.chain.NodeAt(0).Forget()
			return func() {}
		}},
		{name: "heads are not passed on", begin: func(w *world, _ *planted) func() {
			w.mu.Lock()
			w.deaf = true
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.deaf = false
			}
		}},
		{name: "the head stream is reset again and again", begin: func(w *world, _ *planted) func() {
			w.mu.Lock()
			w.resets = true
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.resets = false
			}
		}},
		{name: "the network is upgraded", long: true, begin: func(w *world, _ *planted) func() {
			w.chain.Upgrade(w.chain.NetworkVersion(w.chain.Epoch()) + 1)
			return func() {}
		}},
		{name: "a sector is terminated", long: true, begin: func(w *world, _ *planted) func() {
			m, _ := w.chain.LatestState().Miner(minerID)
			parts := m.Deadlines[w.target.index].Partitions
			if live := parts[w.rand.IntN(len(parts))].Active(); len(live) > 1 {
				w.chain.Terminate(minerID, live[w.rand.IntN(len(live))])
			}
			return func() {}
		}},
		{name: "null rounds", begin: func(w *world, _ *planted) func() {
			w.nulls = 1 + w.rand.IntN(6)
			return func() {}
		}},
	}
	for _, drop := range []bool{false, true} {
		name := "a reorg"
		if drop {
			name = "a reorg that loses messages"
		}
		list = append(list, fault{name: name, long: true, begin: func(w *world, _ *planted) func() {
			if err := w.chain.Reorg(w.t.Context(), 1+w.rand.IntN(8), drop); err != nil {
				w.t.Fatal(err)
			}
			return func() {}
		}})
	}
	return list
}

// usualFee is the base fee in quiet times, in attoFIL. The fee is what it is told
// to be: what a rule does to it over hours would lift it over any limit.
var usualFee = big.NewInt(1e8)

func moneyFaults() []fault {
	balance := func(w *world, id uint64, fil int64) {
		if err := w.chain.SetBalance(key(w.t, id), big.Mul(big.NewInt(fil), big.NewInt(1e18))); err != nil {
			w.t.Fatal(err)
		}
	}
	keyOf := func(name string, id uint64) fault {
		return fault{name: name, long: true, begin: func(w *world, _ *planted) func() {
			set := func(held bool) {
				w.mail.LoseWallet(abi.ActorID(id), !held)
				for _, n := range w.chain.Nodes() {
					n.SetKey(key(w.t, id), held)
				}
			}
			set(false)
			return func() { set(true) }
		}}
	}
	drained := func(name string, back int64, ids ...uint64) fault {
		return fault{name: name, long: true, begin: func(w *world, _ *planted) func() {
			for _, id := range ids {
				balance(w, id, 0)
			}
			return func() {
				for _, id := range ids {
					balance(w, id, back)
				}
			}
		}}
	}
	return []fault{
		{name: "the base fee is above the cap", long: true, begin: func(w *world, _ *planted) func() {
			w.chain.SetBaseFee(big.NewInt(10e9), 0)
			return func() { w.chain.SetBaseFee(usualFee, 0) }
		}},
		{name: "others fill the blocks", long: true, begin: func(w *world, _ *planted) func() {
			w.chain.SetDemand(simchain.Demand{Gas: 9e9, Premium: big.NewInt(3e5)})
			return func() { w.chain.SetDemand(simchain.Demand{}) }
		}},
		{name: "messages stay until they are replaced", long: true, begin: func(w *world, _ *planted) func() {
			w.chain.Hold(func(m *lotus.Message) bool { return true })
			return func() { w.chain.Hold(nil) }
		}},
		{name: "pending messages are put out of the pools", long: true, begin: func(w *world, _ *planted) func() {
			for _, m := range w.chain.Pending() {
				if c, err := simchain.MessageCid(&m.Message); err == nil {
					w.chain.Evict(c)
				}
			}
			return func() {}
		}},
		drained("the control address is drained", 100, controlID),
		drained("the worker is drained", 500, workerID),
		drained("control address and worker are drained", 300, controlID, workerID),
		keyOf("the control address's key is gone", controlID),
		keyOf("the worker's key is gone", workerID),
	}
}

func ownFaults() []fault {
	return []fault{
		{name: "the ledger hangs", long: true, begin: func(w *world, p *planted) func() {
			p.killed = true
			hang := make(chan struct{})
			w.book.set(func(b *book) { b.hang = hang })
			return func() {
				w.book.set(func(b *book) { b.hang = nil })
				close(hang)
			}
		}},
		{name: "the ledger fails", long: true, begin: func(w *world, p *planted) func() {
			p.killed = true
			w.book.set(func(b *book) { b.err = errPlant })
			return func() { w.book.set(func(b *book) { b.err = nil }) }
		}},
		{name: "kill -9", begin: func(w *world, p *planted) func() {
			p.killed = true
			w.kill()
			return w.restart
		}},
		{name: "another manager works too", long: true, begin: func(w *world, p *planted) func() {
			p.killed = true // what it proves is proven by another
			if w.rival != nil {
				return func() {}
			}
			w.rival = w.launch(newLedger(w.t), nil)
			return func() {
				w.rival.end()
				w.rival = nil
			}
		}},
		{name: "stopped", begin: func(w *world, p *planted) func() {
			p.killed = true
			w.stop()
			return w.restart
		}},
		{name: "one partition's prover hangs for a while", begin: func(w *world, _ *planted) func() {
			n := uint64(w.rand.IntN(4))
			w.plant.set(func(p *plant) {
				p.hang = func(q task.Question) bool {
					for _, i := range q.Partitions {
						if i == n {
							return true
						}
					}
					return false
				}
			})
			return func() { w.plant.set(func(p *plant) { p.hang = nil }) }
		}},
		onPlant("questions fail", func(p *plant) { p.fail = 4 }, func(p *plant) { p.fail = 0 }),
		onPlant("proofs are wrong", func(p *plant) { p.wrong = 3 }, func(p *plant) { p.wrong = 0 }),
		onPlant("proofs cannot be verified", func(p *plant) { p.verify = 10 }, func(p *plant) { p.verify = 0 }),
		onPlant("proving is slow", func(p *plant) { p.took = 8 * time.Minute }, func(p *plant) { p.took = 2 * time.Minute }),
		onPlant("the check of sectors hangs", func(p *plant) { p.stuck = true }, func(p *plant) { p.stuck = false }),
		onPlant("one slave lacks a mount", func(p *plant) {
			p.unseen = func(n uint64, round int) bool { return n%3 == 0 && round == 0 }
		}, func(p *plant) { p.unseen = nil }),
		sectorsGone("sectors are damaged", func(p *plant, set map[uint64]bool) { p.damaged = set }),
		sectorsGone("sectors are missing", func(p *plant, set map[uint64]bool) { p.missing = set }),
	}
}

// sectorsGone takes sectors of the window's deadline away: they may be skipped,
// and a partition of which all are gone may be missed.
func sectorsGone(name string, lose func(*plant, map[uint64]bool)) fault {
	return fault{name: name, long: true, begin: func(w *world, p *planted) func() {
		gone := map[uint64]bool{}
		at := int(w.target.index)
		from := 0
		for d := range at {
			from += partitionsOf[d] * partitionSectors
		}
		for i := range partitionsOf[at] {
			for s := range partitionSectors {
				if w.rand.IntN(3) == 0 {
					n := uint64(from + i*partitionSectors + s)
					gone[n], p.skipped[n] = true, true
				}
			}
			if a := uint64(from + i*partitionSectors); gone[a] && gone[a+1] {
				p.missed[uint64(i)] = true
			}
		}
		w.plant.set(func(p *plant) { lose(p, gone) })
		return func() { w.plant.set(func(p *plant) { lose(p, nil) }) }
	}}
}

// lasts draws for how many epochs a fault lasts.
func (f fault) lasts(w *world) abi.ChainEpoch {
	if f.long && w.rand.IntN(3) == 0 {
		return 90
	}
	return abi.ChainEpoch(1 + w.rand.IntN(12))
}
