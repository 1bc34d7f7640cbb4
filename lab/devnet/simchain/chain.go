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
	"github.com/ipfs/go-cid"

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
	BaseFee        big.Int // at the start, attoFIL a gas unit; 100 when zero
	Nodes          int     // full nodes, 1 when zero
	PoolLimit      int     // messages in a pool before the cheapest are put out; 30,000 when zero
	// History is how many epochs can be looked back; older tipsets and states
	// are forgotten. 0 means 4000.
	History abi.ChainEpoch
	Log     *slog.Logger
}

// Chain is safe for concurrent use. It is also its first node: what a Node can do
// is done there unless another is named.
type Chain struct {
	*Node
	cfg       Config
	producers []address.Address
	keys      map[address.Address]abi.ActorID // every spelling of an account
	accounts  map[abi.ActorID]Account
	verified  *verifyCache
	genesis   *entry

	// producing serialises Advance and Reorg; it is taken before mu.
	producing sync.Mutex

	mu       sync.RWMutex
	epoch    abi.ChainEpoch // the current one; the head is older after null rounds
	entries  map[string]*entry
	canon    []*entry // head last
	salt     uint64
	market   market
	nodes    []*Node
	makers   *Node // what the block producers know together
	book     *book
	acts     []act
	upgrades []upgrade
	held     map[cid.Cid]bool // messages that no producer takes
	hold     func(*lotus.Message) bool
	reverts  int
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
		book:     newBook(),
		held:     map[cid.Cid]bool{},
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
	c.makers = newNode(c, -1)
	for i := range max(1, cfg.Nodes) {
		c.nodes = append(c.nodes, newNode(c, i))
	}
	c.Node = c.nodes[0]
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
// other tickets. Messages of the old ones go back to the pools and are mined
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
		e.lost = drop
	}
	c.makers.moveTo(parent)
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

// build makes the tipset of a height on top of parent, with the messages that
// the producers know and parent's state is ready for.
func (c *Chain) build(ctx context.Context, parent *entry, height abi.ChainEpoch, salt uint64) (*entry, error) {
	miners := c.minersAt(height, salt)
	c.mu.Lock()
	e := &entry{pre: parent.post}
	e.fee, e.natural = c.market.next(parent, height)
	e.messages = c.choose(parent.post, e.fee, height, len(miners))
	c.mu.Unlock()
	var err error
	if e.ts, err = c.makeBlocks(parent, e, height, salt, miners); err != nil {
		return nil, err
	}
	e.parent.Store(parent)
	st := parent.post
	for h := parent.ts.Height + 1; h < height; h++ {
		st = st.endEpoch(h)
	}
	where := env{view{c.cfg.Seed, e}, height, e.fee}
	for _, m := range e.messages {
		var r result
		st, r, err = c.execute(ctx, st, where, &m.Message)
		if err != nil {
			return nil, fmt.Errorf("executing message %s at epoch %d: %w", m.CID, height, err)
		}
		e.results = append(e.results, r)
	}
	if st, err = c.intervene(st, parent.ts.Height, height); err != nil {
		return nil, err
	}
	e.mid = st
	end := *st.endEpoch(height)
	end.Root = cborCid(append(parent.post.Root.Bytes(), e.ts.Cids[0].Bytes()...))
	e.post = &end
	c.mu.Lock()
	defer c.mu.Unlock()
	c.makers.moveTo(e)
	return e, nil
}

// choose picks the messages for a tipset of some blocks on a state, in the order
// of senders and nonces: those that pay the base fee, that their senders can pay
// for, and that find room beside what other people send. A producer of the given
// height cannot know what came later, even when it is played later in a
// reorganisation. The caller holds mu.
func (c *Chain) choose(st *State, fee big.Int, height abi.ChainEpoch, blocks int) []*lotus.SignedMessage {
	others := c.market.demandAt(height)
	room := int64(blockGasLimit) * int64(blocks)
	left := room - min(room, others.Gas*int64(blocks))
	var out []*lotus.SignedMessage
	for _, sender := range slices.Sorted(maps.Keys(c.makers.pool.pending)) {
		balance := st.Balance(sender)
		for n := st.Nonce(sender); ; n++ {
			m := c.makers.pool.pending[sender][n]
			if m == nil || m.since >= height || c.held[*m.msg.CID] || m.msg.Message.GasFeeCap.LessThan(fee) {
				break
			}
			msg := &m.msg.Message
			if balance = big.Sub(balance, requiredFunds(msg)); balance.LessThan(big.Zero()) {
				break
			}
			tip := big.Min(msg.GasPremium, big.Sub(msg.GasFeeCap, fee))
			if displaces := tip.GreaterThan(others.Premium); msg.GasLimit > room || msg.GasLimit > left && !displaces {
				break
			}
			room, left = room-msg.GasLimit, max(0, left-msg.GasLimit)
			out = append(out, m.msg)
		}
	}
	return out
}

// extend makes the new tipsets the head in the place of the old ones and tells
// the nodes.
func (c *Chain) extend(old, fresh []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range slices.Backward(old) {
		c.book.unmined(e)
		for _, m := range e.messages {
			if e.lost {
				c.book.drop(*m.CID)
			}
		}
	}
	c.canon = c.canon[:len(c.canon)-len(old)]
	for _, e := range fresh {
		c.canon = append(c.canon, e)
		c.entries[e.ts.Key().String()] = e
		c.book.mined(e, c.accountOf)
	}
	c.forget()
	for _, n := range c.nodes {
		n.follow()
	}
	for _, n := range c.nodes {
		n.republish()
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

// winningType is the proof type of a block producer's winning proofs.
func (c *Chain) winningType(a address.Address) abi.RegisteredPoStProof {
	for _, m := range c.cfg.Miners {
		if m.Info.Address() == a {
			return m.Info.WinningProof
		}
	}
	return abi.RegisteredPoStProof_StackedDrgWinning2KiBV1
}

// Reorgs counts the reorganisations so far.
func (c *Chain) Reorgs() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.reverts
}
