package message

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/crypto"
	"github.com/ipfs/go-cid"

	"wdpost/internal/endpoint"
	"wdpost/internal/lotus"
)

// messagerService is the Venus (sophon) messager. Source: filecoin-project/venus
// venus-shared/api/messager, types/messager.
var messagerService = endpoint.Service{Name: "messager", Path: "/rpc/v0", Namespace: "Message", Header: "messager.IMessager"}

// messagerAPI is the part of the messager that is used; names are wire names.
type messagerAPI struct {
	PushMessageWithId func(context.Context, string, *lotus.Message, *sendSpec) (string, error)
	HasMessageByUid   func(context.Context, string) (bool, error)
	GetMessageByUid   func(context.Context, string) (*messagerMessage, error)
	WaitMessage       func(context.Context, string, uint64) (*messagerMessage, error)
	ReplaceMessage    func(context.Context, *replaceParams) (cid.Cid, error)
	WalletHas         func(context.Context, address.Address) (bool, error)
}

// sendSpec is the messager's form of Spec.
type sendSpec struct {
	ExpireEpoch       abi.ChainEpoch `json:"expireEpoch"`
	GasOverEstimation float64        `json:"gasOverEstimation"`
	MaxFee            big.Int        `json:"maxFee,omitempty"`
	GasOverPremium    float64        `json:"gasOverPremium"`
}

// messagerState is the messager's State.
type messagerState int

const (
	stateUnknown messagerState = iota
	stateUnfilled
	stateFilled
	stateOnChain
	stateFailed
	stateReplaced
	stateNoWallet
)

// messagerMessage is the answer of GetMessageByUid and WaitMessage, as far as
// it is used. The messager writes it as one flat object.
type messagerMessage struct {
	ID         string
	SignedCid  *cid.Cid
	Nonce      uint64
	GasLimit   int64
	GasFeeCap  abi.TokenAmount
	GasPremium abi.TokenAmount
	Signature  *crypto.Signature
	Height     abi.ChainEpoch
	Confidence int64
	Receipt    *lotus.MessageReceipt
	TipSetKey  lotus.TipSetKey
	State      messagerState
	ErrorMsg   string // why it waits or failed; older messagers leave it out
}

type replaceParams struct {
	ID             string
	Auto           bool
	MaxFee         abi.TokenAmount
	GasLimit       int64
	GasPremium     abi.TokenAmount
	GasFeecap      abi.TokenAmount
	GasOverPremium float64
}

// MessagerConfig says how to reach a messager.
type MessagerConfig struct {
	Address string // Common.API.Messager; see endpoint.Parse for the forms
	Token   string // used when Address brings none
	// PollInterval is how often a message is looked at while it is waited for.
	// Default 5 seconds; half an epoch is a good value.
	PollInterval time.Duration
	// CallTimeout bounds one call. Default 30 seconds.
	CallTimeout time.Duration
}

// Messager is a Sender over a Venus messager. The messager keeps ids, gives
// nonces and gas, signs and resends.
type Messager struct {
	cfg  MessagerConfig
	ep   *endpoint.Endpoint
	api  messagerAPI
	http *http.Client
}

var _ Sender = (*Messager)(nil)

// NewMessager returns a Sender over the messager at cfg.Address; it does not
// connect yet.
func NewMessager(cfg MessagerConfig) (*Messager, error) {
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = 5 * time.Second
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = 30 * time.Second
	}
	ep, err := endpoint.Parse(cfg.Address, cfg.Token, messagerService)
	if err != nil {
		return nil, err
	}
	m := &Messager{cfg: cfg, ep: ep, http: endpoint.NewHTTPClient()}
	if err := ep.Calls(&m.api, m.http); err != nil {
		return nil, err
	}
	return m, nil
}

// Close drops idle connections.
func (m *Messager) Close() { m.http.CloseIdleConnections() }

// String names the messager for logs.
func (m *Messager) String() string { return "messager " + m.ep.String() }

// call bounds one call and explains its error.
func call[T any](ctx context.Context, m *Messager, method string, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
	defer cancel()
	v, err := f(ctx)
	return v, m.ep.Explain(method, err)
}

// Push implements Sender. The messager is asked for the id first and again
// after a refusal: an answer that got lost is not a message that got lost.
func (m *Messager) Push(ctx context.Context, id string, msg *lotus.Message, spec Spec) (Handle, error) {
	if err := spec.Fees.Validate(); err != nil {
		return Handle{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	known, err := m.has(ctx, id)
	if err != nil {
		return Handle{}, err
	}
	if known {
		return Handle{ID: id}, nil
	}
	_, err = call(ctx, m, "PushMessageWithId", func(ctx context.Context) (string, error) {
		return m.api.PushMessageWithId(ctx, id, priced(msg, spec.Fees), &sendSpec{
			ExpireEpoch:       spec.ExpireEpoch,
			GasOverEstimation: spec.Fees.GasOverEstimation,
			GasOverPremium:    spec.Fees.GasOverPremium,
			MaxFee:            big.Zero(),
		})
	})
	if errors.Is(err, endpoint.ErrAnswered) {
		if known, hasErr := m.has(ctx, id); hasErr != nil || known {
			return Handle{ID: id}, hasErr
		}
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return Handle{}, err
	}
	return Handle{ID: id}, nil
}

func (m *Messager) has(ctx context.Context, id string) (bool, error) {
	return call(ctx, m, "HasMessageByUid", func(ctx context.Context) (bool, error) { return m.api.HasMessageByUid(ctx, id) })
}

// Find implements Sender.
func (m *Messager) Find(ctx context.Context, h Handle) (Outcome, error) {
	o, _, err := m.look(ctx, h)
	return o, err
}

// look returns the outcome and how deep a landed message is.
func (m *Messager) look(ctx context.Context, h Handle) (Outcome, int64, error) {
	msg, err := call(ctx, m, "GetMessageByUid", func(ctx context.Context) (*messagerMessage, error) {
		return m.api.GetMessageByUid(ctx, h.ID)
	})
	if errors.Is(err, endpoint.ErrAnswered) {
		if known, hasErr := m.has(ctx, h.ID); hasErr == nil && !known {
			return Outcome{State: Unknown, Handle: h}, 0, nil
		}
	}
	if err != nil {
		return Outcome{}, 0, err
	}
	if msg == nil {
		return Outcome{State: Unknown, Handle: h}, 0, nil
	}
	return msg.outcome(h), msg.Confidence, nil
}

func (msg *messagerMessage) outcome(h Handle) Outcome {
	o := Outcome{Handle: Handle{ID: h.ID, CID: msg.SignedCid}, Height: msg.Height, TipSet: msg.TipSetKey}
	if o.Handle.CID == nil {
		o.Handle.CID = h.CID
	}
	if msg.Receipt != nil {
		o.Receipt = *msg.Receipt
	}
	switch msg.State {
	case stateUnfilled, stateFilled:
		o.State, o.Reason = Pending, msg.ErrorMsg
	case stateOnChain:
		o.State = Landed
	case stateReplaced:
		o.State = Replaced
	case stateFailed:
		// Older messagers keep the reason in the place of the return value.
		o.State = Failed
		o.Reason = cmp.Or(msg.ErrorMsg, strings.TrimSpace(string(o.Receipt.Return)), "the messager marked it as failed")
	case stateNoWallet:
		o.State, o.Reason = Failed, "the messager has no wallet with the sender's key"
	default:
		o.State = Unknown
	}
	return o
}

// waitSlice bounds one WaitMessage: a connection that died silently must not
// hold the wait. Where epochs are short it is waitPolls intervals of looking.
const (
	waitSlice = time.Minute
	waitPolls = 8
)

// Wait implements Sender. While the message is not on chain it is looked at
// every PollInterval; then the messager's own waiting counts the confidence.
func (m *Messager) Wait(ctx context.Context, h Handle, confidence uint64) (Outcome, error) {
	var last error
	for {
		o, depth, err := m.look(ctx, h)
		switch {
		case err != nil:
			last = err
		case o.State == Failed, o.State == Unknown:
			return o, nil
		case o.State == Landed, o.State == Replaced:
			if depth >= int64(confidence) {
				return o, nil
			}
			if deep, err := m.waitDeep(ctx, h, confidence); err == nil {
				return deep, nil
			}
		}
		if !sleep(ctx, m.cfg.PollInterval) {
			return Outcome{}, waitEnded(ctx, h, last)
		}
	}
}

func (m *Messager) waitDeep(ctx context.Context, h Handle, confidence uint64) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, min(waitSlice, waitPolls*m.cfg.PollInterval))
	defer cancel()
	msg, err := m.api.WaitMessage(ctx, h.ID, confidence)
	if err != nil {
		return Outcome{}, m.ep.Explain("WaitMessage", err)
	}
	if msg == nil {
		return Outcome{}, m.ep.Explain("WaitMessage", errors.New("the answer is empty"))
	}
	o := msg.outcome(h)
	if o.State != Landed && o.State != Replaced && o.State != Failed {
		return o, m.ep.Explain("WaitMessage", fmt.Errorf("the message is %s", o.State))
	}
	return o, nil
}

// waitEnded is the error of a Wait whose ctx ended, with the last failure of
// the service if there was one.
func waitEnded(ctx context.Context, h Handle, last error) error {
	err := fmt.Errorf("waiting for message %s: %w", h, context.Cause(ctx))
	if last != nil {
		return fmt.Errorf("%w; the last failure was: %w", err, last)
	}
	return err
}

// Replace implements Sender. The messager re-estimates and signs the same id
// again; it asks for a token with permission admin.
func (m *Messager) Replace(ctx context.Context, h Handle, fees Fees) (Handle, error) {
	c, err := call(ctx, m, "ReplaceMessage", func(ctx context.Context) (cid.Cid, error) {
		return m.api.ReplaceMessage(ctx, &replaceParams{
			ID: h.ID, Auto: true, MaxFee: big.Zero(), GasPremium: big.Zero(), GasFeecap: fees.feeCap(), GasOverPremium: fees.GasOverPremium,
		})
	})
	if err != nil {
		if errors.Is(err, endpoint.ErrAnswered) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return h, err
	}
	return Handle{ID: h.ID, CID: &c}, nil
}

// HasKey implements Sender.
func (m *Messager) HasKey(ctx context.Context, addr address.Address) (bool, error) {
	return call(ctx, m, "WalletHas", func(ctx context.Context) (bool, error) { return m.api.WalletHas(ctx, addr) })
}
