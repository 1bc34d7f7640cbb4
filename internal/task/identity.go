package task

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// IDLen is the length of a task id: 16 bytes as lower-case hex digits.
const IDLen = 32

// ID returns the identity of the question: the same question is the same task,
// whoever asks and however often. It is the first 16 bytes, as 32 lower-case
// hex digits, of SHA-256 over
//
//	"wdpost-task-1"                    13 bytes, no terminator
//	miner number                       uint64, big-endian
//	length of the proof type's name    uint32, big-endian
//	the proof type's name              UTF-8, as in Question.ProofType
//	randomness                         the 32 bytes of Question.Seed
//	number of sectors                  uint64, big-endian
//	for each sector, ascending number:
//	  sector number                    uint64, big-endian
//	  comm_r                           32 bytes, as in Replica.CommR
//	Round, where it is not 0           uint64, big-endian
//
// Paths, NotAfter, AllowSkip and the descriptive fields do not count: they say
// how and until when to answer, not what is asked.
func (q Question) ID() string {
	replicas := slices.Clone(q.Replicas)
	slices.SortFunc(replicas, func(a, b Replica) int { return cmp.Compare(a.SectorID, b.SectorID) })

	h := sha256.New()
	var word [8]byte
	u64 := func(v uint64) {
		binary.BigEndian.PutUint64(word[:], v)
		h.Write(word[:])
	}
	h.Write([]byte("wdpost-task-1"))
	u64(q.MinerID)
	binary.BigEndian.PutUint32(word[:4], uint32(len(q.ProofType)))
	h.Write(word[:4])
	h.Write([]byte(q.ProofType))
	h.Write(q.Seed[:])
	u64(uint64(len(replicas)))
	for _, r := range replicas {
		u64(r.SectorID)
		h.Write(r.CommR[:])
	}
	if q.Round != 0 {
		u64(uint64(q.Round))
	}
	return hex.EncodeToString(h.Sum(nil)[:IDLen/2])
}

// ErrBadQuestion is wrapped by every refusal of Question.Check.
var ErrBadQuestion = errors.New("bad question")

// Check refuses a question that no prover could answer: no sectors, a sector
// twice, or a proof type without a sector size. Whether the proof type exists
// is the prover's business.
func (q Question) Check() error {
	if len(q.Replicas) == 0 {
		return fmt.Errorf("%w: miner %d, no sectors", ErrBadQuestion, q.MinerID)
	}
	if _, err := SectorSize(q.ProofType); err != nil {
		return err
	}
	seen := make(map[uint64]struct{}, len(q.Replicas))
	for _, r := range q.Replicas {
		if _, twice := seen[r.SectorID]; twice {
			return fmt.Errorf("%w: miner %d, sector %d is named twice", ErrBadQuestion, q.MinerID, r.SectorID)
		}
		seen[r.SectorID] = struct{}{}
	}
	return nil
}

// SectorSize reads the sector size in bytes out of a proof type's wire name:
// "StackedDrgWindow32GiBV1_2" is 34359738368.
func SectorSize(proofType string) (uint64, error) {
	refuse := func() (uint64, error) {
		return 0, fmt.Errorf("%w: proof type %q has no sector size, expected a name such as StackedDrgWindow32GiBV1_2",
			ErrBadQuestion, proofType)
	}
	rest, ok := strings.CutPrefix(proofType, "StackedDrgWindow")
	if !ok {
		if rest, ok = strings.CutPrefix(proofType, "StackedDrgWinning"); !ok {
			return refuse()
		}
	}
	size, _, ok := strings.Cut(rest, "V")
	if !ok {
		return refuse()
	}
	for unit, shift := range map[string]uint{"KiB": 10, "MiB": 20, "GiB": 30} {
		digits, ok := strings.CutSuffix(size, unit)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil && n > 0 {
			return n << shift, nil
		}
	}
	return refuse()
}

// Without returns the question over the replicas whose sectors are not in
// skipped. The receiver is left as it was.
func (q Question) Without(skipped []uint64) Question {
	drop := make(map[uint64]struct{}, len(skipped))
	for _, n := range skipped {
		drop[n] = struct{}{}
	}
	kept := make([]Replica, 0, len(q.Replicas))
	for _, r := range q.Replicas {
		if _, gone := drop[r.SectorID]; !gone {
			kept = append(kept, r)
		}
	}
	q.Replicas = kept
	return q
}

// Narrow returns the answer in the form that an asker without AllowSkip
// expects: the faults alone if there are any, the proof otherwise.
func (a Answer) Narrow() Answer {
	if len(a.Faults) > 0 {
		a.Proofs = nil
	}
	return a
}
