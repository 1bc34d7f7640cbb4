package escalate

import (
	"sync"
	"time"

	"github.com/filecoin-project/go-state-types/big"
)

// day is the time over which Limits.MaxFeePerDay counts.
const day = 24 * time.Hour

// Budget adds up what the raised messages of one miner may have cost in the
// last 24 hours. The zero value is ready; it is safe for concurrent use.
type Budget struct {
	mu     sync.Mutex
	booked map[string]booking // by message id
}

type booking struct {
	amount big.Int
	at     time.Time
	before *booking // what it took the place of
}

// Book notes the most that a message may cost now, in place of what was noted
// for it before: its price once it is raised, what it used once it is executed.
func (b *Budget) Book(id string, amount big.Int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.booked == nil {
		b.booked = map[string]booking{}
	}
	now := booking{amount: amount, at: time.Now()}
	if old, ok := b.booked[id]; ok {
		old.before = nil
		now.before = &old
	}
	b.booked[id] = now
}

// Undo takes back the last Book of a message, of which nothing came.
func (b *Budget) Undo(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v, ok := b.booked[id]; ok && v.before != nil {
		b.booked[id] = *v.before
	} else {
		delete(b.booked, id)
	}
}

// Spent is the sum over 24 hours, without the message id itself.
func (b *Budget) Spent(id string) big.Int {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := big.Zero()
	for other, v := range b.booked {
		switch {
		case time.Since(v.at) >= day:
			delete(b.booked, other)
		case other != id:
			sum = big.Add(sum, v.amount)
		}
	}
	return sum
}
