package prover

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	"wdpost/proofs/params"
	"wdpost/proofs/post"
)

// ErrTooLarge means that a proof can never fit this machine's memory budget.
var ErrTooLarge = errors.New("proof does not fit the memory budget")

// Memory of a proof, mapped keys aside. A row of the FFT takes 64 bytes in the
// quotient and up to 72 in the sums after it (h and buckets), and the collector
// leaves a twentieth as garbage. Beside the rows there are tables and the
// compiled block; the batches, points and witness in each worker's hands; and
// the vanilla proof of each challenge.
const (
	bytesPerRow       = 76
	bytesPerProof     = 96 << 20
	bytesPerWorker    = 6 << 20
	bytesPerChallenge = 8 << 10
)

// proofMemory is the most that a proof of one partition takes on this machine.
func proofMemory(s post.Setup) uint64 {
	rows := params.CountsOf(s).H + 1
	return bytesPerProof + bytesPerRow*rows + bytesPerWorker*uint64(runtime.GOMAXPROCS(0)) +
		bytesPerChallenge*uint64(s.Sectors*s.Challenges)
}

// Admission lets proofs begin only as far as memory and cores carry them. It is
// safe for concurrent use.
type Admission struct {
	total  uint64 // bytes
	memory *semaphore.Weighted
	slots  *semaphore.Weighted

	mu     sync.Mutex
	pinned map[string]uint64 // by key file, bytes taken for good
}

// NewAdmission sets a budget of bytes for all proofs together (0: nine tenths
// of what is available now) and a number of proofs at once (0: one for each 16
// cores, and at least one, since one large proof keeps all cores busy).
func NewAdmission(memory uint64, proofs int) (*Admission, error) {
	if memory == 0 {
		available, err := AvailableMemory()
		if err != nil {
			return nil, fmt.Errorf("memory budget: %w; set it in the configuration", err)
		}
		memory = available / 10 * 9
	}
	if proofs < 1 {
		proofs = max(1, runtime.GOMAXPROCS(0)/16)
	}
	return &Admission{
		total:  memory,
		memory: semaphore.NewWeighted(int64(memory)),
		slots:  semaphore.NewWeighted(int64(proofs)),
		pinned: make(map[string]uint64),
	}, nil
}

// Check refuses a circuit whose proofs can never fit; the error wraps
// ErrTooLarge and gives the numbers.
func (a *Admission) Check(s post.Setup) error {
	a.mu.Lock()
	var pinned uint64
	for _, bytes := range a.pinned {
		pinned += bytes
	}
	a.mu.Unlock()
	if need := proofMemory(s); need+pinned > a.total {
		return fmt.Errorf("%w: %s has %d constraints and needs %s, keys in memory take %s, the budget is %s; give it more memory, or a raw cache for its keys",
			ErrTooLarge, describe(s), params.Constraints(s), gib(need), gib(pinned), gib(a.total))
	}
	return nil
}

// Pin takes the memory of a key that stays loaded out of the budget, once.
func (a *Admission) Pin(ctx context.Context, key *ProvingKey) error {
	a.mu.Lock()
	_, done := a.pinned[key.Path]
	if !done {
		a.pinned[key.Path] = key.HeapBytes
	}
	a.mu.Unlock()
	if done || key.HeapBytes == 0 {
		return nil
	}
	if key.HeapBytes > a.total {
		return fmt.Errorf("%w: key %s alone takes %s, the budget is %s; make a raw cache with gen_cache_and_param_blst",
			ErrTooLarge, key.Path, gib(key.HeapBytes), gib(a.total))
	}
	if err := a.memory.Acquire(ctx, int64(key.HeapBytes)); err != nil {
		a.mu.Lock()
		delete(a.pinned, key.Path)
		a.mu.Unlock()
		return context.Cause(ctx)
	}
	return nil
}

// Enter waits until a proof of the circuit may run, in the order of asking, and
// returns a function that ends its stay.
func (a *Admission) Enter(ctx context.Context, s post.Setup) (leave func(), err error) {
	if err := a.Check(s); err != nil {
		return nil, err
	}
	if err := a.slots.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	need := int64(proofMemory(s))
	if err := a.memory.Acquire(ctx, need); err != nil {
		a.slots.Release(1)
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(func() {
		a.memory.Release(need)
		a.slots.Release(1)
	}), nil
}
