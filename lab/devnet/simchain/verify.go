package simchain

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"wdpost/lab/devnet/actor"
)

// verifyCache asks the verifier once for each question: the same message is
// executed in gas estimation, in a tipset and again after a reorganisation.
type verifyCache struct {
	verifier actor.Verifier

	mu      sync.Mutex
	answers map[[32]byte]*answer
}

// answer is settled by whoever holds its lock first.
type answer struct {
	mu   sync.Mutex
	done bool
	err  error
}

// maxAnswers bounds the memory of the cache.
const maxAnswers = 10_000

func newVerifyCache(v actor.Verifier) *verifyCache {
	return &verifyCache{verifier: v, answers: map[[32]byte]*answer{}}
}

// window verifies q. An answer that was cut short by ctx is not kept.
func (v *verifyCache) window(ctx context.Context, q actor.WindowPoSt) error {
	key := digestOf(&q)
	v.mu.Lock()
	a, ok := v.answers[key]
	if !ok {
		if len(v.answers) >= maxAnswers {
			clear(v.answers)
		}
		a = &answer{}
		v.answers[key] = a
	}
	v.mu.Unlock()

	a.mu.Lock()
	defer a.mu.Unlock()
	if a.done {
		return a.err
	}
	err := v.verifier.VerifyWindowPoSt(ctx, q)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.done, a.err = true, err
	return err
}

// digestOf names a question.
func digestOf(q *actor.WindowPoSt) [32]byte {
	h := sha256.New()
	num := func(n uint64) { h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	num(uint64(q.Miner))
	num(uint64(q.ProofType))
	num(uint64(q.SectorSize))
	num(q.PartitionSectors)
	h.Write(q.Randomness[:])
	num(uint64(len(q.Sectors)))
	for _, s := range q.Sectors {
		num(uint64(s.Number))
		num(uint64(len(s.SealedCID.Bytes())))
		h.Write(s.SealedCID.Bytes())
	}
	h.Write(q.Proof)
	return [32]byte(h.Sum(nil))
}
