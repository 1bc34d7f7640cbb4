package simchain

import (
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/lab/devnet/actor"
)

// act is something that happens to the state at a height without a message of
// ours. A reorganisation repeats it on the new branch.
type act struct {
	at abi.ChainEpoch
	do func(*State) (*State, error)
}

// schedule lets something happen in the tipset of the next epoch, or of the first
// after it that is not null.
func (c *Chain) schedule(do func(*State) (*State, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acts = append(c.acts, act{c.epoch + 1, do})
}

// intervene does what is scheduled after the parent's height up to height.
func (c *Chain) intervene(st *State, parent, height abi.ChainEpoch) (*State, error) {
	c.mu.RLock()
	acts := c.acts
	c.mu.RUnlock()
	for _, a := range acts {
		if a.at <= parent || a.at > height {
			continue
		}
		next, err := a.do(st)
		if err != nil {
			return nil, fmt.Errorf("what was scheduled for epoch %d: %w", a.at, err)
		}
		st = next
	}
	return st, nil
}

// ChangeMiner changes a miner in the next epoch's tipset, after its messages.
func (c *Chain) ChangeMiner(id abi.ActorID, change func(*actor.Miner) (*actor.Miner, error)) {
	c.schedule(func(st *State) (*State, error) {
		m, ok := st.Miner(id)
		if !ok {
			return nil, fmt.Errorf("miner %d does not exist", id)
		}
		m, err := change(m)
		if err != nil {
			return nil, err
		}
		return st.withMiner(m), nil
	})
}

// Terminate ends sectors of a miner in the next epoch's tipset.
func (c *Chain) Terminate(id abi.ActorID, sectors ...uint64) {
	c.ChangeMiner(id, func(m *actor.Miner) (*actor.Miner, error) { return m.Terminate(actor.NewSet(sectors...)) })
}

// SetBalance gives an account so much money, in attoFIL, in the next epoch's
// tipset.
func (c *Chain) SetBalance(a address.Address, amount big.Int) error {
	id, ok := c.Account(a)
	if !ok {
		return fmt.Errorf("%s is not an account", a)
	}
	c.schedule(func(st *State) (*State, error) { return st.withBalance(id, amount), nil })
	return nil
}

// upgrade is a network version in force from a height on.
type upgrade struct {
	from    abi.ChainEpoch
	version network.Version
}

// Upgrade puts another network version in force from the next epoch on.
func (c *Chain) Upgrade(v network.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.upgrades = append(c.upgrades, upgrade{c.epoch + 1, v})
}

// NetworkVersion is the version in force at a height.
func (c *Chain) NetworkVersion(height abi.ChainEpoch) network.Version {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v := c.cfg.NetworkVersion
	for _, u := range c.upgrades {
		if height >= u.from {
			v = u.version
		}
	}
	return v
}
