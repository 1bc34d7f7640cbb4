package simchain

import (
	"maps"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/lab/devnet/actor"
)

// State is everything the chain knows after some tipset. It is never changed
// once it was made; versions share what they have in common.
type State struct {
	Root cid.Cid

	miners   map[abi.ActorID]*actor.Miner
	nonces   map[abi.ActorID]uint64
	balances map[abi.ActorID]big.Int
	outcomes *outcomes
	disputes []*actor.Disputed // successful ones
}

// outcomes is the list of closed windows, the latest first.
type outcomes struct {
	last *actor.Outcome
	rest *outcomes
}

// Miner returns a miner actor.
func (s *State) Miner(id abi.ActorID) (*actor.Miner, bool) {
	m, ok := s.miners[id]
	return m, ok
}

// Miners returns all miner actors by ascending ID.
func (s *State) Miners() []*actor.Miner {
	var out []*actor.Miner
	for _, id := range slices.Sorted(maps.Keys(s.miners)) {
		out = append(out, s.miners[id])
	}
	return out
}

// Nonce is the nonce of the next message of an account.
func (s *State) Nonce(id abi.ActorID) uint64 { return s.nonces[id] }

// Balance is an actor's balance in attoFIL.
func (s *State) Balance(id abi.ActorID) big.Int {
	if b, ok := s.balances[id]; ok {
		return b
	}
	return big.Zero()
}

// Outcomes returns the closed windows, oldest first, with what disputes found.
func (s *State) Outcomes() []*actor.Outcome { return s.OutcomesSince(0) }

// OutcomesSince returns the windows that closed at an epoch or later.
func (s *State) OutcomesSince(epoch abi.ChainEpoch) []*actor.Outcome {
	var out []*actor.Outcome
	for o := s.outcomes; o != nil && o.last.Close >= epoch; o = o.rest {
		last := o.last
		for _, d := range s.disputes {
			last = d.Amend(last)
		}
		out = append(out, last)
	}
	slices.Reverse(out)
	return out
}

func (s *State) withMiner(m *actor.Miner) *State {
	c := *s
	c.miners = maps.Clone(s.miners)
	c.miners[m.Info.ID] = m
	return &c
}

func (s *State) withDispute(d *actor.Disputed) *State {
	c := *s
	c.disputes = append(slices.Clone(s.disputes), d)
	return &c
}

func (s *State) withNonce(id abi.ActorID, nonce uint64) *State {
	c := *s
	c.nonces = maps.Clone(s.nonces)
	if c.nonces == nil {
		c.nonces = map[abi.ActorID]uint64{}
	}
	c.nonces[id] = nonce
	return &c
}

func (s *State) withBalance(id abi.ActorID, b big.Int) *State {
	c := *s
	c.balances = maps.Clone(s.balances)
	c.balances[id] = b
	return &c
}

// endEpoch runs cron for every miner, in the order of their IDs.
func (s *State) endEpoch(epoch abi.ChainEpoch) *State {
	next := s
	for _, id := range slices.Sorted(maps.Keys(s.miners)) {
		m, out := s.miners[id].EndEpoch(epoch)
		if out == nil {
			continue
		}
		next = next.withMiner(m)
		next.outcomes = &outcomes{last: out, rest: next.outcomes}
	}
	return next
}
