// Package messagetest holds implementations of message.Sender to their
// contract: a model of the services behind them (World), the suite (Run), and a
// decorator that makes any Sender fail (Faulty).
package messagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// The two kinds of failure that a World's fault answers with: a broken line,
// and a refusal of the service.
var (
	ErrLine   = &endpoint.CallError{Service: "fake", Method: "any", Kind: endpoint.ErrUnreachable, Err: errors.New("connection reset")}
	ErrAnswer = answered("message execution failed (exit=[16])")
)

func answered(words string) error {
	return &endpoint.CallError{Service: "fake", Method: "any", Kind: endpoint.ErrAnswered, Err: errors.New(words)}
}

// entry is one message that the service knows.
type entry struct {
	id       string // of the messager, or the UUID
	msg      lotus.Message
	cid      cid.Cid
	forms    []cid.Cid // earlier ones, replaced
	unsigned bool      // a messager has not signed it
	reason   string    // why it is not signed, or not pushed
	executed bool
	height   abi.ChainEpoch
	exit     exitcode.ExitCode
	failed   string // marked as failed, or gone from the mempool
	conflict bool   // its nonce was taken
}

func (e *entry) pending() bool { return !e.executed && e.failed == "" }

// World is the service behind a Sender and the chain behind that, in memory.
type World struct {
	mu      sync.Mutex
	entries []*entry
	head    abi.ChainEpoch
	nonces  uint64
	fault   func(method string) (apply bool, err error)
	keys    []address.Address
	maxFee  big.Int // of the last push
	holdOff string  // why a messager signs nothing
}

// NewWorld returns a world without messages at epoch 100, with the key of
// account 100.
func NewWorld() *World { return &World{head: 100, keys: []address.Address{Key(ID(100))}} }

// Fault decides over each call of the service from now on, by method ("push",
// "look", "replace", "estimate", "wallet", "giveup"): whether it takes effect
// and what is answered. nil ends that.
func (w *World) Fault(f func(method string) (apply bool, err error)) { w.set(func() { w.fault = f }) }

// Away makes every call fail with a broken line and without effect.
func (w *World) Away() { w.Fault(func(string) (bool, error) { return false, ErrLine }) }

// enter asks the fault for a call's fate.
func (w *World) enter(method string) (apply bool, err error) {
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	if fault == nil {
		return true, nil
	}
	return fault(method)
}

func (w *World) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// Sent is how many messages were accepted in all.
func (w *World) Sent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.entries)
}

// HoldOff makes a messager leave messages unsigned for a reason; "" ends that.
// A node knows no such state.
func (w *World) HoldOff(reason string) {
	w.set(func() {
		w.holdOff = reason
		for _, e := range w.entries {
			if e.pending() && e.unsigned {
				e.unsigned, e.reason = reason != "", reason
			}
		}
	})
}

// Execute executes the pending message with the lowest nonce at the next height.
func (w *World) Execute(exit exitcode.ExitCode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head++
	for _, e := range w.entries {
		if e.pending() && !e.unsigned {
			e.executed, e.height, e.exit = true, w.head, exit
			return
		}
	}
	panic("nothing pending")
}

// Advance moves the head on.
func (w *World) Advance(n abi.ChainEpoch) { w.set(func() { w.head += n }) }

// TakeNonce executes a foreign message under the nonce of the oldest one.
func (w *World) TakeNonce() {
	w.Execute(exitcode.Ok)
	w.set(func() { w.entries[0].conflict = true })
}

// Forget makes the service lose all it knows.
func (w *World) Forget() { w.set(func() { w.entries = nil }) }

// Drop takes the oldest message out of the mempool, or marks it as failed at a
// messager.
func (w *World) Drop(why string) { w.set(func() { w.entries[0].failed = why }) }

// Price is what the i-th message offers.
func (w *World) Price(i int) (feeCap, premium big.Int, limit int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.entries[i].msg
	return m.GasFeeCap, m.GasPremium, m.GasLimit
}

// MaxFee is the limit that came with the last push.
func (w *World) MaxFee() big.Int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.maxFee
}

// TakenBack reports whether the i-th message will not be executed any more:
// marked as failed, or overtaken by a transfer of nothing.
func (w *World) TakenBack(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[i]
	return e.failed != "" || e.msg.To == e.msg.From && e.msg.Method == 0
}

func (w *World) byID(id string) *entry {
	i := slices.IndexFunc(w.entries, func(e *entry) bool { return e.id == id })
	if i < 0 {
		return nil
	}
	return w.entries[i]
}

func (w *World) byCID(c cid.Cid) *entry {
	for _, e := range w.entries {
		if e.cid.Equals(c) || slices.ContainsFunc(e.forms, c.Equals) {
			return e
		}
	}
	return nil
}

// accept stores a message; the caller holds mu.
func (w *World) accept(id string, msg lotus.Message) *entry {
	msg.From = Key(msg.From)
	msg.Nonce = w.nonces
	w.nonces++
	if msg.GasLimit == 0 {
		msg.GasLimit = 1000
	}
	if msg.GasPremium.IsZero() {
		msg.GasPremium = big.NewInt(200)
	}
	if msg.GasFeeCap.IsZero() {
		msg.GasFeeCap = big.NewInt(400)
	}
	e := &entry{id: id, msg: msg, cid: cidOf(fmt.Sprint(id, len(w.entries)))}
	w.entries = append(w.entries, e)
	return e
}

// reprice puts a message in the place of its earlier form; the caller holds mu.
func (e *entry) reprice(m lotus.Message) error {
	least := big.Div(big.Mul(e.msg.GasPremium, big.NewInt(125)), big.NewInt(100))
	if !m.GasPremium.GreaterThan(least) {
		return answered("replace by fee has too low GasPremium")
	}
	e.forms = append(e.forms, e.cid)
	e.msg, e.cid = m, cidOf(fmt.Sprint(e.id, "again", len(e.forms)))
	return nil
}

func (w *World) tipset() *lotus.TipSet {
	return &lotus.TipSet{Height: w.head, Cids: []cid.Cid{cidOf(fmt.Sprint("block", w.head))}, Blocks: []*lotus.BlockHeader{{Height: w.head}}}
}

func cidOf(s string) cid.Cid {
	mh, err := multihash.Sum([]byte(s), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh)
}

// Key gives every ID address a key address.
func Key(a address.Address) address.Address {
	if a.Protocol() != address.ID {
		return a
	}
	k, err := address.NewSecp256k1Address(a.Payload())
	if err != nil {
		panic(err)
	}
	return k
}

// ID is the ID address of an actor.
func ID(n uint64) address.Address {
	a, err := address.NewIDAddress(n)
	if err != nil {
		panic(err)
	}
	return a
}

// Post is a message from account 100 to miner 1008, different for each n.
func Post(n byte) *lotus.Message {
	return &lotus.Message{To: ID(1008), From: ID(100), Method: 5, Params: []byte{n}}
}
