package manager

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/ledger"
	"wdpost/internal/message"
)

// Message is one chain message, as the ledger keeps it, and, while its deadline
// is worked on, as the service that sends it told last.
type Message struct {
	ID          string    `json:"id"`
	CID         string    `json:"cid,omitempty"` // once known
	Kind        string    `json:"kind"`          // "post" or "recovery"
	Miner       uint64    `json:"miner"`
	PeriodStart int64     `json:"periodStart"`
	Deadline    uint64    `json:"deadline"`
	Partitions  string    `json:"partitions"`
	Attempt     int       `json:"attempt"`
	State       string    `json:"state"` // of the ledger: sending, sent, landed, failed; or what the service says: pending, executed, dropped
	CreatedAt   time.Time `json:"createdAt,omitzero"`
	UpdatedAt   time.Time `json:"updatedAt,omitzero"`
	Epoch       int64     `json:"epoch,omitempty"` // where it was executed
	ExitCode    int64     `json:"exitCode"`
	GasUsed     int64     `json:"gasUsed,omitempty"`
	Reason      string    `json:"reason,omitempty"` // why it failed, or what it waits for

	// As it is signed; empty where that is not known any more.
	From     string  `json:"from,omitempty"`
	Nonce    *uint64 `json:"nonce,omitempty"`
	FeeCap   string  `json:"feeCap,omitempty"`  // attoFIL for a unit of gas
	Premium  string  `json:"premium,omitempty"` // attoFIL for a unit of gas
	GasLimit int64   `json:"gasLimit,omitempty"`
	Before   int     `json:"before,omitempty"`   // older pending messages of the same sender
	Replaced int     `json:"replaced,omitempty"` // how often its price was raised
}

// MessageQuery selects messages.
type MessageQuery struct {
	Miner *uint64
	Runs  int // of how many of the latest deadlines of each miner
}

// furthestRuns bounds MessageQuery.Runs.
const furthestRuns = 3000

// Messages lists messages, newest first: those of the ledger, joined with what
// the running deadlines know of theirs.
func (m *Manager) Messages(ctx context.Context, q MessageQuery) ([]Message, error) {
	var list []Message
	var failed error
	m.miners.each(func(actor uint64, r *minerRun) {
		if failed != nil || q.Miner != nil && *q.Miner != actor {
			return
		}
		known, err := m.keptMessages(ctx, actor, q.Runs)
		if err != nil {
			failed = err
			return
		}
		if j := r.joined.Load(); j != nil && j.poster != nil {
			var s MinerStatus
			for _, p := range j.poster.Status() {
				m.fillPoster(&s, p)
			}
			known = withSeen(actor, known, s.Running)
		}
		list = append(list, known...)
	})
	slices.SortStableFunc(list, func(a, b Message) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, failed
}

// keptMessages are those of the ledger.
func (m *Manager) keptMessages(ctx context.Context, actor uint64, runs int) ([]Message, error) {
	rows, err := m.records.Runs(ctx, ledger.RunQuery{Miner: &actor, Limit: runs})
	if err != nil {
		return nil, err
	}
	var list []Message
	for _, run := range rows {
		kept, err := m.records.Messages(ctx, run.RunKey)
		if err != nil {
			return nil, err
		}
		for _, k := range kept {
			list = append(list, Message{
				ID: k.ID, CID: k.Handle, Kind: k.Kind, Miner: k.Miner, PeriodStart: k.PeriodStart, Deadline: k.Deadline,
				Partitions: k.Partitions.String(), Attempt: k.Attempt, State: k.State, CreatedAt: k.CreatedAt, UpdatedAt: k.UpdatedAt,
				Epoch: k.Epoch, ExitCode: k.ExitCode, Reason: k.Error,
			})
		}
	}
	return list, nil
}

// withSeen adds to a miner's messages what its running deadlines know of them. A
// message that the ledger could not keep is listed too.
func withSeen(actor uint64, list []Message, running []RunningDeadline) []Message {
	for _, d := range running {
		for _, b := range d.Batches {
			if b.Seen == nil || b.Seen.Handle.ID == "" {
				continue
			}
			i := slices.IndexFunc(list, func(k Message) bool { return k.ID == b.Seen.Handle.ID })
			if i < 0 {
				list = append(list, Message{
					ID: b.Seen.Handle.ID, Kind: d.Kind, Miner: actor, PeriodStart: int64(d.PeriodStart), Deadline: d.Deadline,
					Partitions: b.Partitions, Attempt: b.Attempt, CreatedAt: b.Seen.Since,
				})
				i = len(list) - 1
			}
			list[i].see(b)
		}
	}
	return list
}

// see takes over what the service told of a message last.
func (k *Message) see(b BatchStatus) {
	o := b.Seen
	k.CID, k.Replaced = cmp.Or(o.Handle.CID, k.CID), b.Replaced
	if o.State != message.Unknown && k.State != ledger.Landed && k.State != ledger.Failed {
		k.State = o.State.String()
	}
	k.Before, k.GasUsed = o.Before, o.GasUsed
	if o.State == message.Executed {
		k.Epoch, k.ExitCode = int64(o.Height), int64(o.ExitCode)
	}
	if o.Signed {
		nonce := o.Nonce
		k.Nonce, k.From = &nonce, o.From.String()
		k.FeeCap, k.Premium, k.GasLimit = amountOf(o.Price.FeeCap), amountOf(o.Price.Premium), o.Price.GasLimit
	}
	k.Reason = cmp.Or(o.Reason, b.Error, k.Reason)
	if k.State == "" {
		k.State = "unknown"
	}
}

// amountOf is an amount as text; empty where it is not set.
func amountOf(v big.Int) string {
	if v.Nil() {
		return ""
	}
	return v.String()
}

// serveMessages answers GET /messages?miner=1000&runs=48.
func (m *Manager) serveMessages(w http.ResponseWriter, r *http.Request) {
	q, err := messageQuery(r)
	if err != nil {
		m.answer(w, nil, err)
		return
	}
	list, err := m.Messages(r.Context(), q)
	m.answer(w, list, err)
}

func messageQuery(r *http.Request) (MessageQuery, error) {
	q := MessageQuery{Runs: 48}
	if miner := r.FormValue("miner"); miner != "" {
		actor, err := strconv.ParseUint(miner, 10, 63)
		if err != nil {
			return q, fmt.Errorf("miner %q is not a number", miner)
		}
		q.Miner = &actor
	}
	if runs := r.FormValue("runs"); runs != "" {
		n, err := strconv.Atoi(runs)
		if err != nil || n < 1 || n > furthestRuns {
			return q, fmt.Errorf("runs %q is not a number from 1 to %d", runs, furthestRuns)
		}
		q.Runs = n
	}
	return q, nil
}

// Names reports a message by its id or CID, or the beginning of one.
func (k Message) Names(name string) bool {
	return name != "" && (strings.HasPrefix(k.ID, name) || strings.HasPrefix(k.CID, name))
}
