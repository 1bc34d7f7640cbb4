package messager

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/simchain"
)

// OnHead does the work of a new head: it follows what was sent, then estimates,
// signs and sends what waits, sender by sender. Its owner calls it after each
// change of the head.
func (m *Messager) OnHead(ctx context.Context) {
	m.processing.Lock()
	defer m.processing.Unlock()
	waiting := map[address.Address][]*Message{}
	var senders []address.Address
	for _, msg := range m.All() {
		switch msg.State {
		case UnFillMsg:
			if waiting[msg.From] == nil {
				senders = append(senders, msg.From)
			}
			waiting[msg.From] = append(waiting[msg.From], msg)
		case FillMsg, OnChainMsg, NonceConflictMsg:
			m.follow(msg)
		}
	}
	for _, from := range senders {
		if ctx.Err() != nil {
			return
		}
		m.fillSender(ctx, from, waiting[from])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
}

// fillSender signs and sends what waits of one sender, the newest first: a later
// push gets the lower nonce. At most maxPending are ahead of the chain.
func (m *Messager) fillSender(ctx context.Context, from address.Address, msgs []*Message) {
	nonce, err := m.chain.NextNonce(from)
	if err != nil {
		m.log.Warn("no nonce", "sender", from, "err", err)
		return
	}
	onChain := nonce
	for _, p := range m.chain.Pending() {
		if p.Message.From == from && onChain > 0 {
			onChain--
		}
	}
	m.mu.Lock()
	nonce = max(nonce, m.nonces[from])
	m.mu.Unlock()
	slices.Reverse(msgs)
	var ahead []*lotus.Message
	for _, msg := range msgs {
		if nonce-onChain >= maxPending {
			return
		}
		out, err := m.estimate(ctx, msg, ahead)
		if err != nil {
			m.fail(msg, "gas estimate: "+err.Error())
			continue
		}
		if !m.signs(from) {
			m.fail(msg, fmt.Sprintf("sign message failed: can't find a wallet, address %s", from))
			return
		}
		out.Nonce = nonce
		signed, err := m.chain.Sign(*out)
		if err != nil {
			m.fail(msg, "sign message failed: "+err.Error())
			return
		}
		nonce++
		m.mu.Lock()
		m.nonces[from] = nonce
		m.mu.Unlock()
		ahead = append(ahead, out)
		m.update(msg.ID, func(s *Message) { s.sign(signed); s.State, s.ErrorMsg = FillMsg, "" })
		m.send(msg.ID, signed)
	}
}

func (m *Messager) fail(msg *Message, why string) {
	m.log.Debug("message waits", "id", msg.ID, "err", why)
	m.update(msg.ID, func(s *Message) { s.ErrorMsg = why })
}

// sign takes over a signed form.
func (msg *Message) sign(signed *lotus.SignedMessage) {
	msg.Message, msg.Signature = signed.Message, &signed.Signature
	msg.CID = nil
	msg.UnsignedCid, msg.SignedCid = signed.CID, signed.CID
}

// send gives the node a signed message. What it refuses is written down and
// tried again at the next head; the note stays even when the message lands.
func (m *Messager) send(id string, signed *lotus.SignedMessage) {
	if _, err := m.chain.PushSigned(signed, "messager"); err != nil {
		m.log.Warn("message not taken", "id", id, "err", err)
		m.update(id, func(s *Message) { s.ErrorMsg = err.Error() })
	}
}

// estimate fills in the gas, after the sender's messages before it.
func (m *Messager) estimate(ctx context.Context, msg *Message, before []*lotus.Message) (*lotus.Message, error) {
	out := msg.Message
	spec := &lotus.MessageSendSpec{MaxFee: msg.Meta.maxFee()}
	if out.GasLimit == 0 {
		used, err := m.chain.GasUsed(ctx, out, lotus.TipSetKey{}, before...)
		if err != nil {
			return nil, err
		}
		out.GasLimit = int64(float64(used) * msg.Meta.overEstimation())
	}
	if over := msg.Meta.overPremium(); over > 0 && (out.GasPremium.Nil() || out.GasPremium.IsZero()) {
		out.GasPremium = scale(m.chain.GasPremium(), over)
	}
	return m.chain.EstimateGas(ctx, out, spec, lotus.TipSetKey{})
}

// follow finds a sent message on the chain, or off it after a reorganisation.
func (m *Messager) follow(msg *Message) {
	// By nonce, as the real one does: a replacement that came too late is signed
	// and known to nobody.
	found, err := m.chain.SearchSlot(&lotus.SignedMessage{Message: msg.Message})
	taken := errors.Is(err, simchain.ErrOtherCall)
	if err != nil && !taken {
		m.log.Debug("message not found", "id", msg.ID, "err", err)
		found = nil
	}
	if found == nil {
		if r, known := m.chain.Record(*msg.SignedCid); !known || r.Dropped {
			m.send(msg.ID, &lotus.SignedMessage{Message: msg.Message, Signature: *msg.Signature})
		}
		if msg.State != FillMsg {
			m.update(msg.ID, func(s *Message) {
				s.State, s.Receipt, s.Height, s.TipSetKey = FillMsg, noReceipt(), 0, lotus.TipSetKey{}
			})
		}
		return
	}
	m.update(msg.ID, func(s *Message) {
		if s.State = OnChainMsg; taken {
			s.State = NonceConflictMsg
		}
		r := found.Receipt
		s.Receipt, s.Height, s.TipSetKey = &r, int64(found.Height), found.TipSet
	})
}

// replace sends a message again under its nonce for another price, as the real
// one does: with Auto the price is its own and GasFeecap is not looked at, and
// a message that is not signed yet is signed with nonce 0.
func (m *Messager) replace(ctx context.Context, p ReplaceParams) (cid.Cid, error) {
	m.processing.Lock()
	defer m.processing.Unlock()
	msg, err := m.get(p.ID)
	if err != nil {
		return cid.Undef, fmt.Errorf("found message %w", err)
	}
	if msg.State == OnChainMsg {
		return cid.Undef, errors.New("message already on chain")
	}
	out, err := m.repriced(ctx, msg, p)
	if err != nil {
		return cid.Undef, err
	}
	if !m.signs(msg.From) {
		return cid.Undef, fmt.Errorf("can't find a wallet, address %s", msg.From)
	}
	signed, err := m.chain.Sign(*out)
	if err != nil {
		return cid.Undef, err
	}
	if msg.State == FillMsg {
		m.update(p.ID, func(s *Message) { s.sign(signed) })
	}
	if _, err := m.chain.PushSigned(signed, "messager"); err != nil {
		return cid.Undef, err
	}
	return *signed.CID, nil
}

func (m *Messager) repriced(ctx context.Context, msg *Message, p ReplaceParams) (*lotus.Message, error) {
	out := msg.Message
	if !p.Auto {
		switch {
		case p.GasPremium.Nil() || p.GasPremium.Sign() <= 0:
			return nil, fmt.Errorf("gas premium(%s) must bigger than zero", p.GasPremium)
		case p.GasFeecap.Nil() || p.GasFeecap.Sign() <= 0:
			return nil, fmt.Errorf("gas feecap(%s) must bigger than zero", p.GasFeecap)
		}
		if p.GasLimit > 0 {
			out.GasLimit = p.GasLimit
		}
		out.GasPremium, out.GasFeeCap = p.GasPremium, p.GasFeecap
		return &out, nil
	}
	least := big.Add(scale(orZero(out.GasPremium), 1.25), big.NewInt(1))
	out.GasFeeCap, out.GasPremium = big.Zero(), big.Zero()
	if p.GasOverPremium > 0 {
		out.GasPremium = scale(m.chain.GasPremium(), p.GasOverPremium)
	}
	spec := &lotus.MessageSendSpec{MaxFee: p.MaxFee}
	if spec.MaxFee.Nil() || spec.MaxFee.IsZero() {
		spec.MaxFee = sharedMaxFee
	}
	got, err := m.chain.EstimateGas(ctx, out, spec, lotus.TipSetKey{})
	if err != nil {
		return nil, fmt.Errorf("failed to estimate gas values: %w", err)
	}
	got.GasPremium = big.Max(got.GasPremium, least)
	got.GasFeeCap = big.Max(got.GasFeeCap, got.GasPremium)
	return got, nil
}

func orZero(v big.Int) big.Int {
	if v.Nil() {
		return big.Zero()
	}
	return v
}

// maxFee is the message's own limit, or the shared one.
func (s *SendSpec) maxFee() big.Int {
	if s == nil || s.MaxFee.Nil() || s.MaxFee.IsZero() {
		return sharedMaxFee
	}
	return s.MaxFee
}

// overEstimation is the message's own factor, or the shared one.
func (s *SendSpec) overEstimation() float64 {
	if s == nil || s.GasOverEstimation == 0 {
		return 1.25
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
