// Package message sends chain messages and finds out what became of them:
// through a Venus messager, or through the node itself where none is
// configured. Both ways keep the same promises, those of Sender.
//
// A message goes by an id that its caller chooses and can compute again after
// a crash: pushing the same id twice, whatever happened in between, sends one
// message. Nothing here retries a push; only the caller knows until when it is
// worth it.
package message

import (
	"context"
	"errors"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// ErrRefused marks a push that was understood and turned down: the gas
// estimation failed because the actor would refuse the message, the key is not
// in the wallet, the fee is not acceptable. The message was not sent. The state
// of the chain may change that; the wording is the service's own.
var ErrRefused = errors.New("message refused")

// Sender pushes messages and follows them. It is safe for concurrent use.
type Sender interface {
	// Push hands over msg under id. When it returns without error the message
	// is accepted durably and its handle can be waited for. A push of an id
	// that is known already returns the first message's handle and does not
	// send again, even if msg differs. After any error but ErrRefused the
	// message may have been accepted: push again with the same id.
	Push(ctx context.Context, id string, msg *lotus.Message, spec Spec) (Handle, error)
	// Find says what is known about a message now. A handle with the ID alone
	// is enough where the service keeps ids; a node does not, there a message
	// of an earlier process is found by the CID in its handle.
	Find(ctx context.Context, h Handle) (Outcome, error)
	// Wait blocks until the message is confidence epochs deep on chain or
	// certain never to land. Unknown means that the service lost it or never
	// had it: push it again with the same id. Wait bridges failures of the
	// service and ends with an error only with ctx.
	Wait(ctx context.Context, h Handle, confidence uint64) (Outcome, error)
	// Replace offers the same message at a higher price, so that it overtakes
	// itself. It returns the handle to wait for from now on.
	Replace(ctx context.Context, h Handle, fees Fees) (Handle, error)
	// HasKey reports whether messages from addr can be signed.
	HasKey(ctx context.Context, addr address.Address) (bool, error)
}

// Handle names a pushed message. It is small and fit to be stored.
type Handle struct {
	ID  string   // the caller's id
	CID *cid.Cid `json:",omitempty"` // of the signed message, where known
}

// String is the id, and the CID where known.
func (h Handle) String() string {
	if h.CID == nil {
		return h.ID
	}
	return h.ID + " (" + h.CID.String() + ")"
}

// Spec says how to send a message.
type Spec struct {
	Fees Fees
	// ExpireEpoch is the epoch after which the messager gives the message up;
	// 0 means never. A node takes no notice of it.
	ExpireEpoch abi.ChainEpoch
}

// State of a message.
type State int

// The states. Landed, Failed and Replaced are final, except that a reorg may
// take a message off the chain again that is not yet deep.
const (
	Unknown  State = iota // the service never heard of it, or forgot it
	Pending               // accepted, not on chain
	Landed                // executed; the receipt says how it went
	Failed                // will never be on chain
	Replaced              // another message took its nonce
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Landed:
		return "landed"
	case Failed:
		return "failed"
	case Replaced:
		return "replaced"
	}
	return "unknown"
}

// Outcome is what became of a message.
type Outcome struct {
	State  State
	Handle Handle
	// Receipt, Height and TipSet are set for Landed and, where the service
	// tells, for Replaced, of the message that took the nonce. Landed says
	// nothing about success: that is exit code 0.
	Receipt lotus.MessageReceipt
	Height  abi.ChainEpoch
	TipSet  lotus.TipSetKey
	// Reason says in words why it Failed, or why it is still Pending where the
	// service tells: a messager keeps trying a message whose gas estimation
	// fails, until it expires.
	Reason string
}

// Succeeded reports a message that was executed with exit code 0.
func (o Outcome) Succeeded() bool { return o.State == Landed && o.Receipt.ExitCode == 0 }

// sleep waits d and reports whether ctx still lasts.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
