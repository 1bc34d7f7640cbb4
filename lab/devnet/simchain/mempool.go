package simchain

import (
	"fmt"
	"maps"
	"slices"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// Limits of a pool, those of Lotus unless Config says otherwise.
const (
	maxPending     = 1000  // messages of one sender that wait
	maxNonceGap    = 4     // of a message pushed by its owner
	replacePercent = 125   // of the premium of the message that is replaced, and one more
	poolLimit      = 30000 // messages in a pool before the cheapest are put out
)

// mempool holds the messages that wait, as one node or the block producers know
// them. The chain's lock guards it.
type mempool struct {
	pending map[abi.ActorID]map[uint64]*pooled
	size    int
	limit   int
}

// pooled is a waiting message.
type pooled struct {
	msg   *lotus.SignedMessage
	since abi.ChainEpoch // when it came here
	local bool           // pushed at this node, which keeps and repeats it
}

func newMempool(limit int) *mempool {
	if limit == 0 {
		limit = poolLimit
	}
	return &mempool{pending: map[abi.ActorID]map[uint64]*pooled{}, limit: limit}
}

// nextNonce is the lowest nonce of an account that is free, given the nonce of
// its state.
func (p *mempool) nextNonce(sender abi.ActorID, state uint64) uint64 {
	for p.pending[sender][state] != nil {
		state++
	}
	return state
}

// minReplacement is the premium at which a message takes the place of one that
// offers premium.
func minReplacement(premium big.Int) big.Int {
	more := big.Div(big.Mul(premium, big.NewInt(replacePercent-100)), big.NewInt(100))
	return big.Add(big.Add(premium, more), big.NewInt(1))
}

// admit says whether a message may come in beside those of its sender, given
// the nonce and the balance of the sender's state. strict is for messages that
// come from their owner and not from another pool.
func (p *mempool) admit(m *lotus.SignedMessage, sender abi.ActorID, st *State, strict bool) error {
	msg, own := &m.Message, p.pending[sender]
	if nonce := st.Nonce(sender); msg.Nonce < nonce {
		return fmt.Errorf("minimum expected nonce is %d: message nonce too low", nonce)
	}
	balance, needs := st.Balance(sender), requiredFunds(msg)
	if balance.LessThan(needs) {
		return fmt.Errorf("not enough funds (required: %s, balance: %s): not enough funds to execute transaction", needs, balance)
	}
	for nonce, o := range own {
		if nonce != msg.Nonce {
			needs = big.Add(needs, requiredFunds(&o.msg.Message))
		}
	}
	if balance.LessThan(needs) {
		return fmt.Errorf("not enough funds including pending messages (required: %s, balance: %s): validation failure", needs, balance)
	}
	next := p.nextNonce(sender, st.Nonce(sender))
	old := own[msg.Nonce]
	switch {
	case strict && msg.Nonce > next+maxNonceGap:
		return fmt.Errorf("message nonce has too big a gap from expected nonce (Nonce: %d, nextNonce: %d): unfulfilled nonce gap", msg.Nonce, next)
	case old == nil && strict && len(own) >= maxPending:
		return fmt.Errorf("too many pending messages from actor %s: too many pending messages for actor", msg.From)
	case old == nil:
		return nil
	case *old.msg.CID == *m.CID:
		return fmt.Errorf("message from %s with nonce %d already in mpool: validation failure", msg.From, msg.Nonce)
	case strict && msg.Nonce > next:
		return fmt.Errorf("rejecting replace by fee because of nonce gap (Nonce: %d, nextNonce: %d): unfulfilled nonce gap", msg.Nonce, next)
	}
	if least := minReplacement(old.msg.Message.GasPremium); msg.GasPremium.LessThan(least) {
		return fmt.Errorf("message from %s with nonce %d already in mpool, increase GasPremium to %s from %s to trigger replace by fee: replace by fee has too low GasPremium",
			msg.From, msg.Nonce, least, old.msg.Message.GasPremium)
	}
	return nil
}

// put adds a message or replaces the one of its nonce, which is returned.
func (p *mempool) put(sender abi.ActorID, m *pooled) (old *pooled) {
	if p.pending[sender] == nil {
		p.pending[sender] = map[uint64]*pooled{}
	}
	old = p.pending[sender][m.msg.Message.Nonce]
	if old == nil {
		p.size++
	}
	p.pending[sender][m.msg.Message.Nonce] = m
	return old
}

// remove takes the message of a nonce out.
func (p *mempool) remove(sender abi.ActorID, nonce uint64) {
	if p.pending[sender][nonce] == nil {
		return
	}
	p.size--
	delete(p.pending[sender], nonce)
	if len(p.pending[sender]) == 0 {
		delete(p.pending, sender)
	}
}

// has reports whether a message waits here.
func (p *mempool) has(c cid.Cid) bool {
	for _, own := range p.pending {
		for _, m := range own {
			if *m.msg.CID == c {
				return true
			}
		}
	}
	return false
}

// prune puts out the cheapest messages, with those of their senders that follow
// them, once there are more than the limit, down to two thirds of it. Local
// messages stay. It returns what it put out.
func (p *mempool) prune() []*lotus.SignedMessage {
	if p.size <= p.limit {
		return nil
	}
	type place struct {
		slot
		premium big.Int
	}
	var all []place
	for sender, own := range p.pending {
		for nonce, m := range own {
			if !m.local {
				all = append(all, place{slot{sender, nonce}, m.msg.Message.GasPremium})
			}
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		if c := big.Cmp(a.premium, b.premium); c != 0 {
			return c
		}
		if a.sender != b.sender {
			return int(a.sender) - int(b.sender)
		}
		return int(b.nonce) - int(a.nonce)
	})
	var out []*lotus.SignedMessage
	for _, victim := range all {
		if p.size <= p.limit*2/3 {
			break
		}
		for _, nonce := range slices.Sorted(maps.Keys(p.pending[victim.sender])) {
			if m := p.pending[victim.sender][nonce]; nonce >= victim.nonce && !m.local {
				out = append(out, m.msg)
				p.remove(victim.sender, nonce)
			}
		}
	}
	return out
}

// all returns the waiting messages in the order of senders and nonces.
func (p *mempool) all() []*lotus.SignedMessage {
	out := []*lotus.SignedMessage{}
	for _, sender := range slices.Sorted(maps.Keys(p.pending)) {
		for _, n := range slices.Sorted(maps.Keys(p.pending[sender])) {
			out = append(out, p.pending[sender][n].msg)
		}
	}
	return out
}

// requiredFunds is the most a message can take from its sender.
func requiredFunds(m *lotus.Message) big.Int {
	return big.Add(m.Value, big.Mul(m.GasFeeCap, big.NewInt(m.GasLimit)))
}
