package simchain

import (
	"maps"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// Record is the life of one message that was pushed, whatever became of it.
type Record struct {
	Signed *lotus.SignedMessage
	Cid    cid.Cid
	Sender abi.ActorID
	Source string         // who pushed it: "node" or "messager"
	Pushed abi.ChainEpoch // when it entered the pool
	// Height is the epoch in which it was executed on the present chain, 0 if
	// it was not.
	Height   abi.ChainEpoch
	ExitCode exitcode.ExitCode
	Failure  string // the actor's words
	// ReplacedBy is the message that took its nonce in the pool.
	ReplacedBy *cid.Cid
	Dropped    bool // lost in a reorganisation
}

// pool holds the messages that wait for a tipset, and the records of all. Its
// owner's lock guards it.
type pool struct {
	pending map[abi.ActorID]map[uint64]*pooled
	byUUID  map[string]*lotus.SignedMessage
	records map[cid.Cid]*Record
	order   []*Record
	landed  map[slot]landing
	hold    func(*lotus.Message) bool
}

type pooled struct {
	msg   *lotus.SignedMessage
	stuck bool // never mined, until it is replaced
}

// slot is the place of a message in its sender's order.
type slot struct {
	sender abi.ActorID
	nonce  uint64
}

// landing says where a slot was filled on the present chain.
type landing struct {
	at    *entry
	index int
}

func newPool() *pool {
	return &pool{
		pending: map[abi.ActorID]map[uint64]*pooled{},
		byUUID:  map[string]*lotus.SignedMessage{},
		records: map[cid.Cid]*Record{},
		landed:  map[slot]landing{},
	}
}

// nextNonce is the lowest nonce of an account that is free, given the nonce of
// its state.
func (p *pool) nextNonce(sender abi.ActorID, state uint64) uint64 {
	for p.pending[sender][state] != nil {
		state++
	}
	return state
}

// add puts a message into the pool. A message of the same nonce is replaced.
func (p *pool) add(m *lotus.SignedMessage, r *Record) {
	if p.pending[r.Sender] == nil {
		p.pending[r.Sender] = map[uint64]*pooled{}
	}
	old := p.pending[r.Sender][m.Message.Nonce]
	if old != nil {
		if rec := p.records[*old.msg.CID]; rec != nil {
			rec.ReplacedBy = m.CID
		}
	}
	stuck := old == nil && p.hold != nil && p.hold(&m.Message)
	p.pending[r.Sender][m.Message.Nonce] = &pooled{msg: m, stuck: stuck}
	if p.records[r.Cid] == nil {
		p.records[r.Cid] = r
		p.order = append(p.order, r)
	}
}

// restore puts a message of a reverted tipset back, or loses it.
func (p *pool) restore(m *lotus.SignedMessage, sender abi.ActorID, drop bool) {
	if drop {
		if r := p.records[*m.CID]; r != nil {
			r.Dropped = true
		}
		return
	}
	if p.pending[sender] == nil {
		p.pending[sender] = map[uint64]*pooled{}
	}
	p.pending[sender][m.Message.Nonce] = &pooled{msg: m}
}

// selectFor returns the messages that can be executed on a state at a base fee,
// in the order of senders and nonces. A producer of the given height cannot know
// what was pushed later, even when it is played later in a reorganisation.
func (p *pool) selectFor(st *State, fee big.Int, height abi.ChainEpoch) []*lotus.SignedMessage {
	var out []*lotus.SignedMessage
	for _, sender := range slices.Sorted(maps.Keys(p.pending)) {
		for n := st.Nonce(sender); ; n++ {
			m := p.pending[sender][n]
			if m == nil || m.stuck || m.msg.Message.GasFeeCap.LessThan(fee) {
				break
			}
			if r := p.records[*m.msg.CID]; r != nil && r.Pushed >= height {
				break
			}
			out = append(out, m.msg)
		}
	}
	return out
}

// mined takes the messages of a new tipset of the present chain out of the pool.
func (p *pool) mined(e *entry, accountOf func(address.Address) abi.ActorID) {
	for i, m := range e.messages {
		s := slot{accountOf(m.Message.From), m.Message.Nonce}
		delete(p.pending[s.sender], s.nonce)
		p.landed[s] = landing{e, i}
		if r := p.records[*m.CID]; r != nil {
			r.Height, r.Dropped = e.ts.Height, false
			r.ExitCode, r.Failure = e.results[i].receipt.ExitCode, e.results[i].failure
		}
	}
}

// unmined forgets the landings of a reverted tipset.
func (p *pool) unmined(e *entry) {
	for s, l := range p.landed {
		if l.at == e {
			delete(p.landed, s)
		}
	}
	for _, m := range e.messages {
		if r := p.records[*m.CID]; r != nil {
			r.Height, r.ExitCode, r.Failure = 0, 0, ""
		}
	}
}

// all returns the waiting messages in the order of senders and nonces.
func (p *pool) all() []*lotus.SignedMessage {
	out := []*lotus.SignedMessage{}
	for _, sender := range slices.Sorted(maps.Keys(p.pending)) {
		for _, n := range slices.Sorted(maps.Keys(p.pending[sender])) {
			out = append(out, p.pending[sender][n].msg)
		}
	}
	return out
}
