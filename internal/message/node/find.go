package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
	"wdpost/internal/message"
)

// lostAfter is how many epochs a message may be neither in the mempool nor on
// the chain before it counts as lost. One is the epoch between the block that
// takes it out of the mempool and the one that shows its receipt.
const lostAfter = 3

// Find implements message.Sender.
func (s *Sender) Find(ctx context.Context, h message.Handle) (message.Outcome, error) {
	if m := s.known(h.ID); m != nil {
		h.CID = m.CID.String()
	}
	none := message.Outcome{State: message.Unknown, Handle: h}
	if h.CID == "" {
		return none, nil
	}
	c, err := cid.Decode(h.CID)
	if err != nil {
		return none, fmt.Errorf("message %s: its CID %q: %w", h.ID, h.CID, err)
	}
	head, err := s.node.ChainHead(ctx)
	if err != nil {
		return message.Outcome{}, err
	}
	found, err := s.node.StateSearchMsg(ctx, head.Key(), c, searchLookback, true)
	switch {
	case nonceTaken(err):
		return message.Outcome{State: message.Dropped, Handle: h, Reason: "another message took its nonce"}, nil
	case err != nil && !errors.Is(err, endpoint.ErrAnswered):
		return message.Outcome{}, err
	case err == nil && found != nil:
		return message.Outcome{
			State: message.Executed, Handle: message.Handle{ID: h.ID, CID: found.Message.String()},
			ExitCode: found.Receipt.ExitCode, GasUsed: found.Receipt.GasUsed, Height: found.Height, Depth: head.Height - found.Height,
		}, nil
	}
	return s.offChain(ctx, h, head.Height, err)
}

// offChain tells what there is of a message that the chain does not show.
// answer is the node's refusal to look for it, where it refused: a Lotus node
// does so for a message that it never had.
func (s *Sender) offChain(ctx context.Context, h message.Handle, head abi.ChainEpoch, answer error) (message.Outcome, error) {
	all, err := s.pool.lately(ctx, s.poll)
	if err != nil {
		return message.Outcome{}, err
	}
	if s.wasTakenBack(h.ID) {
		return message.Outcome{State: message.Dropped, Handle: h, Reason: "it was taken back"}, nil
	}
	if p := s.form(all, h); p != nil {
		h.CID = p.CID.String()
		s.missed(h.ID, 0)
		return s.pendingOutcome(h, all, p), nil
	}
	signed, gone := s.missed(h.ID, head)
	switch {
	case signed != nil:
		refused, err := s.putBack(ctx, signed)
		if err != nil {
			return message.Outcome{}, err
		}
		if refused == nil || head < gone+lostAfter {
			return s.pendingOutcome(h, all, signed), nil
		}
		// Pushing the id again would come to the same message.
		return message.Outcome{State: message.Dropped, Handle: h, From: signed.Message.From, Reason: "the mempool lost it and does not take it back: " + refused.Error()}, nil
	case answer != nil && message.Unheard(answer.Error()): // it never had it
	case head < gone+lostAfter:
		o := message.Outcome{State: message.Pending, Handle: h, Reason: "neither in the node's mempool nor on the chain"}
		if answer != nil {
			o.Reason += ": " + answer.Error()
		}
		return o, nil
	}
	return message.Outcome{State: message.Unknown, Handle: h}, nil
}

// form finds a message in the mempool: by its CID, or where a replacement took
// its place and the answer to that was lost, by nonce and call.
func (s *Sender) form(all []*lotus.SignedMessage, h message.Handle) *lotus.SignedMessage {
	if p := byCID(all, h.CID); p != nil {
		return p
	}
	was := s.known(h.ID)
	if was == nil {
		return nil
	}
	for _, p := range all {
		if p.Message.From == was.Message.From && p.Message.Nonce == was.Message.Nonce && sameCall(&p.Message, &was.Message) {
			s.remember(h.ID, p)
			return p
		}
	}
	return nil
}

// missed notes that a message was not in the mempool at head, or with 0 that it
// was, and returns it as it was signed, if this process has it, and since when
// it is missed.
func (s *Sender) missed(id string, head abi.ChainEpoch) (*lotus.SignedMessage, abi.ChainEpoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sent[id]
	if e == nil && head == 0 {
		return nil, 0
	}
	if e == nil { // of an earlier process: only its absence is remembered
		e = &sent{}
		s.sent[id] = e
		s.fifo = append(s.fifo, id)
	}
	if head == 0 || e.gone == 0 || e.gone > head {
		e.gone = head
	}
	return e.signed, e.gone
}

func (s *Sender) wasTakenBack(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.sent[id]
	return e != nil && e.takenBack
}

// putBack gives the node a message again as it was signed. It is the same
// message: it cannot be executed twice. A refusal does not count at once: the
// search tells what it means.
func (s *Sender) putBack(ctx context.Context, signed *lotus.SignedMessage) (refused, err error) {
	_, err = s.node.MpoolPush(ctx, signed)
	switch {
	case err == nil:
		s.pool.forget()
		return nil, nil
	case errors.Is(err, endpoint.ErrAnswered):
		return err, nil
	}
	return nil, err
}

func (s *Sender) pendingOutcome(h message.Handle, all []*lotus.SignedMessage, p *lotus.SignedMessage) message.Outcome {
	m := p.Message
	o := message.Outcome{
		State: message.Pending, Handle: h, Signed: true, Nonce: m.Nonce, From: m.From,
		Price: priceOf(m), Before: len(before(all, m.From, m.Nonce)),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.sent[h.ID]; e != nil {
		o.Since = e.since
	}
	return o
}

// nonceTaken recognises the answer for a message whose nonce was used by a
// different call. Source: lotus chain/stmgr/searchwait.go.
func nonceTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal nonce")
}
