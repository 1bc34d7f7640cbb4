package deadline_test

import (
	"strings"
	"testing"

	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/deadline"
	"wdpost/internal/message"
)

// pending is a message as a service tells of one that waits.
func pending(reason string) message.Outcome {
	return message.Outcome{State: message.Pending, Reason: reason}
}

// onlyAnew leaves pending messages alone.
func onlyAnew(p deadline.Plight) deadline.Step {
	if p.Seen.State == message.Pending {
		return deadline.Step{}
	}
	return deadline.Patient(p)
}

// sentAt310 drives deadline 5 to one sent message at epoch 310.
func sentAt310(t *testing.T, policy deadline.Policy) *driver {
	d := newDriver(t)
	d.m = deadline.New(deadline.Confidence{Message: 5}, policy)
	d.head(310, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Ready, "0")}, "submit 0/5 0 attempt 1 try 0")
	d.expect(deadline.Submitted{Ref: ref(5, 1), Batch: "0"}, "watch 0/5 0 attempt 1")
	return d
}

// TestMessageThatSitsIsReplaced: F1, a message under a risen base fee was never
// touched and never told.
func TestMessageThatSitsIsReplaced(t *testing.T) {
	d := sentAt310(t, deadline.Patient)
	d.expect(seen(5, 1, "0", 1, pending("the base fee is above its cap")))
	d.head(311)
	d.expect(deadline.Tick{Epoch: 314}, "silent for 3", "replace 0/5 0 attempt 1") // no head came
	d.expect(deadline.Tick{Epoch: 315})                                            // one at a time
	d.expect(deadline.Replaced{Ref: ref(5, 1), Batch: "0", Attempt: 1, Why: why("the limit is reached")})
	d.head(316, "heard")
	d.head(319, "replace 0/5 0 attempt 1")
	d.expect(deadline.Replaced{Ref: ref(5, 1), Batch: "0", Attempt: 1})
	if s := d.m.Snapshot(); !strings.Contains(s[0].Batches[0].LastError, "limit is reached") || s[0].Batches[0].Steps != 2 {
		t.Errorf("%+v", s[0].Batches[0])
	}
	d.expect(seen(5, 1, "0", 1, at(320, 5)), "end 0/5 proven")
}

// TestSenderThatCannotPayIsLeft: F5, an empty sender's message waited for ever.
func TestSenderThatCannotPayIsLeft(t *testing.T) {
	d := sentAt310(t, func(p deadline.Plight) deadline.Step {
		if message.LacksFunds(p.Seen.Reason) {
			return deadline.Step{Do: deadline.Withdraw, Why: p.Seen.Reason}
		}
		return deadline.Patient(p)
	})
	d.expect(seen(5, 1, "0", 1, pending("not enough funds")), "give up 0/5 0 attempt 1")
	d.expect(deadline.GaveUp{Ref: ref(5, 1), Batch: "0", Attempt: 1}, "submit 0/5 0 attempt 2 try 0 other")
	d.expect(deadline.SubmitFailed{Ref: ref(5, 1), Batch: "0", Why: why("key not found"), OtherSender: true}, "submit 0/5 0 attempt 2 try 1 other")
}

// TestUnknownMessageIsSentAgainAtOnce: L2, a message that the service never had.
func TestUnknownMessageIsSentAgainAtOnce(t *testing.T) {
	d := sentAt310(t, deadline.Patient)
	d.expect(seen(5, 1, "0", 1, message.Outcome{}), "submit 0/5 0 attempt 1 try 0")
	d.expect(deadline.Submitted{Ref: ref(5, 1), Batch: "0"}, "watch 0/5 0 attempt 1")
	d.expect(seen(5, 1, "0", 1, message.Outcome{State: message.Dropped, Reason: "marked bad"}), "submit 0/5 0 attempt 2 try 0")
}

// TestFailedReceiptIsActedOnAtOnce: F10, a failure waited for Confidence epochs.
func TestFailedReceiptIsActedOnAtOnce(t *testing.T) {
	d := sentAt310(t, deadline.Patient)
	d.expect(seen(5, 1, "0", 1, failedAt(311, 7)), "submit 0/5 0 attempt 2 try 0")
}

// TestCauseOfAMissStays: L9, a later error that says nothing took its place.
func TestCauseOfAMissStays(t *testing.T) {
	d := newDriver(t)
	d.head(310, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Ready, "0")}, "submit 0/5 0 attempt 1 try 0")
	fail := deadline.SubmitFailed{Ref: ref(5, 1), Batch: "0", Why: why("not enough funds")}
	d.expect(fail, "submit 0/5 0 attempt 1 try 1")
	fail.Why = deadline.Failure{Text: "no answer within 5s", Vague: true}
	d.expect(fail, "submit 0/5 0 attempt 1 try 2")
	d.head(359, "start 0/6 #2 try 0")
	d.expect(fail)
	d.head(360, "stop 0/5", "watch 0/5 0 attempt 1", "ask 0/5 try 0")
	d.expect(seen(5, 1, "0", 1, message.Outcome{}))
	out := d.expect(deadline.ChainSays{Ref: ref(5, 1), Missed: []uint64{0}}, "end 0/5 missed")
	if reason := out[0].(deadline.End).Outcome.Reason; !strings.Contains(reason, "not enough funds") {
		t.Errorf("reason %q", reason)
	}
}

// TestNothingIsSentThatIsTooLateByTheClock: M3, L11 and L12, messages for windows
// that were closed by the clock, and in the last epoch.
func TestNothingIsSentThatIsTooLateByTheClock(t *testing.T) {
	for clock, want := range map[abi.ChainEpoch]string{358: "submit 0/5 0 attempt 1 try 0", 359: "", 400: ""} {
		d := newDriver(t)
		d.head(340, "start 0/5 #1 try 0")
		d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Proving, "0")}, "prove 0/5 0 try 0")
		d.m.Step(deadline.Tick{Epoch: clock})
		var wanted []string
		if want != "" {
			wanted = append(wanted, want)
		}
		d.expect(deadline.Proved{Ref: ref(5, 1), Batch: "0"}, wanted...)
	}
}

// TestNoHeadComes: the machine acts by the clock when the node stands still.
func TestNoHeadComes(t *testing.T) {
	d := sentAt310(t, onlyAnew)
	d.expect(seen(5, 1, "0", 1, pending("")))
	d.expect(deadline.Tick{Epoch: 312})
	d.expect(deadline.Tick{Epoch: 313}, "silent for 3")
	d.expect(deadline.Tick{Epoch: 315})
	d.expect(deadline.Tick{Epoch: 316}, "silent for 6")
	d.expect(deadline.Tick{Epoch: 358}, "silent for 48")
	d.expect(deadline.Tick{Epoch: 359}, "give up 0/5 0 attempt 1")
	d.expect(deadline.Tick{Epoch: 360}, "stop 0/5")
	out := d.expect(deadline.Tick{Epoch: 385}, "end 0/5 missed, unsure")
	if reason := out[0].(deadline.End).Outcome.Reason; !strings.Contains(reason, "no head came since epoch 310") {
		t.Errorf("reason %q", reason)
	}
	// The node is back: the chain is asked what became of it.
	d.head(386, "heard", "ask 0/5 try 0", "start 0/6 #3 try 0")
	d.expect(deadline.ChainSays{Ref: ref(5, 2), Proven: []uint64{0}}, "end 0/5 proven")
}

// TestNonsenseDeadlineIsBounded: F8, an answer of 1e9 epochs ago never ended.
func TestNonsenseDeadlineIsBounded(t *testing.T) {
	d := newDriver(t)
	odd := deadline.At(mainnet.at(0, 310), deadline.Key{PeriodStart: -1_000_000_000, Index: 5})
	d.expect(deadline.Head{Info: odd})
	d.head(310, "start 0/5 #1 try 0")
	odd.CurrentEpoch = 311
	d.expect(deadline.Head{Info: odd})
	if s := d.m.Snapshot(); len(s) != 2 || s[1].Info.CurrentEpoch != 311 && s[0].Info.CurrentEpoch != 311 {
		t.Errorf("%+v", s)
	}
}

// TestResetLooksAgain: after a reset of the stream nothing is certain.
func TestResetLooksAgain(t *testing.T) {
	d := sentAt310(t, deadline.Patient)
	d.expect(seen(5, 1, "0", 1, at(311, 1)))
	d.expect(deadline.Head{Info: mainnet.at(0, 314), Reset: true}, "watch 0/5 0 attempt 1")
	d.expect(seen(5, 1, "0", 1, at(311, 5)), "end 0/5 proven")
	d.expect(deadline.Head{Info: mainnet.at(0, 318), Reset: true}, "start 0/5 #2 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 2), OnChain: 1}, "end 0/5 proven")
}

// TestRecoveryLife: a declaration has the life of any message.
func TestRecoveryLife(t *testing.T) {
	d := newDriver(t)
	rec := func(run int) deadline.Ref {
		return deadline.Ref{Key: deadline.Key{Index: 7}, Run: run, Kind: deadline.Recovery}
	}
	saw := func(id deadline.BatchID, attempt int, o message.Outcome) deadline.MessageSeen {
		return deadline.MessageSeen{Ref: rec(1), Batch: id, Attempt: attempt, Seen: o}
	}
	head := func(epoch abi.ChainEpoch) deadline.Head { return deadline.Head{Info: mainnet.at(0, epoch)} }
	// While deadline 5 is open, 7 is looked at; its cut-off is 350.
	d.recovery(head(305), "look 0/7 #1 try 0")
	d.recovery(deadline.PlanFailed{Ref: rec(1), Why: why("node down")}, "look 0/7 #1 try 1")
	d.recovery(deadline.Planned{Ref: rec(1), Batches: batches(deadline.Ready, "a"), Left: 1, Reason: "hung"}, "submit 0/7 a attempt 1 try 0")
	d.recovery(deadline.Submitted{Ref: rec(1), Batch: "a"}, "watch 0/7 a attempt 1")
	d.recovery(head(314))
	d.recovery(head(315), "look 0/7 #1 try 0")
	// It fails while the look is under way: the sectors are looked at again.
	d.recovery(saw("a", 1, failedAt(316, 7)))
	d.recovery(deadline.Planned{Ref: rec(1)})
	d.recovery(head(317), "look 0/7 #1 try 0")
	d.recovery(deadline.Planned{Ref: rec(1), Batches: []deadline.PlannedBatch{{ID: "a", Stage: deadline.Ready, Attempt: 1}}}, "submit 0/7 a attempt 2 try 0")
	d.recovery(deadline.Submitted{Ref: rec(1), Batch: "a"}, "watch 0/7 a attempt 2")
	d.recovery(saw("a", 2, at(318, 0)))
	d.recovery(saw("a", 2, at(318, 5)), "end 0/7 declared")
	// A reorg takes it away again: F7.
	d.recovery(deadline.Head{Info: mainnet.at(0, 325), RevertedFrom: 318}, "look 0/7 #2 try 0")
	d.recovery(deadline.Planned{Ref: rec(2), Left: 2, Reason: "hung"})
	out := d.recovery(head(350), "stop 0/7", "end 0/7 not declared")
	if o := out[1].(deadline.End).Outcome; o.Left != 2 || !strings.Contains(o.Reason, "hung") {
		t.Errorf("%+v", o)
	}
}

// TestAllFaultyIsSaid: S2, the same words as an empty deadline.
func TestAllFaultyIsSaid(t *testing.T) {
	d := newDriver(t)
	d.head(310, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), AllFaulty: 2}, "end 0/5 all sectors faulty")
}

// TestSubmitConfidenceIsJudgedByTheWindow: F16, 59 of 60 epochs was accepted.
func TestSubmitConfidenceIsJudgedByTheWindow(t *testing.T) {
	di := mainnet.at(0, 310)
	late := deadline.Confidence{Submit: 59}
	if late.Tight(di) == "" || late.SubmitAt(di) != di.Open+30 {
		t.Errorf("59 of 60: %q, at %d", late.Tight(di), late.SubmitAt(di))
	}
	if fine := (deadline.Confidence{Submit: 20}); fine.Tight(di) != "" || fine.SubmitAt(di) != di.Open+20 {
		t.Errorf("20 of 60: %q, at %d", fine.Tight(di), fine.SubmitAt(di))
	}
}

// TestAClockThatWasWrongGivesTheWindowBack: what it stopped or ended begins again
// once it is not believed any more, or is set back.
func TestAClockThatWasWrongGivesTheWindowBack(t *testing.T) {
	d := newDriver(t)
	d.head(340, "start 0/5 #1 try 0")
	d.expect(deadline.Planned{Ref: ref(5, 1), Batches: batches(deadline.Proving, "0")}, "prove 0/5 0 try 0")
	d.expect(deadline.Tick{Epoch: 370}, "silent for 30", "stop 0/5")
	d.head(341)
	d.expect(deadline.Tick{})
	d.head(342, "heard", "abort 0/5", "start 0/5 #2 try 0")
	d.expect(deadline.Tick{Epoch: 400}, "silent for 58", "stop 0/5")
	d.expect(deadline.Tick{Epoch: 400}, "end 0/5 missed, unsure")
	d.head(343)
	d.expect(deadline.Tick{Epoch: 344})
	d.head(344, "heard", "start 0/5 #3 try 0")
}

// TestARecoveryBeginsAgainBeforeItsCutoff: a reorg takes the head back over the
// cut-off. What was stopped there cannot go on: it begins again.
func TestARecoveryBeginsAgainBeforeItsCutoff(t *testing.T) {
	d := newDriver(t)
	ref := deadline.Ref{Key: deadline.Key{Index: 7}, Run: 1, Kind: deadline.Recovery}
	head := func(epoch, reverted abi.ChainEpoch) deadline.Head {
		return deadline.Head{Info: mainnet.at(0, epoch), RevertedFrom: reverted}
	}
	d.recovery(head(340, 0), "look 0/7 #1 try 0")
	d.recovery(deadline.Planned{Ref: ref, Batches: batches(deadline.Ready, "a")}, "submit 0/7 a attempt 1 try 0")
	d.recovery(deadline.Submitted{Ref: ref, Batch: "a"}, "watch 0/7 a attempt 1")
	d.recovery(head(350, 0), "stop 0/7")
	d.recovery(head(345, 346), "abort 0/7", "look 0/7 #2 try 0")
}
