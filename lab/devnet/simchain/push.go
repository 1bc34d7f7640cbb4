package simchain

import (
	"context"
	"fmt"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/exitcode"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
	"wdpost/lab/devnet/actor"
)

// estimationMargin is how much more gas than used an estimate allows, in percent.
const estimationMargin = 125

// EstimateGas returns the message with the gas fields that are zero filled in.
// It executes the message at the epoch of the head, after the head's messages;
// what the actor refuses is an error with its words and exit code.
func (c *Chain) EstimateGas(ctx context.Context, msg lotus.Message, spec *lotus.MessageSendSpec, key lotus.TipSetKey) (*lotus.Message, error) {
	e, err := c.resolve(key)
	if err != nil {
		return nil, err
	}
	if msg.Value.Nil() {
		msg.Value = big.Zero()
	}
	if msg.GasLimit == 0 {
		used, err := c.dryRun(ctx, msg, e)
		if err != nil {
			return nil, err
		}
		msg.GasLimit = used * estimationMargin / 100
	}
	if msg.GasPremium.Nil() || msg.GasPremium.IsZero() {
		msg.GasPremium = c.GasPremium()
	}
	if msg.GasFeeCap.Nil() || msg.GasFeeCap.IsZero() {
		msg.GasFeeCap = c.FeeCap(&msg)
	}
	capFee(&msg, spec)
	return &msg, nil
}

// GasUsed executes a message at the tipset of key, without effect, and returns
// the gas it used.
func (c *Chain) GasUsed(ctx context.Context, msg lotus.Message, key lotus.TipSetKey) (int64, error) {
	e, err := c.resolve(key)
	if err != nil {
		return 0, err
	}
	if msg.Value.Nil() {
		msg.Value = big.Zero()
	}
	return c.dryRun(ctx, msg, e)
}

// dryRun executes a message without a trace, after those of its sender that wait
// in the pool, and returns the gas it used.
func (c *Chain) dryRun(ctx context.Context, msg lotus.Message, at *entry) (int64, error) {
	sender := c.accountOf(msg.From)
	if sender == 0 {
		return 0, fmt.Errorf("getting key address: failed to find account for %s", msg.From)
	}
	st := at.mid
	for _, m := range c.waiting(sender, st) {
		after, _, err := c.execute(ctx, st, view{c.cfg.Seed, at}, at.ts.Height, &m.Message)
		if err != nil {
			return 0, err
		}
		st = after
	}
	msg.GasLimit, msg.Nonce = gasOf(&msg), st.Nonce(sender)
	if msg.GasPremium.Nil() {
		msg.GasPremium = big.Zero()
	}
	_, r, err := c.execute(ctx, st, view{c.cfg.Seed, at}, at.ts.Height, &msg)
	if err != nil {
		return 0, err
	}
	if code := r.receipt.ExitCode; code != exitcode.Ok {
		return 0, fmt.Errorf("message execution failed (exit=[%s], vm error=[message failed with backtrace:\n00: %s (method %d) -- %s (%d)\n (RetCode=%d)])",
			code, backtraceAddress(msg.To), msg.Method, r.failure, code, code)
	}
	return r.receipt.GasUsed, nil
}

// waiting returns the messages of a sender in the pool that follow a state
// without a gap.
func (c *Chain) waiting(sender abi.ActorID, st *State) []*lotus.SignedMessage {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []*lotus.SignedMessage
	for n := st.Nonce(sender); ; n++ {
		m := c.pool.pending[sender][n]
		if m == nil {
			return out
		}
		out = append(out, m.msg)
	}
}

// backtraceAddress writes an ID address with the letter f, as the machine does
// whatever the network.
func backtraceAddress(a address.Address) string {
	if id, err := address.IDFromAddress(a); err == nil {
		return fmt.Sprintf("f0%d", id)
	}
	return a.String()
}

// GasPremium is what a message should offer to be taken soon.
func (c *Chain) GasPremium() big.Int { return big.NewInt(99_978) }

// FeeCap is what a message should allow so that it is taken even if the base
// fee grows for twenty epochs.
func (c *Chain) FeeCap(msg *lotus.Message) big.Int {
	premium := msg.GasPremium
	if premium.Nil() {
		premium = big.Zero()
	}
	return big.Add(big.Mul(c.BaseFee(), big.NewInt(10)), premium)
}

// capFee lowers the fee cap so that the message cannot cost more than MaxFee,
// or raises it to that where the sender asks for it.
func capFee(msg *lotus.Message, spec *lotus.MessageSendSpec) {
	if spec == nil || spec.MaxFee.Nil() || spec.MaxFee.IsZero() || msg.GasLimit == 0 {
		return
	}
	highest := big.Div(spec.MaxFee, big.NewInt(msg.GasLimit))
	if spec.MaximizeFeeCap || msg.GasFeeCap.GreaterThan(highest) {
		msg.GasFeeCap = highest
	}
	if msg.GasPremium.GreaterThan(msg.GasFeeCap) {
		msg.GasPremium = msg.GasFeeCap
	}
}

// Push estimates, signs and puts a message into the pool under the next free
// nonce. A second push with the same uuid returns the message of the first.
func (c *Chain) Push(ctx context.Context, msg lotus.Message, spec *lotus.MessageSendSpec, source string) (*lotus.SignedMessage, error) {
	uuid := ""
	if spec != nil && spec.MsgUuid != nil {
		uuid = *spec.MsgUuid
	}
	if m := c.pushedBefore(uuid); m != nil {
		return m, nil
	}
	filled, err := c.EstimateGas(ctx, msg, spec, lotus.TipSetKey{})
	if err != nil {
		return nil, fmt.Errorf("GasEstimateMessageGas error: %w", err)
	}
	if filled.GasPremium.GreaterThan(filled.GasFeeCap) {
		return nil, fmt.Errorf("after estimation, GasFeeCap(%s) is less than GasPremium(%s)", filled.GasFeeCap, filled.GasPremium)
	}
	key, err := c.AccountKey(filled.From)
	if err != nil {
		return nil, err
	}
	filled.From = key

	c.mu.Lock()
	defer c.mu.Unlock()
	if m, ok := c.pool.byUUID[uuid]; ok && uuid != "" {
		return m, nil
	}
	sender := c.accountOf(filled.From)
	filled.Nonce = c.pool.nextNonce(sender, c.head().post.Nonce(sender))
	signed, err := sign(*filled)
	if err != nil {
		return nil, err
	}
	if err := c.addSigned(signed, source); err != nil {
		return nil, err
	}
	if uuid != "" {
		c.pool.byUUID[uuid] = signed
	}
	return signed, nil
}

func (c *Chain) pushedBefore(uuid string) *lotus.SignedMessage {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if uuid == "" {
		return nil
	}
	return c.pool.byUUID[uuid]
}

// Sign returns a message with its sender's signature.
func (c *Chain) Sign(msg lotus.Message) (*lotus.SignedMessage, error) {
	key, err := c.AccountKey(msg.From)
	if err != nil {
		return nil, err
	}
	msg.From = key
	return sign(msg)
}

// PushSigned puts a message that is signed already into the pool. One with a
// used nonce in the pool replaces it if its premium is a quarter higher. One that
// is known changes nothing, unless it was lost: then it is back.
func (c *Chain) PushSigned(m *lotus.SignedMessage, source string) (cid.Cid, error) {
	signed, err := sign(m.Message)
	if err != nil {
		return cid.Undef, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, known := c.pool.records[*signed.CID]; known && !r.Dropped {
		return *signed.CID, nil
	}
	if err := c.addSigned(signed, source); err != nil {
		return cid.Undef, err
	}
	return *signed.CID, nil
}

// addSigned checks a message against the pool's rules and adds it. The caller
// holds mu.
func (c *Chain) addSigned(m *lotus.SignedMessage, source string) error {
	sender := c.accountOf(m.Message.From)
	if sender == 0 {
		return fmt.Errorf("mpool push: %s is not an account", m.Message.From)
	}
	st := c.head().post
	if m.Message.Nonce < st.Nonce(sender) {
		return fmt.Errorf("mpool push: minimum expected nonce is %d: message nonce too low", st.Nonce(sender))
	}
	cost := big.Add(m.Message.Value, big.Mul(m.Message.GasFeeCap, big.NewInt(m.Message.GasLimit)))
	if balance := st.Balance(sender); balance.LessThan(cost) {
		return fmt.Errorf("mpool push: not enough funds (required: %s, balance: %s): not enough funds to execute transaction", cost, balance)
	}
	if old := c.pool.pending[sender][m.Message.Nonce]; old != nil {
		least := big.Div(big.Mul(old.msg.Message.GasPremium, big.NewInt(125)), big.NewInt(100))
		if m.Message.GasPremium.LessThan(least) {
			return fmt.Errorf("mpool push: message from %s with nonce %d already in mpool, increase GasPremium to %s from %s to trigger replace by fee: replace by fee has too low GasPremium",
				m.Message.From, m.Message.Nonce, least, old.msg.Message.GasPremium)
		}
	}
	r := c.pool.records[*m.CID]
	if r == nil {
		r = &Record{Signed: m, Cid: *m.CID, Sender: sender, Source: source}
	}
	r.Pushed, r.Dropped = c.epoch, false
	c.pool.add(m, r)
	return nil
}

// Hold keeps messages that match from being mined, from now on and until they
// are replaced by another of their nonce. nil ends it for messages to come.
func (c *Chain) Hold(match func(*lotus.Message) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pool.hold = match
}

// Pending returns the messages in the pool.
func (c *Chain) Pending() []*lotus.SignedMessage {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pool.all()
}

// NextNonce is the nonce the next message of an account will get.
func (c *Chain) NextNonce(a address.Address) (uint64, error) {
	id := c.accountOf(a)
	if id == 0 {
		return 0, fmt.Errorf("resolution lookup failed (%s): actor not found", a)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pool.nextNonce(id, c.head().post.Nonce(id)), nil
}

// AccountKey returns the key address of an account.
func (c *Chain) AccountKey(a address.Address) (address.Address, error) {
	if id := c.accountOf(a); id != 0 {
		return c.accounts[id].Key, nil
	}
	if id, err := address.IDFromAddress(a); err == nil {
		if _, ok := c.genesis.pre.miners[abi.ActorID(id)]; ok {
			return address.Undef, fmt.Errorf("failed to get account actor state for %s: actor code is not account: storageminer", a)
		}
	}
	return address.Undef, fmt.Errorf("failed to get account actor state for %s: failed to load actor: actor not found", a)
}

// VerifyWinning checks the answer to a request for a winning proof.
func (c *Chain) VerifyWinning(ctx context.Context, q actor.WinningPoSt) error {
	return c.cfg.Verifier.VerifyWinningPoSt(ctx, q)
}
