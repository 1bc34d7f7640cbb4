package manager

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"
	"github.com/filecoin-project/go-state-types/dline"

	"wdpost/internal/deadline"
	"wdpost/internal/ledger"
	"wdpost/internal/message"
	"wdpost/internal/poster"
)

// keptLedger has one run with two messages.
type keptLedger struct {
	fakeLedger
	fails bool
	query ledger.RunQuery
}

var errKept = errors.New("the disk is away")

func (l *keptLedger) Runs(_ context.Context, q ledger.RunQuery) ([]ledger.Run, error) {
	l.query = q
	if l.fails {
		return nil, errKept
	}
	return []ledger.Run{{RunKey: ledger.RunKey{Miner: *q.Miner, PeriodStart: 2880, Deadline: 3}}}, nil
}

func (l *keptLedger) Messages(_ context.Context, key ledger.RunKey) ([]ledger.Message, error) {
	at := time.Unix(1000, 0)
	return []ledger.Message{
		{ID: "a-1", RunKey: key, Kind: "post", Partitions: ledger.Partitions{0, 1}, Attempt: 1, State: ledger.Failed, Handle: "bafyold", ExitCode: 16, Error: "out of gas", CreatedAt: at},
		{ID: "a-2", RunKey: key, Kind: "post", Partitions: ledger.Partitions{0, 1}, Attempt: 2, State: ledger.Sent, CreatedAt: at.Add(time.Minute)},
	}, nil
}

// runningPoster has one deadline with two sent messages.
type runningPoster struct{ Poster }

func (runningPoster) Status() []poster.MinerStatus {
	from, _ := address.NewIDAddress(77)
	return []poster.MinerStatus{{Active: []deadline.State{{
		Info: dline.Info{PeriodStart: 2880, Index: 3},
		Batches: []deadline.BatchState{
			{ID: "0,1", Attempt: 2, Steps: 1, Seen: message.Outcome{
				State: message.Pending, Handle: message.Handle{ID: "a-2", CID: "bafynew"}, Signed: true, Nonce: 0, From: from, Before: 2,
				Price: message.Price{FeeCap: big.NewInt(1_500_000_000), GasLimit: 9}, Reason: "the cap is under the base fee",
			}},
			{ID: "2", Attempt: 1, Seen: message.Outcome{State: message.Pending, Handle: message.Handle{ID: "b-1"}, Since: time.Unix(2000, 0)}},
			{ID: "3"}, // nothing was sent
		},
	}}}}
}

func withMessages(t *testing.T, l *keptLedger) *world {
	w := build(t, "", "")
	var kept ledger.Ledger = l
	w.records.ledger.Store(&kept)
	r := &minerRun{}
	r.joined.Store(&joinedMiner{poster: runningPoster{}})
	w.miners.running = map[uint64]*minerRun{1008: r}
	return w
}

// TestMessagesAreKeptAndSeen: the list joins what the ledger keeps with what the
// service told last, and lists what the ledger could not keep.
func TestMessagesAreKeptAndSeen(t *testing.T) {
	w := withMessages(t, &keptLedger{})
	list, err := w.Messages(t.Context(), MessageQuery{Runs: 5})
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if b := list[0]; b.ID != "b-1" || b.State != "pending" || b.Miner != 1008 || b.Partitions != "2" || b.Deadline != 3 || b.Nonce != nil {
		t.Errorf("the ledger could not keep it: %+v", b)
	}
	a := list[1]
	if a.ID != "a-2" || a.CID != "bafynew" || a.State != "pending" || a.Nonce == nil || *a.Nonce != 0 || a.From != "t077" || a.FeeCap != "1500000000" ||
		a.Premium != "" || a.Before != 2 || a.Replaced != 1 || a.Reason != "the cap is under the base fee" {
		t.Errorf("pending: %+v", a)
	}
	if old := list[2]; old.CID != "bafyold" || old.State != ledger.Failed || old.Reason != "out of gas" || old.ExitCode != 16 {
		t.Errorf("failed: %+v", old)
	}
	if !a.Names("a-2") || !a.Names("bafyn") || a.Names("a-1") || a.Names("") {
		t.Error("a message is named by the beginning of its id or CID")
	}
	other := uint64(5)
	if list, err := w.Messages(t.Context(), MessageQuery{Miner: &other, Runs: 5}); err != nil || len(list) != 0 {
		t.Errorf("of another miner: %+v, %v", list, err)
	}
}

// TestMessagesPage: the control socket's page reads its query and tells why the
// ledger cannot be read.
func TestMessagesPage(t *testing.T) {
	l := &keptLedger{}
	w := withMessages(t, l)
	get := func(query string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		w.control().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/messages"+query, nil))
		return rec
	}
	var list []Message
	if rec := get("?miner=1008&runs=7"); rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &list) != nil || len(list) != 3 || l.query.Limit != 7 {
		t.Errorf("%d %s, asked %+v", rec.Code, rec.Body, l.query)
	}
	for _, bad := range []string{"?miner=t01", "?runs=0", "?runs=x", "?runs=99999"} {
		if rec := get(bad); rec.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, rec.Code, rec.Body)
		}
	}
	l.fails = true
	if rec := get(""); rec.Code != http.StatusBadRequest {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if _, err := w.Messages(t.Context(), MessageQuery{Runs: 1}); !errors.Is(err, errKept) {
		t.Errorf("%v", err)
	}
}
