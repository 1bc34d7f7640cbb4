// Package history is the diary of the manager: every step of every deadline for
// two weeks, and how each ended for more than a year. It answers `util history`,
// `util why` and the page on the wall.
//
// It is kept for later only. Nothing waits for it: a note goes into a queue, one
// writer appends it as a line of JSON to the file of its day (steps) or month
// (ends), and what does not fit into the queue is counted and left out. A line
// that is cut short by a crash is passed over when it is read. What must not be
// forgotten is in the ledger.
package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"wdpost/internal/attr"
)

// Step is one thing that happened on the way of a deadline. Zero fields are
// unknown or do not apply.
type Step struct {
	At          time.Time     `json:"at"`
	Miner       uint64        `json:"miner"`
	PeriodStart int64         `json:"periodStart"`
	Deadline    uint64        `json:"deadline"`
	Kind        string        `json:"kind,omitempty"` // post or recovery
	What        string        `json:"what"`           // started, checked, proof, sent, …; Ended for the last
	Epoch       int64         `json:"epoch,omitempty"`
	Partitions  string        `json:"partitions,omitempty"` // "0,1,2"
	Sectors     int           `json:"sectors,omitempty"`
	Skipped     int           `json:"skipped,omitempty"`
	Text        string        `json:"text,omitempty"`
	Task        string        `json:"task,omitempty"`
	Slave       string        `json:"slave,omitempty"`
	Message     string        `json:"message,omitempty"` // CID
	ExitCode    int64         `json:"exitCode,omitempty"`
	Took        time.Duration `json:"took,omitempty"`    // nanoseconds
	Margin      time.Duration `json:"margin,omitempty"`  // until the close
	Gas         int64         `json:"gas,omitempty"`     // units
	Fee         string        `json:"fee,omitempty"`     // attoFIL
	Verdict     string        `json:"verdict,omitempty"` // of the last step
}

// Ended is the What of a deadline's last step; such steps are kept longer.
const Ended = "ended"

// How long steps are kept.
const (
	keepSteps = 14 * 24 * time.Hour
	keepEnds  = 400 * 24 * time.Hour
)

// queued is how many notes may wait for the writer: a reorganisation with fifty
// miners makes a few thousand.
const queued = 16384

// Book is the diary in one folder.
type Book struct {
	dir  string
	log  *slog.Logger
	in   chan Step
	lost atomic.Int64
}

// New returns the book of a folder, which is made when the first note is
// written. It writes nothing until Run.
func New(dir string, log *slog.Logger) *Book {
	return &Book{dir: dir, log: log, in: make(chan Step, queued)}
}

// Note keeps a step. It never waits.
func (b *Book) Note(s Step) {
	select {
	case b.in <- s:
	default:
		b.lost.Add(1)
	}
}

// Lost is how many notes did not fit into the queue.
func (b *Book) Lost() int64 { return b.lost.Load() }

// Run writes until ctx ends, then what is still queued.
func (b *Book) Run(ctx context.Context) error {
	prune := time.NewTicker(6 * time.Hour)
	defer prune.Stop()
	b.prune(time.Now())
	for {
		select {
		case s := <-b.in:
			b.write(append([]Step{s}, b.waiting()...))
		case now := <-prune.C:
			b.prune(now)
		case <-ctx.Done():
			b.write(b.waiting())
			return nil
		}
	}
}

// waiting takes what is queued.
func (b *Book) waiting() []Step {
	var list []Step
	for {
		select {
		case s := <-b.in:
			list = append(list, s)
		default:
			return list
		}
	}
}

// write appends steps, each file once. Failing costs only the notes.
func (b *Book) write(steps []Step) {
	files := map[string]*bytes.Buffer{}
	for _, s := range steps {
		line, err := json.Marshal(s)
		if err != nil {
			b.log.Error("history: a step cannot be written", attr.Err(err))
			continue
		}
		names := []string{stepsFile(s.At)}
		if s.What == Ended {
			names = append(names, endsFile(s.At))
		}
		for _, name := range names {
			if files[name] == nil {
				files[name] = new(bytes.Buffer)
			}
			files[name].Write(append(line, '\n'))
		}
	}
	for name, text := range files {
		if err := b.appendTo(name, text.Bytes()); err != nil {
			b.lost.Add(1)
			b.log.Warn("history is not written; proving goes on", attr.Err(err))
		}
	}
}

func (b *Book) appendTo(name string, text []byte) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if end, err := f.Stat(); err == nil && end.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, end.Size()-1); err == nil && last[0] != '\n' {
			text = append([]byte{'\n'}, text...) // a crash cut the last line short
		}
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

func stepsFile(t time.Time) string { return "steps-" + t.UTC().Format(time.DateOnly) + ".jsonl" }
func endsFile(t time.Time) string  { return "ends-" + t.UTC().Format("2006-01") + ".jsonl" }

// Query selects steps.
type Query struct {
	Miner *uint64 // nil: all
	Since time.Time
	// Of one deadline; nil: all.
	PeriodStart *int64
	Deadline    *uint64
}

func (q Query) matches(s Step) bool {
	return (q.Miner == nil || *q.Miner == s.Miner) && !s.At.Before(q.Since) &&
		(q.PeriodStart == nil || *q.PeriodStart == s.PeriodStart) && (q.Deadline == nil || *q.Deadline == s.Deadline)
}

// Steps lists the steps of the last two weeks that match, in their order.
func (b *Book) Steps(ctx context.Context, q Query) ([]Step, error) {
	return b.read(ctx, "steps-", stepsFile(q.Since), q)
}

// Ends lists the last steps of deadlines of the last year, in their order. A
// deadline that was told twice, as after a restart, stands there once, as told
// last.
func (b *Book) Ends(ctx context.Context, q Query) ([]Step, error) {
	list, err := b.read(ctx, "ends-", endsFile(q.Since), q)
	if err != nil {
		return nil, err
	}
	type key struct {
		kind        string
		miner       uint64
		periodStart int64
		deadline    uint64
	}
	last := map[key]int{}
	of := func(s Step) key { return key{s.Kind, s.Miner, s.PeriodStart, s.Deadline} }
	for i, s := range list {
		last[of(s)] = i
	}
	once := list[:0]
	for i, s := range list {
		if last[of(s)] == i {
			once = append(once, s)
		}
	}
	return once, nil
}

// maxLine bounds a line that is read.
const maxLine = 1 << 20

// read goes through the files with the prefix from the named one on.
func (b *Book) read(ctx context.Context, prefix, from string, q Query) ([]Step, error) {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	var list []Step
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || e.Name() < from && !q.Since.IsZero() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found, err := readFile(filepath.Join(b.dir, e.Name()), q)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		list = append(list, found...)
	}
	slices.SortStableFunc(list, func(x, y Step) int { return x.At.Compare(y.At) })
	return list, nil
}

func readFile(path string, q Query) ([]Step, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Step
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var s Step
		if json.Unmarshal(lines.Bytes(), &s) == nil && q.matches(s) { // a damaged line costs itself
			list = append(list, s)
		}
	}
	return list, lines.Err()
}

// prune deletes the files whose time is over.
func (b *Book) prune(now time.Time) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return // none yet, or told when it is written
	}
	for _, e := range entries {
		old := strings.HasPrefix(e.Name(), "steps-") && e.Name() < stepsFile(now.Add(-keepSteps)) ||
			strings.HasPrefix(e.Name(), "ends-") && e.Name() < endsFile(now.Add(-keepEnds))
		if old {
			if err := os.Remove(filepath.Join(b.dir, e.Name())); err != nil {
				b.log.Warn("history is not pruned", attr.Err(err))
			}
		}
	}
}
