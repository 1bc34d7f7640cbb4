package message

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
)

// ErrNoSender says that no address may or can send for a miner.
var ErrNoSender = errors.New("no usable sender")

// MinerState is what a Selector needs of the chain.
type MinerState interface {
	StateMinerInfo(context.Context, address.Address, lotus.TipSetKey) (*lotus.MinerInfo, error)
	StateLookupID(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	StateAccountKey(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	StateGetActor(context.Context, address.Address, lotus.TipSetKey) (*lotus.Actor, error)
}

// Keys says which addresses can be signed for; a Sender does.
type Keys interface {
	HasKey(context.Context, address.Address) (bool, error)
}

// Selector chooses the address that sends a miner's messages: of those that
// the miner actor accepts (owner, worker, control addresses) the one with the
// largest balance. The choice is kept for a while, so that the chain is not
// asked before every message. It is safe for concurrent use.
type Selector struct {
	state MinerState
	keys  Keys
	keep  time.Duration
	log   *slog.Logger

	mu     sync.Mutex
	chosen map[address.Address]choice
}

type choice struct {
	sender address.Address
	among  []address.Address
	until  time.Time
}

// NewSelector returns a Selector that keeps a choice for keep; half an epoch is
// a good value. log is told of configured senders that cannot be used.
func NewSelector(state MinerState, keys Keys, keep time.Duration, log *slog.Logger) *Selector {
	return &Selector{state: state, keys: keys, keep: keep, log: log, chosen: map[address.Address]choice{}}
}

// Select returns the sender for miner as the key address that signs, where it
// has one. configured are the addresses of the config file (Sender, Senders),
// in any form; none means all that the miner accepts and whose key is at hand.
// The latter are also taken, with an error in the log, when no configured one
// can send: a message from another sender is better than none. Addresses that
// cannot be looked at are left out; when none is left the error is ErrNoSender
// and says why for each.
func (s *Selector) Select(ctx context.Context, miner address.Address, configured []address.Address) (address.Address, error) {
	if a, ok := s.cached(miner, configured); ok {
		return a, nil
	}
	info, err := s.state.StateMinerInfo(ctx, miner, lotus.TipSetKey{})
	if err != nil {
		return address.Undef, fmt.Errorf("choosing a sender for %s: %w", miner, err)
	}
	allowed := append([]address.Address{info.Worker, info.Owner}, info.ControlAddresses...)
	best, why := s.richest(ctx, configured, allowed, false)
	if best == address.Undef {
		var others error
		best, others = s.richest(ctx, allowed, allowed, true)
		if best == address.Undef {
			return best, fmt.Errorf("%w for %s; set Miners.PoSt.Sender to its owner, worker or a control address: %w", ErrNoSender, miner, errors.Join(why, others))
		}
		if why != nil {
			s.log.Error("no configured sender can be used; correct Miners.PoSt.Sender", "miner", miner.String(), "used", best.String(), "err", why)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chosen[miner] = choice{sender: best, among: slices.Clone(configured), until: time.Now().Add(s.keep)}
	return best, nil
}

// richest returns the candidate with the largest balance; the error says why
// others will not do.
func (s *Selector) richest(ctx context.Context, candidates, allowed []address.Address, withKey bool) (best address.Address, why error) {
	balance := big.NewInt(-1)
	for _, c := range candidates {
		if c == address.Undef {
			continue
		}
		key, b, err := s.examine(ctx, c, allowed, withKey)
		if err != nil {
			why = errors.Join(why, fmt.Errorf("%s: %w", c, err))
			continue
		}
		if b.GreaterThan(balance) {
			best, balance = key, b
		}
	}
	return best, why
}

func (s *Selector) cached(miner address.Address, configured []address.Address) (address.Address, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.chosen[miner]
	if !ok || !slices.Equal(c.among, configured) || !time.Now().Before(c.until) {
		return address.Undef, false
	}
	return c.sender, true
}

// examine resolves one candidate to its key and balance, or says why it will
// not do. withKey demands that its key is at hand: a configured address is
// believed, since a messager may sign for it elsewhere.
func (s *Selector) examine(ctx context.Context, c address.Address, allowed []address.Address, withKey bool) (key address.Address, balance big.Int, err error) {
	id, err := s.state.StateLookupID(ctx, c, lotus.TipSetKey{})
	if err != nil {
		return key, balance, err
	}
	if !slices.Contains(allowed, id) {
		return key, balance, errors.New("it is not the owner, the worker or a control address of the miner")
	}
	key = c
	if c.Protocol() == address.ID {
		if key, err = s.state.StateAccountKey(ctx, c, lotus.TipSetKey{}); err != nil {
			return key, balance, err // a multisig, which signs nothing by itself
		}
	}
	if withKey {
		has, err := s.keys.HasKey(ctx, key)
		if err != nil {
			return key, balance, err
		}
		if !has {
			return key, balance, errors.New("its key is not in the wallet")
		}
	}
	actor, err := s.state.StateGetActor(ctx, id, lotus.TipSetKey{})
	if err != nil {
		return key, balance, err
	}
	if actor == nil || actor.Balance.Nil() {
		return key, balance, errors.New("its balance is not known")
	}
	return key, actor.Balance, nil
}
