// Package task says what one proving task is: the question (which sectors,
// which randomness), the answer, the identity that makes the same question the
// same task, the states a task passes through and the verdicts that end an
// attempt. It has no I/O; the queue stores tasks, slaves answer them.
package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
)

// Hash32 is a 32-byte value that travels as a JSON array of 32 numbers, the
// form of the external-processor protocol. Field elements are little-endian.
type Hash32 [32]byte

// MarshalJSON writes the 32 bytes as an array of numbers.
func (h Hash32) MarshalJSON() ([]byte, error) {
	out := make([]byte, 0, len("[")+len(h)*len("255,"))
	for i, b := range h {
		out = append(out, "[,"[min(i, 1)])
		out = strconv.AppendUint(out, uint64(b), 10)
	}
	return append(out, ']'), nil
}

// UnmarshalJSON accepts exactly 32 numbers of 0…255. A question of a full
// message has seven thousand of them, so the usual form is read by hand.
func (h *Hash32) UnmarshalJSON(b []byte) error {
	if h.readPlain(b) {
		return nil
	}
	var ints []uint8Number
	if err := json.Unmarshal(b, &ints); err != nil {
		return fmt.Errorf("32-byte array: %w", err)
	}
	if len(ints) != len(h) {
		return fmt.Errorf("32-byte array: got %d numbers", len(ints))
	}
	for i, v := range ints {
		h[i] = byte(v)
	}
	return nil
}

// readPlain reads "[1,2,…]" of plain decimal numbers, spaces allowed between;
// false leaves everything else, right or wrong, to the general reader.
func (h *Hash32) readPlain(b []byte) bool {
	var out Hash32
	i := 0
	skip := func() {
		for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
			i++
		}
	}
	expect := func(c byte) bool {
		skip()
		if i == len(b) || b[i] != c {
			return false
		}
		i++
		skip()
		return true
	}
	for n := range out {
		if !expect("[,"[min(n, 1)]) {
			return false
		}
		start, v := i, 0
		for ; i < len(b) && b[i] >= '0' && b[i] <= '9' && i-start < 3; i++ {
			v = 10*v + int(b[i]-'0')
		}
		if digits := i - start; digits == 0 || v > 255 || digits > 1 && b[start] == '0' {
			return false
		}
		out[n] = byte(v)
	}
	if !expect(']') || i != len(b) {
		return false
	}
	*h = out
	return true
}

// uint8Number keeps encoding/json from reading []uint8 as base64.
type uint8Number uint8

// Replica is one sector of a question: its number, its commitment as the chain
// knows it, and where its files lie on the machines that mount the stores.
type Replica struct {
	SectorID   uint64 `json:"sector_id"`
	CommR      Hash32 `json:"comm_r"`      // little-endian field element
	CacheDir   string `json:"cache_dir"`   // directory with p_aux and sc-02-data-tree-r-last*.dat
	SealedFile string `json:"sealed_file"` // replica file

	// Vanilla is the sector's vanilla proof in the bincode form of the reference,
	// where the asker has read the sector already. Only a processor that says
	// that it takes them is ever given them.
	Vanilla []byte `json:"vanilla,omitempty"` // base64
}

// Question is one proving task, in the wire form of the external-processor
// protocol ("task" of a request): all sectors of one PoSt message. The proof
// is over the readable replicas in ascending order of sector number.
//
// The first four fields are the protocol as peers speak it. The rest are
// optional additions of ours; a peer that ignores them still works.
type Question struct {
	MinerID   uint64    `json:"miner_id"`
	ProofType string    `json:"proof_type"` // e.g. StackedDrgWindow32GiBV1_2, see proofs.ParseProofType
	Replicas  []Replica `json:"replicas"`
	Seed      Hash32    `json:"seed"` // challenge randomness, top two bits of the last byte cleared

	// AllowSkip asks for one pass: prove what could be read and name the rest
	// in Answer.Faults, instead of failing with the faults alone.
	AllowSkip bool `json:"allow_skip,omitempty"`
	// NotAfter is the Unix second at which the window closes and the answer
	// becomes worthless; 0 means unknown.
	NotAfter int64 `json:"not_after,omitempty"`
	// Deadline and Partitions say what the task is for, for logs and views.
	Deadline   *uint64  `json:"deadline,omitempty"`
	Partitions []uint64 `json:"partitions,omitempty"`
	// Round counts how often the question was asked before and answered without
	// some of its sectors. A later round is another task: the answer of the
	// first is kept, and the sectors are read again, by another slave where
	// there is one.
	Round int `json:"round,omitempty"`
}

// Answer is the result of a question ("output" of a response).
//
// Proofs holds one element: 192 bytes for each proof partition, concatenated.
// Faults are the sectors that could not be proven, ascending. Without
// AllowSkip, either Faults or Proofs is empty. With AllowSkip both may be set:
// the proof is then over the replicas without the faults.
type Answer struct {
	Proofs [][]byte `json:"proofs"` // base64 each
	Faults []uint64 `json:"faults"`
	// Reasons say of the faults why; of some of them nobody may have said so.
	// Provers of others neither write nor read them.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Stores are the folders of the stores in which the question's sectors lie, as
// the asker names them, ascending. A file lies two levels below its store.
func (q Question) Stores() []string {
	seen := make(map[string]struct{})
	for _, r := range q.Replicas {
		for _, file := range []string{r.SealedFile, r.CacheDir} {
			if file != "" {
				seen[filepath.Dir(filepath.Dir(file))] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
