package simchain

import (
	"context"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// Head returns the newest tipset.
func (c *Chain) Head() *lotus.TipSet {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.head().ts
}

// Genesis returns the first tipset.
func (c *Chain) Genesis() *lotus.TipSet { return c.genesis.ts }

// TipSet returns the tipset of a key, the head for the empty key. Tipsets of
// forks that were left are found as well.
func (c *Chain) TipSet(key lotus.TipSetKey) (*lotus.TipSet, error) {
	e, err := c.resolve(key)
	if err != nil {
		return nil, err
	}
	return e.ts, nil
}

// TipSetByHeight returns the tipset at a height on the chain that ends at key.
// For a null round it is the one before.
func (c *Chain) TipSetByHeight(height abi.ChainEpoch, key lotus.TipSetKey) (*lotus.TipSet, error) {
	e, err := c.resolve(key)
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
func (c *Chain) StateAt(key lotus.TipSetKey) (*State, abi.ChainEpoch, error) {
	e, err := c.resolve(key)
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
func (c *Chain) TicketRandomness(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) ([32]byte, error) {
	e, err := c.resolve(key)
	if err != nil {
		return [32]byte{}, err
	}
	return view{c.cfg.Seed, e}.Tickets(tag, round, entropy)
}

// BeaconRandomness draws from the beacon, up to the height of the tipset of key.
func (c *Chain) BeaconRandomness(tag crypto.DomainSeparationTag, round abi.ChainEpoch, entropy []byte, key lotus.TipSetKey) ([32]byte, error) {
	e, err := c.resolve(key)
	if err != nil {
		return [32]byte{}, err
	}
	return view{c.cfg.Seed, e}.Beacon(tag, round, entropy)
}

// Account returns the ID of any address of an account or a miner.
func (c *Chain) Account(a address.Address) (abi.ActorID, bool) {
	if id := c.accountOf(a); id != 0 {
		return id, true
	}
	if n, err := address.IDFromAddress(a); err == nil {
		if _, ok := c.genesis.pre.miners[abi.ActorID(n)]; ok {
			return abi.ActorID(n), true
		}
	}
	return 0, false
}

// Search finds where a message was executed on the present chain; nil when it
// was not, or not yet in the parent of a tipset. With replaced it also accepts
// another message of the same sender and nonce.
func (c *Chain) Search(m cid.Cid, replaced bool) (*lotus.MsgLookup, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.pool.records[m]
	if !ok {
		return nil, nil
	}
	l, ok := c.pool.landed[slot{r.Sender, r.Signed.Message.Nonce}]
	if !ok {
		return nil, nil
	}
	in := l.at.messages[l.index]
	if *in.CID != m && !replaced {
		return nil, fmt.Errorf("found message with equal nonce as the one we are looking for (F:%s n %d, TS: %s n%d)",
			m, r.Signed.Message.Nonce, *in.CID, in.Message.Nonce)
	}
	for i := len(c.canon) - 1; i > 0; i-- {
		if c.canon[i-1] == l.at {
			child := c.canon[i].ts
			return &lotus.MsgLookup{
				Message: *in.CID, Receipt: l.at.results[l.index].receipt,
				TipSet: child.Key(), Height: child.Height,
			}, nil
		}
	}
	return nil, nil
}

// Wait blocks until a message was executed and confidence epochs have passed on
// top of it, or ctx ends.
func (c *Chain) Wait(ctx context.Context, m cid.Cid, confidence abi.ChainEpoch, replaced bool) (*lotus.MsgLookup, error) {
	changes, cancel := c.Subscribe()
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
		found, err := c.Search(m, replaced)
		if err != nil {
			return nil, err
		}
		if found != nil && c.Head().Height >= found.Height+confidence {
			return found, nil
		}
	}
}

// Record returns a copy of a message's record.
func (c *Chain) Record(m cid.Cid) (Record, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, ok := c.pool.records[m]
	if !ok {
		return Record{}, false
	}
	return *r, true
}

// Records returns copies of all records in the order of pushing.
func (c *Chain) Records() []Record {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]Record, 0, len(c.pool.order))
	for _, r := range c.pool.order {
		out = append(out, *r)
	}
	return out
}

// ParentMessages returns the messages of the parent tipset of a block.
func (c *Chain) ParentMessages(block cid.Cid) ([]*lotus.SignedMessage, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, e := range c.entries {
		if !slices.Contains(e.ts.Cids, block) {
			continue
		}
		if parent := e.parent.Load(); parent != nil {
			return parent.messages, nil
		}
		return nil, nil
	}
	return nil, fmt.Errorf("loading block %s: block not found", block)
}
