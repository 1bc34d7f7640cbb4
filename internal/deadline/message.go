package deadline

import (
	"slices"

	"wdpost/internal/message"
)

// unsee forgets how the message stands: it is to be looked for.
func (b *BatchState) unsee() { b.Seen, b.looked = message.Outcome{State: message.Pending}, false }

// sent begins the life of a message after its hand-over.
func (b *BatchState) sent(m *Machine) {
	b.unsee()
	b.Stage, b.SentAt = Sent, m.now()
	b.Steps, b.SteppedAt, b.Withdrawn, b.busy, b.Advice = 0, 0, false, false, Step{}
	if b.vague {
		b.LastError = ""
	}
}

// messageSeen moves a batch on to where its message stands.
func (m *Machine) messageSeen(e MessageSeen) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || b.Stage < Sent || b.Attempt != e.Attempt || !s.works() && s.Phase != Settling {
		return
	}
	b.Seen, b.looked, b.Advice = e.Seen, true, Step{}
	if e.Seen.Succeeded() {
		b.Stage, b.LandedAt, b.By = Executed, e.Seen.Height, Us
		if e.Seen.Landed(m.conf.depth()) {
			b.Stage, b.LastError = Landed, ""
		}
		m.settle(s)
		return
	}
	b.Stage, b.LandedAt = Sent, 0
	switch {
	case e.Seen.State == message.Unknown:
		b.blame(Failure{Text: "the message was never handed over", Vague: true})
	case e.Seen.State == message.Pending:
		b.blame(Failure{Text: e.Seen.Reason})
	default: // failed on chain, or dropped
		b.blame(Failure{Text: "the message was " + e.Seen.String()})
	}
	m.act(s, b)
}

// act does what the policy says about a message that is not executed with
// success. What can no longer be executed in time is taken back.
func (m *Machine) act(s *State, b *BatchState) {
	pending := b.Seen.State == message.Pending
	if b.Stage != Sent || !b.looked || b.busy || b.Withdrawn {
		return
	}
	if m.now() > s.last() || !s.works() {
		if pending && m.now() > s.last() {
			m.giveUp(s, b, Abandon, "it cannot be executed in time any more")
		}
		m.settle(s)
		return
	}
	step := m.policy(Plight{
		Seen: b.Seen, SentAt: b.SentAt, SteppedAt: b.SteppedAt, Failed: b.Failed + s.failed,
		Now: m.now(), Expire: s.closes(), BaseFee: m.fee,
	})
	b.Advice = step
	switch {
	case step.Do == Nothing:
	case step.Do == Raise && pending:
		b.busy, b.SteppedAt = true, m.now()
		b.Steps++
		m.emit(Replace{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt, Price: step.Price, Why: step.Why})
	case step.Do == Abandon && !pending:
		b.Withdrawn = true
		b.blame(Failure{Text: step.Why})
	case step.Do == Again && !pending:
		m.again(s, b, b.Attempt-1) // pushing it twice is one message
	case pending:
		b.SteppedAt = m.now()
		m.giveUp(s, b, step.Do, step.Why)
	default:
		m.renew(s, b, step)
	}
}

func (m *Machine) giveUp(s *State, b *BatchState, then Do, why string) {
	b.busy, b.Withdrawn, b.then = true, then == Abandon, then
	m.emit(GiveUp{Ref: s.Ref, Batch: b.ID, Attempt: b.Attempt, Why: why})
}

// renew makes another message of a batch whose last one came to nothing.
func (m *Machine) renew(s *State, b *BatchState, step Step) {
	if b.Seen.Failed() {
		b.Failed++
	}
	b.gas = max(b.gas, step.Price.GasLimit)
	b.OtherSender = b.OtherSender || step.Do == Withdraw
	m.again(s, b, b.Attempt)
}

// again makes another message of a batch, the one after number attempt.
// Declarations are made anew from what is faulty now.
func (m *Machine) again(s *State, b *BatchState, attempt int) {
	switch {
	case !s.works():
		m.settle(s)
	case s.Kind == Recovery && attempt == b.Attempt:
		s.blame(Failure{Text: b.LastError, Vague: b.vague})
		s.failed, s.gas = s.failed+b.Failed, max(s.gas, b.gas)
		id := b.ID
		s.Batches = slices.DeleteFunc(s.Batches, func(o BatchState) bool { return o.ID == id })
		s.PlanTries++
		if s.Phase == Planning {
			s.LookAt = m.now() // the look under way does not know of it
		} else {
			m.look(s, s.PlanTries)
		}
	default:
		b.Stage, b.Attempt = Ready, attempt
		m.trySubmit(s, b)
		m.settle(s)
	}
}

// landed takes in that the chain shows a batch as proven.
func (m *Machine) landed(e MessageLanded) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || s.Phase != Working && s.Phase != Settling {
		return
	}
	b.Stage, b.LandedAt, b.By, b.LastError = Landed, e.Epoch, e.By, ""
	m.settle(s)
}

func (m *Machine) replaced(e Replaced) {
	_, b := m.batch(e.Ref, e.Batch)
	if b == nil || b.Attempt != e.Attempt {
		return
	}
	b.busy = false
	b.blame(e.Why)
}

// gaveUp sends another message where that was the aim, and it is time.
func (m *Machine) gaveUp(e GaveUp) {
	s, b := m.batch(e.Ref, e.Batch)
	if b == nil || b.Attempt != e.Attempt {
		return
	}
	b.busy = false
	b.blame(e.Why)
	if e.Why.Text == "" && b.Stage == Sent && b.then != Abandon && m.now() <= s.last() {
		m.renew(s, b, Step{Do: b.then, Price: b.Advice.Price})
	}
}
