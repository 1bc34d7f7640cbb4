package chain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/attr"
	"wdpost/internal/lotus"
)

const (
	// keysKept is how long an endpoint's answer that it has a key is believed.
	keysKept = time.Minute
	// othersGrace is how long the slower endpoints are waited for once one has
	// answered a question that is put to all.
	othersGrace = 2 * time.Second
	// pushMethod is the one that decides which endpoint signs for a sender.
	pushMethod = "MpoolPushMessage"
	// spreadLimit bounds giving a signed message to the other endpoints.
	spreadLimit = 10 * time.Second
)

// signers remembers which endpoints sign for an address.
type signers struct {
	mu   sync.Mutex
	has  map[keyAt]time.Time // until when a yes is believed
	last map[address.Address]*member
	keys map[address.Address]address.Address // of ID addresses
}

type keyAt struct {
	m    *member
	addr address.Address
}

func (s *signers) knows(m *member, addr address.Address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.has[keyAt{m, addr}])
}

func (s *signers) learn(m *member, addr address.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has == nil {
		s.has = map[keyAt]time.Time{}
	}
	s.has[keyAt{m, addr}] = time.Now().Add(keysKept)
}

// signed notes which endpoint signed last for an address: its pool knows the
// nonces, so it is asked first the next time.
func (s *signers) signed(m *member, addr address.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[address.Address]*member{}
	}
	s.last[addr] = m
}

func (s *signers) lastOf(addr address.Address) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[addr]
}

func (s *signers) keyOf(id address.Address) (address.Address, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.keys[id]
	return key, ok
}

func (s *signers) resolved(id, key address.Address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[address.Address]address.Address{}
	}
	s.keys[id] = key
}

// handle returns a Node that asks one endpoint only.
func (n *Node) handle(m *member) *Node { return &Node{core: n.core, only: m} }

// Endpoints returns a handle for each endpoint that may be used, the best one
// first. The methods of a handle ask its endpoint and no other.
func (n *Node) Endpoints() []*Node {
	var out []*Node
	for _, m := range n.askable(call{}) {
		out = append(out, n.handle(m))
	}
	return out
}

// ForKey returns a handle for each usable endpoint whose wallet holds the key of
// addr, the one that signed for it last at the front, then the best. It asks them
// at the same time. None is no error; where no endpoint could be asked, the first
// one's error is returned.
func (n *Node) ForKey(ctx context.Context, addr address.Address) ([]*Node, error) {
	members, err := n.withKey(ctx, n.keyOf(ctx, addr))
	var out []*Node
	for _, m := range members {
		out = append(out, n.handle(m))
	}
	return out, err
}

func (n *Node) withKey(ctx context.Context, addr address.Address) ([]*member, error) {
	var members, ask []*member
	for _, m := range n.askable(call{method: pushMethod}) {
		members = append(members, m)
		if !n.signers.knows(m, addr) {
			ask = append(ask, m)
		}
	}
	var firstErr error
	answered := len(ask) < len(members)
	for _, r := range askAll(ctx, n, "WalletHas", ask, func(ctx context.Context, r *rpc) (bool, error) { return r.WalletHas(ctx, addr) }) {
		switch {
		case r.err == nil && r.v:
			n.signers.learn(r.m, addr)
			answered = true
		case r.err == nil:
			answered = true
		case firstErr == nil:
			firstErr = r.err
		}
	}
	if !answered {
		return nil, firstErr
	}
	members = slices.DeleteFunc(members, func(m *member) bool { return !n.signers.knows(m, addr) })
	if last := n.signers.lastOf(addr); last != nil && !n.pool.lags(last) && !n.pool.shunned(last, pushMethod) {
		slices.SortStableFunc(members, func(a, b *member) int { return toFront(a == last) - toFront(b == last) })
	}
	return members, nil
}

func toFront(yes bool) int {
	if yes {
		return -1
	}
	return 0
}

// keyOf resolves an ID address to the key address that signs for it, which
// wallets know; any other address is returned as it is.
func (n *Node) keyOf(ctx context.Context, addr address.Address) address.Address {
	if addr.Protocol() != address.ID {
		return addr
	}
	if key, ok := n.signers.keyOf(addr); ok {
		return key
	}
	key, err := n.StateAccountKey(ctx, addr, lotus.TipSetKey{})
	if err != nil {
		return addr // the node's own words will tell
	}
	n.signers.resolved(addr, key)
	return key
}

// signersOf orders the endpoints for a message of addr: those with its key, or
// all of them where that is not known or none has it, so that the node's own words
// tell what is wrong.
func (n *Node) signersOf(ctx context.Context, addr address.Address) []*member {
	all := n.askable(call{method: pushMethod})
	if len(all) < 2 {
		return all
	}
	limit, cancel := context.WithTimeout(ctx, share(ctx, call{timeout: n.cfg.CallTimeout}, 3))
	defer cancel()
	if with, err := n.withKey(limit, n.keyOf(limit, addr)); err == nil && len(with) > 0 {
		return with
	}
	return all
}

// askAll puts one question to several endpoints at the same time. It returns
// their answers in the order in which they came; once one has answered without an
// error, the others have a moment left.
func askAll[T any](ctx context.Context, n *Node, method string, members []*member, f func(context.Context, *rpc) (T, error)) []result[T] {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result[T], len(members))
	for _, m := range members {
		go func() {
			v, err := one(ctx, n, m, call{method: method, timeout: n.cfg.CallTimeout}, 1, f)
			results <- result[T]{m, v, err}
		}()
	}
	var out []result[T]
	var enough <-chan time.Time
	for len(out) < len(members) {
		select {
		case r := <-results:
			out = append(out, r)
			if r.err == nil && enough == nil {
				grace := time.NewTimer(othersGrace)
				defer grace.Stop()
				enough = grace.C
			}
		case <-enough:
			return out
		}
	}
	return out
}

// WalletHas reports whether any usable endpoint holds the key of addr.
func (n *Node) WalletHas(ctx context.Context, addr address.Address) (bool, error) {
	members, err := n.withKey(ctx, n.keyOf(ctx, addr))
	return len(members) > 0, err
}

// WalletSignMessage signs msg, complete with nonce and gas, with the key of addr,
// on an endpoint that has it.
func (n *Node) WalletSignMessage(ctx context.Context, addr address.Address, msg *lotus.Message) (*lotus.SignedMessage, error) {
	c := call{method: "WalletSignMessage", timeout: 4 * n.cfg.CallTimeout, members: n.signersOf(ctx, addr)}
	signed, _, err := attempt(ctx, n, c, func(ctx context.Context, r *rpc) (*lotus.SignedMessage, error) {
		return present(r.WalletSignMessage(ctx, addr, msg))
	})
	return signed, err
}

// MpoolPushMessage lets an endpoint that has the sender's key give msg its nonce
// and gas, sign it and send it. The signed message is then given to the other
// endpoints as well, beside the call. A push that may have taken effect is not
// repeated on another endpoint: look for the message first.
func (n *Node) MpoolPushMessage(ctx context.Context, msg *lotus.Message, spec *lotus.MessageSendSpec) (*lotus.SignedMessage, error) {
	c := call{method: pushMethod, timeout: 4 * n.cfg.CallTimeout, members: n.signersOf(ctx, msg.From), effect: true}
	signed, m, err := attempt(ctx, n, c, func(ctx context.Context, r *rpc) (*lotus.SignedMessage, error) {
		return present(r.MpoolPushMessage(ctx, msg, spec))
	})
	if err != nil {
		return nil, err
	}
	n.signers.signed(m, signed.Message.From)
	n.spread(signed, m)
	return signed, nil
}

// spread gives a signed message to the usable endpoints besides those that have
// it, without waiting.
func (n *Node) spread(msg *lotus.SignedMessage, has ...*member) {
	for _, m := range n.pool.order("MpoolPush") {
		if slices.Contains(has, m) || n.open.Err() != nil {
			continue
		}
		n.spreading.Go(func() {
			ctx, cancel := context.WithTimeout(n.open, spreadLimit)
			defer cancel()
			c := call{method: "MpoolPush", timeout: spreadLimit}
			if _, err := one(ctx, n, m, c, 1, func(ctx context.Context, r *rpc) (cid.Cid, error) { return r.MpoolPush(ctx, msg) }); err != nil {
				n.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "signed message not given to another node", attr.Endpoint(m.ep.String()), attr.Err(err))
			}
		})
	}
}

// MpoolPush puts a signed message into the pools of all usable endpoints, which
// changes nothing where it is already. It returns as soon as one has taken it that
// is with the chain, while there is one; the error is the first endpoint's where
// none has.
func (n *Node) MpoolPush(ctx context.Context, msg *lotus.SignedMessage) (cid.Cid, error) {
	push := func(ctx context.Context, r *rpc) (cid.Cid, error) { return r.MpoolPush(ctx, msg) }
	members := n.askable(call{method: "MpoolPush", current: true})
	if len(members) < 2 {
		c, _, err := attempt(ctx, n, call{method: "MpoolPush", timeout: n.cfg.CallTimeout, current: true}, push)
		return c, err
	}
	var first error
	for i, m := range members {
		c, err := one(ctx, n, m, call{method: "MpoolPush", timeout: n.cfg.CallTimeout}, len(members)-i, push)
		if err == nil {
			n.spread(msg, members[:i+1]...)
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return cid.Undef, first
}

// Broadcast is MpoolPush.
func (n *Node) Broadcast(ctx context.Context, msg *lotus.SignedMessage) (cid.Cid, error) {
	return n.MpoolPush(ctx, msg)
}

// MpoolPending returns the messages that wait in the pools of all endpoints that
// are with the chain, each once: what one endpoint has signed and could not pass
// on is among them. An endpoint that does not answer is left out, and so is one
// that is behind, which does not know what was executed.
func (n *Node) MpoolPending(ctx context.Context, tsk lotus.TipSetKey) ([]*lotus.SignedMessage, error) {
	pending := func(ctx context.Context, r *rpc) ([]*lotus.SignedMessage, error) { return r.MpoolPending(ctx, tsk) }
	members := n.askable(call{method: "MpoolPending", current: true})
	if len(members) < 2 {
		out, _, err := attempt(ctx, n, call{method: "MpoolPending", timeout: 4 * n.cfg.CallTimeout, current: true}, pending)
		return usableMessages(out, map[cid.Cid]bool{}), err
	}
	var out []*lotus.SignedMessage
	var first error
	seen, answered := map[cid.Cid]bool{}, false
	for _, r := range askAll(ctx, n, "MpoolPending", members, pending) {
		switch {
		case r.err == nil:
			answered = true
			out = append(out, usableMessages(r.v, seen)...)
		case first == nil:
			first = r.err
		}
	}
	if !answered {
		return nil, errors.Join(first, ctx.Err())
	}
	return out, nil
}

// usableMessages leaves out what has no name and what was seen before.
func usableMessages(in []*lotus.SignedMessage, seen map[cid.Cid]bool) []*lotus.SignedMessage {
	out := make([]*lotus.SignedMessage, 0, len(in))
	for _, m := range in {
		if m == nil || m.CID == nil || seen[*m.CID] {
			continue
		}
		seen[*m.CID] = true
		out = append(out, m)
	}
	return out
}

// The estimates below ask the endpoint that signed for the sender last, whose
// pool has the messages that go before.

// GasEstimateGasLimit executes msg on top of tsk, after the messages of its sender
// that wait in the endpoint's pool, and returns the gas it used; an execution that
// fails is an error.
func (n *Node) GasEstimateGasLimit(ctx context.Context, msg *lotus.Message, tsk lotus.TipSetKey) (int64, error) {
	return readFor(ctx, n, "GasEstimateGasLimit", msg.From, func(ctx context.Context, r *rpc) (int64, error) {
		return r.GasEstimateGasLimit(ctx, msg, tsk)
	})
}

// GasEstimateGasPremium returns the premium that gets a message into one of the
// next blocks, in attoFIL a unit of gas.
func (n *Node) GasEstimateGasPremium(ctx context.Context, blocks uint64, sender address.Address, gasLimit int64, tsk lotus.TipSetKey) (big.Int, error) {
	return readFor(ctx, n, "GasEstimateGasPremium", sender, func(ctx context.Context, r *rpc) (big.Int, error) {
		return r.GasEstimateGasPremium(ctx, blocks, sender, gasLimit, tsk)
	})
}

// GasEstimateFeeCap returns a fee cap that holds for the next blocks, in attoFIL
// a unit of gas.
func (n *Node) GasEstimateFeeCap(ctx context.Context, msg *lotus.Message, blocks int64, tsk lotus.TipSetKey) (big.Int, error) {
	return readFor(ctx, n, "GasEstimateFeeCap", msg.From, func(ctx context.Context, r *rpc) (big.Int, error) {
		return r.GasEstimateFeeCap(ctx, msg, blocks, tsk)
	})
}

// MpoolGetNonce returns the nonce of an account's next message, the waiting ones
// counted.
func (n *Node) MpoolGetNonce(ctx context.Context, addr address.Address) (uint64, error) {
	return readFor(ctx, n, "MpoolGetNonce", addr, func(ctx context.Context, r *rpc) (uint64, error) { return r.MpoolGetNonce(ctx, addr) })
}

// readFor is read with the endpoint that signed for a sender last at the front,
// while that one is as good as the others.
func readFor[T any](ctx context.Context, n *Node, method string, sender address.Address, f func(context.Context, *rpc) (T, error)) (T, error) {
	c := call{method: method, timeout: 4 * n.cfg.CallTimeout, current: true}
	if key, ok := n.signers.keyOf(sender); ok {
		sender = key
	}
	if last := n.signers.lastOf(sender); last != nil && n.only == nil && !n.pool.lags(last) {
		c.members = n.pool.good(method)
		slices.SortStableFunc(c.members, func(a, b *member) int { return toFront(a == last) - toFront(b == last) })
	}
	v, _, err := attempt(ctx, n, c, f)
	return v, err
}
