package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"

	"wdpost/internal/lotus"
)

// pool is the node's mempool. Reading it moves megabytes on a busy network, so
// those who only follow messages share one look; who sends takes a fresh one.
type pool struct {
	read func(context.Context) ([]*lotus.SignedMessage, error)

	mu   sync.Mutex
	seen []*lotus.SignedMessage
	at   time.Time // zero: nothing seen
}

// now returns the pending messages as they are now.
func (p *pool) now(ctx context.Context) ([]*lotus.SignedMessage, error) {
	all, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(m *lotus.SignedMessage) bool { return m == nil || m.CID == nil })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.at = all, time.Now()
	return all, nil
}

// lately returns the pending messages as they were at most age ago.
func (p *pool) lately(ctx context.Context, age time.Duration) ([]*lotus.SignedMessage, error) {
	p.mu.Lock()
	seen, at := p.seen, p.at
	p.mu.Unlock()
	if !at.IsZero() && time.Since(at) < age {
		return seen, nil
	}
	return p.now(ctx)
}

// forget makes the next look a fresh one.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = time.Time{}
}

// byCID returns the message of a CID, nil when it is not there.
func byCID(all []*lotus.SignedMessage, text string) *lotus.SignedMessage {
	for _, m := range all {
		if m.CID.String() == text {
			return m
		}
	}
	return nil
}

// before returns the messages of a sender with a smaller nonce, ascending.
func before(all []*lotus.SignedMessage, from address.Address, nonce uint64) []*lotus.SignedMessage {
	var out []*lotus.SignedMessage
	for _, m := range all {
		if m.Message.From == from && m.Message.Nonce < nonce {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *lotus.SignedMessage) int { return cmp.Compare(a.Message.Nonce, b.Message.Nonce) })
	return out
}
