package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// Replace implements message.Sender. Older messages of the sender go first:
// the chain takes nonces in order.
func (s *Sender) Replace(ctx context.Context, h message.Handle, to message.Price) (message.Handle, error) {
	old, all, leave, err := s.pending(ctx, h)
	defer leave()
	if err != nil {
		return h, err
	}
	if old == nil {
		return h, fmt.Errorf("%w: message %s is not pending, there is nothing to replace", message.ErrRefused, h)
	}
	for _, b := range before(all, old.Message.From, old.Message.Nonce) {
		if old := priceOf(b.Message); old.Below(to) {
			price, err := to.Older(old)
			if err == nil {
				_, err = s.resign(ctx, b.Message, price)
			}
			if err != nil {
				return h, fmt.Errorf("raising nonce %d, which goes before: %w", b.Message.Nonce, err)
			}
		}
	}
	signed, err := s.resign(ctx, old.Message, to)
	if err != nil {
		return h, err
	}
	s.remember(h.ID, signed)
	return handle(h.ID, signed.CID), nil
}

// pending finds a message in the mempool, in the sender's turn; leave is never
// nil.
func (s *Sender) pending(ctx context.Context, h message.Handle) (m *lotus.SignedMessage, all []*lotus.SignedMessage, leave func(), err error) {
	leave = func() {}
	if k := s.known(h.ID); k != nil {
		h.CID = k.CID.String()
	}
	if all, err = s.pool.now(ctx); err != nil {
		return nil, nil, leave, err
	}
	if m = s.form(all, h); m == nil {
		return nil, all, leave, nil
	}
	if leave, err = s.queue.Enter(ctx, m.Message.From); err != nil {
		return nil, nil, leave, err
	}
	return m, all, leave, nil
}

// resign signs m again under its nonce for another price and pushes it.
func (s *Sender) resign(ctx context.Context, m lotus.Message, to message.Price) (*lotus.SignedMessage, error) {
	m = raised(m, to)
	for try := 0; ; try++ {
		signed, err := s.node.WalletSignMessage(ctx, m.From, &m)
		if err != nil {
			return nil, refusal(err)
		}
		c, err := s.node.MpoolPush(ctx, signed)
		if err == nil {
			again := *signed
			again.CID = &c
			s.pool.forget()
			return &again, nil
		}
		if try == 2 || !errors.Is(err, endpoint.ErrAnswered) || !strings.Contains(err.Error(), "too low GasPremium") {
			return nil, refusal(err)
		}
		m = raised(m, to) // this node's mempool wants a larger step
	}
}

func priceOf(m lotus.Message) message.Price {
	return message.Price{FeeCap: m.GasFeeCap, Premium: m.GasPremium, GasLimit: m.GasLimit}
}

func raised(m lotus.Message, to message.Price) lotus.Message {
	p := priceOf(m).Raised(to)
	m.CID, m.GasFeeCap, m.GasPremium, m.GasLimit = nil, p.FeeCap, p.Premium, p.GasLimit
	return m
}

// cancelGas is the gas of a transfer of nothing to oneself, with room, where the
// node does not estimate it.
const cancelGas = 4_000_000

// GiveUp implements message.Sender. A mempool takes nothing back, but a
// transfer of nothing from the sender to itself under the same nonce overtakes
// the message, for a tenth of its gas, and keeps later nonces moving. A sender
// that cannot pay for that cannot pay for the message either: it is as good as
// taken back.
func (s *Sender) GiveUp(ctx context.Context, h message.Handle) error {
	old, _, leave, err := s.pending(ctx, h)
	defer leave()
	switch {
	case err != nil:
		return err
	case old == nil:
		return s.certainlyNot(ctx, h)
	case old.Message.To == old.Message.From && old.Message.Method == 0:
		return nil
	}
	m := old.Message
	m.To, m.Method, m.Params, m.Value, m.GasLimit = m.From, 0, nil, big.Zero(), 0
	m.GasLimit = s.cancelLimit(ctx, m)
	if _, err := s.resign(ctx, m, message.Price{}); err != nil && !errors.Is(err, message.ErrNoFunds) {
		return fmt.Errorf("%w: overtaking it failed: %w", message.ErrCannotGiveUp, err)
	}
	s.takeBack(h.ID)
	return nil
}

// cancelLimit is the gas limit of a transfer of nothing: half as much again as
// the node estimates.
func (s *Sender) cancelLimit(ctx context.Context, m lotus.Message) int64 {
	m.CID, m.GasFeeCap, m.GasPremium = nil, big.Zero(), big.Zero()
	if used, err := s.node.GasEstimateGasLimit(ctx, &m, lotus.TipSetKey{}); err == nil && used > 0 {
		return used + used/2
	}
	return cancelGas
}

// certainlyNot is nil for a message that will never be executed. One that has
// just left the mempool may be in a block whose receipts are not there yet, or
// is put back by the look for it.
func (s *Sender) certainlyNot(ctx context.Context, h message.Handle) error {
	o, err := s.Find(ctx, h)
	switch {
	case err != nil:
		return err
	case o.State == message.Executed || o.State == message.Pending:
		return fmt.Errorf("%w: it is %s", message.ErrCannotGiveUp, o)
	}
	s.takeBack(h.ID)
	return nil
}

// takeBack keeps a message from being put back into the mempool.
func (s *Sender) takeBack(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sent[id]
	if e == nil {
		e = &sent{}
		s.sent[id] = e
		s.fifo = append(s.fifo, id)
	}
	e.takenBack = true
}
