// Package node keeps the contract of internal/message through a node's own
// mempool and wallet.
//
// The node knows no ids. An id travels as MsgUuid, by which a Lotus node finds
// the message it signed before; and before anything is pushed, the mempool is
// searched for the same call from the same sender.
//
// A message is followed by the CID of any of its forms: they share a nonce, and
// the node finds the one that was executed. One that leaves the mempool
// without being executed is put back as it was signed, where this process
// still has it.
package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// API is what is needed of the chain's node. Errors carry the kinds of package
// endpoint. Pushing, pending and wallet calls all go to one and the same node.
type API interface {
	ChainHead(context.Context) (*lotus.TipSet, error)
	StateSearchMsg(context.Context, lotus.TipSetKey, cid.Cid, abi.ChainEpoch, bool) (*lotus.MsgLookup, error)
	StateAccountKey(context.Context, address.Address, lotus.TipSetKey) (address.Address, error)
	MpoolPending(context.Context, lotus.TipSetKey) ([]*lotus.SignedMessage, error)
	MpoolPush(context.Context, *lotus.SignedMessage) (cid.Cid, error)
	MpoolPushMessage(context.Context, *lotus.Message, *lotus.MessageSendSpec) (*lotus.SignedMessage, error)
	GasEstimateGasLimit(context.Context, *lotus.Message, lotus.TipSetKey) (int64, error)
	GasEstimateGasPremium(context.Context, uint64, address.Address, int64, lotus.TipSetKey) (big.Int, error)
	WalletHas(context.Context, address.Address) (bool, error)
	WalletSignMessage(context.Context, address.Address, *lotus.Message) (*lotus.SignedMessage, error)
}

const (
	// searchLookback is how many epochs back a message is looked for.
	searchLookback = 2 * 900
	// remembered is how many pushed messages a Sender keeps in mind.
	remembered = 1024
	// premiumBlocks is the patience assumed when the premium is estimated.
	premiumBlocks = 10
)

// idSpace makes a message's UUID out of its id (RFC 9562, version 5).
var idSpace = uuid.MustParse("6f0f4c56-53c1-5a0b-9c3e-5c5a6f3d9f10")

// Config is what a Sender is made of.
type Config struct {
	API API
	// PollInterval is how often a message is looked for while it is waited
	// for, and how old a look into the mempool may be. Default 5 seconds; half
	// an epoch is a good value.
	PollInterval time.Duration
	// Epoch is the present epoch by the clock; nil means that there is none,
	// and that no message is too late.
	Epoch func() abi.ChainEpoch
}

// Sender is a message.Sender over the node's own mempool and wallet.
type Sender struct {
	node  API
	poll  time.Duration
	epoch func() abi.ChainEpoch
	queue message.Queue
	pool  pool

	mu   sync.Mutex
	sent map[string]*sent
	fifo []string // ids of sent, oldest first
}

// sent is what this process knows of a message it pushed or adopted.
type sent struct {
	signed *lotus.SignedMessage
	since  time.Time
	// takenBack says that another message was given its nonce.
	takenBack bool
	// gone is the head at which it was first missed in the mempool, 0 while it
	// was there at the last look.
	gone abi.ChainEpoch
}

var _ message.Sender = (*Sender)(nil)

// New returns a Sender.
func New(cfg Config) *Sender {
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = 5 * time.Second
	}
	s := &Sender{node: cfg.API, poll: cfg.PollInterval, epoch: cfg.Epoch, sent: map[string]*sent{}}
	s.pool = pool{read: func(ctx context.Context) ([]*lotus.SignedMessage, error) {
		return cfg.API.MpoolPending(ctx, lotus.TipSetKey{})
	}}
	return s
}

// String names the way of sending for logs.
func (s *Sender) String() string { return "node mempool" }

// Push implements message.Sender.
func (s *Sender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	if err := spec.Check(s.epoch); err != nil {
		return message.Handle{}, err
	}
	from := s.key(ctx, msg.From)
	leave, err := s.queue.Enter(ctx, from)
	if err != nil {
		return message.Handle{}, fmt.Errorf("waiting for the sender's other messages: %w", err)
	}
	defer leave()
	if known := s.known(id); known != nil {
		return handle(id, known.CID), nil
	}
	m := message.Priced(msg, spec.Fees)
	if old, err := s.adopt(ctx, m, from); err != nil {
		return message.Handle{}, err
	} else if old != nil {
		s.remember(id, old)
		return handle(id, old.CID), nil
	}
	if err := s.price(ctx, m, spec.Fees); err != nil {
		return message.Handle{}, refusal(err)
	}
	msgUUID := uuid.NewSHA1(idSpace, []byte(id)).String()
	signed, err := s.node.MpoolPushMessage(ctx, m, &lotus.MessageSendSpec{MaxFee: spec.Fees.Limit(), MsgUuid: &msgUUID})
	if err != nil {
		return message.Handle{}, refusal(err)
	}
	if signed == nil || signed.CID == nil {
		return message.Handle{}, errors.New("the node's answer to MpoolPushMessage names no CID")
	}
	s.remember(id, signed)
	return handle(id, signed.CID), nil
}

// refusal marks errors after which nothing was sent.
func refusal(err error) error {
	if errors.Is(err, endpoint.ErrAnswered) || errors.Is(err, endpoint.ErrPermission) {
		return message.Refuse(err)
	}
	return err
}

func handle(id string, c *cid.Cid) message.Handle {
	h := message.Handle{ID: id}
	if c != nil {
		h.CID = c.String()
	}
	return h
}

// known returns what this process sent under id last, or nil.
func (s *Sender) known(id string) *lotus.SignedMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.sent[id]; e != nil {
		return e.signed
	}
	return nil
}

func (s *Sender) remember(id string, m *lotus.SignedMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool.forget()
	if e := s.sent[id]; e != nil {
		e.signed, e.gone = m, 0
		if e.since.IsZero() {
			e.since = time.Now()
		}
		return
	}
	s.sent[id] = &sent{signed: m, since: time.Now()}
	s.fifo = append(s.fifo, id)
	if len(s.fifo) > remembered {
		delete(s.sent, s.fifo[0])
		s.fifo = s.fifo[1:]
	}
}

// adopt finds the same call from the same sender in the mempool: a push whose
// answer was lost.
func (s *Sender) adopt(ctx context.Context, m *lotus.Message, from address.Address) (*lotus.SignedMessage, error) {
	pending, err := s.pool.now(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		o := p.Message
		if (o.From == from || o.From == m.From) && sameCall(&o, m) {
			return p, nil
		}
	}
	return nil, nil
}

// sameCall reports whether o asks for what m asks for; m's value is set.
func sameCall(o, m *lotus.Message) bool {
	return o.To == m.To && o.Method == m.Method && bytes.Equal(o.Params, m.Params) && (o.Value.Nil() || o.Value.Equals(m.Value))
}

// key resolves an address to the key address that signs. Where that fails the
// address stays as it is: the node will say what it thinks of it.
func (s *Sender) key(ctx context.Context, addr address.Address) address.Address {
	if addr.Protocol() != address.ID {
		return addr
	}
	if k, err := s.node.StateAccountKey(ctx, addr, lotus.TipSetKey{}); err == nil {
		return k
	}
	return addr
}

// price fills gas limit and premium as fees demand. What fees leave open, the
// node decides. The node executes the sender's pending messages before m when
// it estimates.
func (s *Sender) price(ctx context.Context, m *lotus.Message, fees message.Fees) error {
	if m.GasLimit == 0 && fees.GasOverEstimation > 0 {
		limit, err := s.node.GasEstimateGasLimit(ctx, m, lotus.TipSetKey{})
		switch {
		case errors.Is(err, endpoint.ErrNoMethod): // the node's own estimate will do
		case err != nil:
			return err
		default:
			m.GasLimit = min(message.Scale(big.NewInt(limit), fees.GasOverEstimation).Int64(), message.BlockGasLimit)
		}
	}
	if !m.GasPremium.IsZero() || fees.GasOverPremium <= 0 && m.GasFeeCap.IsZero() {
		return nil
	}
	premium, err := s.node.GasEstimateGasPremium(ctx, premiumBlocks, m.From, m.GasLimit, lotus.TipSetKey{})
	switch {
	case errors.Is(err, endpoint.ErrNoMethod):
		return nil
	case err != nil:
		return err
	case fees.GasOverPremium > 0:
		premium = message.Scale(premium, fees.GasOverPremium)
	}
	if !m.GasFeeCap.IsZero() && m.GasFeeCap.LessThan(premium) {
		premium = m.GasFeeCap // a premium above the cap would keep the message off the chain
	}
	m.GasPremium = premium
	return nil
}

// Wait implements message.Sender.
func (s *Sender) Wait(ctx context.Context, h message.Handle, confidence uint64) (message.Outcome, error) {
	return message.Follow(ctx, s.Find, h, confidence, s.poll)
}

// probeNonce makes the message that is signed as a probe worthless everywhere:
// no account ever comes to it, and it offers no gas.
const probeNonce = 1<<63 - 1

// CanSign implements message.Sender: the node must have the key, and the token
// the right to sign. The message that is signed to find out is never sent.
func (s *Sender) CanSign(ctx context.Context, from address.Address) error {
	has, err := s.node.WalletHas(ctx, from)
	switch {
	case errors.Is(err, endpoint.ErrPermission):
		return fmt.Errorf("%w: %w", message.ErrNoRight, err)
	case err != nil:
		return err
	case !has:
		return fmt.Errorf("%w: the node's wallet does not have it", message.ErrNoKey)
	}
	zero := big.Zero()
	_, err = s.node.WalletSignMessage(ctx, from, &lotus.Message{To: from, From: from, Nonce: probeNonce, Value: zero, GasFeeCap: zero, GasPremium: zero})
	switch {
	case errors.Is(err, endpoint.ErrPermission):
		return fmt.Errorf("%w: %w", message.ErrNoRight, err)
	case errors.Is(err, endpoint.ErrAnswered):
		return fmt.Errorf("%w: %w", message.ErrNoKey, err)
	}
	return err
}
