package messager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/simchain"
)

// errNotFound is the messager's answer for an unknown id.
var errNotFound = errors.New("record not found")

// Messager is the store and the engine behind the API.
type Messager struct {
	chain *simchain.Chain
	log   *slog.Logger

	processing sync.Mutex // one OnHead or replacement at a time; taken before mu

	mu      sync.Mutex
	byID    map[string]*Message
	order   []string
	changed chan struct{} // closed and renewed whenever something changed
}

// New returns an empty messager.
func New(chain *simchain.Chain, log *slog.Logger) *Messager {
	return &Messager{
		chain: chain, log: log,
		byID: map[string]*Message{}, changed: make(chan struct{}),
	}
}

// push stores a message under an id. A second push of an id is refused in the
// words of the real one's database.
func (m *Messager) push(id string, msg lotus.Message, meta *SendSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.byID[id]; ok {
		//lint:ignore ST1005 the database's own words, which the messager passes on
		return fmt.Errorf("Error 1062 (23000): Duplicate entry '%s' for key 'messages.PRIMARY'", id)
	}
	msg.Nonce, msg.CID = 0, nil
	now := time.Now()
	out := &Message{ID: id, Message: msg, Meta: meta, State: UnFillMsg, CreatedAt: now, UpdatedAt: now}
	if _, ok := m.chain.Account(msg.From); !ok {
		out.State = NoWalletMsg
	}
	m.byID[id] = out
	m.order = append(m.order, id)
	return nil
}

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
	if c.State == OnChainMsg || c.State == ReplacedMsg {
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

// OnHead does the work of a new head: it sends what waits and looks for what
// was sent. Its owner calls it after each change of the head.
func (m *Messager) OnHead(ctx context.Context) {
	m.processing.Lock()
	defer m.processing.Unlock()
	m.mu.Lock()
	ids := append([]string(nil), m.order...)
	m.mu.Unlock()
	for _, id := range ids {
		msg, err := m.get(id)
		if err != nil || ctx.Err() != nil {
			return
		}
		switch msg.State {
		case UnFillMsg:
			m.fill(ctx, msg)
		case FillMsg, OnChainMsg, ReplacedMsg:
			m.follow(msg)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
}

// fill estimates, signs and sends a message.
func (m *Messager) fill(ctx context.Context, msg *Message) {
	if e := msg.Meta.expiry(); e > 0 && m.chain.Epoch() > e {
		m.update(msg.ID, func(s *Message) { s.State, s.ErrorMsg = FailedMsg, fmt.Sprintf("message expired at epoch %d", e) })
		return
	}
	signed, err := m.send(ctx, msg)
	if err != nil {
		m.log.Debug("message waits", "id", msg.ID, "err", err)
		m.update(msg.ID, func(s *Message) { s.ErrorMsg = err.Error() })
		return
	}
	m.update(msg.ID, func(s *Message) {
		s.Message = signed.Message
		s.State, s.ErrorMsg = FillMsg, ""
		s.Signature = &signed.Signature
		s.UnsignedCid, s.SignedCid = signed.CID, signed.CID
	})
}

func (m *Messager) send(ctx context.Context, msg *Message) (*lotus.SignedMessage, error) {
	out := msg.Message
	spec := &lotus.MessageSendSpec{MaxFee: msg.Meta.maxFee()}
	if over := msg.Meta.overEstimation(); out.GasLimit == 0 && over > 0 {
		used, err := m.chain.GasUsed(ctx, out, lotus.TipSetKey{})
		if err != nil {
			return nil, err
		}
		out.GasLimit = int64(float64(used) * over)
	}
	if over := msg.Meta.overPremium(); over > 0 && (out.GasPremium.Nil() || out.GasPremium.IsZero()) {
		out.GasPremium = scale(m.chain.GasPremium(), over)
	}
	return m.chain.Push(ctx, out, spec, "messager")
}

// follow finds a sent message on the chain, or off it after a reorganisation.
func (m *Messager) follow(msg *Message) {
	found, err := m.chain.Search(*msg.SignedCid, true)
	if err != nil {
		m.log.Warn("message not found", "id", msg.ID, "err", err)
		return
	}
	if found == nil {
		m.resend(msg)
		if msg.State != FillMsg {
			m.update(msg.ID, func(s *Message) { s.State, s.Receipt, s.Height, s.TipSetKey = FillMsg, nil, 0, lotus.TipSetKey{} })
		}
		return
	}
	m.update(msg.ID, func(s *Message) {
		s.State = OnChainMsg
		if found.Message != *s.SignedCid {
			s.State = ReplacedMsg
		}
		r := found.Receipt
		s.Receipt, s.Height, s.TipSetKey = &r, int64(found.Height), found.TipSet
	})
}

// resend gives the node a message again that it has lost.
func (m *Messager) resend(msg *Message) {
	if r, known := m.chain.Record(*msg.SignedCid); known && !r.Dropped {
		return
	}
	if _, err := m.chain.PushSigned(&lotus.SignedMessage{Message: msg.Message}, "messager"); err != nil {
		m.log.Warn("message not taken again", "id", msg.ID, "err", err)
	}
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
		case OnChainMsg, ReplacedMsg:
			if msg.Confidence > int64(confidence) {
				return msg, nil
			}
		case FailedMsg:
			return msg, nil
		case NoWalletMsg:
			return nil, errors.New("msg failed due to wallet disappear")
		}
		select {
		case <-again:
		case <-ctx.Done():
			return nil, errors.New("exit by client ")
		}
	}
}

// replace sends a message again under its nonce for another price.
func (m *Messager) replace(p ReplaceParams) (cid.Cid, error) {
	m.processing.Lock()
	defer m.processing.Unlock()
	msg, err := m.get(p.ID)
	if err != nil {
		return cid.Undef, err
	}
	if msg.State != FillMsg {
		return cid.Undef, fmt.Errorf("need FillMsg got %d", msg.State)
	}
	out := msg.Message
	if p.Auto {
		out.GasPremium = big.Add(scale(out.GasPremium, 1.25), big.NewInt(1))
		out.GasFeeCap = big.Max(big.Add(scale(out.GasFeeCap, 1.25), big.NewInt(1)), m.chain.FeeCap(&out))
	} else {
		if p.GasLimit > 0 {
			out.GasLimit = p.GasLimit
		}
		out.GasPremium, out.GasFeeCap = p.GasPremium, p.GasFeecap
	}
	signed, err := m.chain.Sign(out)
	if err != nil {
		return cid.Undef, err
	}
	if _, err := m.chain.PushSigned(signed, "messager"); err != nil {
		return cid.Undef, err
	}
	m.update(p.ID, func(s *Message) {
		s.Message = signed.Message
		s.Signature = &signed.Signature
		s.UnsignedCid, s.SignedCid = signed.CID, signed.CID
	})
	return *signed.CID, nil
}

func (s *SendSpec) expiry() abi.ChainEpoch {
	if s == nil {
		return 0
	}
	return s.ExpireEpoch
}

func (s *SendSpec) maxFee() big.Int {
	if s == nil || s.MaxFee.Nil() {
		return big.Zero()
	}
	return s.MaxFee
}

func (s *SendSpec) overEstimation() float64 {
	if s == nil {
		return 0
	}
	return s.GasOverEstimation
}

func (s *SendSpec) overPremium() float64 {
	if s == nil {
		return 0
	}
	return s.GasOverPremium
}

// scale multiplies with three digits after the point.
func scale(x big.Int, by float64) big.Int {
	return big.Div(big.Mul(x, big.NewInt(int64(by*1000))), big.NewInt(1000))
}
