package task

import (
	"fmt"
	"io"
	"time"
)

// Part is one partition of a task that another slave has read: a question over
// the partition's sectors, whose proof is that partition of the task's proof,
// byte for byte. That holds for proof types whose challenges do not depend on
// the place of a sector in the message (API version 1.2).
type Part struct {
	ID       string // names the part at its master
	Question Question
	DataLen  int64         // bytes of the vanilla proofs
	Window   time.Duration // until the window closes; 0 means unknown
}

// PartState is where a part stands, for the slave that read it.
type PartState string

// The states of a part.
const (
	PartWaiting PartState = "waiting" // for a prover
	PartTaken   PartState = "taken"   // a prover has it
	PartDone    PartState = "done"    // answered
	PartBack    PartState = "back"    // taken back or given up: its reader proves it
)

// PartNews is one part as its reader is told of it.
type PartNews struct {
	Number int // in the task, from 0
	State  PartState
	Slave  string // who proves or proved it
	Answer Answer // when done; its proof was not verified
	Reason string // of the last failure
}

// PartsWanted is what a reader asks about the parts of its task.
type PartsWanted struct {
	TakeBack []int  // parts that the reader proves itself unless a prover has them
	Wrong    []int  // parts whose answer does not verify: for another prover
	Over     bool   // forget them all
	Seen     uint64 // PartsNews.Version of the last answer; a later one is told at once
}

// PartsNews is how the parts of a task stand.
type PartsNews struct {
	Parts   []PartNews // by number; what is missing the master does not have
	Idle    int        // provers that wait for work
	Version uint64
}

// SplitVanilla takes the vanilla proofs off the replicas: the question without
// them, and all of them in the order of the replicas.
func (q Question) SplitVanilla() (bare Question, data []byte, err error) {
	bare = q
	bare.Replicas = make([]Replica, len(q.Replicas))
	for i, r := range q.Replicas {
		if len(r.Vanilla) == 0 || len(r.Vanilla) != len(q.Replicas[0].Vanilla) {
			return Question{}, nil, fmt.Errorf("%w: sector %d has a vanilla proof of %d bytes, the first has %d", ErrBadQuestion, r.SectorID, len(r.Vanilla), len(q.Replicas[0].Vanilla))
		}
		data = append(data, r.Vanilla...)
		r.Vanilla = nil
		bare.Replicas[i] = r
	}
	return bare, data, nil
}

// JoinVanilla is the inverse of SplitVanilla; n is the length of the data.
func (q Question) JoinVanilla(data io.Reader, n int64) (Question, error) {
	count := int64(len(q.Replicas))
	if count == 0 || n <= 0 || n%count != 0 {
		return Question{}, fmt.Errorf("%w: %d bytes of vanilla proofs for %d sectors", ErrBadQuestion, n, count)
	}
	all := make([]byte, n)
	if _, err := io.ReadFull(data, all); err != nil {
		return Question{}, fmt.Errorf("vanilla proofs of %d sectors, %d bytes: %w", count, n, err)
	}
	each := n / count
	replicas := make([]Replica, count)
	for i, r := range q.Replicas {
		r.Vanilla = all[int64(i)*each : int64(i+1)*each : int64(i+1)*each]
		replicas[i] = r
	}
	q.Replicas = replicas
	return q, nil
}
