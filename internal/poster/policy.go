package poster

import (
	"slices"
	"sync"

	"github.com/filecoin-project/go-address"
	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/condition"
	"wdpost/internal/deadline"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
)

// purse is what is known of who can pay, as the sender told last.
type purse struct {
	mu     sync.Mutex
	list   []message.Candidate
	scarce bool // what is known of the balances keeps a message from being raised
	budget escalate.Budget
}

// short notes whether the balances hinder: then they are asked for again, since
// somebody may have mended it.
func (p *purse) short(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scarce = p.scarce || yes
}

func (p *purse) isShort() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.scarce
}

func (p *purse) note(list []message.Candidate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.scarce = slices.Clone(list), false
}

// of tells the balance of a sender, nil if it is not known, and whether another
// one can send and was not avoided.
func (p *purse) of(from address.Address) (balance big.Int, others bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.list {
		if c.Address == from {
			balance = c.Balance
		} else if !c.Avoided && !c.Short {
			others = true
		}
	}
	return balance, others
}

// acts are escalate's acts in the words of the machine.
var acts = map[escalate.Act]deadline.Do{
	escalate.Wait: deadline.Nothing, escalate.Replace: deadline.Raise, escalate.PushAgain: deadline.Again, escalate.NewAttempt: deadline.Anew,
	escalate.MoreGas: deadline.Anew, escalate.OtherSender: deadline.Withdraw, escalate.GiveUp: deadline.Abandon,
}

// policy decides by the miner's fees and limits.
func (m *miner) policy(p deadline.Plight) deadline.Step {
	balance, others := m.purse.of(p.Seen.From)
	d := escalate.Decide(escalate.Case{
		Outcome: p.Seen, Fees: m.conf.Fees, Sent: p.SentAt, Priced: p.SteppedAt, Head: p.Now, Expire: p.Expire,
		BaseFee: p.BaseFee, Balance: balance, Spent: m.purse.budget.Spent(p.Seen.Handle.ID), Others: others, Failed: p.Failed,
	}, m.conf.Escalation)
	if d.Act == escalate.Replace { // at once: the next message is decided about before this one is raised
		m.purse.budget.Book(p.Seen.Handle.ID, d.Price.Total())
	}
	m.purse.short(d.Condition == condition.SenderNoFunds || d.Condition == condition.FeeLimitReached)
	return deadline.Step{Do: acts[d.Act], Price: d.Price, Why: d.Why, Trouble: string(d.Condition), Cost: string(d.Cost)}
}
