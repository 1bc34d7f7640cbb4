package deadline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/deadline"
)

// driver steps a machine and writes its actions down, one short line each.
type driver struct {
	t   *testing.T
	m   *deadline.Machine
	net network
}

func newDriver(t *testing.T) *driver {
	return &driver{t: t, m: deadline.New(deadline.Confidence{Message: 5}), net: mainnet}
}

func line(a deadline.Action) string {
	switch a := a.(type) {
	case deadline.Start:
		return fmt.Sprintf("start %v #%d try %d", a.Key, a.Run, a.Try)
	case deadline.Prove:
		return fmt.Sprintf("prove %v %s try %d", a.Key, a.Batch, a.Try)
	case deadline.Submit:
		return fmt.Sprintf("submit %v %s attempt %d try %d", a.Key, a.Batch, a.Attempt, a.Try)
	case deadline.Wait:
		return fmt.Sprintf("wait %v %s attempt %d", a.Key, a.Batch, a.Attempt)
	case deadline.Abort:
		return fmt.Sprintf("abort %v", a.Key)
	case deadline.Stop:
		return fmt.Sprintf("stop %v", a.Key)
	case deadline.CheckRecoveries:
		return fmt.Sprintf("recover %v", deadline.KeyOf(a.Info))
	case deadline.End:
		return fmt.Sprintf("end %v %s", a.Key, a.Outcome.Verdict)
	}
	return fmt.Sprintf("%T", a)
}

// expect steps the machine and compares the actions; recoveries are left out
// unless asked for.
func (d *driver) expect(ev deadline.Event, want ...string) []deadline.Action {
	d.t.Helper()
	actions := d.m.Step(ev)
	var got []string
	asked := slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, "recover") })
	for _, a := range actions {
		if _, is := a.(deadline.CheckRecoveries); !is || asked {
			got = append(got, line(a))
		}
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("after %T %+v:\n got %q\nwant %q", ev, ev, got, want)
	}
	return actions
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
	d.head(280, "start 0/4 #1 try 0", "recover 0/6")
	d.expect(deadline.Planned{Ref: ref(4, 1)}, "end 0/4 nothing to prove")
	d.head(289)
	d.head(290, "start 0/5 #2 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 2), Batches: batches(deadline.Proving, "0,1,2", "3")},
		"prove 0/5 0,1,2 try 0", "prove 0/5 3 try 0")
	d.expect(deadline.ProveFailed{Ref: ref(5, 2), Batch: "3", Reason: "slow"}, "prove 0/5 3 try 1")
	d.expect(deadline.Proved{Ref: ref(5, 2), Batch: "0,1,2"})
	d.head(303, "recover 0/7")
	d.head(304, "submit 0/5 0,1,2 attempt 1 try 0")
	d.expect(deadline.SubmitFailed{Ref: ref(5, 2), Batch: "0,1,2", Reason: "no answer"}, "submit 0/5 0,1,2 attempt 1 try 1")
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "0,1,2"}, "wait 0/5 0,1,2 attempt 1")
	d.expect(deadline.Proved{Ref: ref(5, 2), Batch: "3"}, "submit 0/5 3 attempt 1 try 0")
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "3"}, "wait 0/5 3 attempt 1")
	d.expect(deadline.WaitFailed{Ref: ref(5, 2), Batch: "0,1,2", Reason: "defect"}, "wait 0/5 0,1,2 attempt 1")
	d.expect(deadline.MessageLanded{Ref: ref(5, 2), Batch: "0,1,2", Epoch: 306})
	d.expect(deadline.MessageFailed{Ref: ref(5, 2), Batch: "3", Reason: "out of gas"}, "submit 0/5 3 attempt 2 try 0")
	d.expect(deadline.Submitted{Ref: ref(5, 2), Batch: "3"}, "wait 0/5 3 attempt 2")
	d.expect(deadline.MessageLanded{Ref: ref(5, 2), Batch: "3", Epoch: 320}, "end 0/5 proven")
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
	}}, "submit 0/5 1 attempt 1 try 0", "submit 0/5 2 attempt 1 try 0", "wait 0/5 3 attempt 2", "submit 0/5 4 attempt 2 try 0")
}

func TestResumedAfterClose(t *testing.T) {
	d := newDriver(t)
	closed := deadline.Resumed{Key: deadline.Key{Index: 3}, Batches: []deadline.PlannedBatch{
		{ID: "0", Stage: deadline.Sent, Attempt: 1}, {ID: "1", Stage: deadline.Landed, Attempt: 1},
	}}
	d.expect(closed) // nothing is known before the first head
	d.head(320, "start 0/5 #1 try 0")
	d.expect(closed, "wait 0/3 0 attempt 1", "stop 0/3")
	d.expect(closed)
	d.expect(deadline.MessageLanded{Ref: ref(3, 2), Batch: "0", Epoch: 215}, "end 0/3 proven")
	out := d.expect(deadline.Resumed{Key: deadline.Key{Index: 2}, Batches: batches(deadline.Ready, "0")}, "stop 0/2", "end 0/2 missed")
	if reason := out[1].(deadline.End).Outcome.Reason; !strings.Contains(reason, "not running") {
		t.Errorf("reason %q", reason)
	}
	d.expect(deadline.Resumed{Key: deadline.Key{Index: 5}}) // its window is open: Start brings it back
}

func TestAllOnChainIsProven(t *testing.T) {
	d := newDriver(t)
	d.head(320, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), OnChain: 2}, "end 0/5 proven")
}

func TestReplacedAndStale(t *testing.T) {
	d := newDriver(t)
	d.head(304, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Proving, "0,1,2")}, "prove 0/5 0,1,2 try 0")
	d.expect(deadline.Replaced{Ref: ref(5, 1), Batch: "0,1,2", By: []deadline.PlannedBatch{
		{ID: "0,2", Stage: deadline.Ready}, {ID: "1", Stage: deadline.Proving},
	}}, "submit 0/5 0,2 attempt 1 try 0", "prove 0/5 1 try 0")
	d.expect(deadline.Stale{Ref: ref(5, 1), Batch: "0,2", Reason: "randomness changed"}, "prove 0/5 0,2 try 1")
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
			d.expect(deadline.Submitted{Ref: ref(5, 1), Batch: "0"}, "wait 0/5 0 attempt 1")
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
	}}, "wait 0/5 0 attempt 1", "prove 0/5 1 try 0")
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0", Epoch: 312})
	d.head(318)
	d.revert(313, 319)
	d.revert(312, 319, "wait 0/5 0 attempt 1")
	d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0", Epoch: 314})
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
		d.expect(deadline.ProveFailed{Ref: ref(5, 1), Batch: "0", Reason: "no reader"}, "prove 0/5 0 try 1")
		d.head(359)
		out := d.expect(deadline.Head{Info: mainnet.at(0, 360)}, "stop 0/5", "end 0/5 missed")
		reason := out[1].(deadline.End).Outcome.Reason
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
		d.head(360, "stop 0/5", "end 0/5 missed")
	})
	t.Run("sent and landed in time", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5")
		d.head(365)
		d.expect(deadline.MessageLanded{Ref: ref(5, 1), Batch: "0", Epoch: 359}, "end 0/5 proven")
	})
	t.Run("failed after close", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5")
		d.expect(deadline.MessageFailed{Ref: ref(5, 1), Batch: "0", Reason: "executed too late"}, "end 0/5 missed")
	})
	t.Run("hand-over in doubt is watched", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Submitting, Attempt: 3})
		d.head(359)
		d.expect(deadline.SubmitFailed{Ref: ref(5, 1), Batch: "0", Reason: "time-out"})
		d.head(360, "stop 0/5", "wait 0/5 0 attempt 3")
	})
	t.Run("never seen", func(t *testing.T) {
		d := newDriver(t)
		open(d, deadline.PlannedBatch{ID: "0", Stage: deadline.Sent, Attempt: 1})
		d.head(360, "stop 0/5")
		d.head(384)
		d.head(385, "end 0/5 missed")
	})
	t.Run("jump", func(t *testing.T) {
		d := newDriver(t)
		d.head(310, "start 0/5 #1 try 0")
		d.expect(deadline.PlanFailed{Ref: ref(5, 1), Reason: "node down"}, "start 0/5 #1 try 1")
		d.head(490, "stop 0/5", "end 0/5 missed", "end 0/6 missed", "end 0/7 missed", "start 0/8 #2 try 0")
	})
	t.Run("reverted into the window again", func(t *testing.T) {
		d := newDriver(t)
		open(d, batches(deadline.Proving, "0")...)
		d.head(360, "stop 0/5", "end 0/5 missed")
		d.revert(357, 358, "start 0/5 #3 try 0")
	})
}
