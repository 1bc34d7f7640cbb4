package message

import (
	"context"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
)

// patienceInQueue is how long a push waits for the one before it. A push that
// hangs longer costs the later ones their order, not their window.
const patienceInQueue = 30 * time.Second

// Queue lets the pushes of one sender follow one another. The zero value is
// ready; it is safe for concurrent use.
type Queue struct {
	mu    sync.Mutex
	turns map[address.Address]chan struct{}
}

// Enter waits for the sender's turn. leave is never nil and must be called. The
// error is the cause of ctx's end.
func (q *Queue) Enter(ctx context.Context, from address.Address) (leave func(), err error) {
	q.mu.Lock()
	if q.turns == nil {
		q.turns = map[address.Address]chan struct{}{}
	}
	turn, ok := q.turns[from]
	if !ok {
		turn = make(chan struct{}, 1)
		q.turns[from] = turn
	}
	q.mu.Unlock()
	late := time.NewTimer(patienceInQueue)
	defer late.Stop()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-late.C:
		return func() {}, nil
	case <-ctx.Done():
		return func() {}, context.Cause(ctx)
	}
}
