package poster

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/abi"

	"wdpost/internal/attr"
	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/message"
)

// pendingLong is for how many epochs a message may be pending without a word.
const pendingLong abi.ChainEpoch = 5

// toldFor is how long a missed deadline stands among the conditions.
const toldFor = 24 * time.Hour

// troubles tells the board what stands between one miner's deadlines and their
// proofs. What follows from the state of the machine is computed from it after
// every step, so that nothing is forgotten when it is over.
type troubles struct {
	board *condition.Board
	miner string

	mu       sync.Mutex
	standing map[trouble]bool      // as told from the last look
	until    map[trouble]time.Time // of those that stand for a time
}

type trouble struct {
	kind    condition.Kind
	subject string
}

func newTroubles(board *condition.Board, miner address.Address) *troubles {
	return &troubles{board: board, miner: miner.String(), standing: map[trouble]bool{}, until: map[trouble]time.Time{}}
}

// subject names a run, or a batch of it.
func (t *troubles) subject(ref deadline.Ref, batch deadline.BatchID) string {
	s := fmt.Sprintf("%s deadline %d", t.miner, ref.Key.Index)
	switch {
	case batch == "":
	case ref.Kind == deadline.PoSt:
		s += fmt.Sprintf(" partitions %s", batch)
	default:
		s += " " + string(batch)
	}
	return s
}

// look tells what is wrong in the runs that go on, and clears what is over.
func (t *troubles) look(m *miner, states []deadline.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := map[trouble]string{}
	for _, s := range states {
		t.lookAt(now, m, s)
	}
	if ok, lag := m.clock.trusted(); !ok && lag != 0 {
		now[trouble{condition.ClockUntrusted, t.miner}] = fmt.Sprintf("the head is %d epochs behind the clock, and keeps its pace", lag)
	}
	for k := range t.standing {
		if _, still := now[k]; !still {
			t.board.Clear(k.kind, k.subject)
			delete(t.standing, k)
		}
	}
	for k, detail := range now {
		t.standing[k] = true
		t.board.Set(condition.Condition{Kind: k.kind, Subject: k.subject, Detail: detail})
	}
	for k, end := range t.until {
		if time.Now().After(end) {
			t.board.Clear(k.kind, k.subject)
			delete(t.until, k)
		}
	}
}

func (t *troubles) lookAt(now map[trouble]string, m *miner, s deadline.State) {
	set := func(kind condition.Kind, batch deadline.BatchID, format string, args ...any) {
		now[trouble{kind, t.subject(s.Ref, batch)}] = fmt.Sprintf(format, args...)
	}
	late := condition.DeadlineLate
	if s.Kind == deadline.Recovery {
		late = condition.RecoveryStuck
	}
	switch {
	case s.Phase == deadline.Planning && s.PlanTries > 0:
		set(late, "", "planned in vain %d times: %s", s.PlanTries, s.LastError)
	case s.Kind == deadline.Recovery && s.Left > 0:
		set(condition.RecoveryStuck, "", "%d faulty sectors cannot be read: %s", s.Left, s.LastError)
	case s.Phase == deadline.Settling && s.AskTries > 0:
		set(late, "", "the window has closed; the chain could not be asked %d times what became of it: %s", s.AskTries, s.LastError)
	}
	for _, b := range s.Batches {
		switch b.Stage {
		case deadline.Proving:
			if half := s.Info.Open + s.Info.WPoStChallengeWindow/2; b.LastError != "" || s.Info.CurrentEpoch >= half {
				set(condition.PartitionStuck, b.ID, "%d failed attempts to prove: %s", b.ProveTries, cmp.Or(b.LastError, "the prover has not answered, and half of the window is over"))
			}
		case deadline.Submitting:
			if b.SubmitTries > 0 {
				set(condition.MessageRefused, b.ID, "%d failed hand-overs: %s", b.SubmitTries, b.LastError)
			}
		case deadline.Sent:
			t.lookAtSent(set, s, b)
		}
		if b.Attempt > 1 && b.Stage < deadline.Landed && b.Stage > deadline.Proving && b.LastError != "" {
			set(condition.MessageFailed, b.ID, "message %d: %s", b.Attempt, b.LastError)
		}
	}
}

func (t *troubles) lookAtSent(set func(condition.Kind, deadline.BatchID, string, ...any), s deadline.State, b deadline.BatchState) {
	waited := s.Info.CurrentEpoch - b.SentAt
	switch {
	case b.Advice.Trouble != "":
		set(condition.Kind(b.Advice.Trouble), b.ID, "%s (handed over %d epochs ago, replaced %d times)", b.Advice.Why, waited, b.Steps)
	case b.Seen.Failed() || b.Seen.State == message.Dropped:
		set(condition.MessageFailed, b.ID, "the message was %s", b.Seen)
	case b.Seen.Reason != "":
		set(condition.MessageStuck, b.ID, "pending for %d epochs, replaced %d times: %s", waited, b.Steps, b.Seen.Reason)
	case waited >= pendingLong || b.Steps > 0:
		set(condition.MessageStuck, b.ID, "pending for %d epochs at %s, replaced %d times: %s", waited, b.Seen.Price, b.Steps, cmp.Or(b.LastError, "the service gives no reason"))
	}
}

// hold makes a condition stand for a time, whatever the machine does.
func (t *troubles) hold(c condition.Condition, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until[trouble{c.Kind, c.Subject}] = time.Now().Add(d)
	t.board.Set(c)
}

func (t *troubles) release(kind condition.Kind, subject string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.until, trouble{kind, subject})
	t.board.Clear(kind, subject)
}

// ended tells how a deadline ended, for a day or until it ends better.
func (t *troubles) ended(a deadline.End) {
	subject := t.subject(a.Ref, "")
	switch a.Outcome.Verdict {
	case deadline.Missed:
		t.hold(condition.Condition{Kind: condition.DeadlineMissed, Subject: subject, Detail: a.Outcome.Reason}, toldFor)
	case deadline.AllFaulty:
		t.hold(condition.Condition{Kind: condition.SectorsAllFaulty, Subject: subject}, toldFor)
	case deadline.ProvenByAnother:
		t.hold(condition.Condition{Kind: condition.ProvenByAnother, Subject: t.miner, Detail: "last seen at " + subject}, toldFor)
		fallthrough
	default:
		t.release(condition.DeadlineMissed, subject)
		t.release(condition.SectorsAllFaulty, subject)
	}
}

func (t *troubles) silent(a deadline.Silent) {
	t.board.Set(condition.Condition{Kind: condition.HeadSilent, Subject: t.miner, Detail: fmt.Sprintf("the head is at epoch %d, %d epochs behind the clock", a.Head, a.Epochs)})
}

func (t *troubles) heard() { t.board.Clear(condition.HeadSilent, t.miner) }

// useless tells of a sector that is not declared, since that was of no use.
func (t *troubles) useless(ref deadline.Ref, sector uint64, strikes int) {
	t.hold(condition.Condition{
		Kind: condition.RecoveryUseless, Subject: t.subject(ref, ""),
		Detail: fmt.Sprintf("sector %d and perhaps more: declared recovered and skipped again %d times, with unchanged files", sector, strikes),
	}, toldFor)
}

// clear takes back everything when the miner stops.
func (t *troubles) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.standing {
		t.board.Clear(k.kind, k.subject)
	}
	for k := range t.until {
		t.board.Clear(k.kind, k.subject)
	}
	t.board.Clear(condition.HeadSilent, t.miner)
}

// saySkipped tells which sectors a proof leaves out, where they lie and why.
func (r *run) saySkipped(b *batch, made *made) {
	subject := r.m.troubles.subject(r.ref, b.id())
	if len(made.proof.Skipped) == 0 {
		r.m.troubles.release(condition.SectorsSkipped, subject)
		return
	}
	why := map[uint64]error{}
	for _, n := range made.proof.Skipped {
		err := made.why[n]
		if err == nil {
			err = fmt.Errorf("the node does not tell of it")
		}
		for _, c := range made.copies[n] {
			err = fmt.Errorf("%s: %w", c.SealedFile, err)
			break
		}
		why[n] = err
		r.m.stamps.note(n, made.copies[n])
	}
	reasons := someReasons(why)
	r.log.Warn("sectors are left out of the proof: nobody could read a copy of them", attr.Partitions(b.indices()), attr.SkippedList(made.proof.Skipped), attr.Err(reasons))
	r.m.troubles.hold(condition.Condition{
		Kind: condition.SectorsSkipped, Subject: subject,
		Detail: fmt.Sprintf("%d of %d sectors are left out: %v", len(made.proof.Skipped), len(made.proof.Skipped)+len(made.proof.Sectors), reasons),
	}, toldFor)
}
