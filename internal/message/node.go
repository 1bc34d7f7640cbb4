package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/google/uuid"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// Node is what a Sender without a messager needs of the chain's node. Errors
// carry the kinds of package endpoint. Pushing, pending and wallet calls all go
// to one and the same node.
type Node interface {
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
	// remembered is how many pushed messages NodeSender keeps in mind.
	remembered = 1024
	// lostAfter is how many epochs pass between two looks whether a message
	// that has not landed is still in the mempool.
	lostAfter = 5
	// premiumBlocks is the patience assumed when the premium is estimated.
	premiumBlocks = 10
)

// idSpace makes a message's UUID out of its id (RFC 9562, version 5).
var idSpace = uuid.MustParse("6f0f4c56-53c1-5a0b-9c3e-5c5a6f3d9f10")

// NodeSender is a Sender over the node's own mempool and wallet.
//
// The node knows no ids. An id travels as MsgUuid, by which a Lotus node finds
// the message it signed before; and before anything is pushed, the mempool is
// searched for the same call from the same sender.
type NodeSender struct {
	node Node
	poll time.Duration

	mu   sync.Mutex
	sent map[string]*lotus.SignedMessage
	fifo []string // ids of sent, oldest first
	busy map[string]chan struct{}
}

var _ Sender = (*NodeSender)(nil)

// NewNodeSender returns a Sender over node. poll is how often a message is
// looked for while it is waited for, 0 means every 5 seconds; half an epoch is
// a good value.
func NewNodeSender(node Node, poll time.Duration) *NodeSender {
	if poll <= 0 {
		poll = 5 * time.Second
	}
	return &NodeSender{node: node, poll: poll, sent: map[string]*lotus.SignedMessage{}, busy: map[string]chan struct{}{}}
}

// String names the way of sending for logs.
func (s *NodeSender) String() string { return "node mempool" }

// Push implements Sender.
func (s *NodeSender) Push(ctx context.Context, id string, msg *lotus.Message, spec Spec) (Handle, error) {
	if err := spec.Fees.Validate(); err != nil {
		return Handle{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	release, err := s.claim(ctx, id)
	if err != nil {
		return Handle{}, fmt.Errorf("pushing message %s: %w", id, err)
	}
	defer release()
	if known := s.known(id); known != nil {
		return Handle{ID: id, CID: known.CID}, nil
	}
	m := priced(msg, spec.Fees)
	if old, err := s.adopt(ctx, m); err != nil {
		return Handle{}, err
	} else if old != nil {
		s.remember(id, old)
		return Handle{ID: id, CID: old.CID}, nil
	}
	if err := s.price(ctx, m, spec.Fees); err != nil {
		return Handle{}, refusal(err)
	}
	msgUUID := uuid.NewSHA1(idSpace, []byte(id)).String()
	signed, err := s.node.MpoolPushMessage(ctx, m, &lotus.MessageSendSpec{MaxFee: maxFee(m), MsgUuid: &msgUUID})
	if err != nil {
		return Handle{}, refusal(err)
	}
	if signed == nil || signed.CID == nil {
		return Handle{}, fmt.Errorf("pushing message %s: the node's answer names no CID", id)
	}
	s.remember(id, signed)
	return Handle{ID: id, CID: signed.CID}, nil
}

func refusal(err error) error {
	if errors.Is(err, endpoint.ErrAnswered) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// claim makes pushes of one id follow one another.
func (s *NodeSender) claim(ctx context.Context, id string) (release func(), err error) {
	for {
		s.mu.Lock()
		other, taken := s.busy[id]
		if !taken {
			mine := make(chan struct{})
			s.busy[id] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.busy, id)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// known returns what this process sent under id last, or nil.
func (s *NodeSender) known(id string) *lotus.SignedMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[id]
}

func (s *NodeSender) remember(id string, m *lotus.SignedMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sent[id]; !ok {
		s.fifo = append(s.fifo, id)
	}
	s.sent[id] = m
	if len(s.fifo) > remembered {
		delete(s.sent, s.fifo[0])
		s.fifo = s.fifo[1:]
	}
}

// adopt finds the same call from the same sender in the mempool: a push whose
// answer was lost.
func (s *NodeSender) adopt(ctx context.Context, m *lotus.Message) (*lotus.SignedMessage, error) {
	from := s.key(ctx, m.From)
	pending, err := s.node.MpoolPending(ctx, lotus.TipSetKey{})
	if err != nil {
		return nil, err
	}
	for _, p := range pending {
		if p == nil || p.CID == nil {
			continue
		}
		o := p.Message
		if (o.From == from || o.From == m.From) && o.To == m.To && o.Method == m.Method && bytes.Equal(o.Params, m.Params) {
			return p, nil
		}
	}
	return nil, nil
}

// key resolves an ID address to the key address that signs. Where that fails
// the address stays as it is: the node will say what it thinks of it.
func (s *NodeSender) key(ctx context.Context, addr address.Address) address.Address {
	if addr.Protocol() != address.ID {
		return addr
	}
	if k, err := s.node.StateAccountKey(ctx, addr, lotus.TipSetKey{}); err == nil {
		return k
	}
	return addr
}

// price fills gas limit and premium as fees demand. What fees leave open, the
// node decides.
func (s *NodeSender) price(ctx context.Context, m *lotus.Message, fees Fees) error {
	if m.GasLimit == 0 && fees.GasOverEstimation > 0 {
		limit, err := s.node.GasEstimateGasLimit(ctx, m, lotus.TipSetKey{})
		switch {
		case errors.Is(err, endpoint.ErrNoMethod): // the node's own estimate will do
		case err != nil:
			return err
		default:
			m.GasLimit = scale(big.NewInt(limit), fees.GasOverEstimation).Int64()
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
		premium = scale(premium, fees.GasOverPremium)
	}
	if !m.GasFeeCap.IsZero() && m.GasFeeCap.LessThan(premium) {
		premium = m.GasFeeCap // a premium above the cap would keep the message off the chain
	}
	m.GasPremium = premium
	return nil
}

// defaultMaxFee bounds what one message may cost where the config sets no
// price: 5 FIL, as Lotus does for window posts. Without it a node takes its
// general limit of 0.07 FIL, too little for a full partition in busy times.
var defaultMaxFee = big.Mul(big.NewInt(5), big.NewInt(1e18))

// maxFee is the total limit that goes with the message's own price.
func maxFee(m *lotus.Message) big.Int {
	if own := big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit)); own.GreaterThan(defaultMaxFee) {
		return own
	}
	return defaultMaxFee
}

// Find implements Sender.
func (s *NodeSender) Find(ctx context.Context, h Handle) (Outcome, error) {
	h = s.current(h)
	o, _, err := s.search(ctx, h)
	if err != nil || o.State != Unknown || h.CID == nil {
		return o, err
	}
	waiting, err := s.pending(ctx, h)
	if waiting != nil {
		o.State = Pending
	}
	return o, err
}

// current fills in the CID that the message of h has now: it may have been
// replaced since.
func (s *NodeSender) current(h Handle) Handle {
	if m := s.known(h.ID); m != nil {
		h.CID = m.CID
	}
	return h
}

// search looks for the message on chain: Landed, Replaced, or Unknown if it is
// not there. head is the height that was looked from.
func (s *NodeSender) search(ctx context.Context, h Handle) (o Outcome, head abi.ChainEpoch, err error) {
	o = Outcome{State: Unknown, Handle: h}
	if h.CID == nil {
		return o, 0, nil
	}
	ts, err := s.node.ChainHead(ctx)
	if err != nil {
		return Outcome{}, 0, err
	}
	found, err := s.node.StateSearchMsg(ctx, ts.Key(), *h.CID, searchLookback, true)
	switch {
	case nonceTaken(err):
		o.State = Replaced
		return o, ts.Height, nil
	case notFound(err), err == nil && found == nil:
		return o, ts.Height, nil
	case err != nil:
		return Outcome{}, 0, err
	}
	o = Outcome{State: Landed, Handle: Handle{ID: h.ID, CID: &found.Message}, Receipt: found.Receipt, Height: found.Height, TipSet: found.TipSet}
	return o, ts.Height, nil
}

// pending returns the message from the mempool, nil when it is not there.
func (s *NodeSender) pending(ctx context.Context, h Handle) (*lotus.SignedMessage, error) {
	all, err := s.node.MpoolPending(ctx, lotus.TipSetKey{})
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p != nil && p.CID != nil && h.CID != nil && p.CID.Equals(*h.CID) {
			return p, nil
		}
	}
	return nil, nil
}

// nonceTaken recognises the answer for a message whose nonce was used by a
// different call. Source: lotus chain/stmgr/searchwait.go.
func nonceTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal nonce")
}

// notFound recognises the answer of nodes that report an absent message as an
// error.
func notFound(err error) bool {
	return errors.Is(err, endpoint.ErrAnswered) && strings.Contains(err.Error(), "not found")
}

// Wait implements Sender. A message that left the mempool without landing is
// put back as it was signed, where this process still has it.
func (s *NodeSender) Wait(ctx context.Context, h Handle, confidence uint64) (Outcome, error) {
	var last error
	var look abi.ChainEpoch // when to look into the mempool next; 0 before the first head
	missing := 0            // looks in a row that did not find it there
	for {
		h = s.current(h)
		if h.CID == nil {
			return Outcome{State: Unknown, Handle: h}, nil
		}
		o, head, err := s.search(ctx, h)
		switch {
		case err != nil:
			last = err
		case o.State == Replaced, o.State == Landed && head-o.Height >= abi.ChainEpoch(confidence):
			return o, nil
		case o.State == Landed, look == 0:
			look, missing = head+lostAfter, 0
		case head >= look:
			var there bool
			if there, last = s.revive(ctx, h); last != nil {
				break
			}
			look = head + lostAfter
			if missing++; there {
				missing = 0
			}
			// Once may be the epoch between the block that takes a message out
			// of the mempool and the one that shows its receipt.
			if missing > 1 {
				return o, nil
			}
		}
		if !sleep(ctx, s.poll) {
			return Outcome{}, waitEnded(ctx, h, last)
		}
	}
}

// revive reports whether the message is in the mempool and puts it back if this
// process has it. Refusals do not count: the search will tell what they mean.
func (s *NodeSender) revive(ctx context.Context, h Handle) (there bool, err error) {
	waiting, err := s.pending(ctx, h)
	if err != nil || waiting != nil {
		return waiting != nil, err
	}
	signed := s.known(h.ID)
	if signed == nil {
		return false, nil
	}
	if _, err := s.node.MpoolPush(ctx, signed); err != nil && !errors.Is(err, endpoint.ErrAnswered) {
		return false, err
	}
	return true, nil
}

// Replace implements Sender: the pending message is signed again with a premium
// at least a quarter higher, the least a mempool accepts in exchange.
func (s *NodeSender) Replace(ctx context.Context, h Handle, fees Fees) (Handle, error) {
	h = s.current(h)
	old, err := s.pending(ctx, h)
	if err != nil {
		return h, err
	}
	if old == nil {
		return h, fmt.Errorf("%w: message %s is not pending, there is nothing to replace", ErrRefused, h)
	}
	m := old.Message
	m.CID = nil
	m.GasPremium = big.Add(scale(m.GasPremium, max(fees.GasOverPremium, 1.25)), big.NewInt(1))
	m.GasFeeCap = big.Max(m.GasFeeCap, m.GasPremium)
	if limit := fees.feeCap(); limit.GreaterThan(m.GasFeeCap) {
		m.GasFeeCap = limit
	}
	signed, err := s.node.WalletSignMessage(ctx, m.From, &m)
	if err != nil {
		return h, refusal(err)
	}
	c, err := s.node.MpoolPush(ctx, signed)
	if err != nil {
		return h, refusal(err)
	}
	again := *signed
	again.CID = &c
	s.remember(h.ID, &again)
	return Handle{ID: h.ID, CID: &c}, nil
}

// HasKey implements Sender.
func (s *NodeSender) HasKey(ctx context.Context, addr address.Address) (bool, error) {
	return s.node.WalletHas(ctx, addr)
}
