package messager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/message"
)

// olderThan returns those of list with a smaller nonce than msg, ascending.
func olderThan(list []*Message, msg *Message) []*Message {
	out := slices.DeleteFunc(slices.Clone(list), func(m *Message) bool {
		return m == nil || m.ID == msg.ID || m.State != Filled || m.From != msg.From || m.Nonce >= msg.Nonce
	})
	slices.SortFunc(out, func(a, b *Message) int { return cmp.Compare(a.Nonce, b.Nonce) })
	return out
}

// Replace implements message.Sender. Only signed messages are replaced: the
// messager would sign an unsigned one with nonce 0.
func (s *Sender) Replace(ctx context.Context, h message.Handle, to message.Price) (message.Handle, error) {
	msg, err := s.get(ctx, h)
	switch {
	case err != nil:
		return h, err
	case msg == nil:
		return h, fmt.Errorf("%w: the messager does not know message %s", message.ErrRefused, h)
	case msg.State != Filled:
		return h, fmt.Errorf("%w: message %s is %s, there is no signed message to replace", message.ErrRefused, h, msg.outcome(h))
	}
	older, _ := s.older(ctx, msg) // where they are not told it is raised alone: better than not at all
	for _, o := range older {
		if old := o.price(); old.Below(to) {
			price, err := to.Older(old)
			if err == nil {
				_, err = s.replace(ctx, o, price)
			}
			if err != nil {
				return h, fmt.Errorf("raising nonce %d, which goes before: %w", o.Nonce, err)
			}
		}
	}
	c, err := s.replace(ctx, msg, to)
	if err != nil {
		return h, err
	}
	return message.Handle{ID: h.ID, CID: c.String()}, nil
}

func (msg *Message) price() message.Price {
	return message.Price{FeeCap: msg.GasFeeCap, Premium: msg.GasPremium, GasLimit: msg.GasLimit}
}

// replace asks for a price of our own choice: left to itself (Auto), the
// messager takes no notice of the fee cap.
func (s *Sender) replace(ctx context.Context, msg *Message, to message.Price) (cid.Cid, error) {
	p := msg.price().Raised(to)
	c, err := call(ctx, s, "ReplaceMessage", func(ctx context.Context) (cid.Cid, error) {
		return s.api.ReplaceMessage(ctx, &ReplaceParams{ID: msg.ID, MaxFee: big.Zero(), GasLimit: p.GasLimit, GasPremium: p.Premium, GasFeecap: p.FeeCap})
	})
	return c, refusal(err)
}

// GiveUp implements message.Sender. A message that the messager has not signed
// yet is marked as bad and never sent. A signed one stays: marking it would
// leave a hole in the sender's nonces, and the later messages behind it. Where
// the node refuses it because the sender cannot pay, it is as good as taken
// back.
func (s *Sender) GiveUp(ctx context.Context, h message.Handle) error {
	msg, err := s.get(ctx, h)
	switch {
	case err != nil:
		return err
	case msg == nil:
		return nil
	}
	switch o := msg.outcome(h); {
	case o.State == message.Dropped:
		return nil
	case msg.State == Filled && message.LacksFunds(msg.ErrorMsg):
		return nil
	case msg.State != Unfilled:
		return fmt.Errorf("%w: it is %s", message.ErrCannotGiveUp, o)
	}
	_, err = call(ctx, s, "MarkBadMessage", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.api.MarkBadMessage(ctx, h.ID)
	})
	if err != nil {
		return refusal(err)
	}
	if msg, err = s.get(ctx, h); err != nil {
		return err
	}
	if msg != nil && (msg.SignedCid != nil || msg.State != Failed) { // signed in the same moment
		return fmt.Errorf("%w: the messager was signing it", message.ErrCannotGiveUp)
	}
	return nil
}

// asksForAdmin reports a refusal that names admin as the missing permission.
func asksForAdmin(err error) bool { return strings.Contains(err.Error(), "need 'admin'") }
