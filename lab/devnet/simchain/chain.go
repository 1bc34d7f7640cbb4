package simchain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/network"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// Account is a key with money.
type Account struct {
	ID      abi.ActorID
	Key     address.Address // the account's own address (t1 or t3)
	Balance big.Int
}

// Config describes a new chain.
type Config struct {
	Seed           string // everything random follows from it
	NetworkName    string
	NetworkVersion network.Version
	GenesisTime    time.Time
	EpochDuration  time.Duration
	Miners         []*actor.Miner
	Accounts       []Account
	Verifier       actor.Verifier
	Optimistic     bool    // take window proofs on trust, as the main network does
	SingleBlocks   bool    // never two blocks in a tipset
	BaseFee        big.Int // attoFIL a gas unit, 100 when zero
	// History is how many epochs can be looked back; older tipsets and states
	// are forgotten. 0 means 4000.
	History abi.ChainEpoch
	Log     *slog.Logger
}

// Chain is safe for concurrent use.
type Chain struct {
	cfg       Config
	producers []address.Address
	keys      map[address.Address]abi.ActorID // every spelling of an account
	accounts  map[abi.ActorID]Account
	verified  *verifyCache
	genesis   *entry

	// producing serialises Advance and Reorg; it is taken before mu.
	producing sync.Mutex

	mu      sync.RWMutex
	epoch   abi.ChainEpoch // the current one; the head is older after null rounds
	entries map[string]*entry
	canon   []*entry // head last
	salt    uint64
	fee     big.Int
	feeEnd  abi.ChainEpoch // epoch at which the fee falls back, 0 for never
	pool    *pool
	subs    map[*subscription]struct{}
	reverts int
}

// keeper is a block producer of which nothing else is known, so that tipsets of
// two blocks exist on a chain with one miner.
const keeper = 999

var errNoMiner = errors.New("failed to load miner actor: actor not found")

// New returns a chain at its genesis.
func New(cfg Config) (*Chain, error) {
	if len(cfg.Miners) == 0 {
		return nil, errors.New("chain without miners: add at least one")
	}
	if cfg.EpochDuration <= 0 {
		return nil, fmt.Errorf("epoch duration is %s, it must be positive", cfg.EpochDuration)
	}
	if cfg.History == 0 {
		cfg.History = 4000
	}
	if cfg.BaseFee.Nil() || cfg.BaseFee.IsZero() {
		cfg.BaseFee = big.NewInt(100)
	}
	c := &Chain{
		cfg:      cfg,
		keys:     map[address.Address]abi.ActorID{},
		accounts: map[abi.ActorID]Account{},
		verified: newVerifyCache(cfg.Verifier),
		entries:  map[string]*entry{},
		fee:      cfg.BaseFee,
		pool:     newPool(),
		subs:     map[*subscription]struct{}{},
	}
	st := &State{
		Root:     cborCid([]byte("genesis state " + cfg.Seed)),
		miners:   map[abi.ActorID]*actor.Miner{},
		balances: map[abi.ActorID]big.Int{},
	}
	for _, a := range cfg.Accounts {
		c.accounts[a.ID] = a
		c.keys[mustID(uint64(a.ID))] = a.ID
		c.keys[a.Key] = a.ID
		st.balances[a.ID] = a.Balance
	}
	for _, m := range cfg.Miners {
		st.miners[m.Info.ID] = m
		st.balances[m.Info.ID] = big.Mul(big.NewInt(1000), big.NewInt(1e18))
		c.producers = append(c.producers, m.Info.Address())
	}
	c.producers = append(c.producers, mustID(keeper))
	g, err := c.makeGenesis(st)
	if err != nil {
		return nil, err
	}
	c.genesis = g
	c.canon = []*entry{g}
	c.entries[g.ts.Key().String()] = g
	return c, nil
}

// TimeOf is when an epoch begins.
func (c *Chain) TimeOf(e abi.ChainEpoch) time.Time {
	return c.cfg.GenesisTime.Add(time.Duration(e) * c.cfg.EpochDuration)
}

// Config returns the chain's settings.
func (c *Chain) Config() Config { return c.cfg }

// Epoch is the current epoch. The head is below it after null rounds.
func (c *Chain) Epoch() abi.ChainEpoch {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// Advance begins the next epoch: with a tipset that carries the messages of the
// pool, or without one when null. It returns the new head, nil for a null round.
func (c *Chain) Advance(ctx context.Context, null bool) (*lotus.TipSet, error) {
	c.producing.Lock()
	defer c.producing.Unlock()
	c.mu.Lock()
	c.epoch++
	height, parent, salt := c.epoch, c.head(), c.salt
	if c.feeEnd != 0 && height >= c.feeEnd {
		c.fee, c.feeEnd = c.cfg.BaseFee, 0
	}
	c.mu.Unlock()
	if null {
		return nil, nil
	}
	e, err := c.build(ctx, parent, height, salt)
	if err != nil {
		return nil, err
	}
	c.extend(nil, []*entry{e})
	return e.ts, nil
}

// Reorg replaces the newest depth tipsets by others of the same heights with
// other tickets. Messages of the old ones go back to the pool and are mined
// again, unless drop is set: then they are lost as if nobody had sent them.
func (c *Chain) Reorg(ctx context.Context, depth int, drop bool) error {
	c.producing.Lock()
	defer c.producing.Unlock()
	c.mu.Lock()
	if depth < 1 || depth >= len(c.canon) {
		have := len(c.canon) - 1
		c.mu.Unlock()
		return fmt.Errorf("reorg of %d tipsets: this chain can lose 1 to %d", depth, have)
	}
	c.salt++
	c.reverts++
	salt := c.salt
	old := slices.Clone(c.canon[len(c.canon)-depth:])
	parent := c.canon[len(c.canon)-depth-1]
	for _, e := range old {
		for _, m := range e.messages {
			c.pool.restore(m, c.accountOf(m.Message.From), drop)
		}
	}
	c.mu.Unlock()
	var fresh []*entry
	for _, o := range old {
		e, err := c.build(ctx, parent, o.ts.Height, salt)
		if err != nil {
			return err
		}
		fresh = append(fresh, e)
		parent = e
	}
	c.extend(old, fresh)
	return nil
}

// build makes the tipset of a height on top of parent, with the messages of the
// pool that parent's state is ready for.
func (c *Chain) build(ctx context.Context, parent *entry, height abi.ChainEpoch, salt uint64) (*entry, error) {
	c.mu.RLock()
	msgs := c.pool.selectFor(parent.post, c.fee, height)
	c.mu.RUnlock()
	ts, err := c.makeBlocks(parent, height, salt, msgs)
	if err != nil {
		return nil, err
	}
	e := &entry{ts: ts, pre: parent.post, messages: msgs}
	e.parent.Store(parent)
	st := parent.post
	for h := parent.ts.Height + 1; h < height; h++ {
		st = st.endEpoch(h)
	}
	for _, m := range msgs {
		var r result
		st, r, err = c.execute(ctx, st, view{c.cfg.Seed, e}, height, &m.Message)
		if err != nil {
			return nil, fmt.Errorf("executing message %s at epoch %d: %w", m.CID, height, err)
		}
		e.results = append(e.results, r)
	}
	e.mid = st
	end := *st.endEpoch(height)
	end.Root = cborCid(append(parent.post.Root.Bytes(), ts.Cids[0].Bytes()...))
	e.post = &end
	return e, nil
}

// extend makes the new tipsets the head in the place of the old ones and tells
// the subscribers.
func (c *Chain) extend(old, fresh []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changes []*lotus.HeadChange
	for _, e := range slices.Backward(old) {
		changes = append(changes, &lotus.HeadChange{Type: lotus.HCRevert, Val: e.ts})
		c.pool.unmined(e)
	}
	c.canon = c.canon[:len(c.canon)-len(old)]
	for _, e := range fresh {
		changes = append(changes, &lotus.HeadChange{Type: lotus.HCApply, Val: e.ts})
		c.canon = append(c.canon, e)
		c.entries[e.ts.Key().String()] = e
		c.pool.mined(e, c.accountOf)
	}
	c.forget()
	for s := range c.subs {
		c.deliver(s, changes)
	}
}

// forget drops what is older than the history. The caller holds mu.
func (c *Chain) forget() {
	limit := c.head().ts.Height - c.cfg.History
	cut := 0
	for cut < len(c.canon)-1 && c.canon[cut].ts.Height < limit {
		cut++
	}
	if cut == 0 {
		return
	}
	c.canon = slices.Clone(c.canon[cut:])
	c.canon[0].parent.Store(nil)
	maps.DeleteFunc(c.entries, func(_ string, e *entry) bool {
		return e.ts.Height < limit && e != c.genesis
	})
}

// head returns the newest tipset. The caller holds mu.
func (c *Chain) head() *entry { return c.canon[len(c.canon)-1] }

// accountOf returns the account an address belongs to, 0 for none.
func (c *Chain) accountOf(a address.Address) abi.ActorID { return c.keys[a] }

// resolve finds the tipset of a key; the empty key is the head.
func (c *Chain) resolve(key lotus.TipSetKey) (*entry, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if key.IsEmpty() {
		return c.head(), nil
	}
	e, ok := c.entries[key.String()]
	if !ok {
		return nil, fmt.Errorf("loading tipset %s: block not found", key)
	}
	return e, nil
}

// winningType is the proof type of a block producer's winning proofs.
func (c *Chain) winningType(a address.Address) abi.RegisteredPoStProof {
	for _, m := range c.cfg.Miners {
		if m.Info.Address() == a {
			return m.Info.WinningProof
		}
	}
	return abi.RegisteredPoStProof_StackedDrgWinning2KiBV1
}

// BaseFee is the fee of the current epoch.
func (c *Chain) BaseFee() big.Int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.fee
}

// SetBaseFee changes the base fee for the given number of epochs; 0 is for ever.
func (c *Chain) SetBaseFee(fee big.Int, epochs abi.ChainEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fee, c.feeEnd = fee, 0
	if epochs > 0 {
		c.feeEnd = c.epoch + epochs
	}
}

// Reorgs counts the reorganisations so far.
func (c *Chain) Reorgs() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.reverts
}
