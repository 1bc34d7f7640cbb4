package deadline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"
	"github.com/filecoin-project/go-state-types/exitcode"

	"wdpost/internal/deadline"
	"wdpost/internal/message"
)

// driver steps a machine and writes its actions down, one short line each.
type driver struct {
	t   *testing.T
	m   *deadline.Machine
	net network
}

func newDriver(t *testing.T) *driver {
	return &driver{t: t, m: deadline.New(deadline.Confidence{Message: 5}, onlyAnew), net: mainnet}
}

func line(a deadline.Action) string {
	switch a := a.(type) {
	case deadline.Start:
		if a.Kind == deadline.Recovery {
			return fmt.Sprintf("look %v #%d try %d", a.Key, a.Run, a.Try)
		}
		return fmt.Sprintf("start %v #%d try %d", a.Key, a.Run, a.Try)
	case deadline.Prove:
		return fmt.Sprintf("prove %v %s try %d", a.Key, a.Batch, a.Try)
	case deadline.Submit:
		other := ""
		if a.OtherSender {
			other = " other"
		}
		return fmt.Sprintf("submit %v %s attempt %d try %d%s", a.Key, a.Batch, a.Attempt, a.Try, other)
	case deadline.Watch:
		return fmt.Sprintf("watch %v %s attempt %d", a.Key, a.Batch, a.Attempt)
	case deadline.Replace:
		return fmt.Sprintf("replace %v %s attempt %d", a.Key, a.Batch, a.Attempt)
	case deadline.GiveUp:
		return fmt.Sprintf("give up %v %s attempt %d", a.Key, a.Batch, a.Attempt)
	case deadline.AskChain:
		return fmt.Sprintf("ask %v try %d", a.Key, a.Try)
	case deadline.Abort:
		return fmt.Sprintf("abort %v", a.Key)
	case deadline.Stop:
		return fmt.Sprintf("stop %v", a.Key)
	case deadline.Silent:
		return fmt.Sprintf("silent for %d", a.Epochs)
	case deadline.Heard:
		return "heard"
	case deadline.End:
		unsure := ""
		if a.Outcome.Unsure {
			unsure = ", unsure"
		}
		return fmt.Sprintf("end %v %s%s", a.Key, a.Outcome.Verdict, unsure)
	}
	return fmt.Sprintf("%T", a)
}

// kindOf is what an action is about.
func kindOf(a deadline.Action) deadline.Kind {
	switch a := a.(type) {
	case deadline.Start:
		return a.Kind
	case deadline.Submit:
		return a.Kind
	case deadline.Watch:
		return a.Kind
	case deadline.Replace:
		return a.Kind
	case deadline.GiveUp:
		return a.Kind
	case deadline.Stop:
		return a.Kind
	case deadline.Abort:
		return a.Kind
	case deadline.End:
		return a.Kind
	}
	return deadline.PoSt
}

// expect steps the machine and compares the actions about deadlines.
func (d *driver) expect(ev deadline.Event, want ...string) []deadline.Action {
	d.t.Helper()
	return d.compare(deadline.PoSt, ev, want...)
}

// recovery is expect for the actions about recoveries.
func (d *driver) recovery(ev deadline.Event, want ...string) []deadline.Action {
	d.t.Helper()
	return d.compare(deadline.Recovery, ev, want...)
}

func (d *driver) compare(kind deadline.Kind, ev deadline.Event, want ...string) []deadline.Action {
	d.t.Helper()
	var actions []deadline.Action
	var got []string
	for _, a := range d.m.Step(ev) {
		if kindOf(a) == kind {
			actions = append(actions, a)
			got = append(got, line(a))
		}
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("after %T %+v:\n got %q\nwant %q", ev, ev, got, want)
	}
	return actions
}

// why is a true reason.
func why(text string) deadline.Failure { return deadline.Failure{Text: text} }

// at is a message executed with success at a height, depth epochs ago.
func at(height, depth abi.ChainEpoch) message.Outcome {
	return message.Outcome{State: message.Executed, Height: height, Depth: depth}
}

func failedAt(height abi.ChainEpoch, code exitcode.ExitCode) message.Outcome {
	return message.Outcome{State: message.Executed, Height: height, ExitCode: code}
}

func seen(index uint64, run int, id deadline.BatchID, attempt int, o message.Outcome) deadline.MessageSeen {
	return deadline.MessageSeen{Ref: ref(index, run), Batch: id, Attempt: attempt, Seen: o}
}

func (d *driver) head(epoch abi.ChainEpoch, want ...string) {
	d.t.Helper()
	d.expect(deadline.Head{Info: d.net.at(0, epoch)}, want...)
}

func (d *driver) revert(from, epoch abi.ChainEpoch, want ...string) {
	d.t.Helper()
	d.expect(deadline.Head{Info: d.net.at(0, epoch), RevertedFrom: from}, want...)
}

// ref is run number run, of deadline index of the period that starts at 0.
func ref(index uint64, run int) deadline.Ref {
	return deadline.Ref{Key: deadline.Key{Index: index}, Run: run}
}

func batches(stage deadline.Stage, ids ...deadline.BatchID) []deadline.PlannedBatch {
	var out []deadline.PlannedBatch
	for _, id := range ids {
		out = append(out, deadline.PlannedBatch{ID: id, Stage: stage})
	}
	return out
}

func TestStraightPath(t *testing.T) {
	d := newDriver(t)
	// Deadline 5: Challenge 280, Open 300, Close 360. Deadline 4 runs at the first head.
	d.head(280, "start 0/4 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(4, 1)}, "end 0/4 nothing to prove")
	d.head(289)
	d.head(290, "start 0/5 #2 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 2), Batches: batches(deadline.Proving, "0,1,2", "3")},
		"prove 0/5 0,1,2 try 0", "prove 0/5 3 try 0")
	d.expect(deadline.ProveFailed{Ref: ref(5, 2), Batch: "3", Why: why("slow")}, "prove 0/5 3 try 1")
	d.expect(deadline.Proved{Ref: ref(5, 2), Batch: "0,1,2"})
	d.head(303)
	d.head(304, "submit 0/5 0,1,2 attempt 1 try 0")
	d.expect(deadline.SubmitFailed{Ref: ref(5, 2), Batch: "0,1,2", Why: why("no answer")}, "submit 0/5 0,1,2 attempt 1 try 1")
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "0,1,2"}, "watch 0/5 0,1,2 attempt 1")
	d.expect(deadline.Proved{Ref: ref(5, 2), Batch: "3"}, "submit 0/5 3 attempt 1 try 0")
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "3"}, "watch 0/5 3 attempt 1")
	d.expect(seen(5, 2, "0,1,2", 1, message.Outcome{State: message.Pending}))
	d.expect(seen(5, 2, "0,1,2", 1, at(306, 1)))
	d.expect(seen(5, 2, "0,1,2", 1, at(306, 5)))
	d.expect(seen(5, 2, "3", 1, failedAt(307, 7)), "submit 0/5 3 attempt 2 try 0")
	d.expect(seen(5, 2, "3", 1, at(308, 5))) // the old attempt is not watched any more
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "3"}, "watch 0/5 3 attempt 2")
	d.expect(seen(5, 2, "3", 2, at(320, 5)), "end 0/5 proven")
	d.head(349)
	d.head(350, "start 0/6 #3 try 0")
	if s := d.m.Snapshot(); len(s) != 1 || s[0].Phase != deadline.Planning {
		t.Errorf("snapshot %+v", s)
	}
}

func TestTwoDeadlinesAreActiveAtOnce(t *testing.T) {
	d := newDriver(t)
	d.head(304, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Proving, "0")}, "prove 0/5 0 try 0")
	d.head(350, "start 0/6 #2 try 0")
	d.expect(deadline.Planned{Ref: ref(6, 2), Batches: batches(deadline.Proving, "0")}, "prove 0/6 0 try 0")
	d.expect(deadline.Proved{Ref: ref(6, 2), Batch: "0"})
	d.expect(deadline.Proved{Ref: ref(5, 1), Batch: "0"}, "submit 0/5 0 attempt 1 try 0")
}

func TestResume(t *testing.T) {
	d := newDriver(t)
	d.head(320, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), OnChain: 1, Batches: []deadline.PlannedBatch{
		{ID: "1", Stage: deadline.Ready},
		{ID: "2", Stage: deadline.Submitting, Attempt: 1}, // written down, perhaps never handed over
		{ID: "3", Stage: deadline.Sent, Attempt: 2},
		{ID: "4", Stage: deadline.Ready, Attempt: 1}, // the first message failed
		{ID: "5", Stage: deadline.Landed, Attempt: 1},
	}}, "submit 0/5 1 attempt 1 try 0", "submit 0/5 2 attempt 1 try 0", "watch 0/5 3 attempt 2", "submit 0/5 4 attempt 2 try 0")
}

func TestPastIsTakenUp(t *testing.T) {
	d := newDriver(t)
	d.expect(deadline.Past{
		Ended: map[deadline.Key]deadline.Verdict{{Index: 4}: deadline.Proven, {Index: 5}: deadline.Proven},
		Unfinished: []deadline.Unfinished{
			{Key: deadline.Key{Index: 3}, Batches: []deadline.PlannedBatch{{ID: "0", Stage: deadline.Sent, Attempt: 1}}},
			{Key: deadline.Key{Index: 2}, Batches: batches(deadline.Ready, "0")},
		},
		Since: 180,
	}) // nothing is done before the first head
	// Deadline 5 is open and ended as proven: it stays so (a restart told it as
	// missed). 3 and 2 are settled.
	d.head(320, "watch 0/3 0 attempt 1", "ask 0/3 try 0", "ask 0/2 try 0")
	d.expect(deadline.Past{})
	d.expect(seen(3, 1, "0", 1, at(215, 5)), "end 0/3 proven")
	out := d.expect(deadline.ChainSays{Ref: ref(2, 2), Missed: []uint64{0}}, "end 0/2 missed")
	if reason := out[0].(deadline.End).Outcome.Reason; !strings.Contains(reason, "not running") {
		t.Errorf("reason %q", reason)
	}
	d.head(350, "start 0/6 #3 try 0")
}

// TestPassedWindowsAreLookedUp: the manager was down over whole windows.
func TestPassedWindowsAreLookedUp(t *testing.T) {
	d := newDriver(t)
	d.expect(deadline.Past{Ended: map[deadline.Key]deadline.Verdict{{Index: 0}: deadline.Proven}, Since: 60})
	d.head(310, "ask 0/1 try 0", "ask 0/2 try 0", "ask 0/3 try 0", "ask 0/4 try 0", "start 0/5 #5 try 0")
	d.expect(deadline.ChainSays{Ref: ref(1, 1), AllFaulty: 1}, "end 0/1 all sectors faulty")
	d.expect(deadline.ChainSays{Ref: ref(2, 2), Proven: []uint64{0}}, "end 0/2 proven")
	d.expect(deadline.AskFailed{Ref: ref(3, 3), Why: why("node down")}, "ask 0/3 try 1")
	d.expect(deadline.ChainSays{Ref: ref(3, 3), Proven: []uint64{0}, Missed: []uint64{1}}, "end 0/3 missed")
	d.expect(deadline.ChainSays{Ref: ref(4, 4)}, "end 0/4 nothing to prove")
}

func TestAllOnChainIsProven(t *testing.T) {
	d := newDriver(t)
	d.head(320, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), OnChain: 2}, "end 0/5 proven")
}

func TestRegroupedAndStale(t *testing.T) {
	d := newDriver(t)
	d.head(304, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Proving, "0,1,2")}, "prove 0/5 0,1,2 try 0")
	d.expect(deadline.Regrouped{Ref: ref(5, 1), Batch: "0,1,2", By: []deadline.PlannedBatch{
		{ID: "0,2", Stage: deadline.Ready}, {ID: "1", Stage: deadline.Proving},
	}}, "submit 0/5 0,2 attempt 1 try 0", "prove 0/5 1 try 0")
	d.expect(deadline.Stale{Ref: ref(5, 1), Batch: "0,2", Why: why("randomness changed")}, "prove 0/5 0,2 try 1")
	d.expect(deadline.Proved{Ref: ref(5, 1), Batch: "0,2"}, "submit 0/5 0,2 attempt 1 try 0")
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0,2", Epoch: 305})
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "1", Epoch: 305}, "end 0/5 proven")
}

func TestRevertsAcrossEachBoundary(t *testing.T) {
	for _, tt := range []struct {
		name        string
		from, epoch abi.ChainEpoch // applied with the head at 310, deadline 5 sent
		want        []string
	}{
		{"above challenge", 281, 310, nil},
		{"above challenge, head below open", 290, 295, nil},
		{"to challenge", 280, 310, []string{"abort 0/5", "start 0/5 #2 try 0"}},
		{"below start", 279, 285, []string{"abort 0/5"}},
		{"silently", 0, 279, []string{"abort 0/5"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver(t)
			d.head(300, "start 0/5 #1 try 0")
			d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Ready, "0")})
			d.head(310, "submit 0/5 0 attempt 1 try 0")
			d.expect(deadline.Submitted{Ref: ref(5, 1), Batch: "0"}, "watch 0/5 0 attempt 1")
			d.revert(tt.from, tt.epoch, tt.want...)
			if len(tt.want) == 0 {
				return
			}
			d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0", Epoch: 305}) // a dead run says nothing
			if len(tt.want) == 1 {
				d.head(290, "start 0/5 #2 try 0")
			}
			d.expect(deadline.Planned{Ref: ref(5, 2), OnChain: 1}, "end 0/5 proven")
		})
	}
}

func TestLandedMessageIsRevertedAway(t *testing.T) {
	d := newDriver(t)
	d.head(310, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: []deadline.PlannedBatch{
		{ID: "0", Stage: deadline.Sent, Attempt: 1}, {ID: "1", Stage: deadline.Proving},
	}}, "watch 0/5 0 attempt 1", "prove 0/5 1 try 0")
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0", Epoch: 312})
	d.head(318)
	d.revert(313, 319)
	d.revert(312, 319, "watch 0/5 0 attempt 1")
	d.expect(seen(5, 1, "0", 1, at(314, 5)))
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "1", Epoch: 315}, "end 0/5 proven")
	// Deeper than the confidence, with the window still open: it starts again.
	d.revert(315, 321, "start 0/5 #2 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 2), OnChain: 2}, "end 0/5 proven")
}

func TestClose(t *testing.T) {
	open := func(d *driver, bs ...deadline.PlannedBatch) {
		d.head(310, "start 0/5 #1 try 0")
		d.m.Step(deadline.Planned{Ref: ref(5, 1), Batches: bs})
		d.head(358, "start 0/6 #2 try 0")
	}
	t.Run("not sent", func(t *testing.T) {
		d := newDriver(t)
		open(d, batches(deadline.Proving, "0")...)
		d.expect(deadline.ProveFailed{Ref: ref(5, 1), Batch: "0", Why: why("no reader")}, "prove 0/5 0 try 1")
		d.head(359)
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		out := d.expect(deadline.ChainSays{Ref: ref(5, 1), Missed: []uint64{0}}, "end 0/5 missed")
		reason := out[0].(deadline.End).Outcome.Reason
		if !strings.Contains(reason, "no reader") || !strings.Contains(reason, "partitions 0") {
			t.Errorf("reason %q", reason)
		}
		d.expect(deadline.Proved{Ref: ref(5, 1), Batch: "0"}) // too late
	})
	t.Run("proof ready in the last epoch is not sent", func(t *testing.T) {
		d := newDriver(t)
		open(d, batches(deadline.Proving, "0")...)
		d.head(359)
		d.expect(deadline.Proved{Ref: ref(5, 1), Batch: "0"})
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		d.expect(deadline.ChainSays{Ref: ref(5, 1), Proven: []uint64{0}}, "end 0/5 proven by another sender")
	})
	t.Run("sent and landed in time", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		d.head(365)
		d.expect(seen(5, 1, "0", 1, at(359, 5)), "end 0/5 proven")
	})
	t.Run("sent, and the chain shows it as proven", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.expect(seen(5, 1, "0", 1, message.Outcome{State: message.Pending}))
		d.head(360, "stop 0/5", "ask 0/5 try 0", "give up 0/5 0 attempt 1")
		d.expect(deadline.ChainSays{Ref: ref(5, 1), Proven: []uint64{0}}, "end 0/5 proven")
	})
	t.Run("failed after close", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		d.expect(seen(5, 1, "0", 1, failedAt(360, 16)))
		out := d.expect(deadline.ChainSays{Ref: ref(5, 1), Missed: []uint64{0}}, "end 0/5 missed")
		if reason := out[0].(deadline.End).Outcome.Reason; !strings.Contains(reason, "epoch 360") {
			t.Errorf("reason %q", reason)
		}
	})
	t.Run("hand-over in doubt is watched", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Submitting, Attempt: 3})
		d.head(359)
		d.expect(deadline.SubmitFailed{Ref: ref(5, 1), Batch: "0", Why: why("time-out")})
		d.head(360, "stop 0/5", "watch 0/5 0 attempt 3", "ask 0/5 try 0")
	})
	t.Run("never seen", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		d.head(384)
		d.head(385, "end 0/5 missed")
	})
	t.Run("jump", func(t *testing.T) {
		d := newDriver(t)
		d.head(310, "start 0/5 #1 try 0")
		d.expect(deadline.PlanFailed{Ref: ref(5, 1), Why: why("node down")}, "start 0/5 #1 try 1")
		d.head(490, "stop 0/5", "ask 0/5 try 0", "ask 0/6 try 0", "ask 0/7 try 0", "start 0/8 #4 try 0")
	})
	t.Run("reverted into the window again", func(t *testing.T) {
		d := newDriver(t)
		open(d, batches(deadline.Proving, "0")...)
		d.head(360, "stop 0/5", "ask 0/5 try 0")
		d.expect(deadline.ChainSays{Ref: ref(5, 1), Missed: []uint64{0}}, "end 0/5 missed")
		d.revert(357, 358, "start 0/5 #3 try 0")
	})
}
