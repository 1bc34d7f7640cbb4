// Package message is the contract about chain messages: how they are handed
// over, what is known of them afterwards, what they may cost. It does no I/O.
// internal/message/messager keeps the contract through a Venus messager,
// internal/message/node through a node's own mempool and wallet,
// internal/message/messagetest holds both to it. internal/message/sender
// chooses who pays, internal/message/escalate what is done about a message
// that does not get onto the chain.
//
// A message goes by an id that its caller chooses and can compute again after
// a crash: pushing the same id twice, whatever happened in between, sends one
// message. Nothing here retries a push; only the caller knows until when it is
// worth it.
//
// The words, here and wherever messages are spoken of:
//
//	unknown   the service never heard of it, or forgot it: push the id again
//	pending   accepted, not on chain; perhaps with a price and a reason
//	executed  on chain at a height, with an exit code, so and so deep
//	landed    executed with success and deep enough to stay
//	dropped   will never be executed under this id
package message

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/lotus"
)

// Errors of a push, a replacement or a withdrawal that was understood and
// turned down. After any other error the call may have taken effect.
var (
	// ErrRefused marks a call that was turned down: the gas estimation failed
	// because the actor would refuse the message, the key is not in the wallet,
	// the fee is not acceptable. Nothing was sent. The state of the chain may
	// change that; the wording is the service's own.
	ErrRefused = errors.New("message refused")
	// ErrTooLate refines ErrRefused: by the clock the message could only be
	// executed at Spec.Expire or later.
	ErrTooLate = errors.New("too late to be executed in time")
	// ErrNoFunds refines ErrRefused: the sender's balance does not pay.
	ErrNoFunds = errors.New("the sender's balance does not pay for it")
	// ErrNoKey refines ErrRefused: the service cannot sign for the sender.
	ErrNoKey = errors.New("the service has no key of the sender, or may not use it")
	// ErrNoRight says that the token does not allow to sign or to send.
	ErrNoRight = errors.New("the token has no right to sign and send")
	// ErrCannotGiveUp says that the message may still be executed: it is
	// signed and out, and nothing takes it back.
	ErrCannotGiveUp = errors.New("the message is signed and sent, it cannot be taken back")
)

// Sender pushes messages and follows them. It is safe for concurrent use, and
// every method ends soon after ctx does.
type Sender interface {
	// Push hands over msg under id. When it returns without error the message
	// is accepted durably and its handle can be followed. A push of an id that
	// is known already returns the first message's handle and does not send
	// again, even if msg differs. After any error but ErrRefused the message
	// may have been accepted: push again with the same id.
	//
	// Messages of one sender are pushed one after the other, so that each is
	// estimated on top of those before it.
	Push(ctx context.Context, id string, msg *lotus.Message, spec Spec) (Handle, error)
	// Find says what is known about a message now. A handle with the ID alone
	// is enough where the service keeps ids; a node does not, there a message
	// of an earlier process is found by the CID in its handle.
	Find(ctx context.Context, h Handle) (Outcome, error)
	// Wait blocks until the outcome is settled: landed, dropped, unknown, or
	// executed without success at whatever depth. A failure that is not deep
	// may be undone by a reorg: the caller may act on it at once, and asks
	// Find again before it calls it final. Wait bridges failures of the
	// service and ends with an error only with ctx.
	Wait(ctx context.Context, h Handle, confidence uint64) (Outcome, error)
	// Replace offers a pending message at another price under the same nonce,
	// so that it overtakes itself; older pending messages of the same sender
	// that are priced lower are raised first, since they go before it. Fields
	// of to that are zero keep what the message has, raised to the least that
	// a mempool accepts in exchange. The returned handle is the one to follow
	// from now on: whichever of its forms is executed, it finds it.
	Replace(ctx context.Context, h Handle, to Price) (Handle, error)
	// GiveUp takes back a message that is no longer worth sending, where that
	// is possible, so that it neither costs nor blocks later ones. nil means
	// that it was taken back; ErrCannotGiveUp that it may yet be executed.
	GiveUp(ctx context.Context, h Handle) error
	// CanSign asks whether messages from the key address from can be signed and
	// sent: nil, ErrNoKey, ErrNoRight, or another error if it could not be
	// found out.
	CanSign(ctx context.Context, from address.Address) error
}

// Handle names a message that was pushed. It is small and fit to be stored.
type Handle struct {
	ID  string // the caller's id
	CID string // of the signed message, as text; "" until it is known
}

// String is the id, and the CID where known.
func (h Handle) String() string {
	if h.CID == "" {
		return h.ID
	}
	return h.ID + " (" + h.CID + ")"
}

// Spec says how to send a message.
type Spec struct {
	Fees Fees
	// Expire is the first epoch at which executing the message is worthless; 0
	// means never. A message that by the clock cannot be executed before it is
	// refused with ErrTooLate. A messager gives an unsigned message up at it.
	Expire abi.ChainEpoch
}

// Check refuses fees that can never work, and a message that is too late by the
// clock: one that is handed over in epoch e is executed at e+1 at the earliest.
// A nil now means that there is no clock to go by.
func (s Spec) Check(now func() abi.ChainEpoch) error {
	if err := s.Fees.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if s.Expire <= 0 || now == nil {
		return nil
	}
	if e := now(); e+1 >= s.Expire {
		return fmt.Errorf("%w: %w: it is epoch %d by the clock, and at %d it is worthless", ErrRefused, ErrTooLate, e, s.Expire)
	}
	return nil
}
