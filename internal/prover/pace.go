package prover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"wdpost/internal/attr"
	"wdpost/internal/durable"
)

// paceKept is how many proofs of a kind a pace remembers.
const paceKept = 8

// Pace remembers how long proofs of each proof type took, for each partition, so
// that one that hangs can be told from one that is at work. It is safe for
// concurrent use.
type Pace struct {
	path string // empty: not kept
	log  *slog.Logger

	mu    sync.Mutex
	times map[string][]time.Duration // by proof type, the latest last
}

// OpenPace reads what an earlier process learned; path is the file, empty keeps
// nothing. A file that cannot be read is learned again.
func OpenPace(path string, log *slog.Logger) *Pace {
	p := &Pace{path: path, log: log, times: make(map[string][]time.Duration)}
	if path == "" {
		return p
	}
	body, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(body, &p.times)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("times of earlier proofs not read; they are learned again", attr.Path(path), attr.Err(err))
	}
	if p.times == nil {
		p.times = make(map[string][]time.Duration)
	}
	return p
}

// Note learns that a proof of so many partitions took so long.
func (p *Pace) Note(proofType string, partitions int, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := append(p.times[proofType], took/time.Duration(max(partitions, 1)))
	p.times[proofType] = slices.Clone(list[max(0, len(list)-paceKept):])
	if p.path == "" {
		return
	}
	body, err := json.Marshal(p.times)
	if err == nil {
		err = durable.WriteFile(p.path, body, 0o600)
	}
	if err != nil {
		p.log.Warn("times of proofs not kept for the next start", attr.Err(fmt.Errorf("%s: %w", p.path, err)))
	}
}

// Expect is the time that a proof of so many partitions may take by what the
// slowest of the last took; 0 where none is known.
func (p *Pace) Expect(proofType string, partitions int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.times[proofType]
	if len(list) == 0 {
		return 0
	}
	return slices.Max(list) * time.Duration(max(partitions, 1))
}
