// Package ledger is what the manager must not forget: which deadlines it works
// on and how they ended, the proofs it holds, the messages it sent. Restarting
// after a crash is reading these rows and going on; there is no other repair.
//
// This package holds the records and the contract. internal/ledger/sqlite
// keeps them in one embedded file, internal/ledger/mongo in a MongoDB database;
// internal/ledger/ledgertest holds both to the contract.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrForeign is wrapped by the refusal to open a ledger that belongs to another
// network. Mixing two networks would skip proofs that are due.
var ErrForeign = errors.New("the ledger belongs to another network")

// ErrNotFound is wrapped when the named row does not exist.
var ErrNotFound = errors.New("no such row in the ledger")

// Ledger is durable memory. When a method that writes returns nil, the row
// survives a crash of the process and of the machine; when it returns an error
// the row may or may not have been written, and writing it again is safe.
// Methods honour ctx, are safe for concurrent use and do not retry: the caller
// knows how long it may wait.
type Ledger interface {
	// OpenRun notes that work on a deadline began, and again, with Partitions,
	// what there is to prove. A run that exists keeps its StartedAt and loses its
	// outcome: work on it goes on or began again.
	OpenRun(ctx context.Context, run Run) error
	// EndRun notes the outcome of a run; ErrNotFound if it was never opened.
	EndRun(ctx context.Context, key RunKey, end RunEnd) error
	// Runs returns the runs that match, latest Open first.
	Runs(ctx context.Context, q RunQuery) ([]Run, error)

	// PutProof keeps a verified proof, replacing one of the same key and partitions.
	PutProof(ctx context.Context, p Proof) error
	// Proofs returns the proofs of a run, ascending by partitions.
	Proofs(ctx context.Context, key RunKey) ([]Proof, error)
	// DropProof forgets a proof that no longer answers the chain's question.
	// It is no error if there is none.
	DropProof(ctx context.Context, key RunKey, partitions Partitions) error

	// PutMessage keeps a message, replacing one of the same ID but for its
	// CreatedAt.
	PutMessage(ctx context.Context, m Message) error
	// Messages returns the messages of a run, oldest first.
	Messages(ctx context.Context, key RunKey) ([]Message, error)

	// Prune deletes ended runs whose window closed before the given moment,
	// with their proofs and messages, and returns how many runs that were.
	Prune(ctx context.Context, before time.Time) (int, error)
	// Check reports whether the ledger can be read and written now.
	Check(ctx context.Context) error
	Close() error
}

// RunKey names one deadline of one miner for all time.
type RunKey struct {
	Miner       uint64 // actor ID
	PeriodStart int64  // epoch
	Deadline    uint64 // index
}

// String is the form used in errors and message ids, for example "1008-2880-7".
func (k RunKey) String() string { return fmt.Sprintf("%d-%d-%d", k.Miner, k.PeriodStart, k.Deadline) }

// Run is the work on one deadline. Ended is nil while it goes on.
type Run struct {
	RunKey
	Open       int64 // first epoch of the window
	Close      int64 // first epoch after it
	ClosesAt   time.Time
	Partitions Partitions // to be proven; nil until they are known
	StartedAt  time.Time
	Ended      *RunEnd
}

// RunEnd is the outcome of a run.
type RunEnd struct {
	Verdict string // "proven", "nothing to prove" or "missed"
	Reason  string // why it was missed and what was tried
	Proven  int    // partitions proven
	Skipped int    // sectors left out of the proofs
	At      time.Time
}

// RunQuery selects runs. Zero values do not restrict.
type RunQuery struct {
	Miner      *uint64
	Unfinished bool // only runs without an outcome
	Limit      int
}

// Proof is a verified proof over the readable sectors of some partitions.
type Proof struct {
	RunKey
	Partitions Partitions
	ProofType  int64    // go-state-types number (abi.RegisteredPoStProof)
	Randomness [32]byte // the masked seed it answers
	Sectors    []uint64 // proven, ascending
	Skipped    []uint64 // left out, ascending
	Proof      []byte   // 192 bytes for each proof partition
	CreatedAt  time.Time
}

// Kinds of Message.
const (
	KindPoSt     = "post"
	KindRecovery = "recovery"
)

// States of Message.
const (
	Sending = "sending" // about to be handed over, or handed over without an answer
	Sent    = "sent"    // handed over
	Landed  = "landed"  // executed with success
	Failed  = "failed"  // executed without success, or never to be executed
)

// Message is one chain message. ID is the name under which it is handed over;
// handing the same ID over again does not make a second message.
type Message struct {
	ID string
	RunKey
	Kind       string
	Partitions Partitions
	Sectors    []uint64 // declared recovered; empty for a PoSt
	Attempt    int      // 1, 2, … of the same kind and partitions
	State      string
	Handle     string // what the sender calls it, once handed over
	Epoch      int64  // where it was executed, 0 if unknown
	ExitCode   int64  // of the execution
	Error      string // why it failed
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Partitions is an ascending list of partition indices. Its text form names
// the batch of partitions that share one message.
type Partitions []uint64

// String is the canonical text, for example "0,1,2"; "" for none.
func (p Partitions) String() string {
	parts := make([]string, len(p))
	for i, n := range p {
		parts[i] = strconv.FormatUint(n, 10)
	}
	return strings.Join(parts, ",")
}

// ParsePartitions is the inverse of String. It accepts only the canonical form:
// strictly ascending.
func ParsePartitions(s string) (Partitions, error) {
	if s == "" {
		return nil, nil
	}
	var p Partitions
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("partitions %q: %w", s, err)
		}
		p = append(p, n)
	}
	for i := 1; i < len(p); i++ {
		if p[i-1] >= p[i] {
			return nil, fmt.Errorf("partitions %q are not ascending", s)
		}
	}
	if p.String() != s {
		return nil, fmt.Errorf("partitions %q are not in canonical form %q", s, p)
	}
	return p, nil
}

// Overlaps reports whether p and q have a partition in common.
func (p Partitions) Overlaps(q Partitions) bool {
	return slices.ContainsFunc(p, func(n uint64) bool { return slices.Contains(q, n) })
}

// EncodeNumbers writes strictly ascending numbers as ranges, a text that drivers
// store and people can read: "1-5,7".
func EncodeNumbers(numbers []uint64) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(numbers[i], 10))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.FormatUint(numbers[j], 10))
		}
		i = j + 1
	}
	return b.String()
}

// maxNumbers bounds what DecodeNumbers expands to: a message addresses at most
// 25,000 sectors, so more in a row is a damaged row.
const maxNumbers = 1 << 20

// DecodeNumbers is the inverse of EncodeNumbers.
func DecodeNumbers(s string) ([]uint64, error) {
	if s == "" {
		return nil, nil
	}
	var out []uint64
	for _, part := range strings.Split(s, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		first, err := strconv.ParseUint(lo, 10, 63)
		last := first
		if err == nil && ranged {
			last, err = strconv.ParseUint(hi, 10, 63)
		}
		if err != nil {
			return nil, fmt.Errorf("list of numbers: %w", err)
		}
		if last < first || len(out) > 0 && first <= out[len(out)-1] {
			return nil, fmt.Errorf("list of numbers: %q is not ascending", part)
		}
		if last-first >= maxNumbers-uint64(len(out)) {
			return nil, fmt.Errorf("list of numbers: more than %d", maxNumbers)
		}
		for n := first; n <= last; n++ {
			out = append(out, n)
		}
	}
	return out, nil
}
