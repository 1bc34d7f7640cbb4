package messager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/simchain"
)

// errNotFound is the database's word for an unknown id.
var errNotFound = errors.New("record not found")

// maxPending is how many messages of one sender are signed ahead of the chain.
const maxPending = 20

// sharedMaxFee is what a message may cost that brings no limit: 0.07 FIL.
var sharedMaxFee = big.NewInt(70_000_000_000_000_000)

// Messager is the store and the engine behind the API.
type Messager struct {
	chain *simchain.Chain
	log   *slog.Logger

	processing sync.Mutex // one OnHead or replacement at a time; taken before mu

	mu      sync.Mutex
	byID    map[string]*Message
	order   []string
	nonces  map[address.Address]uint64 // next to be given, by sender
	lost    map[abi.ActorID]bool       // accounts without a wallet
	changed chan struct{}              // closed and renewed whenever something changed
}

// New returns an empty messager.
func New(chain *simchain.Chain, log *slog.Logger) *Messager {
	return &Messager{
		chain: chain, log: log,
		byID: map[string]*Message{}, nonces: map[address.Address]uint64{}, lost: map[abi.ActorID]bool{},
		changed: make(chan struct{}),
	}
}

// LoseWallet takes the wallet with an account's key away, or brings it back.
func (m *Messager) LoseWallet(account abi.ActorID, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost[account] = lost
}

// signs reports whether a wallet has the key of an address.
func (m *Messager) signs(a address.Address) bool {
	id, ok := m.chain.Account(a)
	m.mu.Lock()
	defer m.mu.Unlock()
	return ok && !m.lost[id]
}

// push stores a message under an id. A second push of an id is refused in the
// words of the real one's database, a sender without a wallet in those of the
// service.
func (m *Messager) push(id string, msg lotus.Message, meta *SendSpec) error {
	if id == "" {
		return errors.New("empty uid")
	}
	from, err := m.chain.AccountKey(msg.From)
	if err != nil {
		return fmt.Errorf("getting key address %s failed: %w", msg.From, err)
	}
	if !m.signs(from) {
		return fmt.Errorf("signer address %s not exists", from)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.byID[id]; ok {
		//lint:ignore ST1005 the database's own words, which the messager passes on
		return fmt.Errorf("Error 1062 (23000): Duplicate entry '%s' for key 'messages.PRIMARY'", id)
	}
	msg.From, msg.Nonce, msg.CID = from, 0, nil
	now := time.Now()
	m.byID[id] = &Message{
		ID: id, Message: msg, Meta: meta, State: UnFillMsg, CreatedAt: now, UpdatedAt: now,
		Receipt: noReceipt(),
	}
	m.order = append(m.order, id)
	return nil
}

// noReceipt is what stands in the place of a receipt until there is one.
func noReceipt() *lotus.MessageReceipt { return &lotus.MessageReceipt{ExitCode: -1} }

// get returns a copy of a message with its present confidence.
func (m *Messager) get(id string) (*Message, error) {
	head := m.chain.Head().Height
	m.mu.Lock()
	defer m.mu.Unlock()
	msg, ok := m.byID[id]
	if !ok {
		return nil, errNotFound
	}
	c := *msg
	if c.State == OnChainMsg || c.State == NonceConflictMsg {
		c.Confidence = int64(head) - c.Height
	}
	return &c, nil
}

// update applies f to a message and wakes those who wait.
func (m *Messager) update(id string, f func(*Message)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg := m.byID[id]
	f(msg)
	msg.UpdatedAt = time.Now()
	m.wake()
}

// wake tells the waiters to look again. The caller holds mu.
func (m *Messager) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Messager) next() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// All returns copies of all messages, oldest first.
func (m *Messager) All() []*Message {
	m.mu.Lock()
	ids := append([]string(nil), m.order...)
	m.mu.Unlock()
	var out []*Message
	for _, id := range ids {
		if msg, err := m.get(id); err == nil {
			out = append(out, msg)
		}
	}
	return out
}

// wait blocks until a message is deep enough or was given up.
func (m *Messager) wait(ctx context.Context, id string, confidence uint64) (*Message, error) {
	for {
		again := m.next()
		msg, err := m.get(id)
		if err != nil {
			return nil, err
		}
		switch msg.State {
		case OnChainMsg, NonceConflictMsg:
			if msg.Confidence > int64(confidence) {
				return msg, nil
			}
		case FailedMsg:
			return msg, nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, errors.New("exit by client ")
		}
	}
}
