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
// It executes the message at the epoch of the node's head, after the head's
// messages and those of the sender in the node's pool; what the actor refuses is
// an error with its words and exit code.
func (n *Node) EstimateGas(ctx context.Context, msg lotus.Message, spec *lotus.MessageSendSpec, key lotus.TipSetKey) (*lotus.Message, error) {
	e, err := n.resolve(key)
	if err != nil {
		return nil, err
	}
	if msg.Value.Nil() {
		msg.Value = big.Zero()
	}
	if msg.GasLimit == 0 {
		used, err := n.dryRun(ctx, msg, e, nil)
		if err != nil {
			return nil, err
		}
		msg.GasLimit = used * estimationMargin / 100
	}
	if msg.GasPremium.Nil() || msg.GasPremium.IsZero() {
		msg.GasPremium = n.GasPremium()
	}
	if msg.GasFeeCap.Nil() || msg.GasFeeCap.IsZero() {
		msg.GasFeeCap = n.FeeCap(&msg)
	}
	capFee(&msg, spec)
	return &msg, nil
}

// GasUsed executes a message at the tipset of key, after others of its sender
// that are not in the pool, without effect, and returns the gas it used.
func (n *Node) GasUsed(ctx context.Context, msg lotus.Message, key lotus.TipSetKey, before ...*lotus.Message) (int64, error) {
	e, err := n.resolve(key)
	if err != nil {
		return 0, err
	}
	if msg.Value.Nil() {
		msg.Value = big.Zero()
	}
	return n.dryRun(ctx, msg, e, before)
}

// dryRun executes a message without a trace and without a fee, after those of
// its sender that wait in the pool and those before, and returns the gas it used.
func (n *Node) dryRun(ctx context.Context, msg lotus.Message, at *entry, before []*lotus.Message) (int64, error) {
	c := n.c
	sender := c.accountOf(msg.From)
	if sender == 0 {
		return 0, fmt.Errorf("getting key address: failed to find account for %s", msg.From)
	}
	st, where := at.mid, env{view{c.cfg.Seed, at}, at.ts.Height, big.Zero()}
	for _, m := range n.waiting(sender, st) {
		after, _, err := c.execute(ctx, st, where, &m.Message)
		if err != nil {
			return 0, err
		}
		st = after
	}
	for _, m := range before {
		ahead := *m
		ahead.Nonce = st.Nonce(sender)
		after, _, err := c.execute(ctx, st, where, &ahead)
		if err != nil {
			return 0, err
		}
		st = after
	}
	msg.GasLimit, msg.Nonce = gasOf(st, &msg), st.Nonce(sender)
	msg.GasPremium, msg.GasFeeCap = big.Zero(), big.Zero()
	_, r, err := c.execute(ctx, st, where, &msg)
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
func (n *Node) waiting(sender abi.ActorID, st *State) []*lotus.SignedMessage {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	var out []*lotus.SignedMessage
	for nonce := st.Nonce(sender); ; nonce++ {
		m := n.pool.pending[sender][nonce]
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

// GasPremium is what a message should offer to be taken soon: a little more than
// others do.
func (n *Node) GasPremium() big.Int {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	others := n.c.market.demandAt(n.c.epoch).Premium
	return big.Max(big.NewInt(premiumOfTheIdle), big.Div(big.Mul(others, big.NewInt(105)), big.NewInt(100)))
}

// feeCapEpochs is for how many epochs of a rising fee an estimated cap is enough.
const feeCapEpochs = 20

// FeeCap is what a message should allow so that it is taken even if the base fee
// rises for twenty epochs as fast as it can.
func (n *Node) FeeCap(msg *lotus.Message) big.Int { return n.FeeCapFor(msg, feeCapEpochs) }

// FeeCapFor is FeeCap for another number of epochs.
func (n *Node) FeeCapFor(msg *lotus.Message, epochs int64) big.Int {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	fee, _ := n.c.market.next(n.at, n.at.ts.Height+1)
	premium := msg.GasPremium
	if premium.Nil() {
		premium = big.Zero()
	}
	return big.Add(feeAhead(fee, epochs), premium)
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

// Push estimates, signs and puts a message into the node's pool under the next
// free nonce, from where it goes to the others. A second push with the same uuid
// returns the message of the first.
func (n *Node) Push(ctx context.Context, msg lotus.Message, spec *lotus.MessageSendSpec, source string) (*lotus.SignedMessage, error) {
	uuid := ""
	if spec != nil && spec.MsgUuid != nil {
		uuid = *spec.MsgUuid
	}
	if m := n.pushedBefore(uuid); m != nil {
		return m, nil
	}
	filled, err := n.EstimateGas(ctx, msg, spec, lotus.TipSetKey{})
	if err != nil {
		return nil, fmt.Errorf("GasEstimateMessageGas error: %w", err)
	}
	if filled.GasPremium.GreaterThan(filled.GasFeeCap) {
		return nil, fmt.Errorf("after estimation, GasFeeCap(%s) is less than GasPremium(%s)", filled.GasFeeCap, filled.GasPremium)
	}
	if filled.From, err = n.AccountKey(filled.From); err != nil {
		return nil, err
	}
	if !n.HasKey(filled.From) {
		return nil, fmt.Errorf("mpool push: failed to sign message: signing using key '%s': key info not found", filled.From)
	}

	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if m, ok := n.byUUID[uuid]; ok && uuid != "" {
		return m, nil
	}
	sender := n.c.accountOf(filled.From)
	filled.Nonce = n.pool.nextNonce(sender, n.at.post.Nonce(sender))
	signed, err := sign(*filled)
	if err != nil {
		return nil, err
	}
	if err := n.addSigned(signed, source); err != nil {
		return nil, err
	}
	if uuid != "" {
		n.byUUID[uuid] = signed
	}
	return signed, nil
}

func (n *Node) pushedBefore(uuid string) *lotus.SignedMessage {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	if uuid == "" {
		return nil
	}
	return n.byUUID[uuid]
}

// Sign returns a message with its sender's signature.
func (n *Node) Sign(msg lotus.Message) (*lotus.SignedMessage, error) {
	key, err := n.AccountKey(msg.From)
	if err != nil {
		return nil, err
	}
	if !n.HasKey(key) {
		return nil, fmt.Errorf("signing using key '%s': key info not found", key)
	}
	msg.From = key
	return sign(msg)
}

// PushSigned puts a message that is signed already into the node's pool, from
// where it goes to the others. One with a used nonce in the pool replaces it if
// its premium is a quarter higher. One that waits or was executed already changes
// nothing.
func (n *Node) PushSigned(m *lotus.SignedMessage, source string) (cid.Cid, error) {
	signed, err := sign(m.Message)
	if err != nil {
		return cid.Undef, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	nonce, sender := signed.Message.Nonce, n.c.accountOf(signed.Message.From)
	if own := n.pool.pending[sender][nonce]; own != nil && *own.msg.CID == *signed.CID {
		own.local = true
		n.publish(own.msg)
		return *signed.CID, nil
	}
	if r := n.c.book.records[*signed.CID]; r != nil && r.Height != 0 && r.Height <= n.at.ts.Height {
		return *signed.CID, nil
	}
	if err := n.addSigned(signed, source); err != nil {
		return cid.Undef, err
	}
	return *signed.CID, nil
}

// addSigned checks a message against the pool's rules, adds it and passes it on.
// The caller holds mu.
func (n *Node) addSigned(m *lotus.SignedMessage, source string) error {
	sender := n.c.accountOf(m.Message.From)
	if sender == 0 {
		return fmt.Errorf("mpool push: %s is not an account", m.Message.From)
	}
	if m.Message.GasFeeCap.LessThan(big.NewInt(minBaseFee)) {
		return fmt.Errorf("mpool push: gas fee cap %s is under the least base fee %d: gas fee cap too low", m.Message.GasFeeCap, minBaseFee)
	}
	if m.Message.GasLimit > blockGasLimit {
		return fmt.Errorf("mpool push: message will not be included in a block: 'GasLimit' field cannot be greater than a block's gas limit (%d > %d)", m.Message.GasLimit, int64(blockGasLimit))
	}
	if err := n.pool.admit(m, sender, n.at.post, true); err != nil {
		return fmt.Errorf("mpool push: %w", err)
	}
	if n.c.hold != nil && n.pool.pending[sender][m.Message.Nonce] == nil && n.c.hold(&m.Message) {
		n.c.held[*m.CID] = true
	}
	n.c.book.enter(m, Record{Sender: sender, Source: source, Node: n.index, Pushed: n.c.epoch})
	n.put(sender, m, true)
	n.publish(m)
	return nil
}

// Hold keeps messages that match from being mined, from now on and until they
// are replaced by another of their nonce. nil ends it for messages to come.
func (c *Chain) Hold(match func(*lotus.Message) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = match
}

// Pending returns the messages in the node's pool.
func (n *Node) Pending() []*lotus.SignedMessage {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	return n.pool.all()
}

// NextNonce is the nonce the next message of an account will get.
func (n *Node) NextNonce(a address.Address) (uint64, error) {
	id := n.c.accountOf(a)
	if id == 0 {
		return 0, fmt.Errorf("resolution lookup failed (%s): actor not found", a)
	}
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	return n.pool.nextNonce(id, n.at.post.Nonce(id)), nil
}

// AccountKey returns the key address of an account.
func (n *Node) AccountKey(a address.Address) (address.Address, error) {
	if id := n.c.accountOf(a); id != 0 {
		return n.c.accounts[id].Key, nil
	}
	if id, err := address.IDFromAddress(a); err == nil {
		if _, ok := n.c.genesis.pre.miners[abi.ActorID(id)]; ok {
			return address.Undef, fmt.Errorf("failed to get account actor state for %s: actor code is not account: storageminer", a)
		}
	}
	return address.Undef, fmt.Errorf("failed to get account actor state for %s: failed to load actor: actor not found", a)
}

// VerifyWinning checks the answer to a request for a winning proof.
func (c *Chain) VerifyWinning(ctx context.Context, q actor.WinningPoSt) error {
	return c.cfg.Verifier.VerifyWinningPoSt(ctx, q)
}
