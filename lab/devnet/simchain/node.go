package simchain

import (
	"fmt"
	"maps"
	"slices"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/ipfs/go-cid"

	"wdpost/internal/lotus"
)

// Node is one full node on the chain: a head and a message pool of its own, and
// the keys it signs with. Without trouble its head is the chain's, and a message
// pushed to it is known to all nodes and to the block producers at once.
type Node struct {
	c     *Chain
	index int

	// guarded by the chain's mu
	pool     *mempool
	at       *entry // its head
	answered *entry // the head it tells those who ask; nil for at
	known    map[cid.Cid]bool
	byUUID   map[string]*lotus.SignedMessage
	subs     map[*subscription]struct{}
	noKey    map[abi.ActorID]bool
	frozen   bool
	lag      int
	cut      bool
}

func newNode(c *Chain, index int) *Node {
	return &Node{
		c: c, index: index, pool: newMempool(c.cfg.PoolLimit), at: c.genesis,
		known: map[cid.Cid]bool{}, byUUID: map[string]*lotus.SignedMessage{},
		subs: map[*subscription]struct{}{}, noKey: map[abi.ActorID]bool{},
	}
}

// NodeAt returns the node of an index, from 0 on; the first is the chain's own.
func (c *Chain) NodeAt(i int) *Node { return c.nodes[i] }

// Nodes returns all nodes.
func (c *Chain) Nodes() []*Node { return slices.Clone(c.nodes) }

// Chain returns the chain a node is on.
func (n *Node) Chain() *Chain { return n.c }

// PoolLimit is how many messages the node's pool holds before the cheapest are
// put out.
func (n *Node) PoolLimit() int { return n.pool.limit }

// Freeze lets the node's head stand still, or ends that: then it moves to the
// chain's head in one step.
func (n *Node) Freeze(on bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.frozen = on
	n.follow()
}

// Lag keeps the node's head so many tipsets behind the chain's; 0 ends that.
func (n *Node) Lag(tipsets int) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.lag = tipsets
	n.follow()
}

// Cut keeps messages from leaving the node and from reaching it, or ends that:
// then it passes on what was pushed to it.
func (n *Node) Cut(on bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.cut = on
	n.republish()
}

// AnswerOld lets the node answer who asks for the head with the present one from
// now on, while its stream goes on, or ends that.
func (n *Node) AnswerOld(on bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.answered = nil
	if on {
		n.answered = n.at
	}
}

// Forget empties the node's pool and its memory of messages, as if it had been
// set up anew from a snapshot. Messages that others know are not lost.
func (n *Node) Forget() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.pool = newMempool(n.c.cfg.PoolLimit)
	n.known, n.byUUID = map[cid.Cid]bool{}, map[string]*lotus.SignedMessage{}
}

// Evict puts a message out of the pools of all nodes and producers.
func (c *Chain) Evict(m cid.Cid) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.book.records[m]
	if r == nil {
		return
	}
	for _, n := range append([]*Node{c.makers}, c.nodes...) {
		if p := n.pool.pending[r.Sender][r.Signed.Message.Nonce]; p != nil && *p.msg.CID == m {
			n.pool.remove(r.Sender, r.Signed.Message.Nonce)
		}
	}
	c.book.drop(m)
}

// SetKey gives the node the key of an account or takes it away. Every node
// begins with all keys.
func (n *Node) SetKey(a address.Address, held bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.noKey[n.c.accountOf(a)] = !held
}

// HasKey reports whether the node signs for an account.
func (n *Node) HasKey(a address.Address) bool {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	id := n.c.accountOf(a)
	return id != 0 && !n.noKey[id]
}

// follow moves the head to where it belongs. The caller holds mu.
func (n *Node) follow() {
	if !n.frozen {
		n.moveTo(n.c.canon[max(0, len(n.c.canon)-1-n.lag)])
	}
}

// moveTo makes a tipset the head, keeps the pool in step and tells the
// followers. The caller holds mu.
func (n *Node) moveTo(target *entry) {
	var gone, came []*entry
	for a, b := n.at, target; a != b; {
		if a == nil || b == nil { // history ends before the forks meet
			gone, came = nil, []*entry{target}
			break
		}
		if a.ts.Height >= b.ts.Height {
			gone, a = append(gone, a), a.parent.Load()
		} else {
			came, b = append(came, b), b.parent.Load()
		}
	}
	if n.at == target {
		return
	}
	n.at = target
	var changes []*lotus.HeadChange
	for _, e := range gone {
		changes = append(changes, &lotus.HeadChange{Type: lotus.HCRevert, Val: e.ts})
		n.reverted(e)
	}
	for _, e := range slices.Backward(came) {
		changes = append(changes, &lotus.HeadChange{Type: lotus.HCApply, Val: e.ts})
		for _, m := range e.messages {
			n.known[*m.CID] = true
			n.pool.remove(n.c.accountOf(m.Message.From), m.Message.Nonce)
		}
	}
	for s := range n.subs {
		n.deliver(s, changes)
	}
}

// reverted puts the messages of a tipset back into the pool, unless they are
// lost. The caller holds mu.
func (n *Node) reverted(e *entry) {
	if e.lost {
		return
	}
	for _, m := range e.messages {
		sender := n.c.accountOf(m.Message.From)
		r := n.c.book.records[*m.CID]
		n.pool.put(sender, &pooled{msg: m, since: e.ts.Height - 1, local: r != nil && r.Node == n.index})
	}
}

// take accepts a message from another pool if the rules let it in. The caller
// holds mu.
func (n *Node) take(m *lotus.SignedMessage) {
	sender := n.c.accountOf(m.Message.From)
	if n.cut || n.pool.admit(m, sender, n.at.post, false) != nil {
		return
	}
	n.put(sender, m, false)
}

// put adds a message that was admitted. The caller holds mu.
func (n *Node) put(sender abi.ActorID, m *lotus.SignedMessage, local bool) {
	n.known[*m.CID] = true
	old := n.pool.put(sender, &pooled{msg: m, since: n.c.epoch, local: local})
	if old != nil {
		if r := n.c.book.records[*old.msg.CID]; r != nil {
			r.ReplacedBy = m.CID
		}
	}
	for _, out := range n.pool.prune() {
		if !slices.ContainsFunc(append([]*Node{n.c.makers}, n.c.nodes...), func(o *Node) bool { return o.pool.has(*out.CID) }) {
			n.c.book.drop(*out.CID)
		}
	}
}

// publish passes a message on to the other nodes and to the producers, if it
// pays enough to be passed on. The caller holds mu.
func (n *Node) publish(m *lotus.SignedMessage) {
	fee, _ := n.c.market.next(n.c.head(), n.c.epoch+1)
	if n.cut || m.Message.GasFeeCap.LessThan(big.Div(fee, big.NewInt(lowerBoundFactor))) {
		return
	}
	for _, o := range append([]*Node{n.c.makers}, n.c.nodes...) {
		if o != n {
			o.take(m)
		}
	}
}

// republish passes on again what was pushed here and the producers do not have.
// The caller holds mu.
func (n *Node) republish() {
	for _, sender := range slices.Sorted(maps.Keys(n.pool.pending)) {
		own := n.pool.pending[sender]
		for _, nonce := range slices.Sorted(maps.Keys(own)) {
			there := n.c.makers.pool.pending[sender][nonce]
			if own[nonce].local && (there == nil || *there.msg.CID != *own[nonce].msg.CID) {
				n.publish(own[nonce].msg)
			}
		}
	}
}

// resolve finds the tipset of a key; the empty key is the head that the node
// answers with. What is higher than its own head it does not know.
func (n *Node) resolve(key lotus.TipSetKey) (*entry, error) {
	n.c.mu.RLock()
	defer n.c.mu.RUnlock()
	if key.IsEmpty() {
		return n.told(), nil
	}
	e, ok := n.c.entries[key.String()]
	if !ok || e.ts.Height > n.at.ts.Height {
		return nil, fmt.Errorf("loading tipset %s: block not found", key)
	}
	return e, nil
}

// told is the head that the node answers with. The caller holds mu.
func (n *Node) told() *entry {
	if n.answered != nil {
		return n.answered
	}
	return n.at
}
