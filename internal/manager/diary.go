package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"wdpost/internal/deadline"
	"wdpost/internal/history"
	"wdpost/internal/message"
	"wdpost/internal/poster"
)

// diary gathers what the last step of a deadline sums up: its partitions, the
// slowest proof and the gas of its messages.
type diary struct {
	mu   sync.Mutex
	runs map[diaryKey]*history.Step

	reading sync.Mutex // held while the book is read
	read    bool       // what the book had at the first question is in ends
	ends    []history.Step
}

// aDay is how long an end is shown among the deadlines of the day.
const aDay = 25 * time.Hour

// lastDay lists how deadlines ended within a day and a bit, the oldest first.
// The book is read once; what ends later is remembered. Where it cannot be read
// only the later ones are shown, and it is tried again.
func (d *diary) lastDay(ctx context.Context, book *history.Book, now time.Time) []history.Step {
	d.reading.Lock()
	defer d.reading.Unlock()
	d.mu.Lock()
	read := d.read
	d.mu.Unlock()
	var old []history.Step
	var err error
	if !read {
		old, err = book.Ends(ctx, history.Query{Since: now.Add(-aDay)})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !read && err == nil {
		d.ends, d.read = append(old, d.ends...), true
	}
	d.prune(now)
	return slices.Clone(d.ends)
}

// prune forgets the ends of before. mu is held.
func (d *diary) prune(now time.Time) {
	d.ends = slices.DeleteFunc(d.ends, func(s history.Step) bool { return now.Sub(s.At) >= aDay })
}

type diaryKey struct {
	kind            string
	miner, deadline uint64
	periodStart     int64
}

func newDiary() *diary { return &diary{runs: map[diaryKey]*history.Step{}} }

// mostRuns bounds the diary where ends never come.
const mostRuns = 100_000

// sum takes a step in, and completes a last one. A recovery that had nothing to
// declare is not worth a line.
func (d *diary) sum(s history.Step) (history.Step, bool) {
	key := diaryKey{s.Kind, s.Miner, s.Deadline, s.PeriodStart}
	d.mu.Lock()
	defer d.mu.Unlock()
	run := d.runs[key]
	if run == nil {
		if s.Kind == deadline.Recovery.String() && s.Verdict == deadline.Declared.String() {
			return s, false
		}
		run = &history.Step{}
		if len(d.runs) < mostRuns {
			d.runs[key] = run
		}
	}
	switch s.What {
	case string(poster.ProofMade):
		run.Took = max(run.Took, s.Took)
		run.Partitions = strings.Trim(run.Partitions+","+s.Partitions, ",")
	case string(poster.MessagePushed):
		run.Margin = s.Margin
	case string(poster.MessageEnded):
		run.Gas += s.Gas
		if s.Margin > 0 && s.ExitCode == 0 {
			run.Margin = s.Margin
		}
	case history.Ended:
		delete(d.runs, key)
		s.Took, s.Gas = run.Took, run.Gas
		if s.Partitions == "" {
			s.Partitions = run.Partitions
		}
		if run.Margin > 0 {
			s.Margin = run.Margin
		}
		d.prune(s.At)
		d.ends = append(d.ends, s)
	}
	return s, true
}

// note writes what the poster tells into the history. Nothing waits for it.
func (m *Manager) note(o poster.Outcome) {
	if s, worth := m.diary.sum(step(o, time.Now())); worth {
		m.book.Note(s)
	}
	m.changed()
}

// step is an outcome as the history keeps it.
func step(o poster.Outcome, now time.Time) history.Step {
	s := history.Step{
		At: now, Miner: uint64(o.Miner), PeriodStart: int64(o.Deadline.PeriodStart), Deadline: o.Deadline.Index,
		Kind: o.Kind.String(), What: string(o.What), Partitions: o.Partitions.String(),
		Skipped: o.Skipped, Text: o.Reason, Took: o.Took, Margin: o.Margin,
	}
	switch o.What {
	case poster.RunEnded:
		s.What, s.Verdict = history.Ended, o.Verdict.String()
	case poster.ProofMade:
		s.Sectors = o.Proven
	case poster.MessageEnded:
		s.Message, s.Epoch = o.Message.Handle.CID, int64(o.Message.Height)
		s.Gas, s.ExitCode = o.Message.GasUsed, int64(o.Message.ExitCode)
		if o.Message.State == message.Executed && s.ExitCode != 0 {
			s.Text = fmt.Sprintf("exit code %d %s", s.ExitCode, s.Text)
		} else if s.Text == "" {
			s.Text = o.Message.Reason
		}
	}
	return s
}

// changed tells the viewers of the page that something happened.
func (m *Manager) changed() {
	m.viewers.Lock()
	defer m.viewers.Unlock()
	close(m.viewers.now)
	m.viewers.now = make(chan struct{})
}
