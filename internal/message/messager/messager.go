// Package messager keeps the contract of internal/message through a Venus
// (sophon) messager, which keeps ids, gives nonces and gas, signs and resends.
//
// The messager accepts a message at once and estimates, signs and pushes it
// when the next head comes, in a row with the sender's others. What hinders it
// stands in the message's ErrorMsg, and nowhere else.
package messager

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// Config says how to reach a messager.
type Config struct {
	Address string // Common.API.Messager; see endpoint.Parse for the forms
	Token   string // used when Address brings none
	// PollInterval is how often a message is looked at while it is waited for.
	// Default 5 seconds; half an epoch is a good value.
	PollInterval time.Duration
	// CallTimeout bounds one call. Default 30 seconds.
	CallTimeout time.Duration
	// Epoch is the present epoch by the clock; nil means that there is none,
	// and that no message is too late.
	Epoch func() abi.ChainEpoch
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// Sender is a message.Sender over a messager.
type Sender struct {
	cfg   Config
	ep    *endpoint.Endpoint
	api   API
	http  *http.Client
	queue message.Queue
}

var _ message.Sender = (*Sender)(nil)

// New returns a Sender over the messager at cfg.Address; it does not connect
// yet.
func New(cfg Config) (*Sender, error) {
	ep, err := endpoint.Parse(cfg.Address, cfg.Token, service)
	if err != nil {
		return nil, err
	}
	s := over(cfg, ep)
	if err := ep.Calls(&s.api, s.http); err != nil {
		return nil, err
	}
	return s, nil
}

func over(cfg Config, ep *endpoint.Endpoint) *Sender {
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = 5 * time.Second
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 30 * time.Second
	}
	client := endpoint.NewHTTPClient()
	if cfg.Transport != nil {
		client.Transport = cfg.Transport
	}
	return &Sender{cfg: cfg, ep: ep, http: client}
}

// Close drops idle connections.
func (s *Sender) Close() { s.http.CloseIdleConnections() }

// String names the messager for logs.
func (s *Sender) String() string { return "messager " + s.ep.String() }

// call bounds one call and explains its error.
func call[T any](ctx context.Context, s *Sender, method string, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	v, err := f(ctx)
	return v, s.ep.Explain(method, err)
}

// Push implements message.Sender. The messager is asked for the id first and
// again after a refusal: an answer that got lost is not a message that got lost.
func (s *Sender) Push(ctx context.Context, id string, msg *lotus.Message, spec message.Spec) (message.Handle, error) {
	if err := spec.Check(s.cfg.Epoch); err != nil {
		return message.Handle{}, err
	}
	leave, err := s.queue.Enter(ctx, msg.From)
	if err != nil {
		return message.Handle{}, fmt.Errorf("waiting for the sender's other messages: %w", err)
	}
	defer leave()
	known, err := s.has(ctx, id)
	if err != nil {
		return message.Handle{}, err
	}
	if known {
		return message.Handle{ID: id}, nil
	}
	_, err = call(ctx, s, "PushMessageWithId", func(ctx context.Context) (string, error) {
		return s.api.PushMessageWithId(ctx, id, message.Priced(msg, spec.Fees), &SendSpec{
			ExpireEpoch:       spec.Expire,
			GasOverEstimation: spec.Fees.GasOverEstimation,
			GasOverPremium:    spec.Fees.GasOverPremium,
			MaxFee:            spec.Fees.Limit(), // without it the messager cuts the fee cap by its shared one
		})
	})
	if errors.Is(err, endpoint.ErrAnswered) {
		if known, hasErr := s.has(ctx, id); hasErr != nil || known {
			return message.Handle{ID: id}, hasErr
		}
	}
	if err != nil {
		return message.Handle{}, refusal(err)
	}
	return message.Handle{ID: id}, nil
}

// refusal marks errors after which nothing was sent.
func refusal(err error) error {
	if errors.Is(err, endpoint.ErrAnswered) || errors.Is(err, endpoint.ErrPermission) {
		return message.Refuse(err)
	}
	return err
}

func (s *Sender) has(ctx context.Context, id string) (bool, error) {
	return call(ctx, s, "HasMessageByUid", func(ctx context.Context) (bool, error) { return s.api.HasMessageByUid(ctx, id) })
}

// get returns what the messager has under the id of h, nil for nothing,
// whatever words it says that in.
func (s *Sender) get(ctx context.Context, h message.Handle) (*Message, error) {
	msg, err := call(ctx, s, "GetMessageByUid", func(ctx context.Context) (*Message, error) {
		return s.api.GetMessageByUid(ctx, h.ID)
	})
	if errors.Is(err, endpoint.ErrAnswered) {
		if known, hasErr := s.has(ctx, h.ID); hasErr == nil && !known {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	return msg, nil
}

// Find implements message.Sender.
func (s *Sender) Find(ctx context.Context, h message.Handle) (message.Outcome, error) {
	msg, err := s.get(ctx, h)
	if err != nil {
		return message.Outcome{}, err
	}
	if msg == nil {
		return message.Outcome{State: message.Unknown, Handle: h}, nil
	}
	o := msg.outcome(h)
	if o.State == message.Pending && o.Signed {
		older, err := s.older(ctx, msg)
		if err == nil { // else nobody knows; the rest of the outcome is worth having
			o.Before = len(older)
		}
	}
	return o, nil
}

// older returns the sender's signed messages with smaller nonces, ascending.
func (s *Sender) older(ctx context.Context, msg *Message) ([]*Message, error) {
	const atMost = 100 // the messager signs 20 ahead
	list, err := call(ctx, s, "ListMessageByFromState", func(ctx context.Context) ([]*Message, error) {
		return s.api.ListMessageByFromState(ctx, msg.From, Filled, true, 1, atMost, 0)
	})
	if err != nil {
		return nil, err
	}
	return olderThan(list, msg), nil
}

// Wait implements message.Sender.
func (s *Sender) Wait(ctx context.Context, h message.Handle, confidence uint64) (message.Outcome, error) {
	return message.Follow(ctx, s.Find, h, confidence, s.cfg.PollInterval)
}

// CanSign implements message.Sender: the messager must find a wallet with the
// key, and the token must allow writing. The replacement of a message that
// does not exist asks for the same right as a push and changes nothing.
func (s *Sender) CanSign(ctx context.Context, from address.Address) error {
	has, err := call(ctx, s, "WalletHas", func(ctx context.Context) (bool, error) { return s.api.WalletHas(ctx, from) })
	switch {
	case errors.Is(err, endpoint.ErrPermission):
		return fmt.Errorf("%w: %w", message.ErrNoRight, err)
	case errors.Is(err, endpoint.ErrNoMethod): // the push will tell
	case errors.Is(err, endpoint.ErrAnswered):
		return fmt.Errorf("%w: %w", message.ErrNoKey, err)
	case err != nil:
		return err
	case !has:
		return fmt.Errorf("%w: no wallet at the messager has it", message.ErrNoKey)
	}
	_, err = call(ctx, s, "ReplaceMessage", func(ctx context.Context) (cid.Cid, error) {
		return s.api.ReplaceMessage(ctx, &ReplaceParams{ID: uuid.NewString(), MaxFee: big.Zero(), GasPremium: big.Zero(), GasFeecap: big.Zero()})
	})
	switch {
	case errors.Is(err, endpoint.ErrPermission) && !asksForAdmin(err): // an older messager lets admins alone replace
		return fmt.Errorf("%w: %w", message.ErrNoRight, err)
	case errors.Is(err, endpoint.ErrUnreachable), errors.Is(err, endpoint.ErrToken):
		return err
	}
	return nil
}
