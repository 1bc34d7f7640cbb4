package simchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// Head returns the tipset that the node answers with when asked for its head.
func (n *Node) Head() *lotus.TipSet {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	return n.told().ts
}

// Genesis returns the first tipset.
func (n *Node) Genesis() *lotus.TipSet { return n.c.genesis.ts }

// TipSet returns the tipset of a key, the head for the empty key. Tipsets of
// forks that were left are found as well.
func (n *Node) TipSet(key lotus.TipSetKey) (*lotus.TipSet, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, err
	}
	return e.ts, nil
}

// TipSetByHeight returns the tipset at a height on the chain that ends at key.
// For a null round it is the one before.
func (n *Node) TipSetByHeight(height abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, err
	}
	at, err := e.atHeight(height, true)
	if err != nil {
		return nil, err
	}
	return at.ts, nil
}

// StateAt returns the state that queries at a tipset see, and its height.
func (n *Node) StateAt(key lotus.TipSetKey) (*State, abi.ChainEpoch, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, 0, err
	}
	return e.pre, e.ts.Height, nil
}

// LatestState returns the state after the head's messages, which no query at a
// tipset shows yet.
func (c *Chain) LatestState() *State {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.head().post
}

// TicketRandomness draws from the tickets of the chain that ends at key.
func (n *Node) TicketRandomness(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) ([32]byte, error) {
	e, err := n.resolve(key)
	if err != nil {
		return [32]byte{}, err
	}
	return view{n.c.cfg.Seed, e}.Tickets(tag, round, entropy)
}

// BeaconRandomness draws from the beacon, up to the height of the tipset of key.
func (n *Node) BeaconRandomness(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) ([32]byte, error) {
	e, err := n.resolve(key)
	if err != nil {
		return [32]byte{}, err
	}
	return view{n.c.cfg.Seed, e}.Beacon(tag, round, entropy)
}

// Account returns the ID of any address of an account or a miner.
func (n *Node) Account(a address.Address) (abi.ActorID, bool) {
	if id := n.c.accountOf(a); id != 0 {
		return id, true
	}
	if num, err := address.IDFromAddress(a); err == nil {
		if _, ok := n.c.genesis.pre.miners[abi.ActorID(num)]; ok {
			return abi.ActorID(num), true
		}
	}
	return 0, false
}

// ErrOtherCall says that another call was executed under a message's nonce.
var ErrOtherCall = errors.New("found message with equal nonce as the one we are looking for that is NOT a valid replacement message")

// sameCall reports whether two messages differ in their gas alone.
func sameCall(a, b *lotus.Message) bool {
	return a.To == b.To && a.Method == b.Method && bytes.Equal(a.Params, b.Params) && big.Cmp(orZero(a.Value), orZero(b.Value)) == 0
}

func orZero(v big.Int) big.Int {
	if v.Nil() {
		return big.Zero()
	}
	return v
}

// Search finds where a message was executed on the chain of the node's head; nil
// when it was not, or not yet in the parent of a tipset. With replaced it also
// accepts the same call at another price. Another call under its nonce is
// ErrOtherCall, with where that was executed. A message that the node has never
// seen is an error.
func (n *Node) Search(m cid.Cid, replaced bool) (*lotus.MsgLookup, error) {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	r, ok := n.c.book.records[m]
	if !ok || !n.known[m] && (r.Height == 0 || r.Height > n.at.ts.Height) {
		return nil, fmt.Errorf("failed to load message: ipld: could not find %s", m)
	}
	return n.inSlot(&r.Signed.Message, r.Sender, m, replaced)
}

// SearchSlot finds what was executed under a message's nonce, as Search with
// replaced does, whether or not the node has ever seen the message.
func (n *Node) SearchSlot(m *lotus.SignedMessage) (*lotus.MsgLookup, error) {
	name, err := MessageCid(&m.Message)
	if err != nil {
		return nil, err
	}
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	return n.inSlot(&m.Message, n.c.accountOf(m.Message.From), name, true)
}

// inSlot is Search for a message that is at hand. The caller holds mu.
func (n *Node) inSlot(msg *lotus.Message, sender abi.ActorID, name cid.Cid, replaced bool) (*lotus.MsgLookup, error) {
	l, ok := n.c.book.landed[slot{sender, msg.Nonce}]
	if !ok || l.at.ts.Height >= n.at.ts.Height {
		return nil, nil
	}
	in := l.at.messages[l.index]
	other := !sameCall(msg, &in.Message)
	if *in.CID != name && !replaced && !other {
		return nil, fmt.Errorf("found message with equal nonce as the one we are looking for (F:%s n %d, TS: %s n%d)",
			name, msg.Nonce, *in.CID, in.Message.Nonce)
	}
	canon := n.c.canon
	for i := len(canon) - 1; i > 0; i-- {
		if canon[i-1] == l.at {
			child := canon[i].ts
			found := &lotus.MsgLookup{
				Message: *in.CID, Receipt: l.at.results[l.index].receipt,
				TipSet: child.Key(), Height: child.Height,
			}
			if other {
				return found, fmt.Errorf("%w (F:%s n %d, TS: %s n%d)", ErrOtherCall, name, msg.Nonce, *in.CID, in.Message.Nonce)
			}
			return found, nil
		}
	}
	return nil, nil
}

// Wait blocks until a message was executed and confidence epochs have passed on
// top of it, or ctx ends.
func (n *Node) Wait(ctx context.Context, m cid.Cid, confidence abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	changes, cancel := n.Subscribe()
	defer cancel()
	for {
		select {
		case _, ok := <-changes:
			if !ok {
				return nil, fmt.Errorf("waiting for message %s: fell behind the head, ask again", m)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		found, err := n.Search(m, replaced)
		if err != nil {
			return nil, err
		}
		if found != nil && n.Head().Height >= found.Height+confidence {
			return found, nil
		}
	}
}

// Record returns a copy of a message's record.
func (c *Chain) Record(m cid.Cid) (Record, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.book.records[m]
	if !ok {
		return Record{}, false
	}
	return *r, true
}

// Records returns copies of all records in the order of pushing.
func (c *Chain) Records() []Record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]Record, 0, len(c.book.order))
	for _, r := range c.book.order {
		out = append(out, *r)
	}
	return out
}

// Executed is one message of a tipset with what came of it.
type Executed struct {
	Message *lotus.SignedMessage
	Receipt lotus.MessageReceipt
}

// Messages returns the messages in the tipset of key, in their order, with their
// receipts.
func (n *Node) Messages(key lotus.TipSetKey) ([]Executed, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, err
	}
	return e.executed(), nil
}

// Landed returns the messages in the chain's newest tipset with their receipts,
// whatever the nodes have seen of it.
func (c *Chain) Landed() []Executed {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.head().executed()
}

// ParentMessages returns the messages of the parent tipset of a block with their
// receipts.
func (n *Node) ParentMessages(block cid.Cid) ([]Executed, error) {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	for _, e := range n.c.entries {
		if !slices.Contains(e.ts.Cids, block) {
			continue
		}
		if parent := e.parent.Load(); parent != nil {
			return parent.executed(), nil
		}
		return nil, nil
	}
	return nil, fmt.Errorf("loading block %s: block not found", block)
}

func (e *entry) executed() []Executed {
	var out []Executed
	for i, m := range e.messages {
		out = append(out, Executed{m, e.results[i].receipt})
	}
	return out
}
