package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/dashboard"
	"wdpost/internal/history"
	"wdpost/internal/message"
	"wdpost/internal/sector"
)

// viewers are those who look at the page: now is closed at the next change. A
// view is made once for all of them, and again when it is older than viewAge.
type viewers struct {
	sync.Mutex
	now chan struct{}

	making sync.Mutex // held while a view is made
	view   dashboard.View
}

// viewAge is below the pause between two events of the page's stream.
const viewAge = time.Second / 2

// wall is the page on the wall over this manager.
type wall struct{ m *Manager }

func (m *Manager) wall() http.Handler {
	return dashboard.New(dashboard.Config{Source: wall{m}, Log: m.log})
}

// Changed implements dashboard.Source.
func (w wall) Changed() <-chan struct{} {
	w.m.viewers.Lock()
	defer w.m.viewers.Unlock()
	return w.m.viewers.now
}

// View implements dashboard.Source out of the status that all others show too.
func (w wall) View(ctx context.Context) dashboard.View {
	v := &w.m.viewers
	v.making.Lock()
	defer v.making.Unlock()
	if time.Since(v.view.At) >= viewAge {
		v.view = w.makeView(ctx)
	}
	return v.view
}

func (w wall) makeView(ctx context.Context) dashboard.View {
	s := w.m.Status(ctx)
	now := time.Now()
	v := dashboard.View{At: now, Build: s.Build, Epoch: int64(s.Epoch), Conditions: s.Conditions}
	times := func(abi.ChainEpoch) time.Time { return now }
	if s.Network != nil {
		v.Network, v.BlockDelay = s.Network.Name, s.Network.BlockDelay
		times = func(e abi.ChainEpoch) time.Time {
			return s.Network.Genesis.Add(time.Duration(e) * s.Network.BlockDelay)
		}
	}
	for _, n := range s.Nodes {
		v.Nodes = append(v.Nodes, dashboard.Node{Address: n.Address, Height: int64(n.Height), Used: n.Preferred, Trouble: n.Error, Lag: lag(s.Epoch, n.Height)})
	}
	v.Stores = storesOf(s)
	ends := w.lastDay(ctx, now)
	for _, miner := range s.Miners {
		name := subject(miner.Miner)
		v.Miners = append(v.Miners, dashboard.Miner{Name: name, Trouble: miner.Error, Day: day(miner, ends[miner.Miner])})
		for _, d := range miner.Running {
			if d.Kind == "post" {
				v.Windows = append(v.Windows, windowRow(name, d, times))
			}
			v.Messages = append(v.Messages, messagesOf(name, d, times)...)
		}
		if w, open := openWindow(name, miner, times); open {
			v.Windows = append(v.Windows, w)
		}
	}
	slices.SortStableFunc(v.Windows, func(a, b dashboard.Window) int {
		return cmp.Or(a.ClosesAt.Compare(b.ClosesAt), cmp.Compare(a.Miner, b.Miner))
	})
	v.Slaves = slavesOf(s)
	return v
}

func lag(clock, height abi.ChainEpoch) int64 {
	if height < 0 {
		return 0
	}
	return max(0, int64(clock-height))
}

// storesOf joins the configured stores with what the guard sees of them.
func storesOf(s Status) []dashboard.Store {
	health := map[string]sector.StoreHealth{}
	for _, h := range s.Reads {
		health[h.Store] = h
	}
	var list []dashboard.Store
	for _, store := range s.Stores {
		h := health[store.Name]
		row := dashboard.Store{Name: store.Name, Path: store.Path, Stuck: h.Stuck, Breaker: "closed", Trouble: cmp.Or(store.Error, h.Error)}
		if h.SetAside {
			row.Breaker = "open"
		}
		list = append(list, row)
	}
	return list
}

// slavesOf shows the slaves behind the processors, as far as these tell.
func slavesOf(s Status) []dashboard.Slave {
	var list []dashboard.Slave
	for _, p := range s.Processors {
		if p.Report == nil {
			continue
		}
		for _, c := range p.Report.Slaves {
			row := dashboard.Slave{Name: fmt.Sprintf("%s × %d", p.Name, c.Count), State: c.State}
			if c.SectorSize > 0 {
				row.SectorSize = strconv.FormatUint(c.SectorSize>>30, 10) + " GiB"
				if c.SectorSize < 1<<30 {
					row.SectorSize = strconv.FormatUint(c.SectorSize>>10, 10) + " KiB"
				}
			}
			list = append(list, row)
		}
	}
	return list
}

func windowRow(miner string, d RunningDeadline, times func(abi.ChainEpoch) time.Time) dashboard.Window {
	w := dashboard.Window{
		Miner: miner, Deadline: d.Deadline, PeriodStart: int64(d.PeriodStart), Open: int64(d.Open), Close: int64(d.Close),
		OpensAt: times(d.Open), ClosesAt: times(d.Close),
	}
	for _, b := range d.Batches {
		w.Batches = append(w.Batches, dashboard.Batch{Partitions: b.Partitions, Stage: b.Stage, Note: b.Error, Message: b.Message})
	}
	return w
}

// openWindow is the open window of a miner where the work on its deadline is
// over already, with how it ended.
func openWindow(name string, s MinerStatus, times func(abi.ChainEpoch) time.Time) (dashboard.Window, bool) {
	if s.Deadline == nil || slices.ContainsFunc(s.Running, func(d RunningDeadline) bool { return d.Kind == "post" && d.Open == s.Open }) {
		return dashboard.Window{}, false
	}
	w := dashboard.Window{Miner: name, Deadline: *s.Deadline, Open: int64(s.Open), Close: int64(s.Close), OpensAt: times(s.Open), ClosesAt: times(s.Close)}
	for _, r := range s.Recent {
		if r.Open == int64(s.Open) {
			w.Verdict, w.PeriodStart = r.Verdict, r.PeriodStart
			if r.Partitions != "" {
				w.Batches = []dashboard.Batch{{Partitions: r.Partitions, Stage: "landed", Skipped: r.Skipped, Note: r.Reason}}
			}
			return w, true
		}
	}
	return w, false
}

// messagesOf lists what a deadline has handed over and not yet seen deep.
func messagesOf(miner string, d RunningDeadline, times func(abi.ChainEpoch) time.Time) []dashboard.Message {
	var list []dashboard.Message
	for _, b := range d.Batches {
		if b.Seen == nil || b.Attempt == 0 {
			continue
		}
		o := b.Seen
		m := dashboard.Message{
			ID: o.Handle.ID, CID: o.Handle.CID, Kind: d.Kind, Miner: miner, Deadline: d.Deadline, Partition: b.Partitions,
			State: b.Stage, Replaced: b.Replaced, ExitCode: int64(o.ExitCode), LatestAt: times(d.Close), Trouble: cmp.Or(b.Error, o.Reason),
		}
		if o.State == message.Pending {
			m.SentAt = o.Since
		}
		if o.Signed {
			m.FeeCap, m.Premium = fil(o.Price.FeeCap.String()), fil(o.Price.Premium.String())
		}
		if o.From != (address.Address{}) {
			m.Sender = o.From.String()
		}
		list = append(list, m)
	}
	return list
}

// fil writes attoFIL for a unit of gas in nanoFIL.
func fil(atto string) string {
	n, err := strconv.ParseFloat(atto, 64)
	if err != nil {
		return atto
	}
	return strconv.FormatFloat(n/1e9, 'g', 4, 64) + " nanoFIL"
}

// lastDay are the ends of the last day and a bit, by miner.
func (w wall) lastDay(ctx context.Context, now time.Time) map[uint64][]history.Step {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	byMiner := map[uint64][]history.Step{}
	for _, e := range w.m.diary.lastDay(ctx, w.m.book, now) {
		if e.Kind == "post" {
			byMiner[e.Miner] = append(byMiner[e.Miner], e)
		}
	}
	return byMiner
}

// day is a cell for each deadline of a period: as it ended last, or as it runs.
func day(s MinerStatus, ends []history.Step) []dashboard.Cell {
	cells := map[uint64]dashboard.Cell{}
	for _, e := range ends {
		cells[e.Deadline] = dashboard.Cell{Deadline: e.Deadline, PeriodStart: e.PeriodStart, Verdict: e.Verdict, Margin: e.Margin, Partitions: partitionCount(e.Partitions), Skipped: e.Skipped}
	}
	for _, d := range s.Running {
		if d.Kind != "post" {
			continue
		}
		verdict := "next"
		if s.Head >= d.Open {
			verdict = "open"
		}
		cells[d.Deadline] = dashboard.Cell{Deadline: d.Deadline, PeriodStart: int64(d.PeriodStart), Verdict: verdict, Partitions: len(d.Batches)}
	}
	list := make([]dashboard.Cell, 0, len(cells))
	for _, c := range cells {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b dashboard.Cell) int { return cmp.Compare(a.Deadline, b.Deadline) })
	return list
}

func partitionCount(list string) int {
	if list == "" {
		return 0
	}
	return strings.Count(list, ",") + 1
}

// History implements dashboard.Source.
func (w wall) History(ctx context.Context, miner string, since time.Time) ([]dashboard.Past, error) {
	q := history.Query{Since: since}
	if miner != "" {
		actor, err := actorOf(miner)
		if err != nil {
			return nil, err
		}
		q.Miner = &actor
	}
	ends, err := w.m.book.Ends(ctx, q)
	if err != nil {
		return nil, err
	}
	var list []dashboard.Past
	for _, e := range ends {
		if e.Kind == "post" {
			list = append(list, past(e))
		}
	}
	return list, nil
}

func past(e history.Step) dashboard.Past {
	return dashboard.Past{
		Miner: subject(e.Miner), Deadline: e.Deadline, PeriodStart: e.PeriodStart, ClosedAt: e.At, Verdict: e.Verdict, Reason: e.Text,
		Partitions: partitionCount(e.Partitions), Skipped: e.Skipped, Proving: e.Took, Margin: e.Margin, Gas: e.Gas,
	}
}

func actorOf(miner string) (uint64, error) {
	addr, err := address.NewFromString(miner)
	if err != nil {
		return 0, fmt.Errorf("miner %q: %w", miner, err)
	}
	return address.IDFromAddress(addr)
}

// Timeline implements dashboard.Source.
func (w wall) Timeline(ctx context.Context, miner string, periodStart int64, index uint64) (dashboard.Timeline, error) {
	actor, err := actorOf(miner)
	if err != nil {
		return dashboard.Timeline{}, errors.Join(dashboard.ErrNotFound, err)
	}
	steps, err := w.m.book.Steps(ctx, history.Query{Miner: &actor, PeriodStart: &periodStart, Deadline: &index})
	if err != nil {
		return dashboard.Timeline{}, err
	}
	if len(steps) == 0 {
		return dashboard.Timeline{}, fmt.Errorf("%w: nothing is noted of deadline %d of %s yet", dashboard.ErrNotFound, index, miner)
	}
	t := dashboard.Timeline{Past: dashboard.Past{Miner: miner, Deadline: index, PeriodStart: periodStart}}
	for _, s := range steps {
		if s.What == history.Ended && s.Kind == "post" {
			t.Past = past(s)
		}
		text := s.Text
		if s.Took > 0 {
			text = strings.TrimSpace(s.Took.Round(time.Millisecond).String() + " " + text)
		}
		if s.Partitions != "" {
			text = "[" + s.Partitions + "] " + text
		}
		t.Events = append(t.Events, dashboard.Event{At: s.At, Epoch: s.Epoch, What: s.What, Text: text, Slave: s.Slave, Task: s.Task, CID: s.Message})
	}
	return t, nil
}
