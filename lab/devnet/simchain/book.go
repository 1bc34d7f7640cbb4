package simchain

import (
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
	Node   int            // the node it was pushed to
	Pushed abi.ChainEpoch // when it entered that node's pool
	// Height is the epoch in which it was executed on the present chain, 0 if
	// it was not.
	Height   abi.ChainEpoch
	ExitCode exitcode.ExitCode
	Failure  string // the actor's words
	GasUsed  int64
	Fee      big.Int // attoFIL taken from the sender; zero until it is executed
	// ReplacedBy is the message that took its nonce in the pool.
	ReplacedBy *cid.Cid
	Dropped    bool // lost in a reorganisation or put out of every pool
}

// book keeps the records of all messages and where each nonce was used. The
// chain's lock guards it.
type book struct {
	records map[cid.Cid]*Record
	order   []*Record
	landed  map[slot]landing
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

func newBook() *book {
	return &book{records: map[cid.Cid]*Record{}, landed: map[slot]landing{}}
}

// enter makes or renews the record of a message that entered a pool.
func (b *book) enter(m *lotus.SignedMessage, r Record) {
	old := b.records[*m.CID]
	if old == nil {
		old = &r
		old.Signed, old.Cid, old.Fee = m, *m.CID, big.Zero()
		b.records[*m.CID] = old
		b.order = append(b.order, old)
	}
	old.Pushed, old.Dropped = r.Pushed, false
}

// mined notes the messages of a new tipset of the present chain.
func (b *book) mined(e *entry, accountOf func(address.Address) abi.ActorID) {
	for i, m := range e.messages {
		b.landed[slot{accountOf(m.Message.From), m.Message.Nonce}] = landing{e, i}
		if r := b.records[*m.CID]; r != nil {
			res := e.results[i]
			r.Height, r.Dropped = e.ts.Height, false
			r.ExitCode, r.Failure = res.receipt.ExitCode, res.failure
			r.GasUsed, r.Fee = res.receipt.GasUsed, res.fee
		}
	}
}

// unmined forgets the landings of a reverted tipset.
func (b *book) unmined(e *entry) {
	for s, l := range b.landed {
		if l.at == e {
			delete(b.landed, s)
		}
	}
	for _, m := range e.messages {
		if r := b.records[*m.CID]; r != nil {
			r.Height, r.ExitCode, r.Failure, r.GasUsed, r.Fee = 0, 0, "", 0, big.Zero()
		}
	}
}

// drop notes that a message is nowhere any more.
func (b *book) drop(c cid.Cid) {
	if r := b.records[c]; r != nil && r.Height == 0 {
		r.Dropped = true
	}
}
