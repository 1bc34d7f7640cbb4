package deadline_test

import (
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"pgregory.net/rapid"

	"wdpost/internal/deadline"
	"wdpost/internal/message"
)

// world drives a machine with random heads and random answers and checks after
// every step what must hold whatever happens.
type world struct {
	t      *rapid.T
	m      *deadline.Machine
	conf   deadline.Confidence
	net    network
	start  abi.ChainEpoch // of the first proving period
	epoch  abi.ChainEpoch
	clock  abi.ChainEpoch // as told last
	first  abi.ChainEpoch
	ends   map[deadline.Key]int
	reopen map[deadline.Key]int // reorgs that may start a deadline again
	live   map[deadline.Ref]bool
	todo   []deadline.Event // possible answers to the actions so far
}

func (w *world) step(ev deadline.Event) {
	if h, ok := ev.(deadline.Head); ok {
		w.noteReorg(h)
		w.epoch = h.Info.CurrentEpoch
	}
	for _, a := range w.m.Step(ev) {
		w.check(a)
	}
	w.checkSnapshot()
}

// noteReorg counts for every deadline the times it may be reopened.
func (w *world) noteReorg(h deadline.Head) {
	if h.RevertedFrom == 0 && h.Info.CurrentEpoch >= w.epoch && !h.Reset {
		return
	}
	for key := range w.ends {
		w.reopen[key]++
	}
}

func (w *world) check(a deadline.Action) {
	switch a := a.(type) {
	case deadline.Start:
		if a.Kind == deadline.Recovery {
			w.checkLook(a)
			break
		}
		di := deadline.At(w.net.at(w.start, w.epoch), a.Key)
		if w.epoch >= di.Close || a.Try == 0 && !w.conf.ShouldRun(di, w.epoch) {
			w.t.Fatalf("start of %v at %d", a.Key, w.epoch)
		}
		if a.Try == 0 {
			w.live[a.Ref] = true
		}
		w.answer(deadline.PlanFailed{Ref: a.Ref}, deadline.Planned{Ref: a.Ref, Batches: batches(deadline.Proving, "0", "1")},
			deadline.Planned{Ref: a.Ref}, deadline.Planned{Ref: a.Ref, Batches: batches(deadline.Ready, "0")},
			deadline.Planned{Ref: a.Ref, Batches: []deadline.PlannedBatch{{ID: "0", Stage: deadline.Submitting, Attempt: 1}, {ID: "1", Stage: deadline.Sent, Attempt: 2}}})
	case deadline.Prove:
		w.answer(deadline.Proved{Ref: a.Ref, Batch: a.Batch}, deadline.ProveFailed{Ref: a.Ref, Batch: a.Batch},
			deadline.Regrouped{Ref: a.Ref, Batch: a.Batch, By: batches(deadline.Ready, a.Batch+"a", a.Batch+"b")})
	case deadline.Submit:
		di := deadline.At(w.net.at(w.start, w.epoch), a.Key)
		if a.Kind == deadline.PoSt && (w.epoch < di.Open || max(w.epoch, w.clock) >= di.Close-1) {
			w.t.Fatalf("submit for %v [%d, %d) at %d, %d by the clock", a.Key, di.Open, di.Close, w.epoch, w.clock)
		}
		if a.Kind == deadline.Recovery && max(w.epoch, w.clock) >= di.FaultCutoff-1 {
			w.t.Fatalf("declaration for %v at %d, %d by the clock, cut-off %d", a.Key, w.epoch, w.clock, di.FaultCutoff)
		}
		if a.Attempt < 1 {
			w.t.Fatalf("attempt %d", a.Attempt)
		}
		w.answer(deadline.Submitted{Ref: a.Ref, Batch: a.Batch}, deadline.SubmitFailed{Ref: a.Ref, Batch: a.Batch},
			deadline.Stale{Ref: a.Ref, Batch: a.Batch}, deadline.MessageLanded{Ref: a.Ref, Batch: a.Batch, Epoch: w.epoch})
	case deadline.Watch:
		w.answer(w.sight(a, at(w.epoch-5, 5)), w.sight(a, at(w.epoch, 0)), w.sight(a, failedAt(w.epoch, 7)), w.sight(a, message.Outcome{}),
			w.sight(a, message.Outcome{State: message.Pending}), w.sight(a, message.Outcome{State: message.Dropped}))
	case deadline.Replace:
		w.answer(deadline.Replaced{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt}, deadline.Replaced{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt, Why: why("no")})
	case deadline.GiveUp:
		w.answer(deadline.GaveUp{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt}, deadline.GaveUp{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt, Why: why("no")})
	case deadline.AskChain:
		w.live[a.Ref] = true
		w.answer(deadline.ChainSays{Ref: a.Ref, Proven: []uint64{0}, Missed: []uint64{1}}, deadline.ChainSays{Ref: a.Ref, Proven: []uint64{0, 1}}, deadline.AskFailed{Ref: a.Ref, Why: why("no")})
	case deadline.Abort:
		delete(w.live, a.Ref)
	case deadline.End:
		w.checkEnd(a)
	}
	if ref, ok := refOf(a); ok && !w.live[ref] {
		w.t.Fatalf("%T for %v #%d, which is not running", a, ref.Key, ref.Run)
	}
}

func (w *world) sight(a deadline.Watch, o message.Outcome) deadline.Event {
	return deadline.MessageSeen{Ref: a.Ref, Batch: a.Batch, Attempt: a.Attempt, Seen: o}
}

// checkLook answers a look at faulty sectors.
func (w *world) checkLook(a deadline.Start) {
	di := deadline.At(w.net.at(w.start, w.epoch), a.Key)
	if w.epoch >= di.FaultCutoff {
		w.t.Fatalf("look for %v at %d, cut-off %d", a.Key, w.epoch, di.FaultCutoff)
	}
	w.live[a.Ref] = true
	w.answer(deadline.PlanFailed{Ref: a.Ref, Why: why("no")}, deadline.Planned{Ref: a.Ref}, deadline.Planned{Ref: a.Ref, Left: 1, Reason: "hung"},
		deadline.Planned{Ref: a.Ref, Batches: batches(deadline.Ready, "r")}, deadline.Planned{Ref: a.Ref, Left: 2, Batches: batches(deadline.Ready, "s", "t")})
}

func (w *world) checkEnd(a deadline.End) {
	delete(w.live, a.Ref)
	if a.Kind == deadline.Recovery {
		return
	}
	if a.Outcome.Unsure {
		w.reopen[a.Key]++
		w.ends[a.Key]++
		return
	}
	w.ends[a.Key]++
	if w.ends[a.Key] > 1+w.reopen[a.Key] {
		w.t.Fatalf("deadline %v ended %d times, reopened at most %d times", a.Key, w.ends[a.Key], w.reopen[a.Key])
	}
	missing := false
	for _, b := range a.Outcome.Batches {
		missing = missing || b.Stage != deadline.Landed
	}
	switch a.Outcome.Verdict {
	case deadline.Missed:
		if a.Outcome.Reason == "" || w.epoch < a.Info.Close {
			w.t.Fatalf("missed at %d with reason %q", w.epoch, a.Outcome.Reason)
		}
	case deadline.Proven, deadline.NothingToProve:
		if missing {
			w.t.Fatalf("%s with unproven batches %+v", a.Outcome.Verdict, a.Outcome.Batches)
		}
	}
}

// checkSnapshot holds: nothing stays active beyond its settling, nothing that
// is due is unknown.
func (w *world) checkSnapshot() {
	for _, s := range w.m.Snapshot() {
		if s.Kind == deadline.Recovery {
			continue
		}
		if s.Phase == deadline.Settling && w.epoch >= s.SettleAt {
			w.t.Fatalf("%v is still %v at %d", s.Key, s.Phase, w.epoch)
		}
		if w.epoch >= s.Info.Close && s.Phase != deadline.Settling {
			w.t.Fatalf("%v is %v at %d", s.Key, s.Phase, w.epoch)
		}
	}
}

func (w *world) answer(events ...deadline.Event) {
	w.todo = append(w.todo, rapid.SampledFrom(events).Draw(w.t, "answer"))
}

func refOf(a deadline.Action) (deadline.Ref, bool) {
	switch a := a.(type) {
	case deadline.Start:
		return a.Ref, true
	case deadline.Prove:
		return a.Ref, true
	case deadline.Submit:
		return a.Ref, true
	case deadline.Watch:
		return a.Ref, true
	case deadline.Replace:
		return a.Ref, true
	}
	return deadline.Ref{}, false
}

// nextHead draws a head: mostly growth by one, sometimes null rounds, jumps
// over windows, reverts said and unsaid.
func (w *world) nextHead() deadline.Head {
	h := deadline.Head{Reset: rapid.IntRange(0, 30).Draw(w.t, "reset") == 0}
	epoch := w.epoch
	switch rapid.IntRange(0, 19).Draw(w.t, "kind") {
	case 0:
		epoch += abi.ChainEpoch(rapid.IntRange(2, 30).Draw(w.t, "jump"))
	case 1:
		epoch = max(w.first, epoch-abi.ChainEpoch(rapid.IntRange(1, 25).Draw(w.t, "back")))
	case 2:
		h.RevertedFrom = max(1, epoch-abi.ChainEpoch(rapid.IntRange(0, 25).Draw(w.t, "from")))
	default:
		epoch++
	}
	h.Info = w.net.at(w.start, epoch)
	return h
}

func checkRandomHeads(t *rapid.T) {
	w := &world{
		t: t, ends: map[deadline.Key]int{}, reopen: map[deadline.Key]int{}, live: map[deadline.Ref]bool{},
		net: rapid.SampledFrom([]network{tiny, {deadlines: 6, period: 36, window: 6, lookback: 9, cutoff: 14}, mainnet}).Draw(t, "net"),
		conf: deadline.Confidence{
			Challenge: abi.ChainEpoch(rapid.IntRange(0, 30).Draw(t, "challenge confidence")),
			Submit:    abi.ChainEpoch(rapid.IntRange(0, 12).Draw(t, "submit confidence")),
			Message:   3,
		},
		start: abi.ChainEpoch(rapid.IntRange(-40, 40).Draw(t, "start")),
	}
	w.m = deadline.New(w.conf, nil)
	w.first = abi.ChainEpoch(rapid.IntRange(0, 60).Draw(t, "first"))
	w.epoch = w.first
	w.step(deadline.Head{Info: w.net.at(w.start, w.first)})
	for range rapid.IntRange(20, 150).Draw(t, "steps") {
		if len(w.todo) > 0 && rapid.Bool().Draw(t, "answer now") {
			i := rapid.IntRange(0, len(w.todo)-1).Draw(t, "which")
			ev := w.todo[i]
			w.todo = append(w.todo[:i:i], w.todo[i+1:]...)
			w.step(ev)
			continue
		}
		if rapid.IntRange(0, 3).Draw(t, "tick") == 0 {
			w.clock = max(w.clock, w.epoch+abi.ChainEpoch(rapid.IntRange(0, 3).Draw(t, "ahead")))
			w.step(deadline.Tick{Epoch: w.clock})
			continue
		}
		w.step(w.nextHead())
	}
	w.finish()
}

// finish lets the chain grow until everything known now has settled, and then
// holds that every deadline due since the first head has ended.
func (w *world) finish() {
	due := w.m.Snapshot()
	for range 2*w.net.window + 140 {
		w.step(deadline.Head{Info: w.net.at(w.start, w.epoch+1)})
	}
	for _, s := range due {
		if s.Kind == deadline.PoSt && w.ends[s.Key] == 0 {
			w.t.Fatalf("deadline %v never ended", s.Key)
		}
	}
	for di := w.net.at(w.start, w.first); di.Close+100 < w.epoch; di = deadline.Ahead(di, 1) {
		if w.ends[deadline.KeyOf(di)] == 0 {
			w.t.Fatalf("deadline %v was passed over in silence", deadline.KeyOf(di))
		}
	}
}

func TestRandomHeads(t *testing.T) { rapid.Check(t, checkRandomHeads) }

func FuzzRandomHeads(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkRandomHeads)) }
